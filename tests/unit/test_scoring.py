"""The 4-bit base with an adapter as a classifier: every search, every chunk of memory, titles and codes alike."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from jobtuner.clean import clean_text
from jobtuner.config import CleanConfig
from jobtuner.errors import ConfigError, ModelError, TaxonomyError
from jobtuner.labels.layout import TrieLayout
from jobtuner.labels.scores import label_log_probabilities
from jobtuner.labels.walk import Search
from jobtuner.models import load_quantized, load_tokenizer
from jobtuner.scoring import InferenceSettings, LabelPrompts, LabelScorer, load_exported
from jobtuner.tasks import PromptEncoder, get_task, prompt_hash
from jobtuner.taxonomy import LabelTrie, Occupation, Taxonomy
from jobtuner.train.lora import add_adapter
from tests.conftest import ADS, LORA, NF4, Standin
from tests.unit.labels.models import TOLERANCE, brute_force

CODES = ["2221.1", "2221.10", "2221.2", "2222", "5120.1.4", "5120.2", "5131", "8331"]


@pytest.fixture(scope="module")
def model(standin: Standin) -> Any:
    """NF4 with an adapter whose second matrix is not zero, so that it does change what the model says."""
    torch.manual_seed(0)
    adapted = add_adapter(load_quantized(str(standin.folder), None, NF4), LORA, gradient_checkpointing=False)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    return adapted.eval()


@pytest.fixture(scope="module")
def prompts(standin: Standin) -> LabelPrompts:
    return prompts_of(standin, Taxonomy([Occupation(code) for code in CODES]))


def prompts_of(standin: Standin, taxonomy: Taxonomy, temperature: float = 1.0) -> LabelPrompts:
    tokenizer = load_tokenizer(str(standin.folder))
    settings = InferenceSettings(
        task="occupation",
        labels=taxonomy.labels,
        prompt_hash=prompt_hash(get_task("occupation"), tokenizer),
        max_ad_tokens=64,
        taxonomy_version=taxonomy.version,
        data_fingerprint="d",
        model_fingerprint="m",
        quantization=NF4.model_dump(mode="json"),
        clean=CleanConfig().model_dump(mode="json"),
        temperature=temperature,
    )
    return LabelPrompts(tokenizer, taxonomy, settings)


def test_exact_scores_equal_brute_force(model: Any, prompts: LabelPrompts) -> None:
    scores = LabelScorer(model, prompts, batch_size=2).log_probabilities(ADS)
    labels = [prompts.encoder.answer(code) for code in prompts.labels]
    for row, prompt in zip(scores, prompts.prompts(ADS), strict=True):
        np.testing.assert_allclose(row, brute_force(model, prompt, labels), atol=TOLERANCE)


def test_the_adapter_counts(model: Any, prompts: LabelPrompts) -> None:
    with_adapter = LabelScorer(model, prompts).log_probabilities(ADS)
    with model.disable_adapter():
        assert np.abs(LabelScorer(model, prompts).log_probabilities(ADS) - with_adapter).max() > 0.01


@pytest.mark.parametrize("search", ["exact", "greedy"])
def test_what_every_prompt_begins_with_is_read_once_a_scorer(model: Any, prompts: LabelPrompts, search: Search) -> None:
    scorer, seen = LabelScorer(model, prompts, search=search), list[int]()
    hook = model.get_base_model().model.register_forward_pre_hook(
        lambda _, __, named: seen.append(named["input_ids"].shape[1]), with_kwargs=True
    )
    for text in (ADS[0], ADS[1]):
        seen.clear()
        scorer.log_probabilities([text])
        start, own = len(prompts.encoder.start), len(prompts.prompts([text])[0]) - len(prompts.encoder.start)
        assert (start in seen) == (text == ADS[0])
        assert any(own <= count <= own + 16 for count in seen)
    hook.remove()


@pytest.mark.parametrize("batch_size", [1, 3, 32])
@pytest.mark.parametrize("memory", [1, 1 << 30])
def test_batches_and_memory_change_nothing(model: Any, prompts: LabelPrompts, batch_size: int, memory: int) -> None:
    expected = LabelScorer(model, prompts, batch_size=2).log_probabilities(ADS)
    scores = LabelScorer(model, prompts, batch_size, memory_bytes=memory).log_probabilities(ADS)
    np.testing.assert_allclose(scores, expected, atol=TOLERANCE)


def test_searches_keep_the_top_and_the_temperature(model: Any, prompts: LabelPrompts, standin: Standin) -> None:
    exact = LabelScorer(model, prompts).log_probabilities(ADS)
    top = LabelScorer(model, prompts, search="top", k=2).log_probabilities(ADS)
    best = np.argsort(-exact, axis=1)[:, :2]
    np.testing.assert_array_equal(np.argsort(-top, axis=1)[:, :2], best)
    np.testing.assert_allclose(np.take_along_axis(top, best, 1), np.take_along_axis(exact, best, 1), atol=TOLERANCE)
    warm_prompts = prompts_of(standin, prompts.taxonomy, temperature=2.0)
    warm = LabelScorer(model, warm_prompts, search="greedy").log_probabilities(ADS)
    np.testing.assert_allclose(np.exp(warm.astype(float)).sum(axis=1), 1.0, atol=TOLERANCE)
    with pytest.raises(ConfigError, match="There is no search 'beam'"):
        LabelScorer(model, prompts, search="beam")  # type: ignore[arg-type]


def test_titles_in_any_language_are_labels_too(model: Any, standin: Standin) -> None:
    """Titles have tokens in common, some begin others, and scripts differ."""
    titles = ["Koch", "Köche", "Kochhilfe", "infirmier", "infirmière", "готвач", "看護師", "γιατρός", "Koch Hilfe"]
    encoder = PromptEncoder(get_task("occupation"), load_tokenizer(str(standin.folder)), 64)
    labels = [encoder.answer(title) for title in titles]
    prompt = encoder.prompts([clean_text(ADS[1], CleanConfig()).text])[0]
    scores = label_log_probabilities(model, [prompt], TrieLayout(LabelTrie(labels, titles)), encoder.end_id)[0]
    np.testing.assert_allclose(scores, brute_force(model, prompt, labels), atol=TOLERANCE)


def test_titles_that_become_the_same_tokens_are_refused_by_name(standin: Standin) -> None:
    """The tokenizer composes characters: "é" and "e" with an accent behind it are the same to the model."""
    encoder = PromptEncoder(get_task("occupation"), load_tokenizer(str(standin.folder)), 64)
    titles = ["infirmi\u00e8re", "infirmie\u0300re"]
    with pytest.raises(TaxonomyError, match="have the same tokens"):
        LabelTrie([encoder.answer(title) for title in titles], titles)


def test_a_model_that_writes_text_is_refused_for_its_task_not_for_a_missing_taxonomy(
    tmp_path: Path, standin: Standin, prompts: LabelPrompts
) -> None:
    shutil.copytree(standin.folder, tmp_path, dirs_exist_ok=True)
    replace(prompts.settings, task="cover_letter", labels=[]).save(tmp_path)
    with pytest.raises(ModelError, match=r"'cover_letter' answers in text .*`letter`"):
        load_exported(tmp_path)
