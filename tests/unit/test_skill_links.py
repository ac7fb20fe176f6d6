from pathlib import Path

import pytest

from jobtuner.errors import TaxonomyError
from jobtuner.skill_links import SkillConcept, SkillLinker, load_skills

CONCEPTS = [
    SkillConcept("s1", "Java (computer programming)", ("Java SE",)),
    SkillConcept("s2", "manage musical staff", ("direct musical staff", "C++")),
    SkillConcept("s3", "wound care", ("java",)),
    SkillConcept("s4", "direct musical staff"),
]


@pytest.mark.parametrize(
    ("phrase", "concept"),
    [
        ("Wound-care", "s3"),
        ("JAVA (computer programming)", "s1"),
        ("java se", "s1"),
        ("Java", "s3"),  # a name proper goes before one without its brackets
        ("direct musical staff", "s4"),  # a label before an alternative
        ("c++", "s2"),
        ("managing musical staff", "s2"),
        ("wound care.", "s3"),
        ("beekeeping", None),
        ("  ", None),
        ("", None),
    ],
)
def test_phrases_and_their_concepts(phrase: str, concept: str | None) -> None:
    (link,) = SkillLinker(CONCEPTS).link([phrase])
    assert (link.id if link else None) == concept


def test_a_name_counts_without_its_brackets() -> None:
    (link,) = SkillLinker(CONCEPTS[:2]).link(["Java"])
    assert link is not None
    assert (link.label, link.similarity) == ("Java (computer programming)", 1.0)


def test_least_1_links_equal_names_alone() -> None:
    assert SkillLinker(CONCEPTS, least=1.0).link(["managing musical staff", "wound care"])[0] is None


def test_similarity_is_told_and_the_order_is_kept() -> None:
    links = SkillLinker(CONCEPTS).link(["wound care", "zzz", "wound cares", "wound care"])
    assert [link.id if link else None for link in links] == ["s3", None, "s3", "s3"]
    assert links[2] is not None and 0.65 <= links[2].similarity < 1.0
    assert SkillLinker(CONCEPTS).link([]) == []


def test_files_of_esco_and_of_other_makers(tmp_path: Path) -> None:
    csv = tmp_path / "skills_en.csv"
    csv.write_text('conceptUri,preferredLabel,altLabels\nu1,wound care,"dress wounds\ncare for wounds"\nu2,triage,\n')
    assert load_skills(csv) == [
        SkillConcept("u1", "wound care", ("dress wounds", "care for wounds")),
        SkillConcept("u2", "triage"),
    ]
    rows = tmp_path / "skills.jsonl"
    rows.write_text('{"uri": "u1", "label": "a", "alt": ["b"]}\n{"uri": "u1", "label": "c"}\n')
    assert load_skills(rows) == [SkillConcept("u1", "a", ("b", "c"))]


@pytest.mark.parametrize(
    ("text", "told"),
    [('{"label": "a"}\n', "row 1"), ("not json\n", "JSON"), ("", "no rows"), ('{"uri": "u"}\n', "label")],
)
def test_files_that_are_no_taxonomy(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "skills.jsonl"
    path.write_text(text)
    with pytest.raises(TaxonomyError, match=told):
        load_skills(path)


def test_no_file_and_no_names(tmp_path: Path) -> None:
    with pytest.raises(TaxonomyError, match="no skills taxonomy"):
        load_skills(tmp_path / "none.csv")
    with pytest.raises(TaxonomyError, match="no names"):
        SkillLinker([SkillConcept("u", " - ")])
