import csv
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from jobtuner.config import (
    CleanConfig,
    Columns,
    Config,
    DataConfig,
    DeduplicateConfig,
    GenerateConfig,
    SplitConfig,
    TaxonomyConfig,
)
from jobtuner.contracts import PreparedData
from jobtuner.errors import DataError, StorageError, TaxonomyError
from jobtuner.prepare.card_charts import CHARTS
from jobtuner.prepare.stage import run
from jobtuner.records import Example, read_jsonl
from jobtuner.taxonomy import Taxonomy, builtin_taxonomy

SPLITS = ("train", "validation", "test")
PLACES = (
    "Leeds",
    "Bristol",
    "Norwich",
    "Cardiff",
    "Derby",
    "Exeter",
    "York",
    "Bath",
    "Truro",
    "Oban",
    "Ripon",
    "Wells",
)
JOBS = {"2512": "software developer", "5120": "kitchen cook", "2221": "registered nurse", "0110": "army officer"}


def rows_for(labels: list[str], rows: int = 12, language: str = "en") -> list[dict[str, Any]]:
    letters = random.Random(5).choices(sorted(set("".join(PLACES).lower())), k=1000)
    return [
        {
            "text": f"{JOBS[label]} in {PLACES[number % 12]} {''.join(letters[9 * number + index :][:9])}",
            "label": label,
            "language": language,
        }
        for index, label in enumerate(labels)
        for number in range(rows)
    ]


def write(folder: Path, rows: list[dict[str, Any]]) -> str:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def config(source: str | None, columns: Columns | None = None, **sections: Any) -> Config:
    data = DataConfig(input=source, columns=columns or Columns(), generate=GenerateConfig(ads_per_unit=2))
    return Config(**{"name": "test", "data": data, **sections})


def prepare(settings: Config, out: Path) -> PreparedData:
    out.mkdir()
    return run(settings, {}, out)


def examples(data: PreparedData) -> dict[str, list[Example]]:
    return {name: [Example.from_json(row) for row in read_jsonl(data.folder / f"{name}.jsonl")] for name in SPLITS}


def reasons(data: PreparedData) -> dict[str, str]:
    return {row["id"]: row["reason"] for row in read_jsonl(data.folder / "rejected.jsonl")}


def test_generated_ads_become_splits(tmp_path: Path) -> None:
    data = prepare(config(None), tmp_path / "out")
    names = {path.name for path in data.folder.iterdir()}
    assert names == {
        *(f"{name}.jsonl" for name in SPLITS),
        "rejected.jsonl",
        "duplicates.jsonl",
        "taxonomy.json",
        "card.md",
        "card.html",
        *(set(CHARTS) - {"card_tokens.png"}),
        "contract.json",
    }
    assert PreparedData.load(data.folder) == data
    assert data.source == "generated"
    assert data.languages == ["da", "de", "en", "es", "fr"]
    assert data.labels == builtin_taxonomy().labels
    assert Taxonomy.load(data.folder / "taxonomy.json").version == data.taxonomy_version
    found = examples(data)
    assert {name: len(rows) for name, rows in found.items()} == {name: data.counts[name] for name in SPLITS}
    assert data.counts["read"] == 2 * 5 * len(data.labels)
    everything = [row for rows in found.values() for row in rows]
    assert len({row.id for row in everything}) == len(everything)
    assert not [row.text for row in everything if "@" in row.text or "http" in row.text or "<h2>" in row.text]


def test_runs_are_repeatable_and_the_seed_counts(tmp_path: Path) -> None:
    first, second = prepare(config(None), tmp_path / "a"), prepare(config(None), tmp_path / "b")
    assert first.fingerprint == second.fingerprint
    assert prepare(config(None, seed=3), tmp_path / "c").fingerprint != first.fingerprint


def test_fingerprint_follows_the_taxonomy(tmp_path: Path) -> None:
    rows = write(tmp_path, rows_for(["2512", "5120"]))
    taxonomy = tmp_path / "t.csv"
    taxonomy.write_text("code,title\n2512,a\n5120,b\n", encoding="utf-8")
    one = prepare(config(rows, taxonomy=TaxonomyConfig(path=str(taxonomy))), tmp_path / "a")
    taxonomy.write_text("code,title\n2512,a\n5120,other\n", encoding="utf-8")
    two = prepare(config(rows, taxonomy=TaxonomyConfig(path=f"file://{taxonomy}")), tmp_path / "b")
    assert (one.folder / "train.jsonl").read_bytes() == (two.folder / "train.jsonl").read_bytes()
    assert one.fingerprint != two.fingerprint


def test_row_order_changes_nothing_where_rows_have_ids(tmp_path: Path) -> None:
    rows = [{**row, "key": f"k{place}"} for place, row in enumerate(rows_for(list(JOBS), 12))]
    rows += [{**rows[3], "key": "k900"}, {**rows[7], "key": "k901"}]
    shuffled = list(rows)
    random.Random(1).shuffle(shuffled)
    (tmp_path / "x").mkdir()
    columns = Columns(id="key")
    one = prepare(config(write(tmp_path, rows), columns), tmp_path / "a")
    two = prepare(config(write(tmp_path / "x", shuffled), columns), tmp_path / "b")
    assert one.fingerprint == two.fingerprint
    assert list(read_jsonl(two.folder / "duplicates.jsonl")) == [
        {"id": "k900", "kept": "k3"},
        {"id": "k901", "kept": "k7"},
    ]


def test_nothing_vanishes(tmp_path: Path) -> None:
    rows = rows_for(["2512", "5120", "2221"], 12)
    rows += [rows[0], {**rows[0], "text": rows[0]["text"].upper()}]  # two duplicates
    rows += [{**rows[5], "label": "5120"}]  # a conflict: rejects row 6 as well
    rows += [{"text": "officer", "label": "0110", "language": "en"}]  # rare
    rows += [{"text": "nobody", "label": "25122", "language": "en"}, {"text": "ok", "label": "2512", "language": "en"}]
    rows += [{"text": "<p> </p>", "label": "2512", "language": "en"}, {"text": "none", "label": None, "language": "en"}]
    data = prepare(config(write(tmp_path, rows)), tmp_path / "out")
    assert data.counts["read"] == len(rows) == 44
    assert data.counts["rejected"] == len(reasons(data)) == 7
    assert data.counts["duplicates"] == 2
    assert sum(data.counts[name] for name in SPLITS) == 44 - 7 - 2
    assert reasons(data) == {
        "rows.jsonl:6": "conflicting labels 2512, 5120 for the same text",
        "rows.jsonl:39": "conflicting labels 2512, 5120 for the same text",
        "rows.jsonl:40": "label 0110 has 1 usable rows, at least 3 are needed (split.min_label_rows)",
        "rows.jsonl:41": "label '25122' is not in the taxonomy; did you mean 2512 (Software developers and engineers)?",
        "rows.jsonl:42": "text too short: 2 characters after cleaning, at least 3 are needed",
        "rows.jsonl:43": "text too short: 0 characters after cleaning, at least 3 are needed",
        "rows.jsonl:44": "no label",
    }
    ids = [row.id for rows in examples(data).values() for row in rows]
    ids += [*reasons(data), *(row["id"] for row in read_jsonl(data.folder / "duplicates.jsonl"))]
    assert sorted(ids) == sorted(f"rows.jsonl:{number}" for number in range(1, 45))
    assert "| = rejected | 7 |" in (data.folder / "card.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_number_columns_get_their_zeros_back(tmp_path: Path, form: str) -> None:
    rows = rows_for(["0110", "2512"])
    path = tmp_path / f"rows.{form}"
    if form == "csv":
        with path.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, ["text", "label", "language"])
            writer.writeheader()
            writer.writerows({**row, "label": int(row["label"])} for row in rows)
    else:
        parquet.write_table(pa.Table.from_pylist([{**row, "label": int(row["label"])} for row in rows]), path)
    data = prepare(config(str(path)), tmp_path / "out")
    assert data.labels == ["0110", "2512"]
    assert "| labels that got leading zeros back | 12 |" in (data.folder / "card.md").read_text(encoding="utf-8")


def test_group_and_near_duplicates_stay_on_one_side(tmp_path: Path) -> None:
    rows = rows_for(["2512", "5120"], 12)
    for place, row in enumerate(rows):
        row["employer"] = "acme" if place in {0, 5, 14, 20} else None
    base = "we are looking for a very experienced software developer who likes " + "long sentences " * 5
    rows += [{"text": base + tail, "label": "2512", "language": "en"} for tail in ("now", "today", "soon", "then")]
    data = prepare(config(write(tmp_path, rows), Columns(group="employer")), tmp_path / "out")
    sides: dict[str, set[str]] = {}
    sizes = Counter[str]()
    for name, split in examples(data).items():
        for example in split:
            sides.setdefault(example.cluster, set()).add(name)
            sizes[example.cluster] += 1
    assert all(len(found) == 1 for found in sides.values())
    assert sorted(sizes.values())[-2:] == [4, 4]


def test_settings_take_effect(tmp_path: Path) -> None:
    rows = rows_for(["2512", "5120"], 12)
    rows[0]["text"] += " mail me@example.com " + "more words " * 30
    source = write(tmp_path, rows)
    kept = prepare(config(source, clean=CleanConfig(personal_data=False)), tmp_path / "a")
    assert sum("me@example.com" in row.text for split in examples(kept).values() for row in split) == 1
    cut = prepare(config(source, clean=CleanConfig(max_chars=60)), tmp_path / "b")
    assert max(len(row.text) for split in examples(cut).values() for row in split) <= 60
    assert "| rows cut to the longest length | 1 |" in (cut.folder / "card.md").read_text(encoding="utf-8")
    larger = prepare(config(source, split=SplitConfig(test=0.4, validation=0.1)), tmp_path / "c")
    assert larger.counts["test"] > kept.counts["test"]
    found = {}
    for threshold in (0.6, 1.0):
        strict = config(near_duplicates(tmp_path), deduplicate=DeduplicateConfig(threshold=threshold))
        rows_out = examples(prepare(strict, tmp_path / f"d{threshold}")).values()
        found[threshold] = len({row.cluster for split in rows_out for row in split})
    assert found == {0.6: 24 + 1, 1.0: 24 + 4}


def near_duplicates(folder: Path) -> str:
    base = "we are looking for a very experienced software developer who likes " + "long sentences " * 5
    rows = [{"text": base + tail, "label": "2512", "language": "en"} for tail in ("now", "today", "soon", "then")]
    return write(folder, rows_for(["2512", "5120"], 12) + rows)


def test_max_rows_reads_a_balanced_beginning(tmp_path: Path) -> None:
    data = DataConfig(generate=GenerateConfig(ads_per_unit=8, languages=("en", "da")), max_rows=6 * 96)
    done = prepare(Config(name="test", data=data), tmp_path / "out")
    assert done.counts["read"] == 6 * 96
    assert set(Counter(row.label for split in examples(done).values() for row in split).values()) == {12}


def test_one_language_is_enough(tmp_path: Path) -> None:
    data = prepare(config(write(tmp_path, rows_for(["2512", "5120"], language="da"))), tmp_path / "out")
    assert data.languages == ["da"]


def test_repeated_id_is_rejected(tmp_path: Path) -> None:
    rows = [{**row, "key": place} for place, row in enumerate(rows_for(["2512", "5120"]))]
    rows[4]["key"] = 3
    data = prepare(config(write(tmp_path, rows), Columns(id="key")), tmp_path / "out")
    assert reasons(data) == {"3": "id '3' occurs in an earlier row"}


def test_level_of_the_taxonomy_decides_which_codes_are_labels(tmp_path: Path) -> None:
    taxonomy = tmp_path / "t.csv"
    taxonomy.write_text("code,title\n25,ICT\n51,Service\n2512,a\n5120,b\n", encoding="utf-8")
    rows = rows_for(["2512", "5120"])
    source = write(tmp_path, [{**row, "label": row["label"][:2]} for row in rows] + rows[:3])
    data = prepare(config(source, taxonomy=TaxonomyConfig(path=str(taxonomy), level=2)), tmp_path / "a")
    assert data.labels == ["25", "51"]
    assert set(reasons(data).values()) == {"label '2512' is a code of level 4; labels are of level 2 (taxonomy.level)"}
    with pytest.raises(TaxonomyError, match="0 codes to choose from at level 3"):
        prepare(config(source, taxonomy=TaxonomyConfig(level=3)), tmp_path / "b")


def test_too_many_rejected_rows_show_the_reasons(tmp_path: Path) -> None:
    rows = rows_for(["2512", "5120"])
    rows += [{"text": f"waiter {place}", "label": "99999", "language": "en"} for place in range(20)]
    rows += [{"text": f"nothing {place}", "label": None, "language": "en"} for place in range(10)]
    with pytest.raises(DataError) as caught:
        prepare(config(write(tmp_path, rows)), tmp_path / "out")
    message = str(caught.value)
    assert message.startswith("30 of 54 rows were rejected; at most 50% may be (data.max_rejected):")
    assert "20 × unknown label, e.g. rows.jsonl:25: label '99999' is not in the taxonomy (text: 'waiter 0')" in message
    assert "10 × no label, e.g. rows.jsonl:45" in message
    assert "Check data.columns and taxonomy.path" in message
    assert not (tmp_path / "out" / "contract.json").exists()


def test_all_rows_rejected_fails_even_where_any_share_is_allowed(tmp_path: Path) -> None:
    source = write(tmp_path, [{"text": "waiter", "label": "x", "language": "en"}])
    settings = Config(name="test", data=DataConfig(input=source, max_rejected=1.0))
    with pytest.raises(DataError, match="1 of 1 rows were rejected"):
        prepare(settings, tmp_path / "out")


def test_one_label_is_no_choice(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"12 usable rows have 1 labels \(2512\); at least 2 are needed"):
        prepare(config(write(tmp_path, rows_for(["2512"]))), tmp_path / "out")


def test_labels_with_one_row_are_rejected_or_trained(tmp_path: Path) -> None:
    rows = rows_for(["2512", "5120"], 12) + rows_for(["2221"], 1)
    source = write(tmp_path, rows)
    strict = prepare(config(source), tmp_path / "a")
    assert strict.labels == ["2512", "5120"]
    lenient = prepare(config(source, split=SplitConfig(min_label_rows=1)), tmp_path / "b")
    assert lenient.labels == ["2221", "2512", "5120"]


def test_an_empty_split_is_named(tmp_path: Path) -> None:
    rows = rows_for(["2512", "5120"], 1)
    with pytest.raises(DataError, match=r"The split 'validation' is empty: 2 usable rows form 2 clusters"):
        prepare(config(write(tmp_path, rows), split=SplitConfig(min_label_rows=1)), tmp_path / "out")


def test_missing_and_refused_inputs(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        prepare(config(str(tmp_path / "none.csv")), tmp_path / "a")
    with pytest.raises(StorageError, match="https:// is not accepted"):
        prepare(config("https://example.com/ads.csv"), tmp_path / "b")
    with pytest.raises(DataError, match="languages is empty"):
        prepare(Config(name="t", data=DataConfig(generate=GenerateConfig(languages=()))), tmp_path / "c")
    with pytest.raises(DataError, match=r"reads no other stage; it got \['train'\]"):
        run(config(None), {"train": tmp_path}, tmp_path)


GERMAN = "Wir suchen eine Fachkraft für die Nachtschicht und die Wochenenden in unserem Haus"
FRENCH = "Nous cherchons une personne pour le service de nuit et les fins de semaine dans notre maison"


@pytest.mark.parametrize(("mode", "expected"), [("missing", "de"), ("always", "de"), ("never", "und")])
def test_languages_are_found_where_the_recipe_says_so(mode: Any, expected: str) -> None:
    from jobtuner.prepare.parts import numbered
    from jobtuner.prepare.steps import preprocess
    from jobtuner.records import JobAd

    config = Config(name="t", data=DataConfig(detect_language=mode, languages=("de", "fr", "en")))
    ads = [JobAd("a", GERMAN, "5120"), JobAd("b", FRENCH, "5120", "en")]
    rows = list(numbered(ads))
    preprocess(rows, config, builtin_taxonomy())
    assert [row["language"] for row in rows] == [expected, "fr" if mode == "always" else "en"]


def test_a_found_language_settles_a_title_that_means_two_codes() -> None:
    from jobtuner.prepare.parts import numbered
    from jobtuner.prepare.steps import preprocess
    from jobtuner.records import JobAd
    from jobtuner.taxonomy import Occupation

    taxonomy = Taxonomy([Occupation("1", {"fr": "Chef"}), Occupation("2", {"de": "Chef"}), Occupation("3")])
    ads = [JobAd("a", GERMAN, "chef"), JobAd("b", FRENCH, "CHEF"), JobAd("c", GERMAN, "Koch")]
    for mode, labels in (("missing", ["2", "1"]), ("never", ["chef", "CHEF"])):
        rows = list(numbered(ads))
        preprocess(rows, Config(name="t", data=DataConfig(detect_language=mode, languages=("de", "fr"))), taxonomy)  # type: ignore[arg-type]
        assert [row["label"] for row in rows[:2]] == labels
        kinds = (
            ["", "", "unknown label"] if mode == "missing" else ["ambiguous label", "ambiguous label", "unknown label"]
        )
        assert [row["kind"] for row in rows] == kinds


@pytest.mark.parametrize(("orders", "read"), [(True, "Cook wanted. Call us."), (False, None)])
def test_what_names_a_code_goes_from_training_as_from_serving(orders: bool, read: str | None) -> None:
    from jobtuner.prepare.parts import numbered
    from jobtuner.prepare.steps import preprocess
    from jobtuner.records import JobAd
    from jobtuner.taxonomy import builtin_taxonomy

    text = "Cook wanted. Our reference 5120 is to be quoted. Call us."
    rows = list(numbered([JobAd("a", text, "5120")]))
    preprocess(rows, Config(name="t", clean=CleanConfig(orders=orders)), builtin_taxonomy())
    assert rows[0]["text"] == (read or text)


def test_several_right_codes_and_sources_reach_the_examples(tmp_path: Path) -> None:
    rows = [{**row, "board": "a" if number % 2 else None} for number, row in enumerate(rows_for(list(JOBS)))]
    rows[0]["label"], rows[1]["label"] = ["2512", "2512", "5120"], "2512|2221"
    rows[2]["label"] = ["2512", "9999"]
    disputed = [{**rows[3], "label": label} for label in ("2221", "0110", "0110")]
    source = write(tmp_path, [*rows, *disputed])
    columns = Columns(source="board")
    data = prepare(config(source, columns, deduplicate=DeduplicateConfig(conflicts="accept")), tmp_path / "accept")
    found = {row.id: row for part in examples(data).values() for row in part}
    one, two = found["rows.jsonl:1"], found["rows.jsonl:2"]
    assert ((one.label, one.accepted), (two.label, two.accepted)) == (("2512", ["5120"]), ("2512", ["2221"]))
    assert (one.source, two.source) == ("", "a")
    stays = found[f"rows.jsonl:{len(rows) + 2}"]  # the first of those with the most frequent label
    assert (stays.label, stays.accepted) == ("0110", ["2221", "2512"])
    assert reasons(data) == {"rows.jsonl:3": "label '9999' is not in the taxonomy"}
    assert data.counts["duplicates"] == 3
    refused = prepare(config(source, columns), tmp_path / "reject")
    assert sum("conflicting labels" in reason for reason in reasons(refused).values()) == 4
