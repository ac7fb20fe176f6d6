"""Links phrases to the concepts of a skills taxonomy: an equal name, else the most similar one, else none.

Names are compared as titles are (case, punctuation and white space aside); a name also counts without its closing
brackets, "Java (computer programming)" as "java". Similarity is the cosine of character n-grams: it reaches
inflected and misspelt names, not other words for the same skill.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jobtuner.errors import TaxonomyError
from jobtuner.row_files import raw_rows
from jobtuner.taxonomy import normalise_title

__all__ = ["LEAST_SIMILARITY", "SkillConcept", "SkillLink", "SkillLinker", "load_skills"]

LEAST_SIMILARITY = 0.65
"""Below it no link is made: F1 on ESCO-linked gold phrases is highest there (docs/evaluation.md)."""

_CHUNK = 64  # phrases compared at once: 64 × 98,000 names of ESCO in float32 = 25 MB, if all share something
_BRACKETS = re.compile(r"\s*\([^()]*\)\s*$")
_IDS, _LABELS, _OTHERS = ("uri", "conceptUri", "id", "code"), ("label", "preferredLabel", "title"), ("alt", "altLabels")


@dataclass(frozen=True, slots=True)
class SkillConcept:
    """One skill of a taxonomy."""

    id: str
    """Its URI or code."""
    label: str
    alternatives: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class SkillLink:
    """The concept that a phrase was linked to."""

    id: str
    label: str
    similarity: float
    """1 for an equal name, else the cosine, in [LEAST_SIMILARITY, 1]."""


class SkillLinker:
    """Finds the concept of a phrase.

    Args:
        concepts: the taxonomy. Where two have the same name, the one whose own label it is wins, then the earlier one.
        least: smallest similarity of a link, in (0, 1]; 1: equal names alone.

    Raises:
        TaxonomyError: there is no concept.
    """

    def __init__(self, concepts: Sequence[SkillConcept], least: float = LEAST_SIMILARITY) -> None:
        self._concepts, self._least = list(concepts), least
        self._exact = _names(self._concepts)
        self._ids = {concept.id for concept in self._concepts}
        if not self._exact:
            raise TaxonomyError("The skills taxonomy has no names to link to. Give a file with concepts in it.")
        self._owners = list(self._exact.values())
        nothing: tuple[Any, Any] = (None, None)
        self._vectorizer, self._columns = _matrix(list(self._exact)) if least < 1.0 else nothing

    def __len__(self) -> int:
        return len(self._concepts)

    def link(self, phrases: Sequence[str]) -> list[SkillLink | None]:
        """The concept of each phrase, in their order; None where no name is similar enough."""
        keys = [normalise_title(phrase) for phrase in phrases]
        found: dict[str, SkillLink | None] = {key: self._equal(key) for key in keys}
        missing = [key for key, link in found.items() if key and link is None]
        for start in range(0, len(missing) if self._vectorizer is not None else 0, _CHUNK):
            part = missing[start : start + _CHUNK]
            found.update(zip(part, self._similar(part), strict=True))
        return [found[key] for key in keys]

    def concept(self, given: str) -> str | None:
        """The id of a concept that is given by its id, or by a name of it; None: the taxonomy has no such one."""
        if given in self._ids:
            return given
        link = self._equal(normalise_title(given))
        return None if link is None else link.id

    def _equal(self, key: str) -> SkillLink | None:
        owner = self._exact.get(key)
        return None if owner is None else self._told(owner, 1.0)

    def _similar(self, keys: Sequence[str]) -> list[SkillLink | None]:
        similar = (self._vectorizer.transform(keys) @ self._columns).toarray()
        best = similar.argmax(axis=1)
        values = np.minimum(similar[np.arange(len(keys)), best], 1.0)
        return [
            self._told(self._owners[int(name)], float(value)) if value >= self._least else None
            for name, value in zip(best, values, strict=True)
        ]

    def _told(self, owner: int, similarity: float) -> SkillLink:
        concept = self._concepts[owner]
        return SkillLink(concept.id, concept.label, round(similarity, 4))


def load_skills(path: Path) -> list[SkillConcept]:
    """Read a skills taxonomy: ESCO's own skills_<language>.csv, or rows with uri, label and alt, in any form of rows.

    Columns: uri, conceptUri, id or code; label, preferredLabel or title; alt or altLabels (a list, or text with line
    breaks or | between the names), where there are any. Rows with the same id add names to the first one: give the
    languages of a release one after another in one file.

    Raises:
        TaxonomyError: there is no such file, a row is broken, or none has an id and a label.
        DataError: the file cannot be read.
    """
    if not path.is_file():
        raise TaxonomyError(
            f"There is no skills taxonomy {path}. Give ESCO's skills_en.csv, or rows with uri and label."
        )
    found: dict[str, list[str]] = {}
    for number, row in enumerate(raw_rows(path), start=1):
        if isinstance(row, str):
            raise TaxonomyError(f"{path}: {row}.")
        concept, names = _first(row, _IDS), [_first(row, _LABELS), *_others(row)]
        if not concept or not names[0]:
            raise TaxonomyError(
                f"{path}, row {number}: {', '.join(_IDS)} and {', '.join(_LABELS)} are the accepted columns; one of "
                f"each is needed. The row has {', '.join(map(str, row))}."
            )
        found.setdefault(concept, []).extend(names)
    if not found:
        raise TaxonomyError(f"{path} has no rows. Give a file with concepts in it.")
    return [SkillConcept(concept, names[0], tuple(names[1:])) for concept, names in found.items()]


def _first(row: Mapping[str, Any], names: Sequence[str]) -> str:
    return next((text for name in names if (text := str(row.get(name) or "").strip())), "")


def _others(row: Mapping[str, Any]) -> list[str]:
    value = next((row[name] for name in _OTHERS if row.get(name)), ())
    items = value if isinstance(value, (list, tuple)) else re.split(r"[\n|]", str(value))
    return [text for item in items if (text := str(item).strip())]


def _names(concepts: Sequence[SkillConcept]) -> dict[str, int]:
    """Every name in the form that is compared, to the place of its concept: labels before alternatives before cuts."""
    ranked: dict[str, tuple[int, int]] = {}
    for place, concept in enumerate(concepts):
        for rank, names in enumerate(((concept.label,), concept.alternatives)):
            for name in names:
                for cut, text in ((0, name), (2, _BRACKETS.sub("", name))):
                    key, claim = normalise_title(text), (rank + cut, place)
                    if key:
                        ranked[key] = min(ranked.get(key, claim), claim)
    return {key: place for key, (_, place) in ranked.items()}


def _matrix(names: Sequence[str]) -> tuple[Any, Any]:
    """The n-grams of the names: a vectorizer, and a sparse [n-grams, names] whose columns have length 1."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True, dtype=np.float32)
    return vectorizer, vectorizer.fit_transform(names).T.tocsr()
