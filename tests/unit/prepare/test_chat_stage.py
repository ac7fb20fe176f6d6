import json
from pathlib import Path
from typing import Any

import pytest

from jobtuner.config import Config, load_config
from jobtuner.contracts import PreparedData
from jobtuner.errors import DataError
from jobtuner.prepare.chat_generate import generate_chats, skills_in
from jobtuner.prepare.stage import run
from jobtuner.records import ChatExample, read_jsonl
from jobtuner.tasks import Applicant, CoverLetterTask, SkillsTask


def _config(task: str, **settings: Any) -> Config:
    given = {"task": task, "data.generate.ads_per_unit": "1", "data.generate.languages": "[en, da]"}
    return load_config("smoke", given | {key.replace("__", "."): str(value) for key, value in settings.items()})


def _examples(prepared: PreparedData) -> dict[str, list[ChatExample]]:
    return {
        name: [ChatExample.from_json(row) for row in read_jsonl(prepared.folder / f"{name}.jsonl")]
        for name in ("train", "validation", "test")
    }


@pytest.mark.parametrize("task", ["skills", "cover_letter", "instruct"])
def test_generated_data_is_whole_and_leak_free(task: str, tmp_path: Path) -> None:
    prepared = run(_config(task), {}, tmp_path)
    splits = _examples(prepared)
    counts = prepared.counts
    assert counts["read"] == 96 == sum(value for key, value in counts.items() if key != "read")
    assert {name: len(rows) for name, rows in splits.items()} == {name: counts[name] for name in splits}
    clusters = [{row.cluster for row in rows} for rows in splits.values()]
    assert not clusters[0] & clusters[1] and not clusters[0] & clusters[2] and not clusters[1] & clusters[2]
    assert all(row.answer for rows in splits.values() for row in rows)
    assert f"Task: {task}." in (prepared.folder / "card.md").read_text(encoding="utf-8")
    page = (prepared.folder / "card.html").read_text(encoding="utf-8")
    assert f"Task: {task}." in page and page.count("data:image/png;base64,") == 6


def test_runs_are_repeatable_and_the_seed_counts(tmp_path: Path) -> None:
    first = run(_config("skills"), {}, tmp_path)
    assert first.fingerprint == run(_config("skills"), {}, tmp_path).fingerprint
    assert first.fingerprint != run(_config("skills", seed=3), {}, tmp_path).fingerprint


def test_generated_skills_are_the_annotated_places(tmp_path: Path) -> None:
    for rows in _examples(run(_config("skills"), {}, tmp_path)).values():
        for row in rows:
            texts = [row.text[a:b] for a, b in row.facts["spans"]]
            assert texts and row.answer == SkillsTask().answer(texts)


def test_typos_of_the_generator_hide_no_skill() -> None:
    clean = "You know database design, scripting and agile methods."
    typos = "You know dtaabase desgn, scripting and agile metohds."
    assert [clean[a:b] for a, b in skills_in(clean, "2512", "en")] == ["database design", "scripting", "agile methods"]
    assert [typos[a:b] for a, b in skills_in(typos, "2512", "en")] == ["dtaabase desgn", "scripting", "agile metohds"]
    assert skills_in("scripted descripting", "2512", "en") == []


def test_generated_letters_are_grounded_in_their_language() -> None:
    for row in generate_chats(_config("cover_letter")):
        applicant = Applicant.from_json(row.facts["applicant"])
        assert CoverLetterTask().grounding(row.answer, row.text, applicant, row.language).grounded, row.answer
        assert applicant.language == row.language


def _input(tmp_path: Path, rows: list[dict[str, Any]]) -> str:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


TEXTS = [
    "Nurse, wound care",
    "Cook: sauces",
    "Bus driver, tickets",
    "Clerk with Excel",
    "Welder, steel",
    "Teacher, maths",
]
MANY = TEXTS * 5


def test_spans_follow_the_text_through_cleaning(tmp_path: Path) -> None:
    rows = [{"text": f"<p>{text}</p>", "skills": [text.split()[-1].upper()]} for text in TEXTS]
    rows.append({"text": "<p>Pilot</p>", "skills": ["flying"]})
    rows.append({"text": "<p>Nurse, wound care</p>", "skills": ["wound"]})
    rows.append({**rows[1], "text": "<p>COOK:  sauces</p>"})
    out = tmp_path / "out"
    out.mkdir()
    prepared = run(_config("skills", data__input=_input(tmp_path, rows)), {}, out)
    kinds = [row["kind"] for row in read_jsonl(out / "rejected.jsonl")]
    assert sorted(kinds) == ["conflicting annotations"] * 2 + ["skills not in the text"]
    assert prepared.counts["duplicates"] == 1
    found = {row.text: row.answer for rows in _examples(prepared).values() for row in rows}
    assert found.get("Cook: sauces", found.get("COOK: sauces")) == '["sauces"]'
    assert all("<p>" not in text for text in found)
    assert "| rows with HTML | 8 |" in (out / "card.md").read_text(encoding="utf-8")


def test_groups_never_cross_a_split(tmp_path: Path) -> None:
    rows = [{"text": f"{text} {number}", "skills": [], "posting": number // 3} for number, text in enumerate(MANY)]
    out = tmp_path / "out"
    out.mkdir()
    config = _config("skills", data__input=_input(tmp_path, rows), data__columns__group="posting")
    sides: dict[str, set[str]] = {}
    for name, examples in _examples(run(config, {}, out)).items():
        for row in examples:
            number = int(row.id.rpartition(":")[2]) - 1
            sides.setdefault(str(number // 3), set()).add(name)
    assert all(len(names) == 1 for names in sides.values())


def test_test_rows_that_training_knows_stop_the_stage(tmp_path: Path) -> None:
    rows = [{"text": f"{text} {number}", "skills": []} for number, text in enumerate(MANY)]
    config = _config("skills", data__input=_input(tmp_path, rows), split__leakage__similarity=0.5)
    with pytest.raises(DataError, match=r"test rows have a training row of similarity 0\.5 or more.*\n  rows\.jsonl:"):
        run(config, {}, tmp_path)
    found = _config("skills", data__input=_input(tmp_path, rows), split__leakage__sample=0)
    assert "Not looked for" in (run(found, {}, tmp_path).folder / "card.md").read_text(encoding="utf-8")


def test_a_wrong_column_is_told_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"6 of 6 rows were rejected.*\n.*no skills: column 'skills' holds NoneType"):
        run(_config("skills", data__input=_input(tmp_path, [{"text": text} for text in TEXTS])), {}, tmp_path)


def test_one_ad_with_two_applicants_is_no_duplicate_and_stays_on_one_side(tmp_path: Path) -> None:
    rows = [{"text": text, "applicant": {"name": name}} for text in TEXTS for name in ("Eva", "Bo", "Eva")]
    out = tmp_path / "out"
    out.mkdir()
    prepared = run(_config("cover_letter", data__input=_input(tmp_path, rows)), {}, out)
    assert prepared.counts["duplicates"] == len(TEXTS)
    for examples in _examples(prepared).values():
        assert len(examples) == 2 * len({row.text for row in examples})
        assert all(row.answer.endswith(row.facts["applicant"]["name"]) for row in examples)
