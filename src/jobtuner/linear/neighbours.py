"""The nearest training rows: what a linear model smooths over (re-posts, rare titles), they remember."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

__all__ = ["Neighbours"]

_COMMON = 1000  # rows; a feature in more of them costs most of the time and tells least (its IDF is low)
_TITLE = 0.7  # of a title's similarity: of rows that are about as near, those that people labelled know more
_CHUNK = 256  # texts compared at once: some 256 × 20,000 similarities of 12 bytes = 60 MB


class Neighbours:
    """Label shares among the training rows with the largest cosine similarity.

    Args:
        rows: features of the training rows, of length at most 1, shape [rows, features]; kept in half precision.
        targets: label shares of the training rows, shape [rows, labels].
        count: neighbours a text.
    """

    def __init__(self, rows: "csr_matrix", targets: "csr_matrix", count: int) -> None:
        self._rows, self._targets, self._count = _rounded(rows), targets, count
        self._columns = self._rows.T.tocsr()

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
        return cls(kept, targets, count)

    def shares(self, features: "csr_matrix") -> NDArray[np.float32]:
        """Label shares of each text, votes weighted by squared similarity: [n, labels], a row sums to 1, or to 0."""
        from scipy.sparse import csr_matrix

        result = np.zeros((features.shape[0], self._targets.shape[1]), dtype=np.float32)
        for start in range(0, features.shape[0], _CHUNK):
            similar = csr_matrix(features[start : start + _CHUNK] @ self._columns)
            votes = self._nearest(similar) @ self._targets
            result[start : start + _CHUNK] = votes.toarray()
        total = result.sum(axis=1, keepdims=True)
        result /= np.where(total > 0.0, total, np.float32(1.0))
        return result

    def tensors(self) -> dict[str, NDArray[np.generic]]:
        """The rows as arrays for a file."""
        return {
            "neighbours.data": self._rows.data.astype(np.float16),
            "neighbours.indices": self._rows.indices.astype(np.int32),
            "neighbours.indptr": self._rows.indptr.astype(np.int64),
            "neighbours.label_shares": self._targets.data,
            "neighbours.labels": self._targets.indices.astype(np.int32),
            "neighbours.labels_indptr": self._targets.indptr.astype(np.int64),
        }

    @classmethod
    def restore(cls, tensors: dict[str, NDArray[np.generic]], features: int, labels: int, count: int) -> "Neighbours":
        """Neighbours from what `tensors` returned."""
        from scipy.sparse import csr_matrix

        data, indices, ends = (tensors[f"neighbours.{name}"] for name in ("data", "indices", "indptr"))
        shares = [tensors[f"neighbours.{name}"] for name in ("label_shares", "labels", "labels_indptr")]
        rows = csr_matrix((data.astype(np.float32), indices, ends), shape=(len(ends) - 1, features))
        return cls(rows, csr_matrix(tuple(shares), shape=(len(ends) - 1, labels)), count)

    def _nearest(self, similar: "csr_matrix") -> "csr_matrix":
        """The largest similarities of each row, squared; ties go to the first training row."""
        from scipy.sparse import csr_matrix

        data, indices, ends = [], [], [0]
        for row in range(similar.shape[0]):
            place = slice(similar.indptr[row], similar.indptr[row + 1])
            values, columns = similar.data[place], similar.indices[place]
            if len(values) > self._count:
                least = np.partition(values, -self._count)[-self._count]
                near = np.flatnonzero(values >= least)
                values, columns = values[near], columns[near]
                best = np.lexsort((columns, -values))[: self._count]
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
