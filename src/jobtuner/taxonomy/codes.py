"""Codes, their titles in many languages, and their hierarchy."""

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib import resources
from pathlib import Path

from jobtuner.errors import TaxonomyError

__all__ = [
    "MAJOR_GROUPS",
    "Occupation",
    "Taxonomy",
    "ancestors",
    "builtin_taxonomy",
    "normalise_title",
]

MAJOR_GROUPS = {
    "0": "Armed forces occupations",
    "1": "Managers",
    "2": "Professionals",
    "3": "Technicians and associate professionals",
    "4": "Clerical support workers",
    "5": "Service and sales workers",
    "6": "Skilled agricultural, forestry and fishery workers",
    "7": "Craft and related trades workers",
    "8": "Plant and machine operators, and assemblers",
    "9": "Elementary occupations",
}
"""The ten major groups of ISCO-08 (International Labour Organization, 2012)."""


@dataclass(frozen=True, slots=True)
class Occupation:
    """One code of a taxonomy."""

    code: str
    titles: Mapping[str, str] = field(default_factory=dict)
    """Language (ISO 639-1) to title."""
    description: str = ""
    alternatives: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Language to other titles: what a classifier may learn from, and no one is shown."""
    group: bool = False
    """A heading of the hierarchy that no ad is labelled with."""

    def all_titles(self) -> Iterator[tuple[str, str]]:
        """Language and text of every title and alternative."""
        yield from self.titles.items()
        for language, others in self.alternatives.items():
            yield from ((language, other) for other in others)

    def title(self, language: str = "en") -> str:
        """Title in the language asked for, else in English, else in any language, else the code."""
        return self.titles.get(language) or self.titles.get("en") or next(iter(self.titles.values()), self.code)


def ancestors(code: str) -> list[str]:
    """The path from the top group down to the code itself.

    Digits and letters count one level each, parts behind dots one level each: "2512" gives 2, 25, 251, 2512; "2512.4"
    adds 2512.4; "11-1011" gives 1, 11, 11-1 and so on.
    """
    head, *rest = code.split(".")
    path = [head[:end] for end in range(1, len(head) + 1) if head[end - 1].isalnum() or end == len(head)]
    for part in rest:
        path.append(f"{path[-1]}.{part}")
    return path


def normalise_title(text: str) -> str:
    """The form in which titles are compared: NFC, case folded, one space for all that is no letter, digit, + or #."""
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
    return " ".join(_NO_WORD.sub(" ", folded).split())


_NO_WORD = re.compile(r"[^\w+#]|_")


class Taxonomy:
    """A set of occupation codes.

    `labels` are the codes that a model may answer: those of `level` where one is given; else, where groups are marked,
    all that are none (ESCO's occupations, some of which extend others); else the deepest ones (no other code extends
    them).
    """

    def __init__(self, occupations: Iterable[Occupation], level: int | None = None) -> None:
        self.occupations = {item.code: item for item in sorted(occupations, key=lambda item: item.code)}
        self.level = level
        if level is not None:
            self.labels = [code for code in self.occupations if len(ancestors(code)) == level]
        elif any(item.group for item in self.occupations.values()):
            self.labels = [code for code, item in self.occupations.items() if not item.group]
        else:
            inner = {parent for code in self.occupations for parent in ancestors(code)[:-1]}
            self.labels = [code for code in self.occupations if code not in inner]
        if len(self.labels) < 2:
            raise TaxonomyError(
                f"The taxonomy has {len(self.labels)} codes to choose from at level {level}; at least 2 are needed. "
                "Set taxonomy.level to a level that the file holds, or leave it out."
            )

    def __len__(self) -> int:
        return len(self.occupations)

    def __contains__(self, code: object) -> bool:
        return code in self.occupations

    def __getitem__(self, code: str) -> Occupation:
        return self.occupations[code]

    @cached_property
    def version(self) -> str:
        """First 16 hex digits of the SHA-256 over codes, titles, alternatives, groups and the label level."""
        rows = [
            [
                item.code,
                dict(item.titles),
                item.description,
                *([item.alternatives] if item.alternatives else []),
                *(["group"] if item.group else []),
            ]
            for item in self.occupations.values()
        ]
        text = json.dumps([self.level, rows], ensure_ascii=False, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @cached_property
    def languages(self) -> list[str]:
        """Languages that titles come in, sorted."""
        return sorted({language for item in self.occupations.values() for language in item.titles})

    def resolve(self, label: str, language: str | None = None) -> str | None:
        """The code that a label of the input means: a code of this taxonomy's labels, or a title in any language.

        None, too, where a title means several codes: `candidates` names them.
        """
        label = label.strip()
        if label in self.occupations:
            return label if label in self._label_set else None
        found = self.candidates(label, language)
        return found[0] if len(found) == 1 else None

    def candidates(self, text: str, language: str | None = None, *, alternatives: bool = True) -> list[str]:
        """The labels whose title, else whose other titles, say this, as `normalise_title` compares.

        Args:
            text: a title in any language.
            language: titles of this language go before all others ("chef" is no cook in French).
            alternatives: whether other titles count; a code's own title goes before those of its language.
        """
        key = normalise_title(text)
        found = [index.get(key, []) for index in (self._title_index, self._alternative_index)[: 1 + alternatives]]
        own = [[code for code, spoken in entries if spoken == language] for entries in found]
        every = [[code for code, _ in entries] for entries in found]
        return next((sorted(set(codes)) for codes in (*own, *every) if codes), [])

    @cached_property
    def _title_index(self) -> dict[str, list[tuple[str, str]]]:
        index: dict[str, list[tuple[str, str]]] = {}
        for code in self.labels:
            for language, title in self.occupations[code].titles.items():
                index.setdefault(normalise_title(title), []).append((code, language))
        return index

    @cached_property
    def _alternative_index(self) -> dict[str, list[tuple[str, str]]]:
        index: dict[str, list[tuple[str, str]]] = {}
        for code in self.labels:
            for language, others in self.occupations[code].alternatives.items():
                for other in others:
                    index.setdefault(normalise_title(other), []).append((code, language))
        return index

    @cached_property
    def _label_set(self) -> frozenset[str]:
        return frozenset(self.labels)

    def title(self, code: str, language: str = "en") -> str:
        """Title of a code in a language, falling back as `Occupation.title` does; the code where there is none.

        The major groups of the built-in sample are known. Of other taxonomies they are not: SOC's 4 is no clerk.
        """
        if code in self.occupations:
            return self.occupations[code].title(language)
        return MAJOR_GROUPS.get(code, code) if self._label_set <= _sample() else code

    def lines(self) -> Iterator[str]:
        """The taxonomy as text, one line a code and language: "2221 Registered nurses"."""
        for item in self.occupations.values():
            for title in item.titles.values():
                yield f"{item.code} {title}"

    def save(self, path: Path) -> None:
        """Write the taxonomy as JSON."""
        rows = [
            {
                "code": item.code,
                "titles": dict(item.titles),
                "description": item.description,
                **({"alternatives": item.alternatives} if item.alternatives else {}),
                **({"group": True} if item.group else {}),
            }
            for item in self.occupations.values()
        ]
        path.write_text(
            json.dumps({"level": self.level, "occupations": rows}, ensure_ascii=False, indent=0), encoding="utf-8"
        )

    @classmethod
    def load(cls, path: Path) -> "Taxonomy":
        """Read what `save` wrote."""
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            return cls([Occupation(**row) for row in data["occupations"]], level=data["level"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise TaxonomyError(f"The taxonomy {path} is not readable: {error}.") from error


@cache
def _sample() -> frozenset[str]:
    """Codes of the built-in sample."""
    folder = resources.files("jobtuner.prepare") / "templates" / "occupations"
    return frozenset(entry.name.removesuffix(".json") for entry in folder.iterdir() if entry.name.endswith(".json"))


def builtin_taxonomy() -> Taxonomy:
    """The sample of ISCO-08 unit groups for which JobTuner can generate ads."""
    folder = resources.files("jobtuner.prepare") / "templates" / "occupations"
    rows = [json.loads((folder / f"{code}.json").read_text(encoding="utf-8")) for code in sorted(_sample())]
    return Taxonomy([Occupation(code=row["code"], titles=row["title"]) for row in rows])
