"""From an ad to token ids, by the tokenizer's own chat template.

The ad is data: a text that spells `<|im_end|>` is encoded as ordinary characters, so it can never end its own turn. The
template is therefore rendered around a marker, and the ad's tokens are put in its place.
"""

import hashlib
from collections.abc import Collection
from typing import TYPE_CHECKING, Protocol

from jobtuner.errors import ModelError
from jobtuner.records import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["END_OF_TURN", "IGNORED", "PromptEncoder", "Task", "end_of_turn", "prompt_hash"]

IGNORED = -100
"""Label of a token that carries no loss (PyTorch's `ignore_index`)."""

END_OF_TURN = "<|im_end|>"
"""What ends every turn of a Qwen2.5 chat, an answer too."""

_MARKER = "JOBTUNER-AD"


class Task(Protocol):
    """What a task has to say about its prompt and its answer."""

    name: str

    def messages(self, text: str) -> list[Message]:
        """The chat that puts the question about one ad."""

    def answer(self, label: str) -> str:
        """The assistant's right answer."""

    def parse(self, answer: str, labels: Collection[str]) -> str | None:
        """The label in an answer, or None."""


def _template(task: Task, tokenizer: "PreTrainedTokenizerBase") -> tuple[str, str]:
    rendered = tokenizer.apply_chat_template(task.messages(_MARKER), tokenize=False, add_generation_prompt=True)
    if not isinstance(rendered, str) or rendered.count(_MARKER) != 1:
        raise ModelError("The tokenizer's chat template does not render the user's text exactly once; Qwen2.5's does.")
    before, _, after = rendered.partition(_MARKER)
    return before, after


def end_of_turn(tokenizer: "PreTrainedTokenizerBase") -> int:
    """Id of the token that ends a turn.

    Raises:
        ModelError: the tokenizer has none.
    """
    end = tokenizer.convert_tokens_to_ids(END_OF_TURN)
    if not isinstance(end, int) or tokenizer.convert_ids_to_tokens(end) != END_OF_TURN:
        raise ModelError(f"The tokenizer has no {END_OF_TURN} token; a Qwen2.5 tokenizer is needed.")
    return end


def prompt_hash(task: Task, tokenizer: "PreTrainedTokenizerBase") -> str:
    """SHA-256 over everything that surrounds the ad: equal hashes mean equal prompts."""
    before, after = _template(task, tokenizer)
    return hashlib.sha256("\0".join((task.name, before, after, task.answer("LABEL"), END_OF_TURN)).encode()).hexdigest()


class PromptEncoder:
    """Encodes prompts and answers of one task for one tokenizer.

    Args:
        task: the task.
        tokenizer: a Qwen2.5 tokenizer (chat template, `<|im_end|>`).
        max_ad_tokens: longer ads are cut at their end; prompt and answer never are.

    Attributes:
        start: token ids that every prompt begins with.
        end_id: of the token that ends a turn.
    """

    def __init__(self, task: Task, tokenizer: "PreTrainedTokenizerBase", max_ad_tokens: int) -> None:
        self._task, self._tokenizer, self._max_ad_tokens = task, tokenizer, max_ad_tokens
        before, after = _template(task, tokenizer)
        self._rendered = before + _MARKER + after
        self.start = list(tokenizer.encode(before, add_special_tokens=False))
        self._after = list(tokenizer.encode(after, add_special_tokens=False))
        self.end_id = end_of_turn(tokenizer)
        self._special = set(tokenizer.all_special_ids) | {self.end_id}

    def prompts(self, texts: list[str]) -> list[list[int]]:
        """Token ids of each prompt, up to and including the start of the assistant's turn."""
        stripped = [text.strip() for text in texts]
        encoded = self._tokenizer(stripped, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        return [self.start + self._cut(ids) + self._after for ids in encoded]

    def _cut(self, ids: list[int]) -> list[int]:
        ids = list(ids[: self._max_ad_tokens])
        if not self._special.isdisjoint(ids):
            raise ModelError(
                "The tokenizer turned an ad's text into a control token; it must support split_special_tokens."
            )
        return ids

    def answer(self, label: str) -> list[int]:
        """Token ids of the right answer with the end-of-turn token."""
        return [*self._tokenizer.encode(self._task.answer(label), add_special_tokens=False), self.end_id]

    def examples(self, texts: list[str], labels: list[str]) -> list[dict[str, list[int]]]:
        """Training rows: `input_ids`, and `labels` with `IGNORED` on the prompt (loss on the answer alone).

        Raises:
            ModelError: the tokens that carry loss do not spell the answer and the end of the turn, as the chat template
                writes them.
        """
        answers = {label: self.answer(label) for label in set(labels)}
        for label, answer in answers.items():
            self._check(label, answer)
        return [
            {"input_ids": prompt + answers[label], "labels": [IGNORED] * len(prompt) + answers[label]}
            for prompt, label in zip(self.prompts(texts), labels, strict=True)
        ]

    def _check(self, label: str, answer: list[int]) -> None:
        """The tokens spell the answer, and the template continues a prompt with exactly that."""
        wanted = self._task.answer(label) + END_OF_TURN
        found = self._tokenizer.decode(answer, clean_up_tokenization_spaces=False)
        if found != wanted:
            raise ModelError(f"The tokens of the answer '{label}' spell {found!r}; the loss must be on {wanted!r}.")
        chat = [*self._task.messages(_MARKER), {"role": "assistant", "content": self._task.answer(label)}]
        rendered = self._tokenizer.apply_chat_template(chat, tokenize=False)
        if not str(rendered).startswith(self._rendered + wanted):
            raise ModelError(
                f"The chat template ends with {str(rendered)[-60:]!r} after the answer '{label}'; the loss is on "
                f"{wanted!r}. A Qwen2.5 tokenizer is needed."
            )
