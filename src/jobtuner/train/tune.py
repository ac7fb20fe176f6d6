"""Hyperparameter search over a recipe: Optuna's study in a SQLite file, which any number of workers share.

    <folder>/study.db      trials: settings, measurements, states
    <folder>/plan.json     recipe, overrides, space, metric: what a study must keep when it goes on
    <folder>/run/          the tracked parent run, below which each trial is a run
    <folder>/cache/        stand-in and checkpoints, which trials share
    <folder>/best.yaml     the best recipe so far

A search that is killed goes on when it is started again: trials that were running are taken up with the same settings,
and find their checkpoints.
"""

import fcntl
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import yaml

from jobtuner.config import Config, load_config
from jobtuner.errors import ConfigError

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import Trial

__all__ = ["MEASUREMENTS", "METRICS", "Metric", "TuningPlan", "begin", "best_recipe", "next_trial", "open_study"]

Metric = Literal["loss", "accuracy", "label_accuracy", "macro_f1"]
METRICS: tuple[str, ...] = get_args(Metric)

MEASUREMENTS = 8
"""In a trial, where the recipe says nothing: enough for pruning, and little beside the training."""
_PRUNED_AFTER = 4  # trials that must be through before others are compared with them
_STUDY = "jobtuner"
_PLAN, _DATABASE, _BEST = "plan.json", "study.db", "best.yaml"


@dataclass(frozen=True)
class TuningPlan:
    """What is searched."""

    recipe: str
    overrides: dict[str, str]
    space: str
    """Path of the space's file."""
    space_text: str
    metric: Metric
    trials: int
    """Trials that are to be through, pruned ones included."""
    prune: bool
    prepare: str
    """Folder of the prepared data."""

    @classmethod
    def load(cls, folder: Path) -> "TuningPlan":
        """Read the plan of a search."""
        return cls(**json.loads((folder / _PLAN).read_text(encoding="utf-8")))

    def config(self, changes: Mapping[str, str] | None = None) -> Config:
        """The recipe with a trial's changes, measured often enough to be pruned, its best weights kept.

        Raises:
            ConfigError: the settings do not go together.
        """
        config = load_config(self.recipe, {**self.overrides, **(changes or {})})
        training = config.training.model_dump(mode="json")
        measured = training["evaluate_every"] or max(1, self.steps(config) // MEASUREMENTS)
        training |= {"best_by": self.metric, "evaluate_every": measured}
        hardware = config.hardware.model_dump() | {"processes": 1}
        document = config.model_dump(mode="json", by_alias=True) | {"training": training, "hardware": hardware}
        return Config.model_validate_json(json.dumps(document))

    def recipe_of(self, overrides: Mapping[str, str], name: str, number: int, value: float) -> str:
        """The recipe of a trial as YAML.

        Args:
            overrides: the trial's.
            name: of the file that it will be in.
            number: of the trial.
            value: what it reached.
        """
        config = self.config(overrides)
        document = config.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        document |= {
            "name": f"{config.name}-tuned",
            "hardware": load_config(self.recipe, self.overrides).hardware.model_dump(),
        }
        head = (
            f"# jobtuner run --recipe {name}\n# Trial {number} of a search over {config.name}: validation "
            f"{self.metric} {value:.4f}.\n"
        )
        return head + yaml.safe_dump(document, allow_unicode=True, sort_keys=False)

    def steps(self, config: Config) -> int:
        """Optimizer steps of a trial."""
        from jobtuner.contracts import PreparedData
        from jobtuner.train.arguments import optimizer_steps
        from jobtuner.train.mixture import epoch_rows

        rows = PreparedData.load(self.prepare).folder / "train.jsonl"
        with rows.open(encoding="utf-8") as stream:
            own = sum(1 for _ in stream)
        return optimizer_steps(config.training, epoch_rows(config.training.mixture, own))


def begin(folder: Path, plan: TuningPlan) -> int:
    """Start a search in a folder, or go on with the one that is there; trials that were running are taken up again.

    Must be called while no worker runs.

    Returns:
        How many trials are through.

    Raises:
        ConfigError: the folder holds a search for something else.
    """
    from optuna.trial import TrialState

    folder.mkdir(parents=True, exist_ok=True)
    if (folder / _PLAN).exists():
        before, now = asdict(TuningPlan.load(folder)), asdict(plan)
        changed = [name for name in before if name not in {"trials", "space"} and before[name] != now[name]]
        if changed:
            raise ConfigError(
                f"{folder} holds a search with another {', '.join(changed)}: its trials cannot be compared with new "
                "ones. Give another --out, or the same options as before."
            )
    (folder / _PLAN).write_text(json.dumps(asdict(plan), indent=1), encoding="utf-8")
    study = open_study(folder, plan)
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
        study.enqueue_trial(trial.params, user_attrs={"again": trial.number})
    return len(_through(study))


def open_study(folder: Path, plan: TuningPlan) -> "Study":
    """The study of a folder, which is made where it is new."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pruner: optuna.pruners.BasePruner = (
        optuna.pruners.MedianPruner(_PRUNED_AFTER, n_warmup_steps=1) if plan.prune else optuna.pruners.NopPruner()
    )
    with _locked(folder):
        return optuna.create_study(
            study_name=_STUDY, storage=f"sqlite:///{folder.resolve() / _DATABASE}", load_if_exists=True, pruner=pruner,
            direction="minimize" if plan.metric == "loss" else "maximize",
        )  # fmt: skip


def next_trial(folder: Path, study: "Study", plan: TuningPlan, seed: int) -> "Trial | None":
    """The next trial, for one worker alone; None where enough are through or running."""
    import optuna
    from optuna.trial import TrialState

    with _locked(folder):
        running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        if len(_through(study)) + len(running) >= plan.trials:
            return None
        # A sampler of its own for each trial: a search that was killed draws what it would have drawn.
        number = len(study.get_trials(deepcopy=False))
        study.sampler = optuna.samplers.TPESampler(seed=seed + number, constant_liar=True)
        return study.ask()


def best_recipe(folder: Path, plan: TuningPlan) -> Path | None:
    """Write the recipe of the best trial; None where no trial has come to its end."""
    from optuna.trial import TrialState

    study = open_study(folder, plan)
    if not study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        return None
    best = study.best_trial
    text = plan.recipe_of(best.user_attrs["overrides"], f"{folder / _BEST}", best.number, float(best.value or 0.0))
    (folder / _BEST).write_text(text, encoding="utf-8")
    return folder / _BEST


def _through(study: "Study") -> list[Any]:
    from optuna.trial import TrialState

    return list(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED)))


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with (folder / "lock").open("w", encoding="utf-8") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
