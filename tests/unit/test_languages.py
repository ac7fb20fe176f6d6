import pytest

from jobtuner.errors import DataError
from jobtuner.languages import LanguageFinder, language_finder, languages_of


def test_ads_are_recognised_and_both_norwegian_forms_are_one() -> None:
    finder = LanguageFinder(["en", "de", "no"])
    assert finder.find("Nurse wanted for the night shift, to dress wounds and write the handover") == "en"
    assert finder.find("Krankenpfleger für die Nachtschicht gesucht, Wunden versorgen und Übergabe schreiben") == "de"
    assert finder.find("Vi søker en sykepleier som kan jobbe på nattevakt og i helgene") == "no"
    assert finder.find("Me søkjer ein sjukepleiar som kan arbeide om natta og i helgane") == "no"
    assert finder.find("12345 --- !!") == "und"
    assert finder.find("") == "und"


def test_languages_that_cannot_be_told_are_refused() -> None:
    with pytest.raises(DataError, match=r"not known are xx; known are .*\bno\b"):
        LanguageFinder(["en", "xx"])
    with pytest.raises(DataError, match="two are needed at least"):
        LanguageFinder(["en"])


def test_models_are_loaded_once() -> None:
    assert language_finder(("en", "da")) is language_finder(("en", "da"))


def test_what_is_said_is_believed_and_the_rest_is_found() -> None:
    german = "Krankenpfleger für die Nachtschicht gesucht, Wunden versorgen"
    said = ["en", None, "und", None]
    assert languages_of([german, german, german, "12345"], said, ["de", "en", "xx"]) == ["en", "de", "de", "und"]
    assert languages_of([german, german], ["da", None], ["de", "xx"]) == ["da", "und"]  # nothing to choose from
