import gzip
import json
from pathlib import Path

import pytest

from jobtuner.errors import TaxonomyError
from jobtuner.taxonomy import (
    LabelTrie,
    Occupation,
    Taxonomy,
    ancestors,
    builtin_taxonomy,
    load_taxonomy,
    normalise_title,
)


@pytest.mark.parametrize(
    ("code", "path"),
    [
        ("2512", ["2", "25", "251", "2512"]),
        ("2512.4", ["2", "25", "251", "2512", "2512.4"]),
        ("1.2.3", ["1", "1.2", "1.2.3"]),
    ],
)
def test_ancestors(code: str, path: list[str]) -> None:
    assert ancestors(code) == path


def test_the_builtin_taxonomy_is_what_the_generator_needs() -> None:
    taxonomy = builtin_taxonomy()
    assert len(taxonomy.labels) == 48
    assert {code[0] for code in taxonomy.labels} == set("0123456789")  # all ten major groups
    assert all(set(taxonomy[code].titles) == {"en", "es", "fr", "de", "da"} for code in taxonomy.labels)
    assert {"2512", "2513"} <= set(taxonomy.labels)  # hard neighbours


def test_labels_are_the_deepest_codes_or_those_of_a_level() -> None:
    rows = [Occupation(code) for code in ("2", "25", "251", "2512", "2513", "51", "5120")]
    assert Taxonomy(rows).labels == ["2512", "2513", "5120"]
    assert Taxonomy(rows, level=2).labels == ["25", "51"]
    with pytest.raises(TaxonomyError, match="level 9"):
        Taxonomy(rows, level=9)


def test_resolve_knows_codes_and_titles_in_any_language() -> None:
    taxonomy = Taxonomy([Occupation("5120", {"en": "Cooks", "de": "Köche"}), Occupation("51"), Occupation("8331")])
    assert taxonomy.resolve(" 5120 ") == "5120"
    assert taxonomy.resolve("KÖCHE") == "5120"
    assert taxonomy.resolve("51") is None  # in the taxonomy, but no label
    assert taxonomy.resolve("9999") is None


def test_titles_fall_back_to_english_then_any_then_code() -> None:
    taxonomy = Taxonomy([Occupation("1", {"en": "A", "de": "B"}), Occupation("2", {"de": "C"}), Occupation("7131")])
    assert [taxonomy.title("1", "de"), taxonomy.title("1", "fr"), taxonomy.title("2", "fr")] == ["B", "A", "C"]
    assert taxonomy.title("7131") == "7131"


def test_version_changes_with_content_and_survives_a_round_trip(tmp_path: Path) -> None:
    first = Taxonomy([Occupation("1", {"en": "A"}), Occupation("2", {"en": "B"})])
    other = Taxonomy([Occupation("1", {"en": "A"}), Occupation("2", {"en": "C"})])
    first.save(tmp_path / "t.json")
    assert Taxonomy.load(tmp_path / "t.json").version == first.version != other.version


def test_jsonl_and_csv_give_the_same_taxonomy(tmp_path: Path) -> None:
    rows = [{"code": "1", "titles": {"en": "A", "de": "Ä"}}, {"code": "2", "title_en": "B", "description_en": "b"}]
    jsonl = tmp_path / "t.jsonl.gz"
    jsonl.write_bytes(gzip.compress("\n".join(json.dumps(row) for row in rows).encode()))
    csv = tmp_path / "t.csv"
    csv.write_text("code,title,language,description\n1,A,en,\n1,Ä,de,\n2,B,en,b\n", encoding="utf-8-sig")
    first, second = load_taxonomy(jsonl), load_taxonomy(csv)
    assert first["1"].titles == second["1"].titles == {"en": "A", "de": "Ä"}
    assert first["2"].description == second["2"].description == "b"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.jsonl", b'{"code": "1"}\n{"kode": "2"}\n', r"row 2: no `code`.*kode"),
        ("t.jsonl", b'{"code": "1"}\n{oops\n', "line 2: not JSON"),
        ("t.jsonl", b"[1]\n", "list where a JSON object"),
        ("t.jsonl", b"", "empty"),
        ("t.jsonl", b'{"code": "1"}\n', "at least 2"),
        ("t.csv", b"code,title\n1,\xff\n", "UTF-8"),
        ("t.jsonl.gz", b"no gzip", "cannot be read"),
    ],
)
def test_a_bad_file_is_one_clear_error(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(TaxonomyError, match=message):
        load_taxonomy(path)


def test_a_missing_file_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(TaxonomyError, match="cannot be read"):
        load_taxonomy(tmp_path / "none.jsonl")


def test_trie_shares_prefixes() -> None:
    trie = LabelTrie([[2, 5, 1], [2, 5, 2], [3, 1, 1]])
    assert len(trie) == 1 + 4 + 3  # the root; 2, 5, 1, 2; 3, 1, 1
    assert [trie.tokens[leaf] for leaf in trie.leaves] == [1, 2, 1]
    assert all(parent < node for node, parent in enumerate(trie.parents) if node)


def test_further_titles_of_a_language_are_alternatives(tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    table.write_text("code,lang,label\n2221,en,nurse\n2221,en,ward nurse\n2221,da,sygeplejerske\n2512,en,coder\n")
    lines = tmp_path / "codes.jsonl"
    rows = [
        {"code": "2221", "titles": {"en": "nurse"}, "title_da": "sygeplejerske", "alt_en": ["nurse", "ward nurse"]},
        {"code": "2512", "title": "coder"},
    ]
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for path in (table, lines):
        nurse = load_taxonomy(path)["2221"]
        assert nurse.titles == {"en": "nurse", "da": "sygeplejerske"} and nurse.alternatives == {"en": ["ward nurse"]}
        assert set(nurse.all_titles()) == {("en", "nurse"), ("da", "sygeplejerske"), ("en", "ward nurse")}


def test_alternatives_survive_saving_and_are_part_of_the_version(tmp_path: Path) -> None:
    plain = Taxonomy([Occupation("1", {"en": "a"}), Occupation("2", {"en": "b"})])
    rich = Taxonomy([Occupation("1", {"en": "a"}, "", {"en": ["aa"]}), Occupation("2", {"en": "b"})])
    rich.save(tmp_path / "taxonomy.json")
    loaded = Taxonomy.load(tmp_path / "taxonomy.json")
    assert loaded["1"].alternatives == {"en": ["aa"]} and loaded.version == rich.version != plain.version


def test_a_taxonomy_may_name_its_columns_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "series.csv"
    path.write_text("series,name\n0006,Correctional Institution Administration\n0007,Correctional Officer\n")
    taxonomy = load_taxonomy(path, code_column="series", title_column="name")
    assert taxonomy.title("0007") == "Correctional Officer"
    with pytest.raises(TaxonomyError, match="no `code`"):
        load_taxonomy(path)


def test_marked_groups_make_all_other_codes_labels(tmp_path: Path) -> None:
    rows = [
        {"code": "2654", "title": "Directors", "group": True},
        {"code": "2654.1", "title": "technical director"},
        {"code": "2654.1.7", "title": "stage manager"},
    ]
    path = tmp_path / "esco.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    marked = load_taxonomy(path)
    assert marked.labels == ["2654.1", "2654.1.7"]
    marked.save(tmp_path / "saved.json")
    loaded = Taxonomy.load(tmp_path / "saved.json")
    assert loaded.labels == marked.labels and loaded.version == marked.version
    plain = Taxonomy(
        [Occupation(code, dict(item.titles)) for code, item in marked.occupations.items()] + [Occupation("9")]
    )
    assert plain.labels == ["2654.1.7", "9"]
    assert plain.version != marked.version


def test_hyphens_in_codes_are_no_level() -> None:
    assert ancestors("11-1011.03") == ["1", "11", "11-1", "11-10", "11-101", "11-1011", "11-1011.03"]


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("Software-Entwickler (m/w/d)", "software entwickler m w d"),
        ("CAFE\u0301 Manager", "café manager"),
        ("STRASSENBAHNFAHRER", "Straßenbahnfahrer"),
        ("C++ / C# developer", "c++ c# developer"),
        ("front_end", "front end"),
        ("Повар", "ПОВАР"),
    ],
)
def test_titles_are_compared_without_case_and_punctuation(text: str, same: str) -> None:
    assert normalise_title(text) == normalise_title(same)


def test_candidates_prefer_the_rows_language_then_own_titles() -> None:
    taxonomy = Taxonomy(
        [
            Occupation("1", {"en": "Manager", "fr": "Chef"}, "", {"en": ["lead"]}),
            Occupation("2", {"en": "Chef"}, "", {"en": ["lead", "Kitchen-Lead"], "fr": ["Cuisinier"]}),
        ]
    )
    assert taxonomy.candidates("chef") == ["1", "2"] and taxonomy.resolve("chef") is None
    assert taxonomy.resolve("chef", "en") == "2" and taxonomy.resolve("chef", "fr") == "1"
    assert taxonomy.candidates("Lead") == ["1", "2"]
    assert taxonomy.resolve("kitchen lead") == taxonomy.resolve("cuisinier", "en") == "2"
    assert taxonomy.candidates("kitchen lead", alternatives=False) == []


def test_groups_are_named_for_the_sample_alone() -> None:
    assert builtin_taxonomy().title("4") == "Clerical support workers"
    soc = Taxonomy([Occupation("41-2011", {"en": "Cashiers"}), Occupation("43-4051", {"en": "Service clerks"})])
    assert [soc.title(code) for code in ("4", "43", "41-2011")] == ["4", "43", "Cashiers"]


def test_a_runs_taxonomy_is_accepted_wherever_a_users_is(tmp_path: Path) -> None:
    saved = Taxonomy([Occupation("2221", {"en": "Nurses"}), Occupation("2222", {"en": "Midwives"})], level=4)
    saved.save(tmp_path / "taxonomy.json")
    assert load_taxonomy(tmp_path / "taxonomy.json").version == saved.version
    with pytest.raises(TaxonomyError, match="at level 2"):
        load_taxonomy(tmp_path / "taxonomy.json", level=2)
    lines = '{"code": "1", "title": "Cook"}\n{"code": "2", "title": "Waiter"}\n'
    (tmp_path / "lines.json").write_text(lines, encoding="utf-8")  # JSONL under another name, as before
    assert load_taxonomy(tmp_path / "lines.json").labels == ["1", "2"]
