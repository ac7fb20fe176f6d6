"""Rendered overlays, each rendered once."""

import shutil
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from manifests.check import documents, render
from tests.pipelines.conftest import names_of_callers_without_their_source  # noqa: F401  # a fixture

Objects = list[dict[str, Any]]


@cache
def _rendered(overlay: str, features: tuple[str, ...]) -> str:
    return render(overlay, features)


@pytest.fixture
def rendered() -> Callable[..., str]:
    """rendered(overlay, *features): the text."""
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
    return lambda overlay, *features: _rendered(overlay, features)


@pytest.fixture
def objects(rendered: Callable[..., str]) -> Callable[..., Objects]:
    """objects(overlay, *features): the objects."""
    return lambda overlay, *features: documents(rendered(overlay, *features))


@pytest.fixture
def find(objects: Callable[..., Objects]) -> Callable[..., dict[str, Any]]:
    """find(kind, name, overlay="dev", *features): the one object of this kind and name."""

    def look(kind: str, name: str, overlay: str = "dev", *features: str) -> dict[str, Any]:
        (found,) = [
            item for item in objects(overlay, *features) if (item["kind"], item["metadata"]["name"]) == (kind, name)
        ]
        return found

    return look
