"""What a cascade needs beside the baseline's weights: its temperature, the threshold, and how the threshold was chosen.

Evaluation writes it, export carries it along, the gateway reads it.
"""

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from jobtuner.errors import ConfigError, ModelError
from jobtuner.router import MODEL_ONLY, Point, wilson_low

__all__ = ["BASELINE_FOLDER", "CASCADE_FILE", "CascadeSettings"]

BASELINE_FOLDER = "baseline"
"""Subfolder of an evaluation and of an exported model that holds the baseline and this file."""
CASCADE_FILE = "cascade.json"


@dataclass(frozen=True)
class CascadeSettings:
    """How far the baseline is to be trusted."""

    temperature: float
    """Divides the baseline's log-probabilities before they are renormalised."""
    threshold: float
    """The baseline's answer stands where its probability reaches this. As evaluation chose it: the most model calls
    saved at no less accuracy than the model's alone."""
    examples: int
    """Validation examples behind the curve."""
    curve: list[Point]
    """What the cascade does at each threshold, on those examples; from the model alone to the baseline alone."""
    language_temperatures: dict[str, float] = field(default_factory=dict)
    """Language to the temperature that its ads have in place of `temperature`."""

    def save(self, folder: Path) -> None:
        """Write `cascade.json`."""
        (folder / CASCADE_FILE).write_text(json.dumps(asdict(self), indent=1, allow_nan=False), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "CascadeSettings":
        """Read `cascade.json`.

        Raises:
            ModelError: it is missing or of another form.
        """
        path = folder / CASCADE_FILE
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            return cls(**{**data, "curve": [Point(**point) for point in data["curve"]]})
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise ModelError(
                f"{path} cannot be read ({type(error).__name__}). `jobtuner run` writes it for a model's own baseline; "
                "for another baseline give --cascade-threshold."
            ) from error

    def for_precision(self, target: float) -> "CascadeSettings":
        """The same with the lowest threshold at which the baseline's answers hold the precision.

        Held means that the lower end of the share's one-sided 95 % Wilson interval reaches it.

        Raises:
            ConfigError: the target is no share, or no threshold holds it.
        """
        if not 0.0 < target < 1.0:
            raise ConfigError(f"--cascade-precision is {target}; a share above 0 and below 1 is needed, such as 0.95.")
        held = [
            point
            for point in self.curve
            if point.precision is not None and wilson_low(point.precision, point.coverage * self.examples) >= target
        ]
        if not held:
            best = max((p.precision for p in self.curve if p.precision is not None), default=0.0)
            raise ConfigError(
                f"No threshold holds a precision of {target:g} on the {self.examples} validation examples (best seen: "
                f"{best:.3f}, and so few examples prove less). Ask for less, or serve without the cascade."
            )
        return replace(self, threshold=held[-1].threshold)

    @property
    def saves_calls(self) -> bool:
        """False where the model answers everything."""
        return self.threshold < MODEL_ONLY
