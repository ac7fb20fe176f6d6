"""`prepare` for the tasks that answer in text: rows in, cleaned, deduplicated and split chats out."""

import hashlib
import itertools
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from jobtuner.clean import clean_text
from jobtuner.config import Config
from jobtuner.contracts import PreparedData
from jobtuner.errors import DataError
from jobtuner.letters import VARIANTS, known_language, write_letter
from jobtuner.prepare.card_facts import Cleaning
from jobtuner.prepare.chat_card import write_chat_card
from jobtuner.prepare.chat_generate import generate_chats
from jobtuner.prepare.chat_rows import ChatRow, read_chat_rows, spans_of
from jobtuner.prepare.deduplicate import assign_clusters, find_exact, text_key
from jobtuner.prepare.leakage import Leakage, check_leakage, find_leakage
from jobtuner.prepare.shingles import normalise, signatures
from jobtuner.prepare.sources import Rejected
from jobtuner.prepare.split import SPLITS, Row, assign
from jobtuner.prepare.synthesize import generated_count
from jobtuner.progress import track
from jobtuner.records import ChatExample, write_jsonl
from jobtuner.tasks import Applicant, SkillsTask

__all__ = ["chat_examples", "run_chat"]

_GENERATED = "generated"
_TOP_REASONS = 5
_STRATUM = 200  # clusters that are split together; the split takes time with the square of it
_BETWEEN = "\n\x1f\n"  # between the parts of a key; cleaning leaves no control character in a text


@dataclass
class _Told:
    """What happened to the rows, for the card."""

    rejected: list[Rejected] = field(default_factory=list)
    cleaning: Cleaning = field(default_factory=Cleaning)
    lost: int = 0
    """Annotated skills that the cleaned text does not hold."""


def run_chat(config: Config, out_dir: Path) -> PreparedData:
    """Read or generate rows, clean them, drop duplicates, split by cluster, write the splits and the data card.

    Args:
        config: the sections data, chat, clean, deduplicate and split, and the seed.
        out_dir: gets train, validation and test.jsonl (`records.ChatExample`), rejected.jsonl, duplicates.jsonl, and
            the data card with its pictures.

    Raises:
        DataError: the input cannot be read, more than data.max_rejected of it is unusable, a split stays empty, or
            test rows are too near to training.
    """
    with tempfile.TemporaryDirectory() as downloads:
        rows = list(_read(config, Path(downloads)))
    told = _Told([row for row in rows if isinstance(row, Rejected)])
    cleaned = list(_clean(rows, config, told))
    kept, duplicate_of = _without_duplicates(cleaned, told)
    _check_rejected(told.rejected, len(rows), config)
    splits = _split(kept, config)
    counts = {
        "read": len(rows),
        "rejected": len(told.rejected),
        "duplicates": len(duplicate_of),
        **{name: len(splits[name]) for name in SPLITS},
    }
    assert counts["read"] == sum(counts.values()) - counts["read"], f"rows vanished: {counts}"
    leakage = _leakage(splits, config)
    for name in SPLITS:
        write_jsonl(out_dir / f"{name}.jsonl", splits[name])
    write_jsonl(out_dir / "rejected.jsonl", (row.to_row() for row in told.rejected))
    write_jsonl(out_dir / "duplicates.jsonl", ({"id": row, "kept": kept} for row, kept in sorted(duplicate_of.items())))
    source = config.data.input or _GENERATED
    write_chat_card(
        out_dir,
        task=config.task,
        source=source,
        counts=counts,
        splits=splits,
        rejected=told.rejected,
        changed=told.cleaning,
        lost=told.lost,
        near_duplicates=config.deduplicate.threshold,
        leakage=leakage,
    )
    return PreparedData(
        folder=out_dir,
        fingerprint=_fingerprint(out_dir),
        task=config.task,
        source=source,
        languages=sorted({example.language for name in SPLITS for example in splits[name]}),
        labels=[],
        taxonomy_version="",
        counts=counts,
    ).save()


def _read(config: Config, downloads: Path) -> Iterator[ChatRow | Rejected]:
    data = config.data
    if data.input is None:
        label, total = "Generating examples", generated_count(data.generate)
        rows: Iterator[ChatRow | Rejected] = generate_chats(config)
    else:
        label, total = "Reading rows", None
        rows = read_chat_rows(data.input, downloads, config)
    seen: set[str] = set()
    with track(label, total=min(total, data.max_rows or total) if total else data.max_rows) as bar:
        for row in itertools.islice(rows, data.max_rows):
            bar.advance()
            if isinstance(row, ChatRow) and row.id in seen:
                yield Rejected(row.id, "id occurs before", f"id '{row.id}' occurs in an earlier row", row.text)
            else:
                seen.add(row.id)
                yield row


def _clean(rows: Sequence[ChatRow | Rejected], config: Config, told: _Told) -> Iterator[ChatExample]:
    """Yield the usable rows as examples whose cluster is still their group; put the others into `told`."""
    with track("Cleaning text", total=len(rows)) as bar:
        for row in rows:
            bar.advance()
            if isinstance(row, Rejected):
                continue
            result = clean_text(row.text, config.clean)
            if len(result.text) < config.clean.min_chars:
                short = f"{len(result.text)} characters after cleaning, at least {config.clean.min_chars} are needed"
                told.rejected.append(_reject(row, "text too short", f"text too short: {short}"))
                continue
            example = _finish(row, result.text, config, told)
            if isinstance(example, Rejected):
                told.rejected.append(example)
                continue
            told.cleaning.add(result)
            yield example


def chat_examples(rows: Iterable[ChatRow | Rejected], config: Config) -> tuple[list[ChatExample], list[Rejected]]:
    """Rows as cleaned examples, each a cluster of its own unless it has a group; and the unusable ones.

    Args:
        rows: as `read_chat_rows` gives them.
        config: the task, the sections clean and chat, and the seed.
    """
    taken = list(rows)
    told = _Told([row for row in taken if isinstance(row, Rejected)])
    examples = [replace(row, cluster=row.cluster or row.id) for row in _clean(taken, config, told)]
    return examples, told.rejected


def _reject(row: ChatRow, kind: str, reason: str) -> Rejected:
    return Rejected(row.id, kind, reason, row.text, "", row.language)


def _finish(row: ChatRow, text: str, config: Config, told: _Told) -> ChatExample | Rejected:
    """The example with its answer; spans are found anew where cleaning moved them."""
    facts, answer = row.facts, row.answer
    if config.task == "skills":
        spans = row.spans if row.spans is not None and text == row.text else spans_of(row.skills, text)
        told.lost += len({skill.casefold() for skill in row.skills} - {text[a:b].casefold() for a, b in spans})
        if row.skills and not spans:
            return _reject(row, "skills not in the text", f"skills not in the text: {', '.join(row.skills)[:100]}")
        facts = {"spans": [list(span) for span in spans]}
        if row.links is not None:
            facts["links"] = list(row.links)
        answer = SkillsTask().answer([text[a:b] for a, b in spans])
    elif config.task == "cover_letter" and not answer:
        applicant = Applicant.from_json(facts["applicant"])
        language = known_language(applicant.language or row.language)
        answer = write_letter(applicant, language, int(_digest(f"{config.seed}/{row.id}"), 16) % VARIANTS**6)
    return ChatExample(row.id, text, dict(facts), answer, row.language, row.group or "")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _key(row: ChatExample) -> str:
    """The text by which rows are duplicates: for a letter the applicant belongs to it, for a chat the earlier turns."""
    facts = row.facts.get("applicant") or [turn["content"] for turn in row.facts.get("before", ())]
    return f"{row.text}{_BETWEEN}{facts}" if facts else row.text


def _without_duplicates(rows: Sequence[ChatExample], told: _Told) -> tuple[list[ChatExample], dict[str, str]]:
    """One row for each text; annotations of one text that contradict each other are rejected, other answers are not."""
    strict = all("spans" in row.facts for row in rows)
    found = find_exact(
        range(len(rows)),
        [text_key(normalise(_key(row))) for row in rows],
        [row.language for row in rows],
        [row.id for row in rows],
        [row.answer if strict else "" for row in rows],
    )
    for row in (rows[place] for place in found.conflicts):
        reason = "conflicting annotations: the same text with other skills elsewhere"
        told.rejected.append(Rejected(row.id, "conflicting annotations", reason, row.text, row.answer, row.language))
    dropped = {rows[place].id: rows[stays].id for place, stays in found.duplicate_of.items()}
    return [rows[place] for place in found.kept], dropped


def _check_rejected(rejected: Sequence[Rejected], read: int, config: Config) -> None:
    limit = config.data.max_rejected
    if len(rejected) <= limit * read and len(rejected) < read:
        return
    first = {row.kind: row for row in reversed(rejected)}
    lines = [
        f"  {count:,} × {kind}, e.g. {first[kind].id}: {first[kind].reason}"
        for kind, count in Counter(row.kind for row in rejected).most_common(_TOP_REASONS)
    ]
    raise DataError(
        f"{len(rejected):,} of {read:,} rows were rejected; at most {limit:.0%} may be (data.max_rejected):\n"
        + "\n".join(lines)
        + "\nCheck data.columns and chat.columns against the input."
    )


def _split(rows: Sequence[ChatExample], config: Config) -> dict[str, list[ChatExample]]:
    with track("Finding near-duplicates", unit="texts") as bar:
        groups = [row.cluster or None for row in rows]
        clusters = assign_clusters([row.text for row in rows], groups, config.deduplicate, config.seed, bar)
    strata = len(set(clusters)) // _STRATUM + 1
    places = [
        Row(str(int(cluster, 16) % strata), row.language, cluster) for row, cluster in zip(rows, clusters, strict=True)
    ]
    splits: dict[str, list[ChatExample]] = {name: [] for name in SPLITS}
    for row, place, name in zip(rows, places, assign(places, config.split, config.seed), strict=True):
        splits[name].append(replace(row, cluster=place.cluster))
    for name in SPLITS:
        if not splits[name]:
            raise DataError(
                f"The split '{name}' is empty: {len(rows)} usable rows form {len(set(clusters))} clusters of "
                "near-duplicates. Add more different rows, or raise deduplicate.threshold."
            )
        splits[name].sort(key=lambda example: (example.language, example.id))
    return splits


def _leakage(splits: Mapping[str, Sequence[ChatExample]], config: Config) -> Leakage:
    """The nearest training rows of test rows; places are those of the rows of training, then those of test."""
    rows = [*splits["train"], *splits["test"]]
    train, test = range(len(splits["train"])), range(len(splits["train"]), len(rows))
    settings, shingle = config.split.leakage, config.deduplicate.shingle
    texts = [normalise(row.text) for row in rows] if settings.sample else []
    matrix = signatures(texts, shingle, config.deduplicate.permutations, config.seed)
    halves = matrix[: len(train)], matrix[len(train) :]
    found = find_leakage(train, test, halves, lambda place: rows[place].text, settings, shingle, config.seed)
    check_leakage(found, settings, [row.id for row in rows])
    return found


def _fingerprint(out_dir: Path) -> str:
    digest = hashlib.sha256(b"chat")
    for name in SPLITS:
        content = (out_dir / f"{name}.jsonl").read_bytes()
        digest.update(f"\n{name} {len(content)}\n".encode() + content)
    return digest.hexdigest()
