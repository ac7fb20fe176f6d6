"""The interface against its own description: schemathesis makes right and wrong requests, and judges the answers.

No answer may be a 5xx, or have a status, content type or form that /openapi.json does not name.
"""

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from jobtuner.serve.assembly import Offer, build
from jobtuner.serve.backend import Endpoint
from tests.unit.serve import fakes
from tests.unit.serve.text_server import TextServer

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
OPERATIONS = 13


@contextmanager
def everything(folder: Path) -> Iterator[Any]:
    """The application with all its paths."""
    with TextServer().running() as url:
        endpoint = Endpoint(url, "base", timeout=10.0, attempts=1)
        offer = Offer(
            fakes.model_folder(folder), endpoint, skills_model="skills", letter_model="letters", batches=folder / "kept"
        )
        yield build(offer, load=fakes.load)


def judged(folder: Path, examples: int, mode: GenerationMode) -> dict[str, int]:
    """Ask every operation so often; the number of requests by operation. Raises what the checks find."""
    with everything(folder) as app:
        schema: Any = schemathesis.openapi.from_asgi("/openapi.json", app)
        operations = [result.ok() for result in schema.get_all_operations()]
        return {operation.label: _ask(operation, examples, mode) for operation in operations}


def _ask(operation: Any, examples: int, mode: GenerationMode) -> int:
    asked = 0

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def one(case: Any) -> None:
        nonlocal asked
        asked += 1
        case.call_and_validate(checks=CHECKS)

    with contextlib.suppress(Unsatisfiable):  # nothing can be wrong about a GET without parameters
        one()
    return asked


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_twenty_requests_of_each_kind_meet_the_description(tmp_path: Path, mode: GenerationMode) -> None:
    asked = judged(tmp_path, 20, mode)
    assert len(asked) == OPERATIONS


@pytest.mark.slow
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_two_hundred_requests_of_each_kind_meet_the_description(tmp_path: Path, mode: GenerationMode) -> None:
    asked = judged(tmp_path, 200, mode)
    assert len(asked) == OPERATIONS
    assert all(asked[label] >= 200 for label in asked if label.startswith("POST") and mode is GenerationMode.POSITIVE)
