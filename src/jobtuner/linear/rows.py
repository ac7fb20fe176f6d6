"""What a baseline is fitted on: distinct texts, and the shares of their labels."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from jobtuner.errors import DataError
from jobtuner.linear.taxonomy_rows import TitleRow
from jobtuner.records import UNKNOWN_LANGUAGE

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

__all__ = ["TrainingRows", "collect", "titles_an_epoch"]

_TITLES_A_ROW = 2  # taxonomy titles an epoch for each labelled row: bounds the time where a taxonomy has 300,000
_FEW = 2000  # taxonomy titles that an epoch always has room for


@dataclass(frozen=True)
class TrainingRows:
    """Labelled rows first, then taxonomy titles in the rows' languages, then other taxonomy titles, then titles, in the
    rows' languages, of labels that no row carries."""

    texts: list[str]
    targets: "csr_matrix"
    """Shares of the labels, float32 of shape [rows, labels]; a row sums to 1."""
    labels: list[str]
    """Codes in the order of the columns: those that rows carry first."""
    labelled: int
    """Number of labelled rows."""
    near: int
    """Number of taxonomy titles in the rows' languages."""
    far: int
    """Number of the other taxonomy titles."""
    seen: int
    """Number of labels that labelled rows carry."""

    def weights(self, title_weight: float) -> NDArray[np.float32]:
        """1 for labelled rows, `title_weight` for titles."""
        weights = np.full(len(self.texts), title_weight, dtype=np.float32)
        weights[: self.labelled] = 1.0
        return weights

    def spoken(self) -> NDArray[np.intp]:
        """Places of the labelled rows and of all titles in their languages."""
        first = self.labelled + self.near
        return np.concatenate([np.arange(first), np.arange(first + self.far, len(self.texts))])


def collect(
    texts: Sequence[str],
    labels: Sequence[str | Collection[str]],
    languages: Sequence[str] | None,
    titles: Sequence[TitleRow],
    most_titles: int,
    unseen: Collection[str] = (),
) -> TrainingRows:
    """Merge equal texts, and add the taxonomy titles whose label occurs.

    Of the titles at most `most_titles` are taken: three quarters in the rows' languages, a quarter in others. Of labels
    that no row carries only those in `unseen` count, with at most as many titles again.

    Raises:
        DataError: a row without a label.
    """
    counts: dict[str, dict[str, float]] = {}
    for number, (text, right) in enumerate(zip(texts, labels, strict=True), start=1):
        codes = {right} if isinstance(right, str) else set(right)
        if not codes:
            raise DataError(f"Row {number} of the training texts ({text[:60]!r}) has no label. Leave such rows out.")
        for code in codes:
            shares = counts.setdefault(_key(text), {})
            shares[code] = shares.get(code, 0.0) + 1 / len(codes)
    known = {code for shares in counts.values() for code in shares}
    spoken = {language.lower().split("-")[0] for language in languages or ()} - {UNKNOWN_LANGUAGE}  # "en-GB" is "en"
    near, far = _titles(titles, known, spoken, most_titles)
    others = _titles(titles, set(unseen) - known, spoken, most_titles)[0]
    everything = [*counts.items(), *((text, {label: 1.0}) for text, label in (*near, *far, *others))]
    columns = [*sorted(known), *sorted({label for _, label in others})]
    return TrainingRows(
        texts=[text for text, _ in everything],
        targets=_targets([shares for _, shares in everything], columns),
        labels=columns,
        labelled=len(counts),
        near=len(near),
        far=len(far),
        seen=len(known),
    )


def titles_an_epoch(rows: int) -> int:
    """Taxonomy titles that one pass has room for beside so many labelled rows."""
    return max(_FEW, _TITLES_A_ROW * rows)


def _key(text: str) -> str:
    """Features do not see case or white space: texts that differ in nothing else are one row."""
    return " ".join(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").lower().split())


def _titles(
    titles: Sequence[TitleRow], known: Collection[str], spoken: Collection[str], most: int
) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Distinct (text, label) in the rows' languages and in the others; a title that several languages share is near."""
    usable = [(row, (_key(row.text), row.label)) for row in titles if row.label in known and row.text.strip()]
    near = sorted({pair for row, pair in usable if not spoken or row.language in spoken})
    far = sorted({pair for _, pair in usable} - set(near))
    return _spread(near, most - most // 4), _spread(far, most // 4)


def _spread(pairs: list[tuple[str, str]], most: int) -> list[tuple[str, str]]:
    """At most so many, taken at even distances."""
    if len(pairs) <= most:
        return pairs
    return [pairs[index * len(pairs) // most] for index in range(most)]


def _targets(rows: Sequence[Mapping[str, float]], labels: Sequence[str]) -> "csr_matrix":
    from scipy.sparse import csr_matrix

    column = {label: index for index, label in enumerate(labels)}
    indices, data, ends = [], [], [0]
    for shares in rows:
        total = sum(shares.values())
        for label in sorted(shares):
            indices.append(column[label])
            data.append(shares[label] / total)
        ends.append(len(indices))
    return csr_matrix((np.array(data, dtype=np.float32), indices, ends), shape=(len(rows), len(labels)))
