"""Whether to train anew: a pure function of what was seen and of what is remembered.

Drift is no harm by itself, and a single drifted window may be a holiday. So drift must last (`drifted_windows`), counts
until it is quiet again for as long (hysteresis), and gives way to corrected answers where there are enough: they show
whether the model is worse. No training is asked for while the last one is young (`cool_down_days`).
"""

from dataclasses import asdict, dataclass, replace
from datetime import date
from typing import Any, Literal, Self

from jobtuner.config import RetrainConfig
from jobtuner.errors import ContractError

__all__ = ["Action", "Decision", "Evidence", "Memory", "decide"]

Action = Literal["none", "watch", "wait", "ask", "retrain"]
"""none: all is well. watch: something was seen that does not count yet. wait: a training is due, the last one is too
young. ask: a training is due and nobody approved it yet. retrain: start one."""


@dataclass(frozen=True)
class Evidence:
    """What one look found."""

    day: date
    drifted: bool | None
    """None: too few answers to say."""
    drifted_tests: list[str]
    labelled: int
    """Corrected answers."""
    accuracy: tuple[float, float] | None
    """Ends of the 95 % interval of the accuracy on them; None: there are none."""
    reference_accuracy: float | None
    """What the model reached when it was evaluated; None: not known."""
    model_made: date | None
    """When the reference was made; None: not known."""


@dataclass(frozen=True)
class Memory:
    """What is kept from one look to the next."""

    level: int = 0
    """Drifted windows less quiet ones, from 0 to `drifted_windows`."""
    raised: bool = False
    """Whether drift counts: from `drifted_windows` until the level is back at 0."""
    asked: date | None = None
    """Day on which the last training was started."""
    approved: bool = False
    """A human agreed to the next training."""

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return {**asdict(self), "asked": None if self.asked is None else self.asked.isoformat()}

    @classmethod
    def from_json(cls, document: Any) -> Self:
        """What `to_json` gave.

        Raises:
            ContractError: it is something else.
        """
        try:
            asked = document["asked"]
            memory = cls(**{**document, "asked": None if asked is None else date.fromisoformat(asked)})
        except (TypeError, KeyError, ValueError) as error:
            raise ContractError(f"This is no state of the watch ({error}): delete the file to begin anew.") from error
        return memory


@dataclass(frozen=True)
class Decision:
    """What to do, why, and what to remember."""

    action: Action
    reasons: list[str]
    memory: Memory

    @property
    def retrain(self) -> bool:
        """Whether a training is to be started now."""
        return self.action == "retrain"


def decide(evidence: Evidence, memory: Memory, rules: RetrainConfig) -> Decision:
    """The decision after one look; its memory goes into the next one."""
    memory, seen = _with_drift(evidence, memory, rules)
    quality, told = _quality(evidence, rules)
    reasons = [seen, told]
    due = []
    if quality == "worse":
        due.append("accuracy is lost")
    if memory.raised and quality != "good":
        due.append("drift lasts")
    elif memory.raised:
        reasons.append("The drift does no harm so far: the corrected answers decide.")
    age = None if evidence.model_made is None else (evidence.day - evidence.model_made).days
    if age is not None and rules.max_age_days is not None and age > rules.max_age_days:
        due.append(f"the model is {age} days old, {rules.max_age_days} are allowed")
    if not due:
        watched = memory.level > 0 or quality == "unclear"
        return Decision("watch" if watched else "none", reasons, replace(memory, approved=False))
    reasons.append(f"A training is due: {'; '.join(due)}.")
    return _when_due(evidence, memory, rules, reasons)


def _with_drift(evidence: Evidence, memory: Memory, rules: RetrainConfig) -> tuple[Memory, str]:
    if evidence.drifted is None:
        return memory, "Too few answers to judge drift: the count stays."
    step = 1 if evidence.drifted else -1
    level = min(max(memory.level + step, 0), rules.drifted_windows)
    raised = level >= rules.drifted_windows or (memory.raised and level > 0)
    found = f"Drift in {', '.join(evidence.drifted_tests)}" if evidence.drifted else "No drift"
    return replace(memory, level=level, raised=raised), f"{found}: level {level} of {rules.drifted_windows}."


def _quality(evidence: Evidence, rules: RetrainConfig) -> tuple[Literal["worse", "good", "unclear", "unknown"], str]:
    if evidence.accuracy is None or evidence.reference_accuracy is None or evidence.labelled < rules.min_labelled:
        return "unknown", f"{evidence.labelled} corrected answers; {rules.min_labelled} are needed to judge accuracy."
    low, high = evidence.accuracy
    floor = evidence.reference_accuracy - rules.max_accuracy_loss
    told = f"Accuracy lies in [{low:.3f}, {high:.3f}] on {evidence.labelled} corrected answers; {floor:.3f} is allowed."
    if high < floor:
        return "worse", told
    return ("good" if low >= floor else "unclear"), told


def _when_due(evidence: Evidence, memory: Memory, rules: RetrainConfig, reasons: list[str]) -> Decision:
    if memory.asked is not None and (since := (evidence.day - memory.asked).days) < rules.cool_down_days:
        reasons.append(f"The last one was started {since} days ago; {rules.cool_down_days} must pass.")
        return Decision("wait", reasons, memory)
    if rules.approval == "manual" and not memory.approved:
        reasons.append("It waits for `jobtuner monitor approve`.")
        return Decision("ask", reasons, memory)
    reasons.append("It is started.")
    return Decision("retrain", reasons, Memory(asked=evidence.day))
