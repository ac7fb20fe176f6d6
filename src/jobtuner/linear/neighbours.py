"""The nearest training rows: what a linear model smooths over (re-posts, rare titles), they remember."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

__all__ = ["Nearness", "Neighbours"]

_COMMON = 1000  # rows; a feature in more of them costs most of the time and tells least (its IDF is low)
_TITLE = 0.7  # of a title's similarity: of rows that are about as near, those that people labelled know more
_MANY = 50  # nearest labelled rows whose labels are counted apart from the votes
_CHUNK = 256  # texts compared at once: some 256 × 20,000 similarities of 12 bytes = 60 MB


@dataclass(frozen=True)
class Nearness:
    """What the training rows near some texts say; each array has the shape [n, labels]."""

    votes: NDArray[np.float32]
    """Label shares of the nearest rows, weighted by squared similarity; a row sums to 1, or to 0."""
    many: NDArray[np.float32]
    """The same of the 50 nearest labelled rows."""
    centre: NDArray[np.float32]
    """Cosine with the mean of each label's labelled rows; 0 for a label without any."""


class Neighbours:
    """Label shares among the training rows with the largest cosine similarity.

    Args:
        rows: features of the training rows, of length at most 1, shape [rows, features]; kept in half precision.
        targets: label shares of the training rows, shape [rows, labels].
        count: neighbours a text.
        labelled: number of labelled rows, which come first.
    """

    def __init__(self, rows: "csr_matrix", targets: "csr_matrix", count: int, labelled: int) -> None:
        self._rows, self._targets, self._count, self._labelled = _rounded(rows), targets, count, labelled
        self._columns = self._rows.T.tocsr()
        means = targets[:labelled].T.tocsr() @ self._rows[:labelled]
        lengths = np.sqrt(np.asarray(means.multiply(means).sum(axis=1), dtype=np.float32).ravel())
        self._per_length = np.where(lengths > 0.0, 1.0 / np.maximum(lengths, 1e-9), 0.0).astype(np.float32)

    @classmethod
    def of(cls, rows: "csr_matrix", targets: "csr_matrix", count: int, labelled: int) -> "Neighbours":
        """Neighbours among all rows, without the features that more than 1,000 of them share.

        The first `labelled` rows are labelled ones; the others, titles of a taxonomy, count as 0.7 times as similar.
        """
        from scipy.sparse import csr_matrix, diags

        frequency = np.bincount(rows.indices, minlength=rows.shape[1])
        trust = np.where(np.arange(rows.shape[0]) < labelled, 1.0, _TITLE).astype(np.float32)
        kept = csr_matrix(diags(trust) @ rows @ diags((frequency <= _COMMON).astype(np.float32)))
        kept.eliminate_zeros()
        return cls(kept, targets, count, labelled)

    def shares(self, features: "csr_matrix") -> NDArray[np.float32]:
        """Label shares of each text, votes weighted by squared similarity: [n, labels], a row sums to 1, or to 0."""
        from scipy.sparse import csr_matrix

        return self._each(features, lambda similar: (csr_matrix(_nearest(similar, self._count) @ self._targets),))[0]

    def nearness(self, features: "csr_matrix") -> Nearness:
        """All that the near rows say of each text."""
        from scipy.sparse import csr_matrix

        targets = self._targets[: self._labelled]

        def of(similar: "csr_matrix") -> tuple["csr_matrix", ...]:
            labelled = csr_matrix(similar[:, : self._labelled])
            return (
                _nearest(similar, self._count) @ self._targets,
                _nearest(labelled, _MANY) @ targets,
                labelled @ targets,
            )

        votes, many, sums = self._each(features, of, plain=(2,))
        return Nearness(votes, many, sums * self._per_length)

    def _each(
        self,
        features: "csr_matrix",
        of: "Callable[[csr_matrix], tuple[csr_matrix, ...]]",
        plain: Collection[int] = (),
    ) -> list[NDArray[np.float32]]:
        """What `of` makes of the similarities, chunk by chunk; rows scaled to sum 1 but in the `plain` results."""
        from scipy.sparse import csr_matrix

        pieces = [
            [part.toarray() for part in of(csr_matrix(features[start : start + _CHUNK] @ self._columns))]
            for start in range(0, features.shape[0], _CHUNK)
        ]
        results = [np.concatenate(parts).astype(np.float32, copy=False) for parts in zip(*pieces, strict=True)]
        return [result if place in plain else _to_shares(result) for place, result in enumerate(results)]

    def tensors(self) -> dict[str, NDArray[np.generic]]:
        """The rows as arrays for a file."""
        return {
            "neighbours.data": self._rows.data.astype(np.float16),
            "neighbours.indices": self._rows.indices.astype(np.int32),
            "neighbours.indptr": self._rows.indptr.astype(np.int64),
            "neighbours.label_shares": self._targets.data,
            "neighbours.labels": self._targets.indices.astype(np.int32),
            "neighbours.labels_indptr": self._targets.indptr.astype(np.int64),
            "neighbours.labelled": np.array([self._labelled], dtype=np.int64),
        }

    @classmethod
    def restore(cls, tensors: dict[str, NDArray[np.generic]], features: int, labels: int, count: int) -> "Neighbours":
        """Neighbours from what `tensors` returned.

        Raises:
            ValueError: the arrays do not belong together, or not to so many features and labels.
        """
        from scipy.sparse import csr_matrix

        data, indices, ends = (tensors[f"neighbours.{name}"] for name in ("data", "indices", "indptr"))
        shares = [tensors[f"neighbours.{name}"] for name in ("label_shares", "labels", "labels_indptr")]
        rows = csr_matrix((data.astype(np.float32), indices, ends), shape=(len(ends) - 1, features))
        targets = csr_matrix(tuple(shares), shape=(len(ends) - 1, labels))
        for matrix in (rows, targets):
            matrix.check_format(full_check=True)  # a column beyond the last one would write anywhere in the memory
        labelled = int(tensors["neighbours.labelled"][0])
        if not 0 <= labelled <= len(ends) - 1:
            raise ValueError(f"{labelled} labelled rows of {len(ends) - 1}")
        return cls(rows, targets, count, labelled)


def _to_shares(votes: NDArray[np.float32]) -> NDArray[np.float32]:
    total = votes.sum(axis=1, keepdims=True)
    return np.asarray(votes / np.where(total > 0.0, total, np.float32(1.0)), dtype=np.float32)


def _nearest(similar: "csr_matrix", count: int) -> "csr_matrix":
    """The largest similarities of each row, squared; ties go to the first training row."""
    from scipy.sparse import csr_matrix

    data, indices, ends = [], [], [0]
    for row in range(similar.shape[0]):
        place = slice(similar.indptr[row], similar.indptr[row + 1])
        values, columns = similar.data[place], similar.indices[place]
        if len(values) > count:
            least = np.partition(values, -count)[-count]
            near = np.flatnonzero(values >= least)
            values, columns = values[near], columns[near]
            best = np.lexsort((columns, -values))[:count]
            values, columns = values[best], columns[best]
        data.append(values**2)
        indices.append(columns)
        ends.append(ends[-1] + len(values))
    arrays = (np.concatenate(data), np.concatenate(indices), np.array(ends))
    return csr_matrix(arrays, shape=similar.shape)


def _rounded(rows: "csr_matrix") -> "csr_matrix":
    """The rows in half precision, as they are stored: a loaded model then has the numbers of the one that was saved."""
    from scipy.sparse import csr_matrix

    return csr_matrix((rows.data.astype(np.float16).astype(np.float32), rows.indices, rows.indptr), shape=rows.shape)
