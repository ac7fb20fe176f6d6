"""What all tests of the pipelines share."""

import functools
import inspect

import pytest


@pytest.fixture(autouse=True)
def names_of_callers_without_their_source(monkeypatch: pytest.MonkeyPatch) -> None:
    """kfp asks `inspect.stack()` for a caller's name with each setting of a task, and gets source lines with it.

    In a process with thousands of modules, as that of the tests, finding those lines takes seconds a pipeline.
    """
    monkeypatch.setattr(inspect, "stack", functools.partial(inspect.stack, 0))
