"""`evaluate` for the tasks that answer in text: model and baseline write answers to the same test examples."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from jobtuner.chat_metrics import HEADLINES, measure_chats, pair_chats
from jobtuner.chat_scores import score_answers
from jobtuner.config import Config
from jobtuner.contracts import BaselineModel, EvalReport, PreparedData, TrainedModel
from jobtuner.errors import ContractError, DataError
from jobtuner.evaluate.chat_report import ChatComparison, write_chat_report
from jobtuner.generation import LocalWriter, Sampling, load_adapted_writer
from jobtuner.progress import track
from jobtuner.records import ChatAnswer, ChatExample, read_jsonl, write_jsonl
from jobtuner.rivals import Rival, load_rival
from jobtuner.skill_links import SkillLinker, load_skills

__all__ = ["evaluate_chat", "run_chat"]


def run_chat(config: Config, inputs: Mapping[str, Path], out_dir: Path) -> EvalReport:
    """Let both models answer the test split, score, compare, write answers and report.

    Args:
        config: the sections evaluate and chat, and the seed.
        inputs: the folders of `prepare`, `baseline` and `train`.
        out_dir: gets predictions.jsonl and baseline_predictions.jsonl (`records.ChatAnswer`), metrics.json, report.md
            and report.html.

    Raises:
        ContractError: an input is not finished, or the models were trained on other data than this test split's.
        DataError: the test split is empty.
        ModelError: a model cannot be loaded.
    """
    prepared, trained = PreparedData.load(inputs["prepare"]), TrainedModel.load(inputs["train"])
    reference = BaselineModel.load(inputs["baseline"])
    for model in (trained, reference):
        if model.data_fingerprint != prepared.fingerprint:
            raise ContractError(
                f"The {type(model).__name__} in {model.folder} was trained on data {model.data_fingerprint[:12]}; the "
                f"test split in {prepared.folder} is of {prepared.fingerprint[:12]}. Its rows may have been seen in "
                "training: train again on this data."
            )
    writer = load_adapted_writer(trained, config.chat.batch_size)
    return evaluate_chat(config, prepared, trained, writer, load_rival(config.task, reference.folder), out_dir)


def evaluate_chat(
    config: Config, prepared: PreparedData, trained: TrainedModel, writer: LocalWriter, rival: Rival, out_dir: Path
) -> EvalReport:
    """What `run_chat` does once both models are loaded."""
    examples = _examples(prepared, config.evaluate.max_examples)
    linker = _linker(config)
    ours = _written(config, writer, examples, linker)
    with track("Answers of the baseline", total=len(examples), unit="examples") as bar:
        theirs = score_answers(config.task, examples, rival.answers(examples), linker)
        bar.advance(len(examples))
    sides = {"model": ours, "baseline": theirs}
    metrics = {name: measure_chats(config.task, rows, config.seed) for name, rows in sides.items()}
    gain, test = pair_chats(config.task, ours, theirs, config.seed)
    write_jsonl(out_dir / "predictions.jsonl", ours)
    write_jsonl(out_dir / "baseline_predictions.jsonl", theirs)
    gains = {HEADLINES[config.task]: asdict(gain)}
    document = {**metrics, "gain": gains, "mcnemar": asdict(test)}
    text = json.dumps(document, ensure_ascii=False, indent=1, allow_nan=False) + "\n"
    (out_dir / "metrics.json").write_text(text, encoding="utf-8")
    base = "the stand-in" if trained.base_is_standin else trained.base
    comparison = ChatComparison(
        config.task, examples, ours, theirs, metrics["model"], metrics["baseline"], gain, test, base
    )
    write_chat_report(comparison, out_dir, standin=trained.base_is_standin)
    return EvalReport(
        folder=out_dir,
        fingerprint=_fingerprint(out_dir),
        data_fingerprint=prepared.fingerprint,
        model_fingerprint=trained.fingerprint,
        examples=len(examples),
        model=metrics["model"],
        baseline=metrics["baseline"],
        gain=gains,
        mcnemar_p=test.p_value,
        temperature=1.0,
    ).save()


def _linker(config: Config) -> SkillLinker | None:
    if config.task != "skills" or config.chat.skills_taxonomy is None:
        return None
    return SkillLinker(load_skills(Path(config.chat.skills_taxonomy)))


def _written(
    config: Config, writer: LocalWriter, examples: Sequence[ChatExample], linker: SkillLinker | None
) -> list[ChatAnswer]:
    """The model's answers, scored, with the loss on the right ones."""
    sampling = Sampling(config.chat.temperature, config.seed)
    answers: list[str] = []
    losses: list[tuple[float, int]] = []
    with track("Answers of the model", total=len(examples), unit="examples") as bar:
        for start in range(0, len(examples), config.chat.batch_size):
            part = examples[start : start + config.chat.batch_size]
            chats = [writer.prompts.of_example(row) for row in part]
            answers += writer.answers(chats, sampling)
            measured = writer.measure(chats, [row.answer for row in part])
            losses += [(-sum(item.log_probabilities), len(item.log_probabilities)) for item in measured]
            bar.advance(len(part))
    scored = score_answers(config.task, examples, answers, linker)
    return [
        replace(row, scores={**row.scores, "loss": loss, "tokens": float(tokens)})
        for row, (loss, tokens) in zip(scored, losses, strict=True)
    ]


def _examples(prepared: PreparedData, limit: int | None) -> list[ChatExample]:
    """The test split in file order; with a limit, those with the first SHA-256 of their id."""
    path = prepared.folder / "test.jsonl"
    rows = [ChatExample.from_json(row) for row in read_jsonl(path)]
    if not rows:
        raise DataError(f"{path} has no rows. Run prepare with more data or a larger split.test.")
    if limit is None or limit >= len(rows):
        return rows
    chosen = set(sorted(hashlib.sha256(row.id.encode()).hexdigest() for row in rows)[:limit])
    return [row for row in rows if hashlib.sha256(row.id.encode()).hexdigest() in chosen]


def _fingerprint(out_dir: Path) -> str:
    digest = hashlib.sha256()
    for name in ("metrics.json", "predictions.jsonl", "baseline_predictions.jsonl"):
        digest.update(name.encode() + b"\0" + (out_dir / name).read_bytes())
    return digest.hexdigest()
