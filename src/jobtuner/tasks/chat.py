"""Tasks that answer in text: from an example to token ids, by the tokenizer's own chat template.

Every content of a chat is data: it is encoded apart from the template around it, as ordinary characters, so that no
text can end its own turn. Where an ad is too long the ad is cut, never the answer: a row whose answer is too long is
left out, with the reason.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from jobtuner.errors import DataError, ModelError
from jobtuner.records import ChatExample, Message
from jobtuner.tasks.base import END_OF_TURN, IGNORED, end_of_turn

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["ChatEncoder", "ChatTask", "EncodedChats", "Skipped", "chat_prompt_hash", "token_statistics"]

_MARKER = "JOBTUNER-TEXT-{}-"
_LEAST = 8  # tokens of the text that must be left beside the rest of a conversation
_SAMPLE: dict[str, Any] = {"applicant": {"name": "NAME", "skills": ["SKILL"], "language": "en"}}
"""Facts of the prompt that is hashed."""


class ChatTask(Protocol):
    """What a task that answers in text has to say about its prompt and its answer."""

    name: str

    def prompt(self, text: str, facts: Mapping[str, Any]) -> list[Message]:
        """The chat that puts the question.

        Args:
            text: the ad, or the user's last turn: what may be cut.
            facts: what else belongs to the example; see `records.ChatExample`.
        """


@dataclass(frozen=True, slots=True)
class Skipped:
    """A row that was not trained on."""

    id: str
    reason: str


@dataclass(frozen=True)
class EncodedChats:
    """Training rows, and what was left out."""

    rows: list[dict[str, list[int]]]
    """`input_ids`, and `labels` with `IGNORED` on the prompt."""
    ids: list[str]
    """Id of each row."""
    skipped: list[Skipped]
    cut: int
    """Rows whose text was cut to the limit."""


class ChatEncoder:
    """Encodes chats and answers of one task for one tokenizer.

    Args:
        task: the task.
        tokenizer: a Qwen2.5 tokenizer (chat template, `<|im_end|>`).
        max_text_tokens: longer texts are cut at their end; earlier turns of a conversation count, and are not cut.
        max_answer_tokens: rows with a longer answer are left out.
    """

    def __init__(
        self, task: ChatTask, tokenizer: "PreTrainedTokenizerBase", max_text_tokens: int, max_answer_tokens: int
    ) -> None:
        self.task, self.max_answer_tokens = task, max_answer_tokens
        self._tokenizer, self._max_text_tokens = tokenizer, max_text_tokens
        self.end_id = end_of_turn(tokenizer)
        self._special = set(tokenizer.all_special_ids) | {self.end_id}

    def chat(self, text: str, facts: Mapping[str, Any]) -> list[Message]:
        """The chat about a text, which is cut where it is too long.

        Raises:
            DataError: earlier turns leave no room for the text.
        """
        return self.task.prompt(self._cut(text.strip(), facts)[0], facts)

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """Token ids of a chat, up to and including the start of the assistant's turn.

        Raises:
            ModelError: the template does not render each content exactly once.
        """
        marked = [{**item, "content": _MARKER.format(number)} for number, item in enumerate(messages)]
        rest = str(self._tokenizer.apply_chat_template(marked, tokenize=False, add_generation_prompt=True))
        ids: list[int] = []
        for item, message in zip(marked, messages, strict=True):
            before, marker, rest = rest.partition(item["content"])
            if not marker or item["content"] in rest:
                raise ModelError(
                    "The tokenizer's chat template does not render every text exactly once, in order; Qwen2.5's does."
                )
            ids += self._tokenizer.encode(before, add_special_tokens=False)
            ids += self._encode(message["content"])
        return ids + list(self._tokenizer.encode(rest, add_special_tokens=False))

    def answer(self, text: str) -> list[int]:
        """Token ids of an answer with the end-of-turn token."""
        return [*self._encode(text), self.end_id]

    def examples(self, rows: Sequence[ChatExample]) -> EncodedChats:
        """Training rows with the loss on the answer alone.

        Raises:
            ModelError: the tokens that carry loss do not spell the answer and the end of the turn, as the chat template
                writes them.
        """
        found = EncodedChats([], [], [], 0)
        cut = 0
        for row in rows:
            answer = self.answer(row.answer)
            if len(answer) > self.max_answer_tokens:
                reason = f"the answer has {len(answer)} tokens; up to {self.max_answer_tokens} (chat.max_answer_tokens)"
                found.skipped.append(Skipped(row.id, reason))
                continue
            try:
                text, was_cut = self._cut(row.text.strip(), row.facts)
                messages = self.task.prompt(text, row.facts)
            except DataError as error:
                found.skipped.append(Skipped(row.id, str(error)))
                continue
            if not found.rows:  # once: what holds for one row's template holds for all
                self._check(messages, row.answer, answer)
            elif self._decoded(answer) != row.answer + END_OF_TURN:
                raise ModelError(f"The tokens of the answer of {row.id} spell {self._decoded(answer)!r}.")
            prompt = self.prompt(messages)
            cut += was_cut
            found.ids.append(row.id)
            found.rows.append({"input_ids": prompt + answer, "labels": [IGNORED] * len(prompt) + answer})
        return EncodedChats(found.rows, found.ids, found.skipped, cut)

    def _encode(self, text: str) -> list[int]:
        ids = list(self._tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"])
        if not self._special.isdisjoint(ids):
            raise ModelError("The tokenizer turned a text into a control token; it must support split_special_tokens.")
        return ids

    def _cut(self, text: str, facts: Mapping[str, Any]) -> tuple[str, bool]:
        before = sum(len(self._encode(item["content"])) for item in facts.get("before", ()))
        room = self._max_text_tokens - before
        if room < _LEAST:
            raise DataError(
                f"the earlier turns have {before} tokens; with {_LEAST} of the last one, up to {self._max_text_tokens} "
                "are accepted (prompt.max_ad_tokens)"
            )
        ids = self._encode(text)
        if len(ids) <= room:
            return text, False
        return self._decoded(ids[:room]).rstrip("\ufffd").rstrip(), True  # the cut may go through a character

    def _decoded(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(ids), clean_up_tokenization_spaces=False))

    def _check(self, messages: Sequence[Message], text: str, answer: Sequence[int]) -> None:
        """The tokens spell the answer, and the template continues a prompt with exactly that."""
        wanted = text + END_OF_TURN
        if self._decoded(answer) != wanted:
            raise ModelError(
                f"The tokens of an answer spell {self._decoded(answer)!r}; the loss must be on {wanted!r}."
            )
        template = self._tokenizer.apply_chat_template
        before = str(template(list(messages), tokenize=False, add_generation_prompt=True))
        whole = str(template([*messages, {"role": "assistant", "content": text}], tokenize=False))
        if not whole.startswith(before + wanted):
            raise ModelError(
                f"The chat template ends with {whole[-60:]!r} after the answer; the loss is on {wanted[-60:]!r}. A "
                "Qwen2.5 tokenizer is needed."
            )


def chat_prompt_hash(task: ChatTask, tokenizer: "PreTrainedTokenizerBase") -> str:
    """SHA-256 over everything that surrounds a text: equal hashes mean equal prompts."""
    chat = task.prompt(_MARKER.format("AD"), _SAMPLE)
    rendered = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    return hashlib.sha256("\0".join((task.name, str(rendered), END_OF_TURN)).encode()).hexdigest()


def token_statistics(chats: EncodedChats) -> dict[str, Any]:
    """Token lengths of prompts and answers (shortest, median, 95th percentile, longest), rows cut and rows left out."""
    answers = [sum(label != IGNORED for label in row["labels"]) for row in chats.rows]
    prompts = [len(row["input_ids"]) - count for row, count in zip(chats.rows, answers, strict=True)]
    return {
        "rows": len(chats.rows),
        "prompt_tokens": _spread(prompts),
        "answer_tokens": _spread(answers),
        "texts_cut": chats.cut,
        "skipped": len(chats.skipped),
    }


def _spread(sizes: Sequence[int]) -> dict[str, int]:
    if not sizes:
        return {}
    ordered = sorted(sizes)
    places = {"shortest": 0.0, "median": 0.5, "p95": 0.95, "longest": 1.0}
    return {name: ordered[round(share * (len(ordered) - 1))] for name, share in places.items()}
