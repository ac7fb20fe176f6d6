"""How far each part of the n-gram model is believed: weights learnt on rows that the parts did not see.

Stacked generalisation (Wolpert 1992): a second regression and its neighbours are fitted without some of the rows; on
these a conditional logit weighs what the parts say of the likeliest labels. The weights then serve the parts that were
fitted on all rows.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jobtuner.linear.softmax_regression import log_softmax
from jobtuner.taxonomy import ancestors

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

__all__ = ["FLOOR", "Blend", "Evidence", "held_out"]

FLOOR = -12.0
"""Log-probability by the regression of a label that it does not know."""

_CANDIDATES = 30  # labels a text that are weighed anew; the right one is among them in 84 % (JobBERT) to 94 % (ROME)
_PENALTY = 1e-3  # on the squares of the weights, of features scaled to variance 1
_MOST_HELD, _FEWEST_HELD = 3000, 200  # rows to learn nine weights from; with fewer they are mostly chance
_PROPOSED = 0.3  # of the encoder's probabilities beside the others', where candidates are chosen
_HEAD = 8  # words of a text that decide with which others it is held out: re-posts begin alike
_PLAIN = 8  # features without the tuned encoder, whose log-probability is the ninth
_LEAST = 1e-14  # probability that stands for 0


@dataclass(frozen=True)
class Evidence:
    """What the parts say of n texts; each array has the shape [n, labels]."""

    linear: NDArray[np.float32]
    """Log-probability by the regression, at least `FLOOR`."""
    mixed: NDArray[np.float32]
    """Probability of regression and nearest rows together."""
    many: NDArray[np.float32]
    """Shares of the labels among more of the nearest labelled rows."""
    centre: NDArray[np.float32]
    """Cosine with the mean of the label's rows."""
    meaning: NDArray[np.float32] | None = None
    """Log-probability by the tuned encoder; None where it was not asked."""

    def of(self, rows: NDArray[np.intp], meaning: NDArray[np.float32]) -> "Evidence":
        """The evidence of some texts, with what the encoder says of them."""
        return Evidence(self.linear[rows], self.mixed[rows], self.many[rows], self.centre[rows], meaning)


class Blend:
    """Weighs the evidence anew for the likeliest labels of a text; the others keep their probability.

    Args:
        weights: one a feature, shape [8].
        counts: labelled rows of each label, shape [labels].
        labels: codes in the order of the columns; their parents are features, too.
        meaning: the weights where an encoder was asked, shape [9]; None where it is not to be asked.
    """

    def __init__(
        self,
        weights: NDArray[np.float32],
        counts: NDArray[np.float32],
        labels: Sequence[str],
        meaning: NDArray[np.float32] | None = None,
    ) -> None:
        self._weights, self._counts, self._meaning = weights, counts, meaning
        self._groups = [_groups(labels, above) for above in (1, 2)]

    @classmethod
    def fit(
        cls,
        evidence: Iterable[Evidence],
        targets: "csr_matrix",
        counts: tuple[NDArray[np.float32], NDArray[np.float32]],
        labels: Sequence[str],
    ) -> "Blend | None":
        """Learn the weights on held-out rows; None where too few of them have their label among the likeliest.

        Args:
            evidence: of the held-out rows, piece by piece, by parts that have not seen them.
            targets: shares of the right labels of these rows.
            counts: rows of each label that those parts saw, and that the parts see which the weights are for.
            labels: codes in the order of the columns.
        """
        inner, start = cls(np.zeros(0, np.float32), counts[0], labels), 0
        plain, heard = [], []
        for piece in evidence:  # one at a time: three thousand rows of all parts would fill hundreds of MB
            wanted = targets[start : start + len(piece.mixed)].toarray() > 0
            start += len(piece.mixed)
            plain.append(inner._lesson(replace(piece, meaning=None), wanted))
            if piece.meaning is not None:
                heard.append(inner._lesson(piece, wanted))
        features, right = (np.concatenate(parts) for parts in zip(*plain, strict=True))
        if len(features) < _FEWEST_HELD:
            return None
        weights, meaning = _conditional_logit(features, right), None
        if heard:
            features, right = (np.concatenate(parts) for parts in zip(*heard, strict=True))
            if _earns_its_place(features, right):
                meaning = _conditional_logit(features, right)
        return cls(weights, counts[1], labels, meaning)

    def _lesson(self, piece: Evidence, wanted: NDArray[np.bool_]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Features, and which candidates are right, of the rows whose label is among their candidates."""
        features, candidates = self._features(piece)
        right = np.take_along_axis(wanted, candidates, axis=1)
        known = right.any(axis=1)
        return features[known], right[known]

    @property
    def hears_meaning(self) -> bool:
        """Whether the encoder's word counts."""
        return self._meaning is not None

    def log_probabilities(self, evidence: Evidence) -> NDArray[np.float32]:
        """Log-probabilities, shape [n, labels]; the exponentials of a row sum to 1."""
        features, candidates = self._features(evidence)
        heard = self._meaning if evidence.meaning is not None else None
        weights = self._weights if heard is None else heard
        chances = np.exp(log_softmax(features @ weights)).astype(np.float64)
        result = np.maximum(evidence.mixed.astype(np.float64), _LEAST)
        mass = np.take_along_axis(result, candidates, axis=1).sum(axis=1, keepdims=True)
        np.put_along_axis(result, candidates, np.maximum(chances * mass, _LEAST), axis=1)
        return log_softmax(np.log(result))

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Arrays for a file."""
        meaning = {} if self._meaning is None else {"blend.meaning": self._meaning}
        return {"blend.weights": self._weights, "blend.counts": self._counts, **meaning}

    @classmethod
    def restore(cls, tensors: dict[str, NDArray[Any]], labels: Sequence[str]) -> "Blend | None":
        """The blend that `tensors` told of; None where there was none.

        Raises:
            ValueError: the arrays do not belong to so many features or labels.
        """
        if "blend.weights" not in tensors:
            return None
        weights, meaning, counts = tensors["blend.weights"], tensors.get("blend.meaning"), tensors["blend.counts"]
        if weights.shape != (_PLAIN,) or (meaning is not None and meaning.shape != (_PLAIN + 1,)):
            raise ValueError(f"{len(weights)} weights of a blend, or of its second one another number than 9")
        if len(counts) != len(labels):
            raise ValueError(f"counts of {len(counts)} labels, not {len(labels)}")
        return cls(weights, counts, labels, meaning)

    def _features(self, evidence: Evidence) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
        """Features of the likeliest labels, shape [n, candidates, features], and their columns."""
        liking = evidence.mixed + 0.3 * evidence.many + 0.02 * evidence.centre
        if evidence.meaning is not None:
            liking = liking + np.float32(_PROPOSED) * np.exp(evidence.meaning)
        most = min(_CANDIDATES, liking.shape[1])
        candidates = np.argpartition(-liking, most - 1, axis=1)[:, :most]

        def of(values: NDArray[np.float32]) -> NDArray[np.float32]:
            return np.take_along_axis(values, candidates, axis=1)

        counts = self._counts[candidates]
        columns = [
            of(evidence.linear),
            np.log(of(evidence.mixed) + 1e-6),
            np.log(of(evidence.many) + 1e-3),
            of(evidence.centre),
            np.log1p(counts),
            (counts == 0).astype(np.float32),
            *(np.log(_sums(evidence.mixed, groups)[np.arange(len(candidates))[:, None], groups[candidates]] + 1e-6)
              for groups in self._groups),
        ]  # fmt: skip
        if evidence.meaning is not None:
            columns.append(of(evidence.meaning))
        return np.stack(columns, axis=2).astype(np.float32), candidates


def held_out(texts: Sequence[str], share: float, seed: int) -> NDArray[np.intp]:
    """Places of the rows that the parts are not to see: at most 3,000, those that begin alike together.

    Args:
        texts: of the labelled rows.
        share: of the rows, in [0, 1); 0: none.
        seed: decides which.
    """
    from zlib import crc32

    part = min(share, _MOST_HELD / max(len(texts), 1))
    if part * len(texts) < _FEWEST_HELD:
        return np.zeros(0, dtype=np.intp)
    heads = ("".join(" " if sign.isdigit() else sign for sign in text.lower()).split()[:_HEAD] for text in texts)
    luck = np.array([crc32(f"{seed}:{' '.join(sorted(set(head)))}".encode("utf-8", "replace")) for head in heads])
    return np.flatnonzero(luck < part * 2**32)


def _groups(labels: Sequence[str], above: int) -> NDArray[np.intp]:
    """Number of the group so many levels above each label; a label without one is a group by itself."""
    paths = [ancestors(label) for label in labels]
    names = [path[-1 - above] if len(path) > above else path[-1] for path in paths]
    groups: NDArray[np.intp] = np.unique(names, return_inverse=True)[1]
    return groups


def _sums(values: NDArray[np.float32], groups: NDArray[np.intp]) -> NDArray[np.float32]:
    """Sums over the labels of each group, shape [n, groups]."""
    from scipy.sparse import csr_matrix

    size = len(groups)
    member = csr_matrix((np.ones(size, np.float32), (np.arange(size), groups)), shape=(size, int(groups.max()) + 1))
    return np.asarray(values @ member)


def _earns_its_place(features: NDArray[np.float32], right: NDArray[np.bool_]) -> bool:
    """Whether the last feature makes rows likelier that the weights have not seen, by more than two standard errors.

    The weights are learnt on every other row and asked the rest, and the other way round.
    """
    gains = np.zeros(len(features))
    for start in (0, 1):
        seen, asked = slice(start, None, 2), slice(1 - start, None, 2)
        for sign, width in ((1.0, features.shape[2]), (-1.0, features.shape[2] - 1)):
            weights = _conditional_logit(features[seen, :, :width], right[seen])
            chances = np.exp(log_softmax(features[asked, :, :width] @ weights))
            gains[asked] += sign * np.log(np.maximum((chances * right[asked]).sum(axis=1), _LEAST))
    return bool(gains.mean() > 2.0 * gains.std() / len(gains) ** 0.5)


def _conditional_logit(features: NDArray[np.float32], right: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Weights that give the right candidates of each row the highest likelihood (McFadden 1974)."""
    from scipy.optimize import minimize

    scale = features.reshape(-1, features.shape[2]).std(axis=0).astype(np.float64)
    scale = np.where(scale > 1e-9, scale, 1.0)
    scaled = features / scale

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        scores = scaled @ weights
        odds = np.exp(scores - scores.max(axis=1, keepdims=True))
        total, hit = odds.sum(axis=1, keepdims=True), np.maximum((odds * right).sum(axis=1, keepdims=True), 1e-300)
        slope = np.einsum("nk,nkf->f", odds / total - odds * right / hit, scaled) / len(scaled)
        return float(-np.log(hit / total).mean() + _PENALTY * weights @ weights), slope + 2 * _PENALTY * weights

    found = minimize(loss, np.zeros(features.shape[2]), jac=True, method="L-BFGS-B")
    return np.asarray(found.x / scale, dtype=np.float32)
