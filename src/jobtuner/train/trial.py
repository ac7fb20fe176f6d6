"""One trial of a search: a training with settings of its own, tracked below the search's run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from jobtuner.config import Config
from jobtuner.errors import ConfigError, ModelError
from jobtuner.progress import notice
from jobtuner.tracking import Status, Tracker
from jobtuner.tracking_entries import Entry, Measurement, recipe_parameters
from jobtuner.train.resume import SeenEnoughError
from jobtuner.train.tune import TuningPlan

__all__ = ["Attempt"]

_SECTIONS = ("seed", "task", "prompt", "model", "quantization", "lora", "training")


@dataclass
class Attempt:
    """A trial under way."""

    plan: TuningPlan
    number: int
    overrides: Mapping[str, str]
    measured: list[float] = field(default_factory=list)
    """The plan's metric on the validation split, in the order of the measurements."""

    @property
    def best(self) -> float:
        """The best measurement."""
        return min(self.measured) if self.plan.metric == "loss" else max(self.measured)

    def run(self, tracker: Tracker, parent: str, train: Callable[[Config], None]) -> bool:
        """Train, as a run below `parent`; whether it came to its end: it may be pruned, or its settings be of no use.

        Args:
            tracker: records it.
            parent: id of the search's run.
            train: trains, and appends to `measured`.

        Raises:
            JobTunerError: what no other settings would mend: the disk is full, the base cannot be loaded, a signal
                came.
        """
        run_id = tracker.store.open_nested(
            parent, f"trial-{self.number}", {"stage": "tune", "trial": str(self.number)}
        )  # fmt: skip
        tags = dict[str, str]()
        try:
            config = self.plan.config(self.overrides)
            tracker.store.log(run_id, Entry(params=recipe_parameters(config, *_SECTIONS)))
            train(config)
        except SeenEnoughError:
            tags = {"pruned": f"after {len(self.measured)} measurements"}
        except (ConfigError, ModelError) as error:  # these settings cannot be trained: others can
            if isinstance(error, ModelError) and not self.measured and not _diverged(error):
                self._close(tracker, run_id, "FAILED", {"error": str(error)})
                raise
            tags = {"refused": str(error)}
            notice(f"Trial {self.number} was given up: {error}")
        except BaseException:
            self._close(tracker, run_id, "KILLED", {})
            raise
        self._close(tracker, run_id, "FINISHED", tags)
        shown = f"{self.plan.metric} {self.best:.4f}" if self.measured else "no measurement"
        notice(f"Trial {self.number}: {shown}{', given up' if tags else ''}; {_shown(self.overrides)}")
        return not tags

    def _close(self, tracker: Tracker, run_id: str, status: Status, tags: Mapping[str, str]) -> None:
        name = f"validation_{self.plan.metric}"
        metrics = [Measurement(name, value, number) for number, value in enumerate(self.measured, start=1)]
        if self.measured:
            metrics.append(Measurement(f"best_{name}", self.best))
        tracker.store.log(run_id, Entry(metrics=metrics, tags=tags))
        tracker.store.close(run_id, status)


def _diverged(error: ModelError) -> bool:
    return any(part in str(error) for part in ("The loss is", "gradients exploded"))


def _shown(overrides: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in overrides.items())
