"""Several tasks in one training: other prepared sets beside the recipe's own, by weight.

Each set is encoded by its own task, with its own prompt and its own answers. An epoch holds every row of the recipe's
own once, and of each other set as many as its weight says; the order follows from seed and epoch alone.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jobtuner.config import Config, MixedData
from jobtuner.contracts import PreparedData
from jobtuner.errors import ContractError
from jobtuner.records import read_jsonl
from jobtuner.run import home
from jobtuner.storage import fetch
from jobtuner.train.data import TrainingData, training_data

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["MixedRows", "MixedSet", "epoch_rows", "mixed_sets", "rows_drawn", "with_mixed_loss", "without_places"]

_Row = dict[str, list[int]]


@dataclass(frozen=True)
class MixedSet:
    """Another prepared set."""

    name: str
    weight: float
    data: TrainingData
    fingerprint: str
    """Of the prepared data."""
    left_out: int
    """Training rows whose text is in the own validation or test split: learning them would flatter the own score."""

    def encode(self, tokenizer: "PreTrainedTokenizerBase", own: int) -> "MixedRows":
        """As tokens.

        Args:
            tokenizer: of the base.
            own: training rows of the recipe's own set.
        """
        rows = self.data.encode(tokenizer)
        return MixedRows(self.name, rows.train, rows.validation, rows.ids, rows_drawn(self.weight, own))


@dataclass(frozen=True)
class MixedRows:
    """Its tokens, and how many of its rows an epoch holds."""

    name: str
    train: list[_Row]
    validation: list[_Row]
    ids: list[str]
    drawn: int


def rows_drawn(weight: float, own: int) -> int:
    """Rows an epoch of a set with this weight, at least one."""
    return max(1, round(weight * own))


def epoch_rows(mixture: Mapping[str, MixedData], own: int) -> int:
    """Rows an epoch, of all sets together.

    Args:
        mixture: the recipe's `training.mixture`.
        own: training rows of the recipe's own set.
    """
    return own + sum(rows_drawn(each.weight, own) for each in mixture.values())


def mixed_sets(config: Config, prepared: PreparedData) -> list[MixedSet]:
    """The sets of the recipe's `training.mixture`.

    Args:
        config: the recipe.
        prepared: the recipe's own set.

    Raises:
        ContractError: a folder holds no prepared data, or was prepared for another task.
        StorageError: one lies in an object store that cannot be read.
    """
    if not config.training.mixture:
        return []
    held_out = frozenset(
        str(row["text"])
        for split in ("validation", "test")
        for row in read_jsonl(prepared.folder / f"{split}.jsonl")
    )  # fmt: skip
    return [_set(config, name, each, held_out) for name, each in config.training.mixture.items()]


def _set(config: Config, name: str, mixed: MixedData, held_out: frozenset[str]) -> MixedSet:
    prepared = PreparedData.load(fetch(mixed.prepare, home() / "mixture"))
    if prepared.task != mixed.task:
        raise ContractError(
            f"training.mixture.{name}.task is {mixed.task}, and {mixed.prepare} was prepared for {prepared.task}. Name "
            "that task, or another folder."
        )
    data = training_data(config.model_copy(update={"task": mixed.task}), prepared, held_out)
    if not data.rows:
        raise ContractError(
            f"{mixed.prepare} has no training row for training.mixture.{name}: {data.left_out} have texts that the "
            "recipe's own validation or test split holds. Name a set of other texts."
        )
    return MixedSet(name, mixed.weight, data, prepared.fingerprint, data.left_out)


def with_mixed_loss(
    measure: Callable[[Sequence[_Row]], dict[str, float]], sets: Sequence[MixedRows], rows: int | None = None
) -> dict[str, float]:
    """Loss and accuracy of each set on its own validation rows, as <name>_loss and <name>_accuracy.

    Args:
        measure: gives loss and accuracy on rows.
        sets: the sets.
        rows: the first so many are measured; None: all.
    """
    return {f"{each.name}_{key}": value for each in sets for key, value in measure(each.validation[:rows]).items()}


def without_places(config: Config) -> Config:
    """The recipe without where its mixed sets lie: a copy of a folder is the same data."""
    mixture = {name: each.model_copy(update={"prepare": ""}) for name, each in config.training.mixture.items()}
    training: Any = config.training.model_copy(update={"mixture": mixture})
    return config.model_copy(update={"training": training})
