"""How the report writes numbers: shares in percent with one decimal, differences in points with a sign."""

from collections.abc import Sequence

from jobtuner.statistics import Interval

__all__ = ["interval", "percent", "points", "span", "whole"]


def percent(share: float) -> str:
    """0.4567: 45.7."""
    return f"{100 * share:.1f}"


def whole(share: float) -> str:
    """A share that somebody chose, without decimals that nobody wrote: 90 %."""
    return f"{100 * share:g} %"


def points(share: float) -> str:
    """0.0123: +1.2."""
    return f"{100 * share:+.1f}"


def span(ends: Sequence[float]) -> str:
    """Both ends of an interval of a share: 81.2 to 84.0."""
    return " to ".join(percent(value) for value in ends)


def interval(found: Interval) -> str:
    """The interval of a difference, in words."""
    return f"95 % interval {points(found.low)} to {points(found.high)}"
