import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from jobtuner.config import Config, load_config
from jobtuner.errors import DataError
from jobtuner.prepare.chat_rows import ChatRow, read_chat_rows, spans_of
from jobtuner.prepare.sources import Rejected


def _config(task: str, **settings: str) -> Config:
    return load_config("smoke", {"task": task, **{key.replace("__", "."): value for key, value in settings.items()}})


def _read(tmp_path: Path, rows: list[Any], config: Config) -> list[ChatRow | Rejected]:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), "utf-8")
    return list(read_chat_rows(str(path), tmp_path, config))


def _quoted(row: ChatRow | Rejected) -> list[str]:
    assert isinstance(row, ChatRow)
    return [row.text[a:b] for a, b in row.spans or spans_of(row.skills, row.text)]


def test_tags_become_places_and_layers_lie_over_each_other(tmp_path: Path) -> None:
    row = {
        "tokens": ["You", "plan", "big", "projects", "in", "Python", ",", "SQL"],
        "skill": ["O", "B", "I", "I", "O", "O", "O", "O"],
        "knowledge": ["O", "O", "O", "O", "O", "B-Knowledge", "O", "I"],
        "lang": "en",
    }
    config = _config("skills", chat__columns__tokens="tokens", chat__columns__tags="[skill, knowledge]")
    [found] = _read(tmp_path, [row], config)
    assert _quoted(found) == ["plan big projects", "Python", "SQL"]
    assert found == _read(tmp_path, [row], config)[0]


def test_lists_of_texts_and_of_places_give_the_same(tmp_path: Path) -> None:
    text = "Python and SQL, more SQL"
    rows = [{"text": text, "skills": ["sql", "Python"]}, {"text": text, "skills": [{"start": 11, "end": 14}]}]
    texts, places = _read(tmp_path, rows, _config("skills"))
    assert _quoted(texts) == ["Python", "SQL", "SQL"]
    assert _quoted(places) == ["SQL"]


@pytest.mark.parametrize(
    ("more", "links"),
    [
        ({"skills": ["sql", "Python"], "ids": ["urn:1", None]}, ("urn:1",)),
        ({"skills": ["sql", "Python"], "ids": [["urn:1", "urn:2"], []]}, ("urn:1", "urn:2")),
        ({"skills": "sql", "ids": " urn:1 "}, ("urn:1",)),
        ({"skills": [{"start": 0, "end": 6, "ids": "urn:3"}, {"start": 11, "end": 14}]}, ("urn:3",)),
        ({"skills": []}, ()),
    ],
)
def test_gold_links_of_a_row_or_of_its_skills(tmp_path: Path, more: dict[str, Any], links: tuple[str, ...]) -> None:
    config = _config("skills", chat__columns__links="ids", chat__skills_taxonomy="concepts.csv")
    [found] = _read(tmp_path, [{"text": "Python and SQL", **more}], config)
    assert isinstance(found, ChatRow) and found.links == links


@pytest.mark.parametrize(("more", "words"), [({}, "neither the row nor its skills"), ({"ids": 7}, "holds int")])
def test_rows_without_usable_links_are_rejected(tmp_path: Path, more: dict[str, Any], words: str) -> None:
    config = _config("skills", chat__columns__links="ids", chat__skills_taxonomy="concepts.csv")
    [found] = _read(tmp_path, [{"text": "Python and SQL", "skills": ["sql"], **more}], config)
    assert isinstance(found, Rejected) and words in found.reason


def test_rows_with_one_skill_each_are_put_together(tmp_path: Path) -> None:
    rows = [
        {"sentence": "Python and SQL", "span": "SQL"},
        {"sentence": "Excel", "span": "Excel"},
        {"sentence": "Python and SQL", "span": "Python"},
    ]
    config = _config("skills", data__columns__text="sentence", chat__columns__skills="span")
    assert [_quoted(row) for row in _read(tmp_path, rows, config)] == [["Python", "SQL"], ["Excel"]]


@pytest.mark.parametrize(
    ("task", "row", "kind"),
    [
        ("skills", {"text": " ", "skills": []}, "no text"),
        ("skills", {"text": "a"}, "no skills"),
        ("skills", {"text": "a", "skills": [3]}, "skills of another form"),
        ("skills", {"text": "abc", "skills": [{"start": 2, "end": 9}]}, "span outside the text"),
        ("skills", {"text": "abc", "skills": [{"start": 2}]}, "span outside the text"),
        ("skills", "{broken", "broken row"),
        ("skills", "[1]", "broken row"),
        ("cover_letter", {"text": "ad"}, "no applicant"),
        ("cover_letter", {"text": "ad", "applicant": {"age": 3}}, "applicant not usable"),
        ("instruct", {"prompt": "a"}, "no chat"),
        ("instruct", {"messages": [{"role": "user", "content": "a"}]}, "no chat"),
    ],
)
def test_what_cannot_be_used_is_rejected_with_its_reason(tmp_path: Path, task: str, row: Any, kind: str) -> None:
    [found] = _read(tmp_path, [row], _config(task))
    assert isinstance(found, Rejected)
    assert found.kind == kind
    assert found.reason.startswith(kind)


def test_tags_that_do_not_fit_their_tokens_are_rejected(tmp_path: Path) -> None:
    config = _config("skills", chat__columns__tokens="tokens", chat__columns__tags="[tags]")
    for tags in (["B"], ["B", "X"], None):
        [found] = _read(tmp_path, [{"tokens": ["a", "b"], "tags": tags}], config)
        assert isinstance(found, Rejected) and found.kind == "tags do not fit"


def test_letters_and_chats_are_read(tmp_path: Path) -> None:
    row = {"text": "Nurse wanted", "applicant": {"name": "Eva", "skills": ["triage"]}, "letter": " Dear all "}
    [letter] = _read(tmp_path, [row], _config("cover_letter"))
    assert isinstance(letter, ChatRow) and letter.answer == "Dear all"
    assert letter.facts == {"applicant": {"name": "Eva", "skills": ["triage"]}}
    chats = [
        {"instruction": "Add", "input": "2 2", "output": "4"},
        {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]},
    ]
    first, second = _read(tmp_path, chats, _config("instruct"))
    assert isinstance(first, ChatRow) and isinstance(second, ChatRow)
    assert (first.answer, second.text, second.answer) == ("4", "Hi", "Hello")


CHATS = [
    {"conversations": [{"from": "human", "value": f"Ask {n}"}, {"from": "gpt", "value": f"Say {n}"}], "score": 5.0}
    for n in range(3)
]
"""The columns of mlabonne/FineTome-100k."""


@pytest.mark.parametrize("form", ["hf", "rows.jsonl.zst", "rows.parquet.gz", "rows.csv"])
def test_chats_come_from_the_hub_and_from_every_form_of_file(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "set").mkdir()
    location, ids = str(tmp_path / "set" / form), f"{form}:1"
    if form == "hf":
        location, ids = f"hf://{tmp_path}/set#train", f"{tmp_path}/set#train:1"
        parquet.write_table(pa.Table.from_pylist(CHATS), tmp_path / "set" / "train.parquet")
    elif form.endswith(".zst"):
        Path(location).write_bytes(
            pa.compress("".join(json.dumps(row) + "\n" for row in CHATS).encode(), "zstd", asbytes=True)
        )
    elif form.endswith(".gz"):
        parquet.write_table(pa.Table.from_pylist(CHATS), tmp_path / "plain.parquet")
        Path(location).write_bytes(gzip.compress((tmp_path / "plain.parquet").read_bytes()))
    else:
        Path(location).write_text("instruction,output\nAsk 0,Say 0\nAsk 1,Say 1\nAsk 2,Say 2\n")
    rows = list(read_chat_rows(location, tmp_path, _config("instruct")))
    assert [(row.text, row.answer) for row in rows if isinstance(row, ChatRow)] == [
        (f"Ask {n}", f"Say {n}") for n in range(3)
    ]
    assert rows[0].id == ids


def test_files_that_cannot_be_used_are_errors(tmp_path: Path) -> None:
    config = _config("skills")
    (tmp_path / "a.txt").write_text("text,skills\n")
    with pytest.raises(DataError, match="ends with none of"):
        list(read_chat_rows(f"{tmp_path}/a.txt", tmp_path, config))
    (tmp_path / "b.jsonl").write_text("\n")
    with pytest.raises(DataError, match="is empty"):
        list(read_chat_rows(f"{tmp_path}/b.jsonl", tmp_path, config))
    (tmp_path / "c.jsonl.gz").write_bytes(gzip.compress(b'{"text": 1}' * 99)[:-9])
    with pytest.raises(DataError, match="no complete gzip file"):
        list(read_chat_rows(f"{tmp_path}/c.jsonl.gz", tmp_path, config))
    with pytest.raises(DataError, match="does not exist"):
        list(read_chat_rows(f"{tmp_path}/none", tmp_path, config))
