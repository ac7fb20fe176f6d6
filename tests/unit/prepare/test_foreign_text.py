"""Foreign sentences in training ads: so many as asked for, never with the right code, in no test's words."""

import json
import unicodedata
from importlib import resources

import pytest

from jobtuner.config import load_config
from jobtuner.errors import ConfigError
from jobtuner.orders import find_orders
from jobtuner.prepare.hostile import ForeignText
from jobtuner.records import Example
from tests.unit.serve.payloads import HELD_OUT, ORDERS
from tests.unit.serve.wordings import UNSEEN

LABELS = ["2221", "5120", "8331"]
TEXT = "Cook for a kitchen. Soups and sauces."
OTHERS = ["Bus driver wanted for 3 routes", "Fahrer (m/w/d) für Linie gesucht"]
BEFORE = [Example(f"ad-{number}", TEXT, "5120", "en", f"c{number}") for number in range(2000)]


def treated(share: float, seed: int = 17) -> list[Example]:
    foreign = ForeignText(LABELS, OTHERS, share, seed)
    return [foreign.put_into(item) for item in BEFORE]


def test_a_share_of_the_ads_gets_one_and_the_label_stays() -> None:
    after = treated(0.3)
    changed = [item for old, item in zip(BEFORE, after, strict=True) if old != item]
    assert 0.26 < len(changed) / 2000 < 0.34
    assert {item.label for item in after} == {"5120"}
    codes = [code for item in changed for code in LABELS if code in item.text]
    assert set(codes) == {"2221", "8331"}
    assert 0.4 < len(codes) / len(changed) < 0.6
    assert all(all(word in item.text for word in TEXT.split()) for item in changed)
    assert {item.text.startswith(TEXT) for item in changed} == {True, False}
    assert after == treated(0.3) != treated(0.3, seed=18)
    assert treated(0.0) == BEFORE


def test_what_is_put_in_is_of_many_kinds_and_leaves_room_for_the_ad() -> None:
    put = [item.text.replace("\n", " ") for item in treated(1.0)]
    scripts = ("LATIN", "CYRILLIC", "GREEK", "ARABIC", "DEVANAGARI", "HIRAGANA", "CJK")
    names = [{unicodedata.name(letter).split()[0] for letter in text if letter.isalpha()} for text in put]
    found = {script: sum(script in of or f"{script} UNIFIED" in of for of in names) for script in scripts}
    assert all(count > 20 for count in found.values()), found
    assert any("Linie routes" in text or "routes Linie" in text for text in put)  # words of other ads, out of order
    assert max(len(text.encode()) for text in put) < len(TEXT) + 180


def test_the_wordings_are_no_tests_and_pass_the_detector() -> None:
    """What the detector catches never reaches the model: there would be nothing to learn from it."""
    file = resources.files("jobtuner.prepare") / "templates" / "hostile.json"
    wordings = json.loads(file.read_text(encoding="utf-8"))
    tested = {order for orders in (ORDERS, HELD_OUT, UNSEEN) for texts in orders.values() for order in texts}
    assert not tested & {*wordings["orders"], *wordings["chatter"]}
    caught = [text for text in wordings["orders"] if find_orders(text.format(code="8331"))]
    assert len(caught) <= 2, caught
    assert [text for text in wordings["chatter"] if find_orders(text)] == []


def test_tasks_without_codes_refuse_it() -> None:
    with pytest.raises(ConfigError, match=r"data\.hostile keeps an ad's code"):
        load_config("smoke_skills", {"data.hostile": "0.3"})


@pytest.mark.parametrize("recipe", ["smoke", "qwen2_5_0_5b"])
def test_a_recipe_that_has_it_can_be_run_for_another_task(recipe: str) -> None:
    assert load_config(recipe).data.hostile > 0
    assert load_config(recipe, {"task": "skills"}).data.hostile == 0
    assert load_config(recipe, {"task": "occupation"}).data.hostile > 0


def test_instructions_are_no_orders_to_be_cut() -> None:
    assert load_config("smoke").clean.orders
    assert not load_config("smoke_skills", {"task": "instruct"}).clean.orders
