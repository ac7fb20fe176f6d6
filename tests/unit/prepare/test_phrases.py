import json
from pathlib import Path
from typing import Any

import pytest

from jobtuner.config import GenerateConfig
from jobtuner.errors import DataError
from jobtuner.prepare.phrases import load_phrases
from jobtuner.prepare.synthesize import generate_ads, generated_count
from jobtuner.taxonomy import builtin_taxonomy

FRAME = {
    "and": "och",
    "semicolon": "; ",
    "layouts": ["{heading}\n{intro} Du ska {tasks}. Vi söker {skills}. {benefits}"],
    "headings": ["{title} sökes"],
    "open_headings": ["Vi växer"],
    "intros": ["{company} i {city}."],
    "benefits": ["pension", "friskvård"],
    "companies": ["Vården AB"],
    "cities": ["Lund"],
    "contacts": ["Ring oss"],
    "salaries": ["30 000 kr"],
    "boilerplate": ["Välkommen."],
}


def unit(code: str, title: str) -> dict[str, Any]:
    return {
        "code": code,
        "title": {"sv": title},
        "job_titles": {"sv": [title]},
        "tasks": {"sv": ["ge medicin", "skriva journal"]},
        "skills": {"sv": ["lugn"]},
        "workplaces": {"sv": ["sjukhus"]},
    }


def file(folder: Path, data: object) -> str:
    path = folder / f"{len(list(folder.iterdir()))}.json"
    path.write_text(json.dumps(data), encoding="utf-8")
    return str(path)


OWN = {"frames": {"sv": FRAME}, "occupations": [unit("2221", "Sjuksköterska"), unit("5120", "Kock")]}


def test_templates_of_ones_own_make_ads_in_their_language(tmp_path: Path) -> None:
    config = GenerateConfig(templates=file(tmp_path, OWN), languages=("sv",), ads_per_unit=3, noise=0, untitled=0)
    ads = list(generate_ads(config, 5))
    assert len(ads) == generated_count(config) == 6
    assert [ad.id for ad in ads[:2]] == ["sv-2221-0000", "sv-5120-0000"]
    assert all(ad.text.startswith(("Sjuksköterska sökes", "Kock sökes")) and "och" in ad.text for ad in ads)
    assert load_phrases(config.templates).taxonomy.labels == ["2221", "5120"]


def test_the_builtin_frames_serve_where_a_file_has_none(tmp_path: Path) -> None:
    rows = [unit("1", "Baker"), unit("2", "Miller")]
    english = json.loads(json.dumps({"occupations": rows}).replace('"sv"', '"en"'))
    ads = list(generate_ads(GenerateConfig(templates=file(tmp_path, english), languages=("en",), ads_per_unit=1), 5))
    assert len(ads) == 2
    with pytest.raises(DataError, match=r"no templates in de; there are in en\. Give a file of templates"):
        list(generate_ads(GenerateConfig(templates=file(tmp_path, english), languages=("en", "de")), 5))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "have no list 'occupations'"),
        ({"occupations": []}, "at least two are needed"),
        ({"occupations": [{"code": "1"}, unit("2", "b")]}, r"occupation 1: 'code' \(text\) and 'title'"),
        ({"occupations": [unit("1", "a") | {"tasks": {}}, unit("2", "b")]}, r"occupation 1: tasks\.sv must be a list"),
        ({"occupations": [unit("1", "a") | {"skills": ["x"]}, unit("2", "b")]}, "must be objects: language"),
        (OWN | {"frames": {"sv": FRAME | {"headings": []}}}, r"frames\.sv\.headings: a list of at least 1 texts"),
        (OWN | {"frames": {"sv": FRAME | {"and": 1}}}, r"frames\.sv\.and: a word is needed"),
        (OWN | {"frames": {"sv": FRAME | {"layouts": ["{heading} {hading}"]}}}, r"the slot \{hading\} is not known in"),
        (OWN | {"frames": {"sv": FRAME | {"layouts": ["{heading"]}}}, "frames.sv.layouts: .*expected '}'"),
        (OWN | {"frames": {"sv": FRAME | {"intros": ["{title}!"]}}}, r"at least one without \{title\} is needed"),
        (OWN | {"frames": []}, None),
    ],
)
def test_mistakes_in_templates_are_listed(tmp_path: Path, data: object, message: str | None) -> None:
    path = file(tmp_path, data)
    if message is None:  # an empty list of frames is none
        assert load_phrases(path).units
        return
    with pytest.raises(DataError, match=message):
        load_phrases(path)


def test_the_builtin_phrases_have_no_mistakes(tmp_path: Path) -> None:
    import jobtuner.prepare

    folder = Path(jobtuner.prepare.__file__).parent / "templates"
    frames = json.loads((folder / "ads.json").read_text("utf-8"))
    rows = [json.loads(path.read_text("utf-8")) for path in sorted((folder / "occupations").iterdir())]
    checked = load_phrases(file(tmp_path, {"frames": frames, "occupations": rows}))
    assert checked.taxonomy.version == builtin_taxonomy().version
    assert checked.units == load_phrases().units
