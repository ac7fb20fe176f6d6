"""A network of one hidden layer: fitted with Torch, asked with NumPy, so that asking needs no Torch."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

__all__ = ["Network"]

_HIDDEN = 512  # units of the hidden layer
_BATCH = 256  # rows a step
_RATE = 2e-3  # size of Adam's first steps; it falls linearly to 0
_BETAS = (0.9, 0.999)  # how long Adam remembers slopes and their squares: the values of the paper
_DROPPED = 0.3  # share of the hidden units that a row does without while learning
_SCALE = 8.0  # of the features, whose rows have length 1: 384 numbers of about 0.4 each


class Network:
    """Scores = relu(8 · features @ into + into_bias) @ out + out_bias.

    Args:
        into: shape [features, hidden].
        into_bias: shape [hidden].
        out: shape [hidden, labels].
        out_bias: shape [labels].

    Raises:
        ValueError: the shapes do not belong together.
    """

    def __init__(
        self,
        into: NDArray[np.float32],
        into_bias: NDArray[np.float32],
        out: NDArray[np.float32],
        out_bias: NDArray[np.float32],
    ) -> None:
        if (into.shape[1:], out.shape) != (into_bias.shape, (*into_bias.shape, *out_bias.shape)):
            raise ValueError(f"layers of shapes {into.shape}, {into_bias.shape}, {out.shape} and {out_bias.shape}")
        self.into, self.into_bias, self.out, self.out_bias = into, into_bias, out, out_bias

    @classmethod
    def fit(
        cls,
        features: NDArray[np.float32],
        targets: "csr_matrix",
        weights: NDArray[np.float32],
        orders: Sequence[NDArray[np.intp]],
        seed: int,
    ) -> "Network":
        """Minimise the cross-entropy by Adam (Kingma and Ba 2015), with dropout.

        Args:
            features: rows of length 1, shape [rows, features].
            targets: probabilities of the labels, shape [rows, labels]; a row sums to 1.
            weights: importance of each row.
            orders: the rows that each epoch visits.
            seed: of the first weights and of the dropout; no other generator is touched.
        """
        import torch

        luck = torch.Generator().manual_seed(seed)
        first = torch.randn(features.shape[1], _HIDDEN, generator=luck) / features.shape[1] ** 0.5
        sizes = ((_HIDDEN,), (_HIDDEN, targets.shape[1]), (targets.shape[1],))
        layers = [layer.requires_grad_() for layer in (first, *(torch.zeros(size) for size in sizes))]
        moments = [(torch.zeros_like(layer), torch.zeros_like(layer)) for layer in layers]
        batches = [order[start : start + _BATCH] for order in orders for start in range(0, len(order), _BATCH)]
        for step, rows in enumerate(batches):
            hidden = torch.relu(torch.from_numpy(_SCALE * features[rows]) @ layers[0] + layers[1])
            kept = torch.rand(hidden.shape, generator=luck) >= _DROPPED
            scores = hidden * kept / (1.0 - _DROPPED) @ layers[2] + layers[3]
            wanted, importance = torch.from_numpy(targets[rows].toarray()), torch.from_numpy(weights[rows])
            loss = -((torch.log_softmax(scores, dim=1) * wanted).sum(dim=1) * importance).mean()
            rate = _RATE * (1.0 - step / len(batches))
            for layer, slope, both in zip(layers, torch.autograd.grad(loss, layers), moments, strict=True):
                _adam(layer.data, slope, both, rate, step + 1)
        return cls(*(layer.detach().numpy() for layer in layers))

    def scores(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Log-probabilities but for a constant a row, shape [n, labels]."""
        hidden = np.maximum(np.float32(_SCALE) * features @ self.into + self.into_bias, np.float32(0.0))
        return np.asarray(hidden @ self.out + self.out_bias, dtype=np.float32)

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Arrays for a file."""
        return {"into": self.into, "into_bias": self.into_bias, "out": self.out, "out_bias": self.out_bias}


def _adam(layer: Any, slope: Any, moments: tuple[Any, Any], rate: float, step: int) -> None:
    """One step, in place; `torch.optim` would load Torch's compiler first, which takes five seconds."""
    mean, square = moments
    mean.lerp_(slope, 1.0 - _BETAS[0])
    square.mul_(_BETAS[1]).addcmul_(slope, slope, value=1.0 - _BETAS[1])
    size = (square / (1.0 - _BETAS[1] ** step)).sqrt_().add_(1e-8)
    layer.addcdiv_(mean, size, value=-rate / (1.0 - _BETAS[0] ** step))
