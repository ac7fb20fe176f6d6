"""Two runs, or two registered versions, side by side: what was set differently, and what came of it."""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from jobtuner.contracts import EvalReport, PreparedData
from jobtuner.errors import ConfigError, ContractError, DataError
from jobtuner.register.answers import ANSWERS_FILE, Answers, intervals, paired
from jobtuner.register.registry import Registry
from jobtuner.register.stage import SETTINGS_FILE
from jobtuner.run import Run, home
from jobtuner.statistics import Interval, McNemar
from jobtuner.tracking_entries import recipe_parameters

__all__ = ["Comparison", "Side", "compare", "find_side"]


@dataclass(frozen=True)
class Side:
    """One of the two."""

    title: str
    """As it was asked for."""
    settings: Mapping[str, str]
    """The recipe as dotted keys."""
    answers: Answers
    """To its own test split."""


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
    """Of each side on the common ads, as `answers.intervals` returns them."""
    gains: dict[str, Interval]
    """"macro_f1" and "accuracy" to the gain of the second over the first."""
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
    if report.data_fingerprint != prepared.fingerprint:
        raise ContractError(f"{folder}: the report is not about the data beside it. Run the stage evaluate again.")
    settings = recipe_parameters(Run.load(folder / "run").config)
    return Side(what, settings, Answers.of_report(report, prepared))


def _version_side(what: str, name: str, version: str, registry: Registry) -> Side:
    versions = registry.versions(name)
    known = next((item for item in versions if version == item.version or version in item.aliases), None)
    if known is None:
        listed = ", ".join("@".join([item.version, *item.aliases]) for item in versions)
        raise ConfigError(f"{name} has no version or alias '{version}'. Its versions: {listed}.")
    with tempfile.TemporaryDirectory(prefix="jobtuner-compare-") as scratch:
        answers = Answers.load(registry.fetch(name, known.version, ANSWERS_FILE, Path(scratch)))
        path = registry.fetch(name, known.version, SETTINGS_FILE, Path(scratch))
        try:
            settings = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ContractError(f"{SETTINGS_FILE} of {what} is not readable ({error}). Register it again.") from error
    return Side(f"{what} (version {known.version})" if version != known.version else what, settings, answers)


def compare(first: Side, second: Side, seed: int = 0) -> Comparison:
    """Put two sides next to each other on the ads that both were tested on.

    Args:
        first: what is compared with.
        second: what is judged.
        seed: of the bootstrap.

    Raises:
        DataError: they have no test ad in common.
    """
    one, two = first.answers, second.answers
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


def _differing(first: Side, second: Side) -> dict[str, tuple[str, str]]:
    keys = sorted({*first.settings, *second.settings})
    pairs = {key: (first.settings.get(key, "-"), second.settings.get(key, "-")) for key in keys}
    return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}
