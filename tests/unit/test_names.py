import re
import sys
from types import ModuleType
from typing import Any

import pytest

from benchmarks.names import name_ads, score
from jobtuner.clean import clean_text
from jobtuner.config import CleanConfig, Config
from jobtuner.entities import entity_finder
from jobtuner.errors import ModelError
from jobtuner.names import mask_names
from jobtuner.prepare.parts import numbered
from jobtuner.prepare.steps import preprocess
from jobtuner.records import JobAd
from jobtuner.taxonomy import builtin_taxonomy

_WORDS = {
    "person": r"M[rs] ([A-Z]\w+ [A-Z]\w+)",
    "occupation": r"\b((?:night )?nurse|cook)\b",
    "skill": r"\b(triage|first aid)\b",
    "task": r"\b(night nurse rounds|soups)\b",
}


class FakeExtractor:
    """Knows names after Mr or Ms and a few words of jobs; answers as gliner2 2.1, in no order, and twice."""

    @classmethod
    def from_pretrained(cls, model: str) -> "FakeExtractor":
        if model == "none":
            raise OSError("no such checkpoint")
        return cls()

    def extract_entities_long(
        self, text: str, entity_types: list[str], threshold: float = 0.5, include_spans: bool = False
    ) -> dict[str, Any]:
        assert include_spans
        if "strange" in text:
            return {"entities": {"person": ["Ann Lee"]}}
        entities = {}
        for kind in entity_types:
            found = [
                {"text": match[1], "start": match.start(1), "end": match.end(1)}
                for match in re.finditer(_WORDS[kind], text)
            ]
            entities[kind] = [*reversed(found), *found]
        return {"entities": entities}


@pytest.fixture
def gliner2(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("gliner2")
    module.AutoExtractor = FakeExtractor  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "gliner2", module)
    entity_finder.cache_clear()


def test_names_are_replaced_and_counted(gliner2: None) -> None:
    text, count = mask_names("Ask Ms Ann Lee or Mr Ole Bull, ole@example.com.", "m")
    assert (text, count) == ("Ask Ms [NAME] or Mr [NAME], ole@example.com.", 2)
    assert mask_names("Nobody here", "m") == ("Nobody here", 0)
    assert mask_names("", "m") == ("", 0)


def test_cleaning_masks_names_where_the_recipe_asks(gliner2: None) -> None:
    text = "Ask Ms Ann Lee, ann@example.com"
    cleaned = clean_text(text, CleanConfig(names="m"))
    assert cleaned.text == "Ask Ms [NAME], [EMAIL]"
    assert cleaned.masked == {"EMAIL": 1, "NAME": 1}
    assert clean_text(text, CleanConfig()).text == "Ask Ms Ann Lee, [EMAIL]"


def test_only_occupation_skills_and_tasks_stay_where_the_recipe_asks(gliner2: None) -> None:
    text = "Your team of ten wants a night nurse: night nurse rounds, triage, first aid. Free soups! Triage and triage."
    cleaned = clean_text(text, CleanConfig(job_parts="m"))
    assert cleaned.text == "night nurse\nnight nurse rounds\ntriage\nfirst aid\nsoups"
    assert clean_text("Ask Ms Ann Lee for a cook", CleanConfig(names="m", job_parts="m")).text == "cook"
    assert clean_text(text, CleanConfig()).text == text


def test_an_ad_without_any_is_rejected_not_lost(gliner2: None) -> None:
    config = Config(name="parts", clean=CleanConfig(job_parts="m"))
    rows = list(numbered(JobAd(str(n), text, "2221", "en") for n, text in enumerate(("A cook wanted", "Come and see"))))
    preprocess(rows, config, builtin_taxonomy())
    assert [(row["text"], row["kind"]) for row in rows] == [("cook", ""), ("Come and see", "text too short")]


def test_what_is_missing_or_unknown_is_told(gliner2: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match=r"'none' of clean\.names cannot be loaded: no such checkpoint"):
        mask_names("text", "none")
    with pytest.raises(ModelError, match=r"GLiNER2 answered .*version 2.1"):
        mask_names("strange", "m")
    monkeypatch.setitem(sys.modules, "gliner2", None)
    entity_finder.cache_clear()
    with pytest.raises(ModelError, match=r'clean\.job_parts needs .*pip install "gliner2\[local\]"'):
        clean_text("text", CleanConfig(job_parts="m"))


def test_the_names_benchmark_counts_whole_names(gliner2: None) -> None:
    ads = list(name_ads(300, 3))
    for ad in ads:
        assert all(ad.text[a:b] in ad.names for a, b in ad.spans)
        assert len(ad.spans) == len(ad.names)
    nothing = score(ads, lambda text: [])
    assert (nothing.recall, nothing.precision, nothing.gold > 300) == (0.0, 0.0, True)
    perfect = {ad.text: list(ad.spans) for ad in ads}
    assert score(ads, perfect.__getitem__).recall == score(ads, perfect.__getitem__).precision == 1.0
    half = score(ads, lambda text: [(a, b - 1) for a, b in perfect[text]] + [(0, 1)])
    assert half.recall == 0.0
    assert 0.3 < half.precision < 0.8  # what overlaps a name is none found wrongly; the first character is
