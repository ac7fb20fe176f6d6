"""Which language is a text written in? By lingua, among a set of languages: fewer are faster, smaller and surer."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from jobtuner.errors import DataError
from jobtuner.records import UNKNOWN_LANGUAGE

if TYPE_CHECKING:
    from lingua import Language, LanguageDetector

__all__ = ["LanguageFinder", "language_finder", "languages_of"]

_LOOKED_AT = 200  # characters: enough for any ad, and the price grows with them
_NORWEGIAN = ("nb", "nn")  # lingua's two forms of what data sets call "no"


class LanguageFinder:
    """Names the language of a text as ISO 639-1 code.

    Args:
        languages: ISO 639-1 codes to choose from, at least two; "no" stands for both forms of Norwegian.

    Raises:
        DataError: lingua is not installed, or knows one of the languages not.
    """

    def __init__(self, languages: Sequence[str]) -> None:
        self._detector = _detector(languages)

    def find(self, text: str) -> str:
        """The likeliest language by the beginning of a text, or UNKNOWN_LANGUAGE where nothing in it tells."""
        start = text[:_LOOKED_AT].encode("utf-8", "replace").decode("utf-8")  # lone surrogates have no UTF-8
        found = self._detector.detect_language_of(start)
        if found is None:
            return UNKNOWN_LANGUAGE
        code: str = found.iso_code_639_1.name.lower()
        return "no" if code in _NORWEGIAN else code


@lru_cache(maxsize=4)
def language_finder(languages: tuple[str, ...]) -> LanguageFinder:
    """The finder of a set of languages: its models (hundreds of megabytes for dozens) are loaded once a process."""
    return LanguageFinder(languages)


def languages_of(texts: Sequence[str], said: Sequence[str | None], among: Iterable[str]) -> list[str]:
    """The language of each text: the one that is said, else the likeliest, else UNKNOWN_LANGUAGE.

    Args:
        texts: as people wrote them.
        said: ISO 639-1 code of each, or None or UNKNOWN_LANGUAGE where nobody says it.
        among: codes to choose from; those that lingua does not know are left out.
    """
    known = [language or UNKNOWN_LANGUAGE for language in said]
    if UNKNOWN_LANGUAGE not in known:
        return known
    try:
        choice = tuple(sorted(set(among) & set(_known_languages())))
        finder = language_finder(choice) if len(choice) > 1 else None
    except DataError:  # no lingua here
        finder = None
    if finder is None:
        return known
    pairs = zip(known, texts, strict=True)
    return [finder.find(text) if language == UNKNOWN_LANGUAGE else language for language, text in pairs]


def _known_languages() -> "dict[str, list[Language]]":
    """Codes to lingua's languages."""
    try:
        from lingua import Language
    except ImportError as error:
        raise DataError(
            "Finding languages (data.detect_language, --log-languages) needs lingua: pip install "
            "lingua-language-detector. Or do without, and name the language of each ad: data.columns.language."
        ) from error
    known: dict[str, list[Language]] = {}
    for language in Language.all():
        code = language.iso_code_639_1.name.lower()
        known.setdefault("no" if code in _NORWEGIAN else code, []).append(language)
    return known


def _detector(languages: Sequence[str]) -> "LanguageDetector":
    known = _known_languages()
    from lingua import LanguageDetectorBuilder

    unknown = [code for code in languages if code not in known]
    if unknown or len(set(languages)) < 2:
        wrong = f"not known are {', '.join(unknown)}" if unknown else "two are needed at least"
        raise DataError(f"Languages to choose from: {wrong}; known are {', '.join(sorted(known))}.")
    chosen = [language for code in languages for language in known[code]]
    return LanguageDetectorBuilder.from_languages(*chosen).build()
