"""A fine-tuned model as a writer: what evaluation, export, serving and the commands use for tasks that answer in text.

The counterpart of `scoring` for labels: the same folders, the same `inference.json`, the same refusal of a prompt that
is not the one that the model was trained with.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from jobtuner.clean import clean_text
from jobtuner.config import CleanConfig
from jobtuner.contracts import TrainedModel
from jobtuner.errors import ModelError
from jobtuner.records import ChatExample, Message
from jobtuner.scoring import InferenceSettings, load_trained
from jobtuner.tasks import ChatEncoder, chat_prompt_hash, get_chat_task

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = [
    "GREEDY",
    "Chat",
    "ChatPrompts",
    "LocalWriter",
    "Measured",
    "Sampling",
    "Writer",
    "load_adapted_writer",
    "load_chat_prompts",
    "load_exported_writer",
]

Chat = list[Message]
"""A prompt: it ends with the user's turn."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How an answer is chosen."""

    temperature: float = 0.0
    """0: the likeliest token each time."""
    seed: int = 0
    """Of the draws; equal seeds and batches give equal answers on one machine."""
    max_tokens: int | None = None
    """Longest answer; None: as long as in training."""


GREEDY = Sampling()
"""The likeliest token each time."""


@dataclass(frozen=True)
class Measured:
    """What a model thinks of an answer that it is given, token by token, the end of the turn included."""

    log_probabilities: list[float]
    """Of each token after the right ones before it, in nats."""
    choices: list[int]
    """The likeliest token at each place."""


class Writer(Protocol):
    """Whatever answers chats in text."""

    def answers(self, chats: Sequence[Chat], sampling: Sampling = GREEDY) -> list[str]:
        """One answer a chat, without the end of the turn."""


class ChatPrompts:
    """How a model is asked, as it was trained.

    Args:
        tokenizer: the model's tokenizer.
        settings: of its `inference.json`.

    Raises:
        ModelError: the task answers with labels, or the prompt is not the one that the model was trained with.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", settings: InferenceSettings) -> None:
        task = get_chat_task(settings.task)
        found = chat_prompt_hash(task, tokenizer)
        if found != settings.prompt_hash or not settings.max_answer_tokens:
            raise ModelError(
                f"The model does not fit what it would be asked with: its prompt hash is {settings.prompt_hash[:12]}, "
                f"this version of the task '{settings.task}' and tokenizer gives {found[:12]}. Train or export it "
                "again."
            )
        self.settings, self.tokenizer = settings, tokenizer
        self.encoder = ChatEncoder(task, tokenizer, settings.max_ad_tokens, settings.max_answer_tokens)
        self._clean = CleanConfig.model_validate(settings.clean)

    def chat(self, text: str, facts: Mapping[str, Any] | None = None) -> Chat:
        """The chat about a text as it comes: cleaned and cut as the training texts were.

        Args:
            text: the ad, or the user's last turn.
            facts: as in `records.ChatExample`.

        Raises:
            DataError: the facts are not usable, or leave no room for the text.
        """
        return self.encoder.chat(clean_text(text, self._clean).text, facts or {})

    def of_example(self, example: ChatExample) -> Chat:
        """The chat about a prepared example, whose text is clean."""
        return self.encoder.chat(example.text, example.facts)


class LocalWriter:
    """A model on this machine.

    Args:
        model: causal language model, with or without an adapter.
        prompts: how to ask it.
        batch_size: chats answered at once.
    """

    def __init__(self, model: Any, prompts: ChatPrompts, batch_size: int = 32) -> None:
        self.model, self.prompts, self.settings = model.eval(), prompts, prompts.settings
        self._batch_size = batch_size

    def answers(self, chats: Sequence[Chat], sampling: Sampling = GREEDY) -> list[str]:
        """One answer a chat; chats of like length are answered together."""
        prompts = [self.prompts.encoder.prompt(chat) for chat in chats]
        order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
        found = [""] * len(prompts)
        for start in range(0, len(order), self._batch_size):
            rows = order[start : start + self._batch_size]
            for row, text in zip(rows, self._generate([prompts[row] for row in rows], sampling), strict=True):
                found[row] = text
        return found

    def stream(self, chat: Chat, sampling: Sampling = GREEDY) -> Iterator[str]:
        """Pieces of one answer as they are written. A caller that stops early stops the model after its next token.

        Raises:
            ModelError: the model failed on the way.
        """
        from transformers import StoppingCriteria, StoppingCriteriaList, TextIteratorStreamer

        stopped, failures = threading.Event(), list[Exception]()

        class _Stopped(StoppingCriteria):
            def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:  # noqa: ARG002  # transformers' names
                import torch

                return torch.full((input_ids.shape[0],), stopped.is_set(), device=input_ids.device)

        streamer = TextIteratorStreamer(self.prompts.tokenizer, skip_prompt=True, skip_special_tokens=True)
        criteria = StoppingCriteriaList([_Stopped()])

        def write() -> None:
            try:
                prompt = [self.prompts.encoder.prompt(chat)]
                self._run(prompt, sampling, streamer=streamer, stopping_criteria=criteria)
            except Exception as error:  # noqa: BLE001  # handed to the reader, who waits for the streamer's end
                failures.append(error)
                streamer.end()

        thread = threading.Thread(target=write, daemon=True)
        thread.start()
        try:
            yield from (piece for piece in streamer if piece)
        finally:
            stopped.set()
            thread.join()
        if failures:
            raise ModelError(f"The model failed while it wrote: {failures[0]}") from failures[0]

    def measure(self, chats: Sequence[Chat], answers: Sequence[str]) -> list[Measured]:
        """What the model thinks of given answers: one entry a chat."""
        encoder = self.prompts.encoder
        rows = [(encoder.prompt(chat), encoder.answer(text)) for chat, text in zip(chats, answers, strict=True)]
        order = sorted(range(len(rows)), key=lambda index: sum(map(len, rows[index])))
        found: list[Measured | None] = [None] * len(rows)
        for start in range(0, len(order), self._batch_size):
            part = order[start : start + self._batch_size]
            for row, measured in zip(part, self._measure([rows[row] for row in part]), strict=True):
                found[row] = measured
        return [item for item in found if item is not None]

    def _generate(self, prompts: list[list[int]], sampling: Sampling) -> Iterator[str]:
        out, longest, end = self._run(prompts, sampling), max(map(len, prompts)), self.prompts.encoder.end_id
        for row in out[:, longest:].tolist():
            written = row[: row.index(end)] if end in row else row
            text = self.prompts.tokenizer.decode(written, skip_special_tokens=True, clean_up_tokenization_spaces=False)
            yield str(text).strip()

    def _run(self, prompts: list[list[int]], sampling: Sampling, **arguments: Any) -> Any:
        import torch
        from transformers import GenerationConfig

        sampled = sampling.temperature > 0.0
        chosen = {"temperature": sampling.temperature, "top_k": 0, "top_p": 1.0} if sampled else {}
        end = self.prompts.encoder.end_id
        # Said in full: what is left open here is taken from the base model's own file, a repetition penalty too.
        config = GenerationConfig(
            do_sample=sampled,
            num_beams=1,
            repetition_penalty=1.0,
            max_new_tokens=sampling.max_tokens or self.settings.max_answer_tokens,
            eos_token_id=end,
            pad_token_id=end,
            **chosen,
        )
        tokens, mask = _left_padded(prompts, end)
        if sampled:
            torch.manual_seed(sampling.seed)
        with torch.no_grad():
            return self.model.generate(
                input_ids=tokens.to(self.model.device),
                attention_mask=mask.to(self.model.device),
                generation_config=config,
                **arguments,
            )

    def _measure(self, rows: list[tuple[list[int], list[int]]]) -> Iterator[Measured]:
        import torch

        tokens, mask = _left_padded([prompt + answer for prompt, answer in rows], self.prompts.encoder.end_id)
        positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
        keep = max(len(answer) for _, answer in rows) + 1
        device = self.model.device
        with torch.no_grad():
            logits = self.model(
                input_ids=tokens.to(device),
                attention_mask=mask.to(device),
                position_ids=positions.to(device),
                use_cache=False,
                logits_to_keep=keep,
            ).logits[:, :-1]
        for row, (_, answer) in zip(logits, rows, strict=True):
            scores = row[-len(answer) :].float().log_softmax(dim=1)
            right = scores.gather(1, torch.tensor(answer, device=device)[:, None])[:, 0]
            yield Measured(right.tolist(), scores.argmax(dim=1).tolist())


def _left_padded(rows: Sequence[Sequence[int]], pad_id: int) -> Any:
    """Tokens and attention mask, shape [rows, longest row], with the padding in front."""
    import torch

    longest = max(map(len, rows))
    tokens = torch.tensor([[pad_id] * (longest - len(row)) + list(row) for row in rows])
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows])
    return tokens, mask


def load_adapted_writer(trained: TrainedModel, batch_size: int = 32) -> LocalWriter:
    """The trained model, as `scoring.load_trained` gives it.

    Raises:
        ModelError: something is missing, or does not fit.
    """
    from jobtuner.models import load_tokenizer

    settings = InferenceSettings.load(trained.folder)
    prompts = ChatPrompts(load_tokenizer(str(trained.folder / "tokenizer")), settings)
    return LocalWriter(load_trained(trained, settings), prompts, batch_size)


def load_chat_prompts(folder: Path) -> ChatPrompts:
    """How an exported model is to be asked, without its weights.

    Raises:
        ModelError: the folder holds no such model, or its parts do not fit each other.
    """
    from jobtuner.models import load_tokenizer

    settings = InferenceSettings.load(folder)
    return ChatPrompts(load_tokenizer(str(folder)), settings)


def load_exported_writer(folder: Path, batch_size: int = 32) -> LocalWriter:
    """A merged model from the folder that the export stage made (its `model/`).

    Raises:
        ModelError: the folder holds no such model, or its parts do not fit each other.
    """
    import torch
    from transformers import AutoModelForCausalLM

    prompts = load_chat_prompts(folder)
    try:
        model: Any = AutoModelForCausalLM.from_pretrained(
            str(folder), dtype="auto", trust_remote_code=False, use_safetensors=True
        )
    except (OSError, ValueError) as error:
        raise ModelError(f"The model in {folder} cannot be loaded: {error}. Export it again.") from error
    return LocalWriter(model.to("cuda" if torch.cuda.is_available() else "cpu"), prompts, batch_size)
