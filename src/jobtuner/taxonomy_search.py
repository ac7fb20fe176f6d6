"""Finding codes by a text that a person typed."""

import difflib
from collections.abc import Sequence

from jobtuner.taxonomy import Taxonomy, normalise_title

__all__ = ["find_codes"]

_CUTOFF = 0.75  # similarity from which a misspelt title is taken as meant


def find_codes(taxonomy: Taxonomy, text: str, limit: int) -> list[str]:
    """Codes whose titles say the text; else those with all its words in one title; else those spelt like it.

    Args:
        taxonomy: groups are searched, too.
        text: a title or part of one, in any language.
        limit: most codes to return, the best ones first.
    """
    key = normalise_title(text)
    titles: dict[str, list[str]] = {}
    for code, item in taxonomy.occupations.items():
        for _, title in item.all_titles():
            titles.setdefault(normalise_title(title), []).append(code)
    words = key.split()
    holding = [title for title in titles if words and all(word in title for word in words)]
    keys = [key] if key in titles else sorted(holding, key=len)
    keys = keys or difflib.get_close_matches(key, titles, n=limit, cutoff=_CUTOFF)
    return _distinct([code for found in keys for code in titles[found]])[:limit]


def _distinct(codes: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(codes))
