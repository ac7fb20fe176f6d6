import re
import sys
from types import ModuleType
from typing import Any

import pytest

from jobtuner.clean import clean_text
from jobtuner.config import CleanConfig
from jobtuner.errors import ModelError
from jobtuner.names import NameMasker, name_masker


class FakeExtractor:
    """Takes two capitalised words after Mr or Ms as a name; answers in the form of gliner2 2.1."""

    @classmethod
    def from_pretrained(cls, model: str) -> "FakeExtractor":
        if model == "none":
            raise OSError("no such checkpoint")
        return cls()

    def extract_entities_long(
        self, text: str, entity_types: list[str], threshold: float = 0.5, include_spans: bool = False
    ) -> dict[str, Any]:
        assert entity_types == ["person"] and include_spans
        if "strange" in text:
            return {"entities": {"person": ["Ann Lee"]}}
        found = [
            {"text": match[1], "start": match.start(1), "end": match.end(1)}
            for match in re.finditer(r"M[rs] ([A-Z]\w+ [A-Z]\w+)", text)
        ]
        return {"entities": {"person": [*reversed(found), *found]}}


@pytest.fixture
def gliner2(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("gliner2")
    module.AutoExtractor = FakeExtractor  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "gliner2", module)
    name_masker.cache_clear()


def test_names_are_replaced_and_counted(gliner2: None) -> None:
    text, count = NameMasker("m").mask("Ask Ms Ann Lee or Mr Ole Bull, ole@example.com.")
    assert (text, count) == ("Ask Ms [NAME] or Mr [NAME], ole@example.com.", 2)
    assert NameMasker("m").mask("Nobody here") == ("Nobody here", 0)
    assert NameMasker("m").mask("") == ("", 0)


def test_cleaning_masks_names_where_the_recipe_asks(gliner2: None) -> None:
    text = "Ask Ms Ann Lee, ann@example.com"
    cleaned = clean_text(text, CleanConfig(names="m"))
    assert cleaned.text == "Ask Ms [NAME], [EMAIL]"
    assert cleaned.masked == {"EMAIL": 1, "NAME": 1}
    assert clean_text(text, CleanConfig()).text == "Ask Ms Ann Lee, [EMAIL]"


def test_what_is_missing_or_unknown_is_told(gliner2: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match=r"'none' for names .* cannot be loaded: no such checkpoint"):
        NameMasker("none")
    with pytest.raises(ModelError, match=r"GLiNER2 answered .*version 2.1"):
        NameMasker("m").mask("strange")
    monkeypatch.setitem(sys.modules, "gliner2", None)
    with pytest.raises(ModelError, match=r'pip install "gliner2\[local\]"'):
        NameMasker("m")
