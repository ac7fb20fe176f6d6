import json
from pathlib import Path

from typer.testing import CliRunner

from jobtuner.cli import app


def call(*words: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["taxonomy", *map(str, words)])
    return result.exit_code, result.output


def test_import_show_and_migrate_from_end_to_end(tmp_path: Path) -> None:
    old, new = tmp_path / "old.csv", tmp_path / "new.csv"
    old.write_text("code,title\n11,Nurses\n12,Clerks\n", encoding="utf-8")
    new.write_text("kode,navn\n1,Sygeplejersker\n21,Kontor\n22,Bank\n", encoding="utf-8")
    code, text = call(
        "import",
        "csv",
        new,
        "--code-column",
        "kode",
        "--title-column",
        "navn",
        "--language",
        "da",
        "-o",
        tmp_path / "new.jsonl",
    )
    assert code == 0 and "3 codes, 3 of them labels; titles: da 3; version " in text
    assert call("import", "csv", old, "-o", tmp_path / "old.jsonl")[0] == 0
    code, text = call("show", "sygeplejersker", "-t", tmp_path / "new.jsonl")
    assert code == 0 and "1  Sygeplejersker" in text and "da: Sygeplejersker" in text
    walk, rows = tmp_path / "walk.csv", tmp_path / "rows.jsonl"
    walk.write_text("old,new\n11,1\n12,21\n12,22\n", encoding="utf-8")
    rows.write_text('{"text": "a", "label": "11"}\n{"text": "b", "label": "12"}\n', encoding="utf-8")
    files = (
        tmp_path / "old.jsonl",
        tmp_path / "new.jsonl",
        "--crosswalk",
        walk,
        "-o",
        tmp_path / "out",
        "--rows",
        rows,
    )
    code, text = call("migrate", *files)
    assert code == 0 and "1 of 2 rows migrated" in text and "Next: mark the right code" in text
    review = tmp_path / "out" / "review.csv"
    done = tmp_path / "done.csv"
    done.write_text(review.read_text("utf-8").replace("22,Bank,", "22,Bank,x"), encoding="utf-8")
    code, text = call("migrate", *files, "--review", done)
    assert code == 0 and "2 of 2 rows migrated" in text and "Next" not in text
    labels = [json.loads(line)["label"] for line in (tmp_path / "out" / "rows.jsonl").read_text("utf-8").splitlines()]
    assert labels == ["1", "22"]


def test_show_lists_what_a_text_may_mean() -> None:
    code, text = call("show", "develop")
    assert code == 0 and "2512  Software developers" in text and "2513" in text
    code, text = call("show", "2512")
    assert code == 0 and "  2512  Software developers" in text and "de: Softwareentwickler" in text


def test_options_without_effect_and_unknown_forms_are_refused(tmp_path: Path) -> None:
    for words, message in (
        (("import", "xml", tmp_path, "-o", tmp_path / "a.jsonl"), "accepted are esco, onet, csv, jsonl"),
        (("import", "csv", tmp_path, "--soc", "-o", tmp_path / "a.jsonl"), "--soc has an effect on onet alone"),
        (
            ("import", "esco", tmp_path, "--language", "de", "-o", tmp_path / "a.jsonl"),
            "esco has columns and groups of its own",
        ),
        (("show", "qqqqq"), "No code and no title is like 'qqqqq'"),
    ):
        code, text = call(*words)
        assert code != 0
        assert message in " ".join(text.split()) or message in str(text)
