"""The stage `baseline`: fit the cheap classifier that the fine-tuned model must beat."""

import hashlib
import time
from collections.abc import Mapping
from pathlib import Path

from jobtuner.baseline.chat_stage import run_chat
from jobtuner.config import Config
from jobtuner.contracts import BaselineModel, PreparedData
from jobtuner.errors import DataError
from jobtuner.linear.classifier import SETTINGS_FILE, WEIGHTS_FILE, BaselineClassifier
from jobtuner.linear.taxonomy_rows import taxonomy_rows, unseen_labels
from jobtuner.progress import track
from jobtuner.records import Example, read_jsonl
from jobtuner.tasks import CHAT_TASKS
from jobtuner.taxonomy import Taxonomy

__all__ = ["run"]


def run(config: Config, inputs: Mapping[str, Path], out_dir: Path) -> BaselineModel:
    """Fit on the training split and the taxonomy's titles, measure accuracy on the validation split, write the model.

    Args:
        config: the section baseline, and the seed.
        inputs: the folder of `prepare`.
        out_dir: gets the files named in `contracts.BaselineModel`.

    Raises:
        ContractError: the input folder is no finished PreparedData.
        DataError: the training split has fewer than two labels, or no n-gram is frequent enough; validation is empty.
        ModelError: baseline.kind is embeddings, and the encoder is not available.
    """
    if config.task in CHAT_TASKS:
        return run_chat(config, inputs, out_dir)
    prepared = PreparedData.load(inputs["prepare"])
    training = _examples(prepared, "train")
    validation = _examples(prepared, "validation")
    started = time.monotonic()
    taxonomy = Taxonomy.load(prepared.folder / "taxonomy.json")
    texts, labels = [row.text for row in training], [row.label for row in training]
    unseen = unseen_labels([taxonomy], set(labels))
    titles = taxonomy_rows([taxonomy], {*labels, *unseen})
    with track("Fitting the baseline", unit="passes") as bar:
        classifier = BaselineClassifier(config.baseline, config.seed).fit(
            texts,
            labels,
            languages=[row.language for row in training],
            titles=titles,
            unseen=unseen,
            on_epoch=bar.advance,
        )
    seconds = time.monotonic() - started
    classifier.save(out_dir)
    return BaselineModel(
        folder=out_dir,
        fingerprint=_fingerprint(out_dir),
        data_fingerprint=prepared.fingerprint,
        labels=classifier.labels,
        validation_accuracy=_accuracy(classifier, validation),
        train_seconds=round(seconds, 3),
    ).save()


def _examples(prepared: PreparedData, split: str) -> list[Example]:
    path = prepared.folder / f"{split}.jsonl"
    rows = [Example.from_json(row) for row in read_jsonl(path)]
    if not rows:
        raise DataError(f"{path} has no rows. Run prepare with more data.")
    return rows


def _accuracy(classifier: BaselineClassifier, rows: list[Example]) -> float:
    """Share of rows whose likeliest label is the right one, in [0, 1]."""
    best = classifier.log_probabilities([row.text for row in rows]).argmax(axis=1)
    right = [classifier.labels[int(column)] == row.label for column, row in zip(best, rows, strict=True)]
    return sum(right) / len(right)


def _fingerprint(folder: Path) -> str:
    digest = hashlib.sha256()
    for name in (SETTINGS_FILE, WEIGHTS_FILE):
        digest.update(name.encode() + b"\0" + (folder / name).read_bytes())
    return digest.hexdigest()
