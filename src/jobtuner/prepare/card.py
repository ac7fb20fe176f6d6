"""The data card of labelled ads: what went in, what came out, and what happened to the rest."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from jobtuner.prepare.card_facts import CardFacts, SplitFacts
from jobtuner.prepare.card_page import Section, Table, render_markdown, write_page
from jobtuner.prepare.card_parts import balance, cleaning, clusters_text, languages, leakage, rejects
from jobtuner.prepare.split import SPLITS
from jobtuner.prepare.tokens import TokenLengths, quantiles
from jobtuner.taxonomy import Taxonomy

__all__ = ["render_card", "write_card"]

_SHOWN = 10  # entries of an open-ended list


def write_card(facts: CardFacts, folder: Path, drawn: Sequence[str] | None = None) -> None:
    """Write card.md, card.html and the pictures (but those that are drawn already) into the folder."""
    write_page(_about(facts), facts, _sections(facts), folder, drawn)


def render_card(facts: CardFacts) -> str:
    """The card as Markdown."""
    return render_markdown(_about(facts), _sections(facts))


def _about(facts: CardFacts) -> str:
    return f"Source: {facts.source}. Taxonomy version: {facts.taxonomy.version}."


def _sections(facts: CardFacts) -> list[Section]:
    return [
        balance(facts.counts),
        languages(facts.splits),
        _labels(facts.splits, facts.taxonomy),
        _lengths(facts.splits),
        *([_tokens(facts.tokens)] if facts.tokens else []),
        rejects(facts.rejected, facts.first_rejected),
        cleaning(
            facts.cleaning,
            ("labels that got leading zeros back", facts.cleaning.padded_labels),
            ("rows whose language was told from the text", facts.cleaning.told),
            ("training rows that got a foreign sentence (data.hostile)", facts.cleaning.foreign),
        ),
        _clusters(facts),
        leakage(facts),
    ]


def _labels(splits: Mapping[str, SplitFacts], taxonomy: Taxonomy) -> Section:
    by_split = {name: splits[name].labels for name in SPLITS}
    total = sum(by_split.values(), Counter[str]())
    ranked = sorted(total, key=lambda label: (-total[label], label))
    missing = len(taxonomy.labels) - len(total)
    text = f"{len(total):,} labels occur, {missing:,} labels of the taxonomy do not."
    shown = ranked if len(ranked) <= 2 * _SHOWN else [*ranked[:_SHOWN], *ranked[-_SHOWN:]]
    if len(shown) < len(ranked):
        text += f" The {_SHOWN} most frequent and the {_SHOWN} rarest:"
    rows = [(_named(label, taxonomy), *(by_split[name][label] for name in SPLITS)) for label in shown]
    return Section("Labels", text, [Table(("label", *SPLITS), rows)], "card_labels.png")


def _named(label: str, taxonomy: Taxonomy) -> str:
    title = taxonomy.title(label)
    return label if title == label else f"{label} {title}"


def _lengths(splits: Mapping[str, SplitFacts]) -> Section:
    rows = []
    for name in SPLITS:
        rows.append((name, *quantiles(splits[name].lengths)))
    return Section("Lengths in characters", "", [Table(_QUANTILES, rows)], "card_lengths.png")


_QUANTILES = ("split", "shortest", "median", "95 %", "longest")


def _tokens(tokens: TokenLengths) -> Section:
    title = "Lengths in tokens"
    if tokens.missing:
        return Section(title, f"Not counted: {tokens.missing}")
    text = (
        f"By the tokenizer of {tokens.tokenizer}, prompt and answer not included. Ads of more than {tokens.limit:,} "
        "tokens are cut (prompt.max_ad_tokens); answers never are."
    )
    rows = [(name, *quantiles(tokens.lengths[name]), len(tokens.lengths[name]), tokens.cut(name)) for name in SPLITS]
    return Section(title, text, [Table((*_QUANTILES, "counted", "cut"), rows)], "card_tokens.png")


def _clusters(facts: CardFacts) -> Section:
    text = clusters_text(facts.cluster_sizes)
    if not facts.largest:
        return Section("Near-duplicates", text)
    rows = [(cluster.name, cluster.rows, cluster.text) for cluster in facts.largest]
    table = Table(("cluster", "rows", "one text"), rows, "The largest:")
    return Section("Near-duplicates", text, [table], "card_clusters.png")
