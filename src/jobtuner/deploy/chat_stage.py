"""`deploy` for the tasks that answer in text: load what was exported, and let it answer one test example a language."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jobtuner.contracts import ExportedModel, PreparedData
from jobtuner.errors import ContractError, DeployError
from jobtuner.generation import load_exported_writer
from jobtuner.records import ChatExample, read_jsonl

__all__ = ["ask_exported"]

_SHOWN = 200  # characters of an answer that are kept


def ask_exported(prepared: PreparedData, exported: ExportedModel, out_dir: Path) -> list[dict[str, Any]]:
    """Ask the exported model, loaded anew from its own folder, one test example a language.

    Returns:
        One entry an example: language, expected, answered (both cut), valid.

    Raises:
        ContractError: the test split is empty.
        DeployError: no answer has the form that the task asks for.
        ModelError: the model cannot be loaded, or does not fit its prompt.
    """
    examples = _one_per_language(prepared)
    writer = load_exported_writer(exported.folder / "model")
    answers = writer.answers([writer.prompts.chat(row.text, row.facts) for row in examples])
    checks = _checks(prepared.task, examples, answers)
    (out_dir / "server.log").write_text("Asked in this process, without a server.\n", encoding="utf-8")
    if not any(check["valid"] for check in checks):
        told = json.dumps([check["answered"] for check in checks], ensure_ascii=False)
        raise DeployError(
            f"None of the exported model's answers has the form of the task {prepared.task}: {told}. Train it longer."
        )
    return checks


def _checks(task: str, examples: Sequence[ChatExample], answers: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {
            "language": row.language,
            "expected": row.answer[:_SHOWN],
            "answered": answer[:_SHOWN],
            "valid": _is_list(answer) if task == "skills" else bool(answer),
        }
        for row, answer in zip(examples, answers, strict=True)
    ]


def _is_list(answer: str) -> bool:
    """Whether it is a JSON list of texts. What they are worth, the evaluation has judged."""
    try:
        value = json.loads(answer)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _one_per_language(prepared: PreparedData) -> list[ChatExample]:
    """The first test example by id of every language, in the languages' order."""
    rows: dict[str, ChatExample] = {}
    for row in map(ChatExample.from_json, read_jsonl(prepared.folder / "test.jsonl")):
        if row.language not in rows or row.id < rows[row.language].id:
            rows[row.language] = row
    if not rows:
        raise ContractError(f"{prepared.folder / 'test.jsonl'} holds no example. Run the prepare stage again.")
    return [rows[language] for language in sorted(rows)]
