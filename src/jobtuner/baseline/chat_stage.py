"""`baseline` for the tasks that answer in text."""

import hashlib
import time
from collections.abc import Mapping
from pathlib import Path

from jobtuner.chat_scores import score_answers
from jobtuner.config import Config
from jobtuner.contracts import BaselineModel, PreparedData
from jobtuner.progress import track
from jobtuner.records import ChatExample, read_jsonl
from jobtuner.rivals import fit_rival

__all__ = ["run_chat"]


def run_chat(config: Config, inputs: Mapping[str, Path], out_dir: Path) -> BaselineModel:
    """Fit the task's rival on the training split, and count the validation examples that it answers wholly right.

    Args:
        config: the task.
        inputs: the folder of `prepare`.
        out_dir: gets baseline.json and what else the rival needs.

    Raises:
        ContractError: the input folder is no finished PreparedData.
        DataError: there is nothing to learn from.
    """
    prepared = PreparedData.load(inputs["prepare"])
    started = time.monotonic()
    with track("Fitting the baseline", total=1, unit="models") as bar:
        rival = fit_rival(config.task, _examples(prepared, "train"))
        bar.advance()
    seconds = time.monotonic() - started
    rival.save(out_dir)
    validation = _examples(prepared, "validation")
    scored = score_answers(config.task, validation, rival.answers(validation))
    digest = hashlib.sha256()
    for path in sorted(out_dir.iterdir()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return BaselineModel(
        folder=out_dir,
        fingerprint=digest.hexdigest(),
        data_fingerprint=prepared.fingerprint,
        labels=[],
        validation_accuracy=sum(row.scores["exact"] for row in scored) / len(scored),
        train_seconds=round(seconds, 3),
    ).save()


def _examples(prepared: PreparedData, split: str) -> list[ChatExample]:
    return [ChatExample.from_json(row) for row in read_jsonl(prepared.folder / f"{split}.jsonl")]
