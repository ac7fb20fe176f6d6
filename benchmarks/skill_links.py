"""Claim: skills are linked to ESCO better than by equal names alone. F1 on phrases that people linked.

Gold phrases are those of sentences whose skills were linked to ESCO by hand ("house" and "tech"); some have no concept
there, and a link of theirs is wrong. Precision counts the links made, recall the phrases with a concept. The threshold
was chosen on these two sets: the column "on the other" chooses it on one and measures it on the other.

    .venv/bin/python benchmarks/skill_links.py DATA_DIR
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

from jobtuner.skill_links import LEAST_SIMILARITY, SkillLink, SkillLinker, load_skills

SETS = ("house", "tech")
THRESHOLDS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.9, 1.0)
Phrases = list[tuple[str, str]]


def read(path: Path) -> Phrases:
    """Phrase and the label of its concept, or what stands there for none."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [(row["span"], row["label"]) for row in rows]


def score(
    phrases: Phrases, links: Sequence[SkillLink | None], least: float, labels: frozenset[str]
) -> tuple[float, float, float]:
    """Precision, recall and F1 of the links that are similar enough."""
    made = [link.label if link and link.similarity >= least else None for link in links]
    right = sum(answer == wanted for answer, (_, wanted) in zip(made, phrases, strict=True))
    found, wanted = sum(answer is not None for answer in made), sum(label in labels for _, label in phrases)
    return right / max(found, 1), right / wanted, 2 * right / (found + wanted)


def main() -> None:
    """Print one line a set and way of linking."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    data = parser.parse_args().data
    concepts = load_skills(data / "esco_isco_taxonomy" / "esco_skills_en.jsonl.gz")
    labels = frozenset(concept.label for concept in concepts)
    before = time.process_time()
    linker = SkillLinker(concepts, least=min(THRESHOLDS))
    print(f"{len(concepts):,} concepts, {time.process_time() - before:.1f} s of processor time to prepare")
    sets = {name: read(data / "skill_spans" / f"esco_linked_{name}.validation.jsonl") for name in SETS}
    before = time.process_time()
    links = {name: linker.link([phrase for phrase, _ in phrases]) for name, phrases in sets.items()}
    asked = sum(map(len, sets.values()))
    print(f"{asked / (time.process_time() - before):,.0f} phrases a second of processor time")
    best = {
        name: max(THRESHOLDS, key=lambda least, name=name: score(sets[name], links[name], least, labels)[2])  # type: ignore[misc]
        for name in SETS
    }
    print("| set | phrases | equal names: F1 (precision, recall) | linker | threshold chosen on the other |")
    print("|---|---|---|---|---|")
    for name, other in zip(SETS, SETS[::-1], strict=True):
        cells = []
        for least in (1.0, LEAST_SIMILARITY, best[other]):
            precision, recall, f1 = score(sets[name], links[name], least, labels)
            cells.append(f"{f1:.3f} ({precision:.3f}, {recall:.3f})")
        cells[2] += f" at {best[other]}"
        print(f"| {name} | {len(sets[name])} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
