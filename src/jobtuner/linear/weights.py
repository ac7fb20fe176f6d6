"""Linear weights in memory and on disk: float32 or int8, pruned or whole."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["StoredWeights"]

_CHUNK = 1024  # rows whose int8 weights are expanded at once


@dataclass(frozen=True)
class StoredWeights:
    """Weights [features, labels]; int8 ones carry one scale a feature: weight = value · scale."""

    values: NDArray[np.float32] | NDArray[np.int8]
    scales: NDArray[np.float32] | None
    """[features]; None for float32."""
    pruned: bool

    @classmethod
    def of(cls, weights: NDArray[np.float32], kind: Literal["float32", "int8"], prune: float) -> "StoredWeights":
        """Set the `prune` smallest weights (a share in [0, 1)) to 0, then round to `kind`."""
        weights = np.ascontiguousarray(weights)  # files hold rows of features
        if prune > 0.0:
            size = np.abs(weights)
            weights = np.where(size > np.quantile(size, prune, method="higher"), weights, np.float32(0.0))
        if kind == "float32":
            return cls(weights, None, prune > 0.0)
        top = np.abs(weights).max(axis=1, initial=0.0)
        scales = np.where(top > 0.0, top / 127.0, 1.0).astype(np.float32)
        return cls(np.rint(weights / scales[:, None]).astype(np.int8), scales, prune > 0.0)

    def product(self, features: Any) -> NDArray[np.float32]:
        """features @ weights, for a sparse or dense [n, features]: float32 of shape [n, labels]."""
        if self.scales is None:
            return np.asarray(features @ self.values, dtype=np.float32)
        result = np.empty((features.shape[0], self.values.shape[1]), dtype=np.float32)
        for start in range(0, features.shape[0], _CHUNK):
            result[start : start + _CHUNK] = self._expanded_product(features[start : start + _CHUNK], self.scales)
        return result

    def _expanded_product(self, part: Any, scales: NDArray[np.float32]) -> NDArray[np.float32]:
        """Only the weights of the features in use are expanded: a title has some 100 of 200,000."""
        from scipy.sparse import csr_matrix

        sparse = csr_matrix(part)
        columns, places = np.unique(sparse.indices, return_inverse=True)
        compact = csr_matrix((sparse.data, places, sparse.indptr), shape=(sparse.shape[0], len(columns)))
        expanded = self.values[columns].astype(np.float32) * scales[columns, None]
        return np.asarray(compact @ expanded, dtype=np.float32)

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Arrays for a file. Pruned weights are stored as one bit each, and the values of those that stayed."""
        scales = {} if self.scales is None else {"scales": self.scales}
        if not self.pruned:
            return {"weights": self.values, **scales}
        kept = self.values != 0
        return {"weights.kept": np.packbits(kept), "weights.values": self.values[kept], **scales}

    @classmethod
    def restore(cls, tensors: Mapping[str, NDArray[Any]], shape: tuple[int, int]) -> "StoredWeights":
        """Weights from what `tensors` returned.

        Raises:
            ValueError: the arrays do not have this shape.
        """
        scales = tensors.get("scales")
        if "weights" in tensors:
            if tensors["weights"].shape != shape:
                raise ValueError(f"weights of shape {tensors['weights'].shape}, not {shape}")
            return cls(tensors["weights"], scales, pruned=False)
        packed, values = tensors["weights.kept"], tensors["weights.values"]
        count = shape[0] * shape[1]
        kept = np.unpackbits(packed, count=count).astype(bool)
        if len(packed) != (count + 7) // 8 or kept.sum() != len(values):
            raise ValueError(f"{len(values)} kept weights and {len(packed)} bytes of bits do not make up {shape}")
        weights = np.zeros(count, dtype=values.dtype)
        weights[kept] = values
        return cls(weights.reshape(shape), scales, pruned=True)
