import pytest

from jobtuner.prepare.labels import LabelResolver
from jobtuner.taxonomy import Occupation, Taxonomy

CODES = ["0", "01", "011", "0110", "2", "25", "251", "2512", "2513", "5", "51", "512", "5120", "11", "110"]
TITLES = {"0110": "Officers", "2512": "Software developers", "2513": "Web developers", "5120": "Cooks"}


def resolver(codes: list[str] = CODES) -> LabelResolver:
    return LabelResolver(Taxonomy([Occupation(code, {"en": TITLES.get(code, code)}) for code in codes], level=4))


def test_codes_and_titles_resolve() -> None:
    found = resolver()
    assert found.resolve("2512") == ("2512", "", "")
    assert found.resolve("web DEVELOPERS")[0] == "2513"


def test_zeros_come_back_only_where_the_short_code_means_nothing_else() -> None:
    with_group = resolver()
    code, kind, reason = with_group.resolve("110")
    assert (code, kind) == (None, "label of another level")
    assert reason == "label '110' is a code of level 3; labels are of level 4 (taxonomy.level)"
    without_group = resolver([code for code in CODES if code != "110"])
    assert without_group.resolve("110")[0] == "0110"
    assert without_group.resolve("110")[0] == "0110"
    without_group.resolve("2512")
    assert without_group.padded == 2


@pytest.mark.parametrize(
    ("label", "hint"),
    [
        ("25122", "; did you mean 2512 (Software developers)?"),
        ("2512.0", "; did you mean 2512 (Software developers)?"),
        ("Software developper", "; did you mean 2512 (Software developers)?"),
        ("zzz", ""),
    ],
)
def test_unknown_labels_get_the_nearest_one(label: str, hint: str) -> None:
    code, kind, reason = resolver().resolve(label)
    assert (code, kind) == (None, "unknown label")
    assert reason == f"label '{label}' is not in the taxonomy{hint}"


def test_hints_end_after_some_so_that_a_wrong_column_does_not_take_hours() -> None:
    found = resolver()
    reasons = [found.resolve(f"2512{number}")[2] for number in range(100, 160)]
    assert 10 < sum("did you mean" in reason for reason in reasons) < 40


MIXED = Taxonomy(
    [
        Occupation("1", {"en": "Manager", "fr": "Chef"}, "", {"en": ["lead"]}),
        Occupation("2", {"en": "Chef"}, "", {"en": ["lead", "kitchen lead"]}),
        Occupation("9", {"en": "Kitchen work"}, group=True),
    ]
)


def test_a_title_of_several_codes_is_rejected_with_their_names() -> None:
    found = LabelResolver(MIXED)
    assert found.resolve("LEAD", "en") == (
        None,
        "ambiguous label",
        "label 'LEAD' is a title of 2 codes: 1 (Manager), 2 (Chef)",
    )
    assert found.resolve("chef", "und")[1] == "ambiguous label"
    assert found.resolve("chef", "fr")[0] == "1"
    assert found.resolve("chef", "en")[0] == "2"
    assert found.resolve("9") == (
        None,
        "label of another level",
        "label '9' (Kitchen work) is a group of codes, no code of its own",
    )


def test_the_setting_says_how_far_to_look() -> None:
    assert [LabelResolver(MIXED, by).resolve("kitchen lead")[0] for by in ("code", "title", "alternative")] == [
        None,
        None,
        "2",
    ]
    assert [LabelResolver(MIXED, by).resolve("manager")[0] for by in ("code", "title", "alternative")] == [
        None,
        "1",
        "1",
    ]
    assert LabelResolver(MIXED, "code").resolve("2")[0] == "2"


def test_many_candidates_are_counted() -> None:
    many = Taxonomy([Occupation(str(number), {"en": "Clerk"}) for number in range(1, 9)])
    assert LabelResolver(many).resolve("clerk")[2].endswith("5 (Clerk) and 3 more")
