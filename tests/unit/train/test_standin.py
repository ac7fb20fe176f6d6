import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from jobtuner.config import StandinConfig
from jobtuner.models import load_tokenizer
from jobtuner.standin_tokenizer import train_tokenizer
from jobtuner.tasks import get_task
from jobtuner.tasks.base import IGNORED
from jobtuner.taxonomy import Taxonomy
from jobtuner.train.standin import Corpus, _batches, _rows, build_standin
from tests.conftest import ADS, TINY, Standin


def test_it_is_a_real_qwen2_with_qwens_template(standin: Standin) -> None:
    config = json.loads((standin.folder / "config.json").read_text())
    assert config["architectures"] == ["Qwen2ForCausalLM"]
    tokenizer = load_tokenizer(str(standin.folder))
    assert tokenizer.eos_token == "<|im_end|>"
    rendered = tokenizer.apply_chat_template([{"role": "user", "content": "x"}], tokenize=False)
    assert str(rendered).startswith("<|im_start|>system\nYou are Qwen")


def test_the_same_seed_gives_the_same_weights(standin: Standin, taxonomy: Taxonomy, tmp_path: Path) -> None:
    build_standin(TINY, Corpus.of(ADS * 4, taxonomy), get_task("occupation"), 5, tmp_path)
    first, second = load_file(standin.folder / "model.safetensors"), load_file(tmp_path / "model.safetensors")
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_pretraining_lowers_the_loss(standin: Standin) -> None:
    assert standin.built["pretrain_loss"] < 6.55 - 0.3  # ln 700 = 6.55 is a uniform guess
    assert standin.built["pretrain_tokens"] == pytest.approx(
        TINY.pretrain_tokens, rel=0.5
    )  # whole batches of whole rows


def test_tokenizer_keeps_every_byte() -> None:
    tokenizer = train_tokenizer(ADS * 20, 600)
    for text in ("Übergabe 24/7 🚑 žluťoučký", "naïve\n\tcafé", "日本語"):
        assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


def test_rows_hold_every_ad_and_questions_with_loss_on_the_code_alone(taxonomy: Taxonomy) -> None:
    corpus = Corpus.of(ADS * 4, taxonomy)
    tokenizer = train_tokenizer(ADS * 20, 700)
    rows = _rows(tokenizer, corpus, get_task("occupation"))
    texts = [str(tokenizer.decode(ids)) for ids, _ in rows]
    assert all(any(text.startswith(ad) for text in texts) for ad in ADS)
    question = next(index for index, text in enumerate(texts) if "Busfahrer" in text and "assistant" in text)
    ids, begin = rows[question]
    assert tokenizer.decode(ids[begin:]) == "8331<|im_end|>"


def test_batches_cover_all_rows_once_a_round_and_mask_the_padding() -> None:
    rows = [([index + 1] * (index % 7 + 2), 1) for index in range(50)]
    seen: list[int] = []
    batches = _batches(rows, seed=0, batch_tokens=40)
    while len(seen) < 50:
        tokens, labels = next(batches)
        assert tokens.numel() <= 40
        assert torch.equal(labels == IGNORED, (tokens == 0) | (torch.arange(tokens.shape[1]) < 1))
        seen += [int(row[0]) for row in tokens]
    assert sorted(seen) == list(range(1, 51))


def test_digest_sees_every_cause(taxonomy: Taxonomy) -> None:
    corpus = Corpus.of(ADS, taxonomy)
    digests = {
        corpus.digest(TINY, 1),
        corpus.digest(TINY, 2),
        Corpus.of(ADS[:-1], taxonomy).digest(TINY, 1),
        corpus.digest(StandinConfig(), 1),
    }
    assert len(digests) == 4


@pytest.mark.parametrize("tokens", [1, 600, 1200])
def test_a_very_short_pretraining_works(tokens: int, taxonomy: Taxonomy, tmp_path: Path) -> None:
    config = TINY.model_copy(update={"pretrain_tokens": tokens})
    built = build_standin(config, Corpus.of(ADS, taxonomy), get_task("occupation"), 1, tmp_path)
    assert built["pretrain_tokens"] > 0
