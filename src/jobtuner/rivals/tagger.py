"""Skills by a linear tagger: multinomial logistic regression over hashed features of a word and its neighbours.

The tag of the word before is a feature, so the likeliest sequence of B, I and O is found by Viterbi's algorithm.
"""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jobtuner.errors import DataError, ModelError

__all__ = ["SkillTagger"]

_WORD = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]")
_TAGS = ("O", "B", "I")
_FEATURES = 1 << 18
_SETTINGS_FILE, _WEIGHTS_FILE = "baseline.json", "weights.safetensors"
_SETTINGS = {"kind": "tagger", "tags": list(_TAGS), "features": _FEATURES}
_NEVER = -1e9  # added to the score of I after O

_Span = tuple[int, int]


class SkillTagger:
    """Finds the skills in a text.

    Args:
        weights: float32 [features, 3]: scores of O, B and I.
        steps: float32 [3, 3]: what the tag before (row) adds to the score of a tag (column).
        bias: float32 [3].
    """

    def __init__(self, weights: NDArray[np.float32], steps: NDArray[np.float32], bias: NDArray[np.float32]) -> None:
        self._weights, self._steps, self._bias = weights, steps, bias

    @classmethod
    def fit(
        cls, texts: Sequence[str], spans: Sequence[Sequence[_Span]], *, penalty: float = 1e-6, epochs: int = 8
    ) -> "SkillTagger":
        """Learn from texts and the places of their skills.

        Args:
            texts: the ads.
            spans: the places of each one's skills, in characters.
            penalty: strength of the L2 penalty.
            epochs: passes over the words.

        Raises:
            DataError: no text has a skill.
        """
        from scipy.sparse import csr_matrix, hstack
        from sklearn.linear_model import SGDClassifier

        tags: list[int] = []
        before: list[int] = []
        words: list[list[str]] = []
        for text, places in zip(texts, spans, strict=True):
            found = list(_WORD.finditer(text))
            own = _tags(found, places)
            words.append([match[0] for match in found])
            tags += own
            before += [0, *own[:-1]] if own else []
        if len(set(tags)) < len(_TAGS):
            raise DataError(
                "The training texts hold no skills of more than one word, or none at all: nothing to learn."
            )
        emitted = _matrix(words)
        rows = np.arange(len(before))
        after = csr_matrix((np.ones(len(before)), (rows, before)), shape=(len(before), len(_TAGS)))
        model = SGDClassifier("log_loss", alpha=penalty, max_iter=epochs, tol=None, average=True, random_state=0)
        model.fit(hstack([emitted, after], format="csr"), tags)
        learnt = model.coef_.astype(np.float32)
        steps_learnt = np.ascontiguousarray(learnt[:, _FEATURES:].T)
        return cls(np.ascontiguousarray(learnt[:, :_FEATURES].T), steps_learnt, model.intercept_.astype(np.float32))

    def spans(self, text: str) -> list[_Span]:
        """The places of the skills in a text."""
        found = list(_WORD.finditer(text))
        if not found:
            return []
        scores = np.asarray(_matrix([[match[0] for match in found]]) @ self._weights) + self._bias
        return [(found[a].start(), found[b - 1].end()) for a, b in _runs(self._best(scores))]

    def _best(self, scores: NDArray[np.float32]) -> list[int]:
        """The likeliest tags: `scores` [words, 3] are of the words alone."""
        given = scores[:, None, :] + self._steps
        given -= np.log(np.exp(given - given.max(axis=2, keepdims=True)).sum(axis=2, keepdims=True)) + given.max(
            axis=2, keepdims=True
        )
        given[:, 0, 2] = _NEVER
        best = given[0, 0]
        back = []
        for row in given[1:]:
            reached = best[:, None] + row
            back.append(reached.argmax(axis=0))
            best = reached.max(axis=0)
        path = [int(best.argmax())]
        for places in reversed(back):
            path.append(int(places[path[-1]]))
        return path[::-1]

    def save(self, folder: Path) -> None:
        """Write baseline.json and weights.safetensors; all-zero columns are not stored."""
        from safetensors.numpy import save_file

        used = np.flatnonzero(self._weights.any(axis=1))
        tensors = {
            "weights": np.ascontiguousarray(self._weights[used]),
            "columns": used.astype(np.int32),
            "steps": self._steps,
            "bias": self._bias,
        }
        save_file(tensors, folder / _WEIGHTS_FILE)
        (folder / _SETTINGS_FILE).write_text(json.dumps(_SETTINGS, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "SkillTagger":
        """Read what `save` wrote.

        Raises:
            ModelError: the folder holds no tagger.
        """
        from safetensors.numpy import load_file

        try:
            settings = json.loads((folder / _SETTINGS_FILE).read_text(encoding="utf-8"))
            tensors = load_file(folder / _WEIGHTS_FILE)
            weights = np.zeros((_FEATURES, len(_TAGS)), dtype=np.float32)
            weights[tensors["columns"]] = tensors["weights"]
        except (OSError, ValueError, KeyError) as error:
            raise ModelError(f"{folder} holds no skill tagger ({error}). Run the stage baseline again.") from error
        if settings != _SETTINGS:
            raise ModelError(f"The tagger in {folder} has the settings {settings}; {_SETTINGS} are read. Run it again.")
        return cls(weights, tensors["steps"], tensors["bias"])


def _tags(words: Sequence[re.Match[str]], places: Sequence[_Span]) -> list[int]:
    tags = [0] * len(words)
    for start, end in sorted(places):
        inside = [index for index, word in enumerate(words) if word.start() < end and start < word.end()]
        for index in inside:
            tags[index] = 1 if index == inside[0] else 2
    return tags


def _runs(tags: Sequence[int]) -> Iterator[_Span]:
    start: int | None = None
    for index, tag in enumerate([*tags, 0]):
        if start is not None and tag != 2:
            yield start, index
            start = None
        if start is None and tag:
            start = index


def _matrix(texts: Sequence[Sequence[str]]) -> NDArray[np.float32]:
    """Hashed features, sparse [words, features]."""
    from sklearn.feature_extraction import FeatureHasher

    rows = (row for words in texts for row in _features(words))
    hasher = FeatureHasher(_FEATURES, input_type="string", alternate_sign=False, dtype=np.float32)
    matrix: NDArray[np.float32] = hasher.transform(rows)
    return matrix


def _features(words: Sequence[str]) -> Iterator[list[str]]:
    lower = ["<2>", "<1>", *(word.casefold() for word in words), "<-1>", "<-2>"]
    shapes = ["", "", *(_shape(word) for word in words), "", ""]
    for at, word in enumerate(lower[2:-2], start=2):
        row = [f"{place}={lower[at + place]}" for place in (-2, -1, 0, 1, 2)]
        row += [f"s{place}={shapes[at + place]}" for place in (-1, 0, 1)]
        row += [f"-1,0={lower[at - 1]},{word}", f"0,1={word},{lower[at + 1]}", f"-1,1={lower[at - 1]},{lower[at + 1]}"]
        row += [f"{end}{size}={cut}" for size in (2, 3, 4) for end, cut in (("^", word[:size]), ("$", word[-size:]))]
        row += [f"$1={lower[at + 1][-3:]}", f"$-1={lower[at - 1][-3:]}"]
        yield row


def _shape(word: str) -> str:
    if word.isdigit():
        return "9"
    if not word[0].isalnum():
        return word
    upper = sum(letter.isupper() for letter in word)
    return "A" if upper == len(word) else "Aa" if word[0].isupper() and upper == 1 else "aA" if upper else "a"
