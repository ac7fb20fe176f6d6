"""What the data must fulfil: rules for rows, and how near the test rows may be to training."""

import re
from collections.abc import Sequence
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from jobtuner.config.section import Count, Section, Share

__all__ = ["LeakageConfig", "RuleConfig"]

_CHECKS = ("min_length", "max_length", "allowed", "pattern", "not_null", "unique")


class RuleConfig(Section):
    """A rule for one column of the cleaned rows."""

    name: str = Field(min_length=1, max_length=60)
    """Under this name its rows are rejected and counted."""
    column: Literal["id", "text", "label", "language", "group", "employer", "title", "date"]
    """Field of a row; which column of the input it comes from is said in data.columns."""
    min_length: Count | None = None
    """Fewest characters."""
    max_length: Count | None = None
    """Most characters."""
    allowed: Sequence[str] = ()
    """The values that are accepted; empty: any."""
    pattern: str | None = None
    """Regular expression that must be found in the value (`^…$` for the whole of it)."""
    not_null: bool = False
    """The value must be there; the other checks let rows without it pass."""
    unique: bool = False
    """Only the first row with a value stays."""

    @field_validator("pattern")
    @classmethod
    def _readable(cls, value: str | None) -> str | None:
        try:
            re.compile(value or "")
        except re.error as error:
            raise ValueError(f"it is no regular expression ({error})") from error
        return value

    @model_validator(mode="after")
    def _checks_something(self) -> Self:
        if not any(getattr(self, name) for name in _CHECKS):
            raise ValueError(f"the rule '{self.name}' checks nothing; give it one of {', '.join(_CHECKS)}")
        return self


class LeakageConfig(Section):
    """How near the test rows may be to training rows."""

    sample: int = Field(default=2000, ge=0)
    """Test rows whose nearest training row is looked for, drawn by the seed; 0: none."""
    similarity: Share = 0.9
    """Jaccard similarity from which a test row counts as known from training."""
    max_share: Share = 0.01
    """Fail when a larger share of the sample is."""
