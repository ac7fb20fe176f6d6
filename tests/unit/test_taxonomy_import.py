import csv
import io
import json
import zipfile
from pathlib import Path

import pytest

from jobtuner.errors import TaxonomyError
from jobtuner.taxonomy import Occupation, load_taxonomy
from jobtuner.taxonomy_import import TableColumns, import_esco, import_onet, import_table, write_taxonomy

OCCUPATION_COLUMNS = (
    "conceptType,conceptUri,iscoGroup,preferredLabel,altLabels,hiddenLabels,status,modifiedDate,regulatedProfessionNote,"
    "scopeNote,definition,inScheme,description,code"
)
GROUP_COLUMNS = "conceptType,conceptUri,code,preferredLabel,status,altLabels,inScheme,description"


def table(columns: str, *rows: dict[str, str]) -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns.split(","), restval="")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def esco(folder: Path, language: str, director: str, others: str) -> Path:
    folder.mkdir(parents=True)
    occupations = table(
        OCCUPATION_COLUMNS,
        {
            "code": "2654.1",
            "preferredLabel": director,
            "altLabels": others,
            "status": "released",
            "description": f"d {language}",
        },
        {"code": "2654.1.7", "preferredLabel": f"stage, {language}", "status": "released", "hiddenLabels": "stagehand"},
        {"code": "2654.9", "preferredLabel": "gone", "status": "obsolete"},
    )
    groups = table(
        GROUP_COLUMNS, {"code": "0", "preferredLabel": "Army"}, {"code": "2654", "preferredLabel": "Directors"}
    )
    (folder / f"occupations_{language}.csv").write_text(occupations, encoding="utf-8-sig")
    (folder / f"ISCOGroups_{language}.csv").write_text(groups, encoding="utf-8")
    (folder / f"greenShareOcc_{language}.csv").write_text("conceptUri\n1\n", encoding="utf-8")
    return folder


def zipped(folder: Path, path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in folder.iterdir():
            archive.write(file, f"ESCO dataset/{file.name}")
    return path


def test_escos_release_in_two_languages_from_folder_and_zip(tmp_path: Path) -> None:
    english = esco(tmp_path / "en", "en", "film director", "director of films\nmovie director")
    german = zipped(esco(tmp_path / "de", "de", "Filmregisseur", ""), tmp_path / "de.zip")
    taxonomy = write_taxonomy(tmp_path / "esco.jsonl", import_esco([english, german]))
    loaded = load_taxonomy(tmp_path / "esco.jsonl")
    assert loaded.version == taxonomy.version
    assert loaded.labels == ["2654.1", "2654.1.7"]  # groups are none, and neither is the obsolete one
    assert loaded["2654.1"] == Occupation(
        "2654.1",
        {"en": "film director", "de": "Filmregisseur"},
        "d en",
        {"en": ["director of films", "movie director"]},
    )
    assert loaded["2654.1.7"].alternatives == {"en": ["stagehand"], "de": ["stagehand"]}
    assert loaded["0"].group and loaded["2654"].group


def onet(folder: Path) -> Path:
    folder.mkdir()
    (folder / "Occupation Data.txt").write_text(
        "O*NET-SOC Code\tTitle\tDescription\n"
        '11-1011.03\tChief Sustainability Officers\tSay "green".\n'
        "11-1011.00\tChief Executives\tLead.\n"
        "29-1141.00\tRegistered Nurses\tCare.\n",
        encoding="utf-8",
    )
    (folder / "Alternate Titles.txt").write_text(
        "O*NET-SOC Code\tAlternate Title\tShort Title\tSource(s)\n"
        '11-1011.00\tChief Executive Officer\tCEO\t08\n11-1011.00\t"Big" Boss\tn/a\t02\n',
        encoding="utf-8",
    )
    (folder / "Sample of Reported Titles.txt").write_text(
        "O*NET-SOC Code\tReported Job Title\tShown in My Next Move\n29-1141.00\tStaff Nurse\tY\n", encoding="utf-8"
    )
    return folder


def test_onets_text_release(tmp_path: Path) -> None:
    folder = onet(tmp_path / "db_text")
    first, second, third = import_onet([folder])
    assert first == Occupation(
        "11-1011.00", {"en": "Chief Executives"}, "Lead.", {"en": ["Chief Executive Officer", "CEO", '"Big" Boss']}
    )
    assert (second.code, second.description) == ("11-1011.03", 'Say "green".')
    assert third.alternatives == {"en": ["Staff Nurse"]}
    assert import_onet([zipped(folder, tmp_path / "db.zip")]) == [first, second, third]
    merged, _ = import_onet([folder], soc=True)
    assert (merged.code, merged.titles) == ("11-1011", {"en": "Chief Executives"})
    assert merged.alternatives["en"][0] == "Chief Sustainability Officers"


def test_tables_with_columns_of_their_own(tmp_path: Path) -> None:
    codes = tmp_path / "codes.jsonl"
    rows = [
        {"rome": "A1101", "label": "Conducteur", "title_short": "Cond.", "more": ["Tractoriste", ""]},
        {"rome": "A1102", "label": "Bûcheron", "more": "Abatteur|Élagueur", "title_de": "Holzfäller"},
    ]
    codes.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    titles = tmp_path / "titles.csv"
    titles.write_text("rome,title\nA1101,Conductrice\nA1101,Conducteur\n", encoding="utf-8")
    groups = tmp_path / "groups.csv"
    groups.write_text("rome,label\nA11,Engins\n", encoding="utf-8")
    columns = TableColumns(code=("rome",), title=("label", "title"), alternatives=("more",), language="fr")
    found = {item.code: item for item in import_table([codes, titles], columns, [groups])}
    assert found["A1101"] == Occupation("A1101", {"fr": "Conducteur"}, "", {"fr": ["Tractoriste", "Conductrice"]})
    assert found["A1102"].titles == {"fr": "Bûcheron", "de": "Holzfäller"}
    assert found["A1102"].alternatives == {"fr": ["Abatteur", "Élagueur"]}
    assert found["A11"].group


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.csv",
            "kode,title\n1,a\n",
            r"row 1: no code\. Its fields are kode, title; name the right one with --code-column",
        ),
        ("a.jsonl", '{"code": "1"}\nno\n', "line 2 is not JSON"),
        ("none.csv", None, "There is no file"),
    ],
)
def test_bad_tables_are_named(tmp_path: Path, name: str, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(TaxonomyError, match=message):
        import_table([tmp_path / name])


def test_other_folders_and_old_releases_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x", encoding="utf-8")
    with pytest.raises(TaxonomyError, match=r"no occupations_<language>\.csv: give ESCO's CSV download"):
        import_esco([tmp_path])
    with pytest.raises(TaxonomyError, match=r"no 'Occupation Data\.txt'"):
        import_onet([tmp_path])
    with pytest.raises(TaxonomyError, match="neither a folder nor a zip"):
        import_esco([tmp_path / "a.txt"])
    (tmp_path / "occupations_en.csv").write_text("conceptUri,preferredLabel\nx,y\n", encoding="utf-8")
    with pytest.raises(
        TaxonomyError, match=r"has no column code; it has conceptUri, preferredLabel\. ESCO 1\.1 or later"
    ):
        import_esco([tmp_path])
    with pytest.raises(TaxonomyError, match=r"must end with \.jsonl or \.jsonl\.gz"):
        write_taxonomy(tmp_path / "t.csv", [])
