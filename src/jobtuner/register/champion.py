"""The champion on the challenger's test ads: its stored answers where they are of this data, else it is asked anew."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from jobtuner.contracts import PreparedData, TrainedModel
from jobtuner.errors import ContractError, JobTunerError, ModelError
from jobtuner.probabilities import Temperatures, apply_temperature
from jobtuner.progress import track
from jobtuner.register.answers import ANSWERS_FILE, Answer, Answers, split_examples
from jobtuner.register.gate import Unmeasured
from jobtuner.register.registry import RegisteredModel, Registry
from jobtuner.scoring import InferenceSettings, load_adapted
from jobtuner.taxonomy import Taxonomy

__all__ = ["Load", "Scorer", "champion_answers", "champion_parameters"]

_CHUNK = 256  # ads a step of the progress bar


class Scorer(Protocol):
    """A loaded model."""

    labels: list[str]

    def log_probabilities(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Log-probabilities, shape [len(texts), len(labels)]."""


Load = Callable[[TrainedModel, Taxonomy, int], Scorer]


def champion_answers(
    registry: Registry,
    name: str,
    champion: RegisteredModel,
    prepared: PreparedData,
    ours: Answers,
    batch_size: int,
    load: Load = load_adapted,
) -> Answers | Unmeasured:
    """What the champion answers to the ads that the challenger was tested on.

    Args:
        registry: where the champion lies.
        name: the model's name there.
        champion: its version.
        prepared: the data whose test split it is asked.
        ours: the challenger's answers to those ads.
        batch_size: prompts a forward pass.
        load: makes a classifier of adapter and base.

    Returns:
        The answers, or why there are none: the weights are gone, the taxonomy is another one, the base model is out of
        reach, the prompt has changed.
    """
    with tempfile.TemporaryDirectory(prefix="jobtuner-champion-") as scratch:
        kept = _stored(registry, name, champion, ours, Path(scratch) / "answers")
        if kept is not None:
            return kept
        try:
            return _asked_anew(registry, name, champion, prepared, ours, batch_size, load, Path(scratch) / "model")
        except (JobTunerError, OSError, ValueError, RuntimeError) as error:  # RuntimeError: weights that do not fit
            return Unmeasured(champion.version, str(error).strip())


def champion_parameters(registry: Registry, name: str, champion: RegisteredModel) -> int | None:
    """Parameters of the champion, base and adapter; None where its record is gone."""
    with tempfile.TemporaryDirectory(prefix="jobtuner-champion-") as scratch:
        try:
            contract = registry.fetch(name, champion.version, "contract.json", Path(scratch))
            value = TrainedModel.load(contract.parent).settings.get("total_parameters")
        except JobTunerError:
            return None
    return value if isinstance(value, int) else None


def _stored(registry: Registry, name: str, champion: RegisteredModel, ours: Answers, folder: Path) -> Answers | None:
    """The answers that were stored with the champion, where they are of these very ads."""
    if champion.data_fingerprint != ours.data_fingerprint:
        return None
    try:
        kept = Answers.load(registry.fetch(name, champion.version, ANSWERS_FILE, folder))
    except JobTunerError:
        return None  # an older version, or a file that was cut: it is asked anew
    return kept.only(ours.rows) if kept.cover(ours) else None


def _asked_anew(
    registry: Registry,
    name: str,
    champion: RegisteredModel,
    prepared: PreparedData,
    ours: Answers,
    batch_size: int,
    load: Load,
    folder: Path,
) -> Answers:
    if champion.temperature is None:
        raise ContractError("its record says nothing of its calibration; it was not registered by JobTuner.")
    trained = TrainedModel.load(registry.fetch(name, champion.version, "", folder))
    settings = InferenceSettings.load(trained.folder)
    if settings.taxonomy_version != prepared.taxonomy_version:
        raise ModelError(
            f"it answers with the codes of taxonomy {settings.taxonomy_version}, this data has those of "
            f"{prepared.taxonomy_version}."
        )
    scorer = load(trained, Taxonomy.load(prepared.folder / "taxonomy.json"), batch_size)
    examples = [item for item in split_examples(prepared) if item.id in ours.rows]
    temperatures = Temperatures(champion.temperature, champion.language_temperatures)
    rows = []
    with track("Scoring with the champion", total=len(examples), unit="ads") as bar:
        for start in range(0, len(examples), _CHUNK):
            part = examples[start : start + _CHUNK]
            raw = scorer.log_probabilities([item.text for item in part])
            scores = np.exp(apply_temperature(raw, temperatures.of([item.language for item in part])))
            best = scores.argmax(axis=1)
            for item, column, row in zip(part, best, scores, strict=True):
                answer = item.label if scorer.labels[column] in item.accepted else scorer.labels[column]
                rows.append(
                    Answer(item.id, item.label, item.language, answer, round(float(row[column]), 6), item.cluster)
                )
            bar.advance(len(part))
    return Answers.of(prepared.fingerprint, rows).only(ours.rows)
