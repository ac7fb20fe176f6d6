"""Occupation taxonomies: codes, titles in many languages, hierarchy, and the trie over label tokens."""

from jobtuner.taxonomy.codes import (
    MAJOR_GROUPS,
    Occupation,
    Taxonomy,
    ancestors,
    builtin_taxonomy,
    normalise_title,
)
from jobtuner.taxonomy.files import OccupationCollector, load_taxonomy
from jobtuner.taxonomy.trie import LabelTrie

__all__ = [
    "MAJOR_GROUPS",
    "LabelTrie",
    "Occupation",
    "OccupationCollector",
    "Taxonomy",
    "ancestors",
    "builtin_taxonomy",
    "load_taxonomy",
    "normalise_title",
]
