"""What titles mean: a short sentence encoder, tuned so that texts come to lie near a vector of their label.

The score of a label is the cosine of its vector with the text's, times a scale (Wang et al. 2018, without the margin).
The labels' vectors start at the means of their rows and titles, so that labels without rows have one, too.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jobtuner.linear.rows import TrainingRows
from jobtuner.linear.short_encoder import ShortEncoder, by_length, fastest_type
from jobtuner.linear.softmax_regression import visiting_order
from jobtuner.progress import track

if TYPE_CHECKING:
    import torch

__all__ = ["TunedEncoder"]

_EPOCHS = 2
_TITLES = 0.5  # taxonomy titles an epoch for each labelled row
_MOST_TOKENS = 400_000  # that tuning reads: 75 s on two cores
_BATCH = 64  # rows a step
_POOL = 32 * _BATCH  # rows that are sorted by length to make steps of them: little padding, and still chance
_RATE, _LABEL_RATE = 4e-4, 2e-3  # largest steps of AdamW for the encoder's weights and for the labels'
_WARM = 0.1  # share of the steps in which the rates rise from 0; then they fall to 0
_STEEPEST = 1.0  # norm that gradients of the encoder are cut to
_SCALE = 20.0  # of the cosines


class TunedEncoder:
    """Scores = 20 · cosine(text, label) + bias.

    Args:
        encoder: makes vectors of texts.
        labels: a vector a label, of length 1, shape [labels, dimensions].
        bias: shape [labels].
    """

    def __init__(self, encoder: ShortEncoder, labels: "torch.Tensor", bias: "torch.Tensor") -> None:
        self._encoder, self._labels, self._bias = encoder, labels, bias

    @classmethod
    def fit(
        cls, encoder: ShortEncoder, rows: TrainingRows, title_weight: float, seed: int, held: NDArray[np.intp]
    ) -> "TunedEncoder":
        """Tune the encoder on labelled rows and titles in their languages.

        Args:
            encoder: is changed.
            rows: texts and labels.
            title_weight: importance of a title; a labelled row has 1.
            seed: of the order of the rows and of the dropout; Torch's own generator is left as it was.
            held: places of the rows that are not to be seen.
        """
        import torch

        places = rows.spoken()
        tokens = encoder.tokens([rows.texts[place] for place in places])
        targets, importance = rows.targets[places].tocsr(), rows.weights(title_weight)[places]
        orders = _orders(tokens, rows.labelled, held, seed)
        columns = targets.tocsc()
        some = columns.indices[columns.indptr[:-1][np.diff(columns.indptr) > 0]]  # one row of each label
        start = np.setdiff1d(np.union1d(np.concatenate(orders), some), held)
        vectors = encoder.encode([rows.texts[places[row]] for row in start]).numpy()
        means = torch.from_numpy(np.asarray(targets[start].T @ (vectors * importance[start, None])))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            means += 1e-6 * torch.randn(means.shape)  # a label of which nothing was read points anywhere
            first = torch.nn.functional.normalize(means)
            labels, bias = _tune(encoder, tokens, targets, importance, orders, first, seed)
        encoder.settle()
        return cls(encoder, labels, bias)

    def log_probabilities(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Log-probabilities, shape [n, labels]."""
        import torch

        scores = _SCALE * self._encoder.encode(texts) @ self._labels.T + self._bias
        return np.asarray(torch.log_softmax(scores, dim=1).numpy())

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Arrays for a file."""
        return {**self._encoder.tensors(), "meaning.labels": self._labels.numpy(), "meaning.bias": self._bias.numpy()}

    def document(self) -> dict[str, Any]:
        """What the JSON file holds."""
        return self._encoder.document()

    @classmethod
    def restore(
        cls, document: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]], labels: int
    ) -> "TunedEncoder | None":
        """What `tensors` and `document` told of; None where there was none.

        Raises:
            ValueError, KeyError: they do not belong together, or not to so many labels.
        """
        if "meaning.labels" not in tensors:
            return None
        import torch

        encoder = ShortEncoder.restore(document, tensors)
        vectors, bias = tensors["meaning.labels"], tensors["meaning.bias"]
        if (vectors.shape, bias.shape) != ((labels, encoder.dimensions), (labels,)):
            raise ValueError(f"vectors of shape {vectors.shape} and biases of shape {bias.shape} for {labels} labels")
        return cls(encoder, torch.from_numpy(vectors), torch.from_numpy(bias))


def _orders(tokens: Sequence[list[int]], labelled: int, held: NDArray[np.intp], seed: int) -> list[NDArray[np.intp]]:
    """The rows of each epoch: labelled ones and some titles, none that is held, no more than tuning has time for."""
    limit = int(_TITLES * labelled)
    orders = visiting_order(labelled, (len(tokens) - labelled, 0), limit, _EPOCHS, seed)
    orders = [order[~np.isin(order, held)] for order in orders]
    lengths = np.array([len(row) for row in tokens])
    most = _MOST_TOKENS // _EPOCHS
    return [order[: np.searchsorted(np.cumsum(lengths[order]), most, side="right")] for order in orders]


def _tune(
    encoder: ShortEncoder,
    tokens: Sequence[list[int]],
    targets: Any,
    importance: NDArray[np.float32],
    orders: Sequence[NDArray[np.intp]],
    first: "torch.Tensor",
    seed: int,
) -> "tuple[torch.Tensor, torch.Tensor]":
    """Vectors and biases of the labels, from the vectors that they start at; the encoder's weights are changed."""
    import torch

    labels, bias = torch.nn.Parameter(first), torch.nn.Parameter(torch.zeros(len(first)))
    encoder.model.train().get_input_embeddings().requires_grad_(False)  # most of the weights, and each is seldom read
    inner = [weight for weight in encoder.model.parameters() if weight.requires_grad]
    steps = _steps(tokens, orders, seed)
    optimizer = torch.optim.AdamW(
        [{"params": inner, "lr": _RATE}, {"params": [labels, bias], "lr": _LABEL_RATE}], betas=(0.9, 0.99)
    )
    rates = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / (_WARM * len(steps))) * (1.0 - step / len(steps))
    )
    fast = fastest_type() == torch.bfloat16
    with track("Tuning the encoder", total=len(steps), unit="steps") as bar:
        for rows in steps:
            with torch.autocast("cpu", torch.bfloat16, enabled=fast):
                vectors = encoder.vectors([tokens[row] for row in rows])
            scores = _SCALE * vectors @ torch.nn.functional.normalize(labels).T + bias
            wanted = torch.from_numpy(targets[rows].toarray())
            losses = -(torch.log_softmax(scores, dim=1) * wanted).sum(dim=1)
            optimizer.zero_grad()
            (losses * torch.from_numpy(importance[rows])).mean().backward()
            torch.nn.utils.clip_grad_norm_(inner, _STEEPEST)
            optimizer.step()
            rates.step()
            bar.advance()
    return torch.nn.functional.normalize(labels).detach(), bias.detach()


def _steps(tokens: Sequence[list[int]], orders: Sequence[NDArray[np.intp]], seed: int) -> list[NDArray[np.intp]]:
    """The rows of each step, of about one length, in an order of chance within each epoch."""
    luck, steps = np.random.default_rng(seed), []
    for order in orders:
        pools = [order[start : start + _POOL] for start in range(0, len(order), _POOL)]
        batches = [pool[rows] for pool in pools for rows in by_length([tokens[row] for row in pool], _BATCH)]
        steps += [batches[number] for number in luck.permutation(len(batches))]
    return steps
