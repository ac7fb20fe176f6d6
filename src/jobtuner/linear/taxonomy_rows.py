"""A taxonomy's own titles as training rows: every title and alternative label, in every language."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from jobtuner.taxonomy import Taxonomy, ancestors

__all__ = ["TitleRow", "taxonomy_rows", "unseen_labels"]


@dataclass(frozen=True, slots=True, order=True)
class TitleRow:
    """One title and the label that it stands for."""

    text: str
    label: str
    language: str


def unseen_labels(taxonomies: Iterable[Taxonomy], labels: Collection[str]) -> set[str]:
    """Labels of the taxonomies that no training row carries, at the levels that the rows' labels are of.

    Args:
        taxonomies: one or more.
        labels: codes that training rows carry.
    """
    levels = {len(ancestors(label)) for label in labels}
    everything = {code for taxonomy in taxonomies for code in taxonomy.labels}
    return {code for code in everything - set(labels) if len(ancestors(code)) in levels}


def taxonomy_rows(taxonomies: Iterable[Taxonomy], labels: Collection[str]) -> list[TitleRow]:
    """Titles of the codes among the labels, and of all codes below these (an ESCO occupation for its ISCO unit group).

    A deeper code counts for its nearest ancestor that is a label. Codes above all labels are left out.

    Args:
        taxonomies: one or more.
        labels: codes that training rows carry.

    Returns:
        Distinct rows, sorted.
    """
    known = frozenset(labels)
    rows: set[TitleRow] = set()
    for taxonomy in taxonomies:
        for code, occupation in taxonomy.occupations.items():
            label = next((above for above in reversed(ancestors(code)) if above in known), None)
            if label is not None:
                rows.update(TitleRow(text, label, language) for language, text in occupation.all_titles())
    return sorted(rows)
