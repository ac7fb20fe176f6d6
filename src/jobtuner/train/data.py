"""What is trained on: labelled ads or chats, as rows of tokens, and what the stand-in reads of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from jobtuner.config import Config
from jobtuner.contracts import PreparedData
from jobtuner.errors import ContractError, DataError
from jobtuner.records import ChatExample, Example, read_jsonl
from jobtuner.tasks import (
    CHAT_TASKS,
    ChatEncoder,
    ChatTask,
    PromptEncoder,
    Task,
    chat_prompt_hash,
    get_chat_task,
    get_label_task,
    prompt_hash,
)
from jobtuner.tasks.chat import EncodedChats, Skipped, token_statistics
from jobtuner.taxonomy import Taxonomy
from jobtuner.train.label_metrics import LabelJudge
from jobtuner.train.standin import Corpus

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["Rows", "TrainingData", "training_data"]

_Row = dict[str, list[int]]


@dataclass(frozen=True)
class Rows:
    """Tokens of the training and validation split."""

    train: list[_Row]
    validation: list[_Row]
    ids: list[str]
    """Id of each training row."""
    skipped: list[Skipped] = field(default_factory=list)
    """Rows of both splits that were left out, with their reasons."""
    tokens: dict[str, Any] = field(default_factory=dict)
    """Token lengths of the training split; empty where all answers are labels."""


class TrainingData(Protocol):
    """The data of one task."""

    labels: list[str]
    """What may be answered; empty for tasks that answer in text."""
    taxonomy_version: str
    rows: int
    """Training rows."""
    left_out: int
    """Training rows that are not learnt, since their text is held out."""

    @property
    def task(self) -> Task | ChatTask:
        """The task."""

    def corpus(self) -> Corpus:
        """What the stand-in reads: the training split alone."""

    def encode(self, tokenizer: "PreTrainedTokenizerBase") -> Rows:
        """Both splits as tokens."""

    def prompt_hash(self, tokenizer: "PreTrainedTokenizerBase") -> str:
        """Of the task with this tokenizer."""

    def judge(self, tokenizer: "PreTrainedTokenizerBase") -> LabelJudge | None:
        """Scores validation examples by their labels, where the recipe keeps the best weights by that."""


def training_data(config: Config, prepared: PreparedData, held_out: frozenset[str] = frozenset()) -> TrainingData:
    """The data that `prepare` made, for the recipe's task.

    Args:
        config: the recipe.
        prepared: folder of the prepared data.
        held_out: texts that no training row may have.

    Raises:
        ContractError: it was prepared for another task.
    """
    if prepared.task != config.task:
        raise ContractError(
            f"{prepared.folder} was prepared for the task {prepared.task}; the recipe trains {config.task}. "
            "Prepare the data again."
        )
    kind = _Chats if config.task in CHAT_TASKS else _LabelledAds
    return kind(config, prepared, held_out)


class _LabelledAds:
    """Ads with codes."""

    def __init__(self, config: Config, prepared: PreparedData, held_out: frozenset[str]) -> None:
        self.task = get_label_task(config.task)
        self._taxonomy = Taxonomy.load(prepared.folder / "taxonomy.json")
        self._max_ad_tokens, self._training = config.prompt.max_ad_tokens, config.training
        found, self._validation = (
            [Example.from_json(row) for row in read_jsonl(prepared.folder / f"{split}.jsonl")]
            for split in ("train", "validation")
        )
        self._train = [row for row in found if row.text not in held_out]
        self.rows, self.left_out = len(self._train), len(found) - len(self._train)
        self.labels, self.taxonomy_version = self._taxonomy.labels, self._taxonomy.version

    def corpus(self) -> Corpus:
        return Corpus.of([item.text for item in self._train], self._taxonomy)

    def encode(self, tokenizer: "PreTrainedTokenizerBase") -> Rows:
        encoder = PromptEncoder(self.task, tokenizer, self._max_ad_tokens)
        train, validation = (
            encoder.examples([item.text for item in rows], [item.label for item in rows])
            for rows in (self._train, self._validation)
        )
        return Rows(train, validation, [item.id for item in self._train])

    def prompt_hash(self, tokenizer: "PreTrainedTokenizerBase") -> str:
        return prompt_hash(self.task, tokenizer)

    def judge(self, tokenizer: "PreTrainedTokenizerBase") -> LabelJudge | None:
        if self._training.best_by not in {"label_accuracy", "macro_f1"}:
            return None
        encoder = PromptEncoder(self.task, tokenizer, self._max_ad_tokens)
        some = self._validation[: self._training.evaluate_rows]
        return LabelJudge.of(encoder, [item.text for item in some], [item.label for item in some], self.labels)


class _Chats:
    """Texts with answers in text."""

    def __init__(self, config: Config, prepared: PreparedData, held_out: frozenset[str]) -> None:
        self.task = get_chat_task(config.task)
        self.labels: list[str] = []
        self.taxonomy_version = ""
        self._limits = config.prompt.max_ad_tokens, config.chat.max_answer_tokens
        found, self._validation = (
            [ChatExample.from_json(row) for row in read_jsonl(prepared.folder / f"{split}.jsonl")]
            for split in ("train", "validation")
        )
        self._train = [row for row in found if row.text not in held_out]
        self.rows, self.left_out = len(self._train), len(found) - len(self._train)

    def corpus(self) -> Corpus:
        return Corpus([row.text for row in self._train], [], [], self._train)

    def encode(self, tokenizer: "PreTrainedTokenizerBase") -> Rows:
        encoder = ChatEncoder(self.task, tokenizer, *self._limits)
        train, validation = (
            _usable(encoder, rows, split) for split, rows in (("train", self._train), ("validation", self._validation))
        )
        return Rows(
            train.rows, validation.rows, train.ids, [*train.skipped, *validation.skipped], token_statistics(train)
        )

    def prompt_hash(self, tokenizer: "PreTrainedTokenizerBase") -> str:
        return chat_prompt_hash(self.task, tokenizer)

    def judge(self, tokenizer: "PreTrainedTokenizerBase") -> LabelJudge | None:  # noqa: ARG002  # there are no labels
        return None


def _usable(encoder: ChatEncoder, rows: Sequence[ChatExample], split: str) -> EncodedChats:
    found = encoder.examples(rows)
    if not found.rows:
        raise DataError(
            f"No row of the split '{split}' can be trained on: {len(rows)} were left out. The first: "
            f"{found.skipped[0].id}: {found.skipped[0].reason}."
        )
    return found
