"""The report: complete, readable, and deaf to hostile ads."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from jobtuner.evaluate.charts import CHARTS
from jobtuner.evaluate.report import STANDIN_NOTE, write_report
from jobtuner.evaluate.results import Comparison
from jobtuner.evaluate.tables import report_tables, verdict
from jobtuner.records import Example
from jobtuner.router import Point
from jobtuner.statistics import Interval, McNemar
from tests.unit.evaluate import samples

LABELS = sorted(samples.TITLES)


def comparison(rows: list[Example], answers: dict[str, str], standin: bool = True) -> Comparison:
    """The model answers as told (else right), the baseline always 1111."""
    right = {row.text: row.label for row in rows}
    model = samples.TablePredictor(LABELS, {**right, **answers}, 0.8)
    baseline = samples.TablePredictor(LABELS, dict.fromkeys(right, "1111"), 0.5)
    return samples.comparison(rows, model, baseline, standin=standin)


class Elements(HTMLParser):
    """Collects the tags and attributes that a browser would see, and the text."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(document)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    rows = [samples.example(0, "2221", "<b>xx</b>", samples.HOSTILE), *samples.examples(12, start=1)]
    write_report(comparison(rows, {samples.HOSTILE: "2222", rows[3].text: "9112"}), folder)
    return folder


def test_html_shows_hostile_text_as_text(hostile: Path) -> None:
    document = (hostile / "report.html").read_text(encoding="utf-8")
    page = Elements(document)
    assert "&lt;script&gt;alert" in document
    assert {"script", "a"}.isdisjoint(tag for tag, _ in page.tags)
    assert all(not name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert samples.HOSTILE in page.words  # the reader sees it just as it was written
    assert "<b>xx</b>" in page.words


def test_html_is_self_contained(hostile: Path) -> None:
    page = Elements((hostile / "report.html").read_text(encoding="utf-8"))
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(images) == len(CHARTS)
    assert all(str(image["src"]).startswith("data:image/png;base64,") and image["alt"] for image in images)
    assert not [attributes for _, attributes in page.tags if "href" in attributes]
    policy = [
        str(attributes["content"]) for tag, attributes in page.tags if tag == "meta" and "http-equiv" in attributes
    ]
    assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_markdown_shows_hostile_text_as_text(hostile: Path) -> None:
    text = (hostile / "report.md").read_text(encoding="utf-8")
    line = next(line for line in text.splitlines() if "alert" in line)
    assert not re.search(r"<script|<img|(?<!\\)`|(?<!\\)\]\(|://", line)
    # A cell separator is a bar without a backslash: 4 columns have 5, whatever the ad holds.
    assert len(re.findall(r"(?<!\\)\|", line)) == 5


def test_markdown_tables_are_well_formed_and_pictures_exist(hostile: Path) -> None:
    lines = (hostile / "report.md").read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        if re.fullmatch(r"\|( :?-+:? \|)+", line):
            widths = {len(re.findall(r"(?<!\\)\|", row)) for row in (lines[number - 1], line, lines[number + 1])}
            assert len(widths) == 1
    assert sum(bool(re.fullmatch(r"\|( :?-+:? \|)+", line)) for line in lines) == 10
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", "\n".join(lines))
    assert sorted(pictures) == sorted(CHARTS)
    for name in pictures:
        assert (hostile / name).read_bytes().startswith(b"\x89PNG")


def test_html_and_markdown_have_the_same_tables(hostile: Path) -> None:
    page = Elements((hostile / "report.html").read_text(encoding="utf-8"))
    text = (hostile / "report.md").read_text(encoding="utf-8")
    titles = [table.title for table in report_tables(comparison(samples.examples(12), {}))]
    assert len(titles) == 10
    for title in titles:
        assert title in page.words and f"## {title}" in text


@pytest.mark.parametrize("standin", [True, False])
def test_the_standin_is_named_and_nothing_else_is_called_so(
    tmp_path: Path, standin: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples.without_pictures(monkeypatch)
    write_report(comparison(samples.examples(12), {}, standin), tmp_path)
    for name in ("report.html", "report.md"):
        text = (tmp_path / name).read_text(encoding="utf-8")
        assert (STANDIN_NOTE in text) is standin
        assert ("Qwen2.5-7B-Instruct" in text) is not standin
    assert STANDIN_NOTE == (
        "The base model is the stand-in: these scores show that the pipeline works, not what Qwen2.5 can do."
    )


def test_tables_hold_the_right_numbers() -> None:
    rows = samples.examples(12)
    result = comparison(rows, {rows[1].text: "2222", rows[5].text: "2222", rows[3].text: "1111"})
    headline, languages, levels, bands, calibration, sure, cascade, sets, pairs, wrong = report_tables(result)
    assert headline.rows[0][1].startswith("75.0 (") and headline.rows[0][2].startswith("25.0 (")
    assert headline.rows[0][3].startswith("+50.0 (+")
    assert [row[:2] for row in languages.rows] == [["en", "8"], ["da", "4"]]
    assert [row[0] for row in levels.rows] == ["1", "2", "3", "4"]
    assert levels.rows[0][2].startswith("91.7 (") and levels.rows[3][2].startswith(
        "75.0 ("
    )  # two of three errors stay in group 2
    assert [row[:3] for row in bands.rows] == [["body (20 to 100)", "3", "9"], ["tail (0 to 19)", "1", "3"]]
    assert [row[0] for row in calibration.rows] == ["model", "baseline"]
    assert sure.rows[0] == ["the surest 100 %", "75.0", "25.0"]
    assert [row[2] for row in cascade.rows][::4] == ["0.0", "100.0"]
    loss = replace(result.cascade, gain=Interval(-0.012, -0.03, 0.01))
    note = report_tables(replace(result, cascade=loss))[6].note
    assert "the model alone is -1.2 points (95 % interval -3.0 to +1.0)" in note
    assert [row[0] for row in sets.rows][:2] == ["LAC, 80 %", "LAC, 90 %"]
    assert pairs.rows[0] == ["2221 Nurse", "2222 Midwife", "2", "66.7"]
    assert pairs.rows[1] == ["9112 Cleaner", "1111 Legislator", "1", "33.3"]
    assert len(wrong.rows) == 3 and "out of 3" in wrong.note
    assert wrong.rows[0][2] == "2221 Nurse" and wrong.rows[0][3].startswith("2222 Midwife (")


def test_the_surest_answers_are_read_off_the_curve() -> None:
    curve = [
        Point(2.0, 0.0, None, 0.0),
        Point(0.9, 0.5, 0.9, 0.45),
        Point(0.5, 0.8, 0.8, 0.64),
        Point(0.0, 1, 0.7, 0.7),
    ]
    result = comparison(samples.examples(12), {})
    ours = replace(result.model, abstention=replace(result.model.abstention, curve=curve))
    sure = report_tables(replace(result, model=ours))[5]
    # Of 100, 90, 80, 70 and 50 % of the ads; where the curve has no such point, of the next fewer.
    assert [row[1] for row in sure.rows[:5]] == ["70.0", "80.0", "80.0", "90.0", "90.0"]


def test_a_faultless_model_has_empty_tables_and_still_a_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples.without_pictures(monkeypatch)
    result = comparison(samples.examples(12), {})
    assert report_tables(result)[-2].rows == report_tables(result)[-1].rows == []
    write_report(result, tmp_path)
    assert "None." in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_long_ads_are_cut() -> None:
    rows = [samples.example(0, "2221", "en", "long " * 500), *samples.examples(11, start=1)]
    cell = report_tables(comparison(rows, {rows[0].text: "1111"}))[-1].rows[0][1]
    assert len(cell) < 310 and cell.endswith("…")


def test_verdict_says_better_worse_or_not_sure() -> None:
    rows = samples.examples(12)

    def said(value: float, low: float, high: float) -> str:
        gain = {"macro_f1": Interval(value, low, high)}
        return verdict(replace(comparison(rows, {}), gain=gain, mcnemar=McNemar(9, 2, 0.0654)))

    assert said(0.05, 0.01, 0.09) == (
        "The model is better than the baseline: +5.0 points of macro-F1 (95 % interval +1.0 to +9.0). "
        "On 9 ads only the model is right, on 2 only the baseline (McNemar's exact test: p = 0.065)."
    )
    assert said(-0.05, -0.09, -0.01).startswith("The model is worse than the baseline: -5.0 points")
    assert said(0.01, -0.02, 0.04).startswith("These examples show no sure difference")


def test_pictures_are_the_same_bytes_each_time_and_serve_hundreds_of_codes(tmp_path: Path) -> None:
    from jobtuner.taxonomy import Occupation, Taxonomy

    codes = [f"{1 + k // 50}{100 + k % 50}" for k in range(436)]
    taxonomy = Taxonomy([Occupation(code, {"en": f"Title {code}"}) for code in codes])
    rows = [Example(f"ad-{k}", f"text {k}", code, "en", f"c{k}") for k, code in enumerate(codes)]
    generator = np.random.default_rng(0)
    answers = {row.text: row.label if generator.random() < 0.6 else str(generator.choice(codes)) for row in rows}
    model = samples.TablePredictor(codes, answers, 0.7)
    result = samples.comparison(rows, model, model, validation=rows[:50], occupations=taxonomy)
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        write_report(result, tmp_path / name)
    for name in (*CHARTS, "report.html", "report.md"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
