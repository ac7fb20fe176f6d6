"""Two runs, or two registered versions, side by side: what was set differently, and what came of it."""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobtuner.chat_metrics import HEADLINES, measure_chats, pair_chats
from jobtuner.contracts import EvalReport, PreparedData
from jobtuner.errors import ConfigError, ContractError, DataError
from jobtuner.records import ChatAnswer, read_jsonl
from jobtuner.register.answers import ANSWERS_FILE, Answers, intervals, paired
from jobtuner.register.chat_answers import ChatAnswers
from jobtuner.register.registry import Registry
from jobtuner.register.stage import SETTINGS_FILE
from jobtuner.run import Run, home
from jobtuner.statistics import Interval, McNemar
from jobtuner.tasks import CHAT_TASKS
from jobtuner.tracking_entries import recipe_parameters

__all__ = ["Comparison", "Side", "compare", "find_side"]


@dataclass(frozen=True)
class Side:
    """One of the two."""

    title: str
    """As it was asked for."""
    settings: Mapping[str, str]
    """The recipe as dotted keys."""
    answers: Answers | ChatAnswers
    """To its own test split: codes, or texts."""


@dataclass(frozen=True)
class Comparison:
    """Two sides on the test ads that both have answered."""

    first: Side
    second: Side
    common: int
    """Ads that both were tested on."""
    settings: dict[str, tuple[str, str]]
    """Keys whose values differ, with the two values; "-" where a side does not have the key."""
    intervals: tuple[dict[str, Interval], dict[str, Interval]]
    """Of each side on the common ads: metrics, and "per_language/da" and the like for slices."""
    gains: dict[str, Interval]
    """"macro_f1" and "accuracy", or the headline metric of a task that answers in text, to the gain of the second over
    the first."""
    test: McNemar
    """`ours` is the second."""

    @property
    def same_split(self) -> bool:
        """Whether both were tested on the same ads of the same data."""
        counts = {len(side.answers.rows) for side in (self.first, self.second)}
        return self.first.answers.data_fingerprint == self.second.answers.data_fingerprint and counts == {self.common}


def find_side(what: str, registry: Registry) -> Side:
    """Find a run or a version.

    Args:
        what: folder of a run, name of one below the work folder's runs/ ("latest" too), or NAME/VERSION or NAME@ALIAS
            of a registered model.
        registry: where registered models lie.

    Raises:
        ConfigError: there is nothing of that name.
        ContractError: the run is not evaluated, or the version does not hold its answers.
        TrackingError: the registry cannot be reached.
    """
    for folder in (Path(what), home() / what, home() / "runs" / what):
        if (folder / "evaluate").is_dir():
            return _run_side(what, folder)
        if folder.is_dir() and what not in {"", "."}:
            raise ContractError(f"{folder} holds no finished stage evaluate: there is nothing to compare in it yet.")
    for separator in ("/", "@"):
        name, found, version = what.rpartition(separator)
        if found and registry.versions(name):
            return _version_side(what, name, version, registry)
    runs = sorted(path.name for path in (home() / "runs").glob("*/") if (path / "evaluate").is_dir())
    raise ConfigError(
        f"There is no run and no version '{what}'. Accepted: the folder of a run; a run of {home() / 'runs'} "
        f"({', '.join(runs[-5:]) or 'none there yet'}); NAME/VERSION or NAME@ALIAS of a registered model "
        f"({', '.join(registry.names()) or 'none yet'})."
    )


def _run_side(what: str, folder: Path) -> Side:
    report, prepared = EvalReport.load(folder / "evaluate"), PreparedData.load(folder / "prepare")
    answers: Answers | ChatAnswers
    if report.data_fingerprint != prepared.fingerprint:
        raise ContractError(f"{folder}: the report is not about the data beside it. Run the stage evaluate again.")
    settings = recipe_parameters(Run.load(folder / "run").config)
    if prepared.task in CHAT_TASKS:
        rows = [ChatAnswer.from_json(row) for row in read_jsonl(report.folder / "predictions.jsonl")]
        answers = ChatAnswers(prepared.task, report.data_fingerprint, rows)
    else:
        answers = Answers.of_report(report, prepared)
    return Side(what, settings, answers)


def _version_side(what: str, name: str, version: str, registry: Registry) -> Side:
    versions = registry.versions(name)
    known = next((item for item in versions if version == item.version or version in item.aliases), None)
    if known is None:
        listed = ", ".join("@".join([item.version, *item.aliases]) for item in versions)
        raise ConfigError(f"{name} has no version or alias '{version}'. Its versions: {listed}.")
    with tempfile.TemporaryDirectory(prefix="jobtuner-compare-") as scratch:
        answers = _stored(registry.fetch(name, known.version, ANSWERS_FILE, Path(scratch)))
        path = registry.fetch(name, known.version, SETTINGS_FILE, Path(scratch))
        try:
            settings = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ContractError(f"{SETTINGS_FILE} of {what} is not readable ({error}). Register it again.") from error
    return Side(f"{what} (version {known.version})" if version != known.version else what, settings, answers)


def _stored(path: Path) -> Answers | ChatAnswers:
    try:
        texts = "task" in json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        texts = False  # unreadable either way: told by the usual one
    return ChatAnswers.load(path) if texts else Answers.load(path)


def compare(first: Side, second: Side, seed: int = 0) -> Comparison:
    """Put two sides next to each other on the ads that both were tested on.

    Args:
        first: what is compared with.
        second: what is judged.
        seed: of the bootstrap.

    Raises:
        DataError: they have no test ad in common, or are of different tasks.
    """
    one, two = first.answers, second.answers
    if isinstance(one, ChatAnswers) or isinstance(two, ChatAnswers):
        return _compare_texts(first, second, one, two, seed)
    # An ad that has another right code in the other's data is not the same question.
    ids = [key for key, row in one.rows.items() if key in two.rows and two.rows[key].label == row.label]
    if not ids:
        raise DataError(
            f"{first.title} was tested on {len(one.rows)} ads of the data {one.data_fingerprint[:12]}, {second.title} "
            f"on {len(two.rows)} of {two.data_fingerprint[:12]}, and no ad is in both with the same code: they cannot "
            "be compared. Evaluate both on the same prepared data."
        )
    one, two = one.only(ids), two.only(ids)
    gains = {}
    for metric in ("macro_f1", "accuracy"):
        gains[metric], test = paired(two, one, metric, seed)
    return Comparison(
        first, second, len(ids), _differing(first, second), (intervals(one, seed), intervals(two, seed)), gains, test
    )


def _compare_texts(
    first: Side, second: Side, one: Answers | ChatAnswers, two: Answers | ChatAnswers, seed: int
) -> Comparison:
    """As `compare`; a text's worth is known against its own data alone, so that both must be of the same."""
    tasks = [side.task if isinstance(side, ChatAnswers) else "occupation" for side in (one, two)]
    if not (isinstance(one, ChatAnswers) and isinstance(two, ChatAnswers)) or tasks[0] != tasks[1]:
        raise DataError(
            f"{first.title} is of the task {tasks[0]}, {second.title} of {tasks[1]}: compare like with like."
        )
    theirs = {row.id for row in two.rows}
    ids = [row.id for row in one.rows if row.id in theirs]
    if one.data_fingerprint != two.data_fingerprint or not ids:
        raise DataError(
            f"{first.title} was tested on the data {one.data_fingerprint[:12]}, {second.title} on "
            f"{two.data_fingerprint[:12]}, with {len(ids)} ids in both: texts can be compared on the same examples "
            "alone. Evaluate both on the same prepared data."
        )
    rows = [side.only(ids) or [] for side in (one, two)]
    gain, test = pair_chats(tasks[0], rows[1], rows[0], seed)
    found = [_intervals(measure_chats(tasks[0], side, seed)) for side in rows]
    gains = {HEADLINES[tasks[0]]: gain}
    return Comparison(first, second, len(ids), _differing(first, second), (found[0], found[1]), gains, test)


def _intervals(metrics: Mapping[str, Any]) -> dict[str, Interval]:
    """The headline metric first, then the others, then the headline metric of each language."""
    headline = metrics["headline"]
    names = [headline, *(name for name in metrics if f"{name}_interval" in metrics and name != headline)]
    found = {name: Interval(metrics[name], *metrics[f"{name}_interval"]) for name in names}
    for language, own in metrics["per_language"].items():
        found[f"per_language/{language}"] = Interval(own[headline], *own[f"{headline}_interval"])
    return found


def _differing(first: Side, second: Side) -> dict[str, tuple[str, str]]:
    keys = sorted({*first.settings, *second.settings})
    pairs = {key: (first.settings.get(key, "-"), second.settings.get(key, "-")) for key in keys}
    return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}
