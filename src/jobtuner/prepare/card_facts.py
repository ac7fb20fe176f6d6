"""What the data card tells, in numbers and short texts."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from jobtuner.clean import Cleaned
from jobtuner.personal_data import KINDS
from jobtuner.prepare.leakage import Leakage
from jobtuner.prepare.sources import Rejected
from jobtuner.prepare.tokens import TokenLengths
from jobtuner.taxonomy import Taxonomy

__all__ = ["CardFacts", "ChartFacts", "Cleaning", "Cluster", "Pair", "SplitFacts", "cleaned_rows"]


@dataclass(slots=True)
class Cleaning:
    """What cleaning and label resolution changed, over all rows."""

    masked: Counter[str] = field(default_factory=Counter)
    """Kind of personal data to the places that were replaced."""
    rows_masked: int = 0
    html: int = 0
    cut: int = 0
    padded_labels: int = 0
    repaired: int = 0
    lines: int = 0
    """Rows that lost repeated lines or boilerplate."""
    told: int = 0
    """Rows whose language was told from the text."""
    orders: int = 0
    """Passages left out that spoke to the machine."""
    foreign: int = 0
    """Training rows that got a foreign sentence (data.hostile)."""

    def add(self, text: Cleaned) -> None:
        """Count one text."""
        self.masked.update(text.masked)
        self.rows_masked += bool(text.masked)
        self.html += text.was_html
        self.cut += text.was_cut
        self.repaired += text.was_repaired
        self.lines += text.lost_lines
        self.orders += text.orders


def cleaned_rows(cleaning: Cleaning) -> list[tuple[str, int]]:
    """What cleaning did to texts, in the words and the order of the card."""
    return [
        ("rows whose characters were repaired", cleaning.repaired),
        ("rows with HTML", cleaning.html),
        ("passages left out that spoke to the machine", cleaning.orders),
        ("rows that lost repeated lines or boilerplate", cleaning.lines),
        ("rows cut to the longest length", cleaning.cut),
        ("rows with personal data", cleaning.rows_masked),
        *((f"places replaced by [{name}]", cleaning.masked[name]) for name in (*KINDS, "NAME")),
    ]


@dataclass(frozen=True, slots=True)
class SplitFacts:
    """One split in numbers."""

    languages: Counter[str]
    labels: Counter[str]
    lengths: Sequence[int]
    """Characters of each text, in ascending order."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster of more than one row."""

    name: str
    rows: int
    text: str
    """One of its texts."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A test row and the most similar training row."""

    similarity: float
    test: str
    """Id and beginning of the text."""
    train: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ChartFacts:
    """What every card and its pictures tell."""

    counts: Mapping[str, int]
    """As in `contracts.PreparedData`."""
    splits: Mapping[str, SplitFacts]
    cleaning: Cleaning
    cluster_sizes: Counter[int]
    """Rows in a cluster to the number of such clusters."""
    near_duplicates: float
    """Similarity from which rows are in one cluster."""
    leakage: Leakage
    nearest: Sequence[Pair]
    """The most similar pairs of test and training."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CardFacts(ChartFacts):
    """All that the card of labelled ads tells."""

    source: str
    """"generated", or the input URI."""
    rejected: Counter[str]
    """Rows by kind of the reason."""
    first_rejected: Mapping[str, Rejected]
    """The first row of each kind."""
    taxonomy: Taxonomy
    largest: Sequence[Cluster]
    tokens: TokenLengths | None = None
    """None: not counted."""
