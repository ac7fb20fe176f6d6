"""Claim: the rival of the skills task is no straw man. F1 of exact spans on real rows, beside a gazetteer.

Both learn from the training file and answer the published development file. The gazetteer takes the longest phrase that
was annotated in training, wherever it occurs.

    .venv/bin/python benchmarks/skills_real.py DATA_DIR [--only skillspan_en]
"""

import argparse
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from jobtuner.config import load_config
from jobtuner.prepare.chat_rows import ChatRow, read_chat_rows
from jobtuner.rivals.tagger import SkillTagger

Span = tuple[int, int]
SETS = {
    "skillspan_en": ("tags_skill", "tags_knowledge"),
    "green_en": ("tags_skill",),
    "sayfullina_en": ("tags_skill",),
}
"""Name of the files to the columns of tags."""

_WORD = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]")


def read(path: Path, tags: Sequence[str]) -> list[ChatRow]:
    """The rows of one file; rejected ones are left out."""
    settings = {"chat.columns.tokens": "tokens", "chat.columns.tags": f"[{', '.join(tags)}]"}
    config = load_config("smoke", {"task": "skills", "data.columns.language": "lang", **settings})
    return [row for row in read_chat_rows(path, config) if isinstance(row, ChatRow)]


def gazetteer(rows: Sequence[ChatRow]) -> Callable[[str], list[Span]]:
    """Finds the longest known phrases, from the left."""
    known = {tuple(_WORD.findall(skill.casefold())) for row in rows for skill in row.skills}
    longest = max(map(len, known))

    def find(text: str) -> list[Span]:
        words, found, at = list(_WORD.finditer(text)), list[Span](), 0
        folded = [word[0].casefold() for word in words]
        while at < len(words):
            size = next((n for n in range(longest, 0, -1) if tuple(folded[at : at + n]) in known), 0)
            if size and at + size <= len(words):
                found.append((words[at].start(), words[at + size - 1].end()))
            at += max(1, size)
        return found

    return find


def score(rows: Sequence[ChatRow], find: Callable[[str], list[Span]]) -> str:
    """F1, precision and recall of exact spans over all rows."""
    pairs = [(set(find(row.text)), set(row.spans or ())) for row in rows]
    right, found, wanted = (
        sum(len(a & b) for a, b in pairs), sum(len(a) for a, _ in pairs), sum(len(b) for _, b in pairs),
    )  # fmt: skip
    return f"F1 {2 * right / (found + wanted):.3f}, precision {right / max(found, 1):.3f}, recall {right / wanted:.3f}"


def main() -> None:
    """Print one line a set and model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--only", choices=SETS)
    arguments = parser.parse_args()
    for name, tags in SETS.items():
        folder = arguments.data / "skill_spans"
        if arguments.only not in {None, name} or not (folder / f"{name}.train.jsonl.gz").exists():
            continue
        train, test = (read(folder / f"{name}.{part}.jsonl.gz", tags) for part in ("train", "dev"))
        print(f"{name}: {len(train)} training rows, {len(test)} rows asked")
        print(f"  gazetteer  {score(test, gazetteer(train))}")
        started = time.process_time()
        tagger = SkillTagger.fit([row.text for row in train], [list(row.spans or ()) for row in train])
        fitted = time.process_time() - started
        told, asked = score(test, tagger.spans), time.process_time() - started - fitted
        print(f"  tagger     {told}; {fitted:.1f} s to fit, {len(test) / asked:.0f} rows/s")


if __name__ == "__main__":
    main()
