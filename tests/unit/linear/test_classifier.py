"""The linear classifier: does it learn, are its probabilities proper, does it survive saving?"""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from jobtuner.config import BaselineConfig
from jobtuner.errors import DataError, ModelError
from jobtuner.linear.classifier import SETTINGS_FILE, WEIGHTS_FILE, BaselineClassifier
from jobtuner.linear.taxonomy_rows import TitleRow

CONFIG = BaselineConfig(max_features=500, min_count=1)
LINEAR = CONFIG.model_copy(update={"neighbours": 0})

WORDS = {
    "2221": ["nurse", "sygeplejerske", "ward", "patients", "hospital", "Krankenpflege"],
    "2512": ["developer", "C", "udvikler", "software", "backend", "Entwicklung"],
    "5120": ["cook", "kok", "kitchen", "menu", "Köchin", "restaurant"],
}


def ads(count: int, seed: int) -> tuple[list[str], list[str]]:
    generator = np.random.default_rng(seed)
    codes = sorted(WORDS)
    labels = [codes[k % 3] for k in range(count)]
    noise = ["we", "offer", "team", "ansøg", "und", "city"]
    texts = [" ".join([*generator.choice(WORDS[code], 2), *generator.choice(noise, 4)]) for code in labels]
    return texts, labels


@pytest.fixture(scope="module")
def fitted() -> BaselineClassifier:
    return BaselineClassifier(CONFIG, seed=3).fit(*ads(300, seed=0))


def test_learns_what_can_be_learnt(fitted: BaselineClassifier) -> None:
    texts, labels = ads(90, seed=1)
    best = fitted.log_probabilities(texts).argmax(axis=1)
    accuracy = np.mean([fitted.labels[int(column)] == label for column, label in zip(best, labels, strict=True)])
    assert accuracy > 0.97
    assert fitted.labels == sorted(WORDS)


def test_characters_reach_beyond_known_words(fitted: BaselineClassifier) -> None:
    texts = ["sygeplejersker", "softwareudvikler", "Köchinnen"]  # inflected and compound: no word was seen in training
    best = fitted.log_probabilities(texts).argmax(axis=1)
    assert [fitted.labels[int(column)] for column in best] == ["2221", "2512", "5120"]


def test_one_letter_words_count(fitted: BaselineClassifier, tmp_path: Path) -> None:
    assert fitted.labels[int(fitted.log_probabilities(["C"]).argmax())] == "2512"
    fitted.save(tmp_path)
    assert "c" in json.loads((tmp_path / SETTINGS_FILE).read_text(encoding="utf-8"))["words"]


def test_a_text_without_known_n_grams_gets_the_softmax_of_the_biases(
    fitted: BaselineClassifier, tmp_path: Path
) -> None:
    fitted.save(tmp_path)
    bias = np.exp(load_file(tmp_path / WEIGHTS_FILE)["bias"].astype(np.float64))
    np.testing.assert_allclose(np.exp(fitted.log_probabilities(["职"])[0]), bias / bias.sum(), rtol=1e-5)


def test_probabilities_are_proper_for_any_text(fitted: BaselineClassifier) -> None:
    texts = [*ads(20, seed=2)[0], "", " ", "职位", "x" * 10_000, "\x00\ud83d"]
    scores = fitted.log_probabilities(texts)
    assert scores.shape == (25, 3) and scores.dtype == np.float32
    assert np.isfinite(scores).all()
    np.testing.assert_allclose(np.exp(scores.astype(np.float64)).sum(axis=1), 1.0, atol=1e-6)
    assert fitted.log_probabilities([]).shape == (0, 3)


def test_a_row_does_not_depend_on_its_neighbours(fitted: BaselineClassifier) -> None:
    texts = ads(10, seed=4)[0]
    together = fitted.log_probabilities(texts)
    alone = np.concatenate([fitted.log_probabilities([text]) for text in texts])
    np.testing.assert_array_equal(together, alone)


def test_two_labels() -> None:
    texts, labels = ads(300, seed=5)
    pairs = [(text, label) for text, label in zip(texts, labels, strict=True) if label != "5120"]
    model = BaselineClassifier(CONFIG, seed=1).fit([text for text, _ in pairs], [label for _, label in pairs])
    scores = model.log_probabilities(["nurse in a hospital ward", "software developer backend"])
    assert scores.shape == (2, 2)
    assert [model.labels[int(column)] for column in scores.argmax(axis=1)] == ["2221", "2512"]
    np.testing.assert_allclose(np.exp(scores).sum(axis=1), 1.0, rtol=1e-6)


def test_loaded_gives_identical_scores(fitted: BaselineClassifier, tmp_path: Path) -> None:
    fitted.save(tmp_path)
    loaded = BaselineClassifier.load(tmp_path)
    texts = [*ads(50, seed=6)[0], "", "ukendt ord"]
    np.testing.assert_array_equal(loaded.log_probabilities(texts), fitted.log_probabilities(texts))
    assert loaded.labels == fitted.labels and loaded.config == fitted.config and loaded.seed == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == [SETTINGS_FILE, WEIGHTS_FILE]
    modes = {path.stat().st_mode for path in tmp_path.iterdir()}
    assert len(modes) == 1  # a server under another user must be able to read both


def test_same_seed_gives_the_same_bytes_and_another_seed_does_not(tmp_path: Path) -> None:
    contents = []
    for number, seed in enumerate((1, 1, 2)):
        folder = tmp_path / str(number)
        folder.mkdir()
        BaselineClassifier(CONFIG, seed).fit(*ads(120, seed=0)).save(folder)
        contents.append((folder / WEIGHTS_FILE).read_bytes())
    assert contents[0] == contents[1] != contents[2]


@pytest.mark.parametrize(
    "change",
    [
        {"word_ngrams": 1},
        {"char_ngrams": 2},
        {"char_head": 5},
        {"max_features": 40},
        {"min_count": 9},
        {"epochs": 2},
        {"learning_rate": 0.1},
        {"neighbours": 1},
        {"neighbour_share": 0.5},
        {"taxonomy_weight": 0.1},
        {"weights": "int8"},
        {"prune": 0.5},
    ],
)
def test_every_setting_of_the_n_grams_has_an_effect(change: dict[str, object]) -> None:
    texts, labels = ads(60, seed=0)
    titles = [TitleRow("registered nurses", "2221", "en"), TitleRow("team cooks", "5120", "en")]

    def scores(**changes: object) -> bytes:
        config = BaselineConfig.model_validate({**CONFIG.model_dump(), **changes})
        return BaselineClassifier(config, 1).fit(texts, labels, titles=titles).log_probabilities(texts).tobytes()

    assert scores(**change) != scores()


def test_more_passes_make_it_surer() -> None:
    texts, labels = ads(120, seed=0)

    def surest(epochs: int) -> float:
        config = LINEAR.model_copy(update={"epochs": epochs})
        scores = BaselineClassifier(config).fit(texts, labels).log_probabilities(texts)
        return float(np.exp(scores.max(axis=1)).mean())

    assert surest(1) < surest(4) < surest(20)


def test_calls_back_after_each_epoch() -> None:
    calls: list[int] = []
    BaselineClassifier(CONFIG).fit(*ads(30, seed=0), on_epoch=lambda: calls.append(1))
    assert len(calls) == CONFIG.epochs


def test_learns_from_taxonomy_titles_alone_what_no_row_names() -> None:
    texts, labels = ads(120, seed=0)
    titles = [TitleRow("ahhaaja", "5120", "et"), TitleRow("programmeerija", "2512", "et"), TitleRow("x", "9999", "et")]
    model = BaselineClassifier(CONFIG).fit(texts, labels, titles=titles)
    assert model.labels == sorted(WORDS)  # a title of a code that no row carries makes no label
    best = model.log_probabilities(["Ahhaaja", "programmeerijad"]).argmax(axis=1)
    assert [model.labels[int(column)] for column in best] == ["5120", "2512"]


def test_several_right_labels_share_the_probability() -> None:
    texts, labels = ads(120, seed=0)
    both = ["chef nurse"] * 2
    rows = [*labels, {"2221", "5120"}, {"2221", "5120"}]
    model = BaselineClassifier(LINEAR.model_copy(update={"epochs": 60})).fit([*texts, *both], rows)
    nurse, developer, cook = np.exp(model.log_probabilities(["chef nurse"])[0])
    assert nurse > 0.3 and cook > 0.3 and developer < 0.1


def test_equal_texts_with_different_labels_are_one_row_with_both() -> None:
    texts, labels = ads(60, seed=0)
    apart = BaselineClassifier(CONFIG).fit([*texts, "night shift", "Night  SHIFT"], [*labels, "2221", "5120"])
    joint = BaselineClassifier(CONFIG).fit([*texts, "night shift"], [*labels, ["5120", "2221"]])
    np.testing.assert_array_equal(apart.log_probabilities(texts), joint.log_probabilities(texts))


def test_the_nearest_rows_are_heard() -> None:
    """A text that training holds is answered as there, however many other rows speak against its words."""
    texts = ["nurse"] + [f"nurse ward {k}" for k in range(40)] + [f"cook menu {k}" for k in range(40)]
    labels = ["5120"] + ["2221"] * 40 + ["5120"] * 40
    near = CONFIG.model_copy(update={"neighbours": 1, "neighbour_share": 0.9, "epochs": 1})
    model = BaselineClassifier(near).fit(texts, labels)
    assert model.labels[int(model.log_probabilities(["nurse"]).argmax())] == "5120"
    alone = BaselineClassifier(near.model_copy(update={"neighbours": 0})).fit(texts, labels)
    assert alone.labels[int(alone.log_probabilities(["nurse"]).argmax())] == "2221"


def test_a_labelled_row_is_heard_before_a_title_that_is_a_little_nearer() -> None:
    texts = ["nurse care ward"] + [f"ward nurse {k}" for k in range(5)] + [f"care menu {k}" for k in range(5)]
    labels = ["2221"] * 6 + ["5120"] * 5
    config = CONFIG.model_copy(update={"neighbours": 1, "neighbour_share": 0.99})
    model = BaselineClassifier(config).fit(texts, labels, titles=[TitleRow("nurse care", "5120", "en")])
    assert model.labels[int(model.log_probabilities(["nurse care"]).argmax())] == "2221"


@pytest.mark.parametrize("weights", ["float32", "int8"])
@pytest.mark.parametrize("prune", [0.0, 0.2])
def test_variants_agree_with_the_standard_and_survive_saving(weights: str, prune: float, tmp_path: Path) -> None:
    texts, labels = ads(300, seed=0)
    standard = BaselineClassifier(LINEAR, 1).fit(texts, labels)
    config = BaselineConfig.model_validate({**LINEAR.model_dump(), "weights": weights, "prune": prune})
    model = BaselineClassifier(config, 1).fit(texts, labels)
    probe = ads(90, seed=1)[0]
    probabilities, expected = np.exp(model.log_probabilities(probe)), np.exp(standard.log_probabilities(probe))
    assert np.abs(probabilities - expected).max() < (0.06 if prune else 0.01)  # with pruning 0.033 was seen
    model.save(tmp_path)
    np.testing.assert_array_equal(
        BaselineClassifier.load(tmp_path).log_probabilities(probe), model.log_probabilities(probe)
    )


def test_int8_and_pruning_make_the_file_smaller(tmp_path: Path) -> None:
    def size(**changes: object) -> int:
        config = BaselineConfig.model_validate({**LINEAR.model_dump(), **changes})
        BaselineClassifier(config, 1).fit(*ads(300, seed=0)).save(tmp_path)
        return (tmp_path / WEIGHTS_FILE).stat().st_size

    assert size() > size(prune=0.2) > size(weights="int8") > size(weights="int8", prune=0.2)


def test_refuses_what_it_cannot_learn_from() -> None:
    with pytest.raises(DataError, match="two different"):
        BaselineClassifier(CONFIG).fit(["a nurse", "a ward"], ["2221", "2221"])
    with pytest.raises(DataError, match=r"Row 2 .* has no label"):
        BaselineClassifier(CONFIG).fit(["a nurse", "a ward"], ["2221", []])
    rare = BaselineConfig(min_count=5)
    with pytest.raises(DataError, match=r"baseline\.min_count"):
        BaselineClassifier(rare).fit(["nurse", "developer"], ["2221", "2512"])


def test_unfitted_says_so(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not been fitted"):
        BaselineClassifier(CONFIG).log_probabilities(["x"])
    with pytest.raises(ModelError, match="not been fitted"):
        BaselineClassifier(CONFIG).save(tmp_path)


def _edit(folder: Path, **changes: object) -> None:
    document = json.loads((folder / SETTINGS_FILE).read_text(encoding="utf-8"))
    (folder / SETTINGS_FILE).write_text(json.dumps({**document, **changes}), encoding="utf-8")


def test_refuses_damaged_or_mismatched_files(fitted: BaselineClassifier, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no readable baseline"):
        BaselineClassifier.load(tmp_path)
    fitted.save(tmp_path)
    _edit(tmp_path, labels=["2221", "2512"])
    with pytest.raises(ModelError, match="no readable baseline"):
        BaselineClassifier.load(tmp_path)
    fitted.save(tmp_path)
    _edit(tmp_path, format=99)
    with pytest.raises(ModelError, match="format 99"):
        BaselineClassifier.load(tmp_path)
    fitted.save(tmp_path)
    _edit(tmp_path, words=["only", "two"])
    with pytest.raises(ModelError):
        BaselineClassifier.load(tmp_path)
    fitted.save(tmp_path)
    content = (tmp_path / WEIGHTS_FILE).read_bytes()
    (tmp_path / WEIGHTS_FILE).write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelError, match="no readable baseline"):
        BaselineClassifier.load(tmp_path)
    fitted.save(tmp_path)
    (tmp_path / SETTINGS_FILE).write_text("[1, 2]", encoding="utf-8")
    with pytest.raises(ModelError, match="no readable baseline"):
        BaselineClassifier.load(tmp_path)
