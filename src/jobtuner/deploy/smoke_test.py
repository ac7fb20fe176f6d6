"""Does an endpoint answer rightly? One real ad a language, one bad request, one path that must not exist."""

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jobtuner.errors import DeployError
from jobtuner.records import Example
from jobtuner.taxonomy import Taxonomy

if TYPE_CHECKING:
    import httpx

__all__ = ["smoke_test"]

_TOP_K = 5
_ASKED_CHARS = 2000  # enough of a long ad to ask about, and within any endpoint's limit
_TIMEOUT = 120.0  # seconds an answer: a large model on a busy CPU
_TOLERANCE = 1e-3  # of the sum of probabilities
_ISO_639_1 = re.compile(r"[a-z]{2}")


def smoke_test(url: str, taxonomy: Taxonomy, examples: Sequence[Example]) -> list[dict[str, Any]]:
    """Ask the endpoint and judge its answers by form, not by rightness: the evaluation has judged that.

    Args:
        url: base URL.
        taxonomy: the codes that may be answered.
        examples: ads to ask, one a language.

    Returns:
        One entry an ad: language, expected, answered, probability, valid.

    Raises:
        DeployError: the endpoint cannot be reached, or an answer is wrong; names the first one.
    """
    import httpx

    labels = frozenset(taxonomy.labels)
    try:
        with httpx.Client(base_url=url, timeout=_TIMEOUT, trust_env=False) as client:
            checks = [_ask(client, labels, example) for example in examples]
            _expect_error(client, "a request without ads", "POST", "/v1/occupations", 422)
            _expect_error(client, "an unknown path", "GET", "/v1/no-such-path", 404)
    except httpx.HTTPError as error:
        raise DeployError(f"The endpoint {url} did not answer: {type(error).__name__}: {error}.") from error
    return checks


def _ask(client: "httpx.Client", labels: frozenset[str], example: Example) -> dict[str, Any]:
    ad = {"text": example.text[:_ASKED_CHARS], "id": "smoke-test"}
    if _ISO_639_1.fullmatch(example.language):
        ad["language"] = example.language
    response = client.post("/v1/occupations", json={"ads": [ad], "top_k": _TOP_K})
    if response.status_code != 200:
        wrong: str | None = f"status {response.status_code} ({response.text[:300]})"
    else:
        body = _json(response)
        wrong = _fault(body, labels)
    if wrong is not None:
        raise DeployError(f"The endpoint answered wrongly to the {example.language} ad {example.id}: {wrong}.")
    result = body["results"][0]
    return {
        "language": example.language,
        "expected": example.label,
        "answered": result["code"],
        "probability": result["probability"],
        "valid": True,
    }


def _json(response: "httpx.Response") -> Any:
    try:
        return response.json()
    except ValueError:
        return None


def _fault(body: Any, labels: frozenset[str]) -> str | None:
    """What is wrong with the answer to one ad, or None."""
    try:
        (result,) = body["results"]
        top = [(entry["code"], entry["probability"]) for entry in result["top"]]
        first = (result["code"], result["probability"])
        returned = result["id"]
    except (KeyError, TypeError, ValueError):
        return "no JSON of the form {results: [{id, code, probability, top: [{code, probability}]}]}"
    probabilities = [probability for _, probability in top]
    if returned != "smoke-test":
        return "it has the id of another ad"
    if not 1 <= len(top) <= _TOP_K or top[0] != first:
        return f"its code is not the first of 1 to {_TOP_K} in `top`"
    return _code_fault([code for code, _ in top], labels) or _probability_fault(probabilities)


def _code_fault(codes: list[Any], labels: frozenset[str]) -> str | None:
    for code in codes:
        if not isinstance(code, str) or code not in labels:
            return f"the code {code!r} is not in the taxonomy"
    return "a code comes twice" if len(set(codes)) < len(codes) else None


def _probability_fault(values: list[Any]) -> str | None:
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            return f"the probability {value!r} is no finite number"
        if not 0.0 <= value <= 1.0:
            return f"the probability {value!r} is not between 0 and 1"
    if values != sorted(values, reverse=True):
        return f"the probabilities {values} do not fall"
    if sum(values) > 1.0 + _TOLERANCE:
        return f"the probabilities {values} add up to more than 1"
    return None


def _expect_error(client: "httpx.Client", what: str, method: str, path: str, status: int) -> None:
    response = client.request(method, path, json={"ads": []} if method == "POST" else None)
    if response.status_code != status:
        raise DeployError(
            f"The endpoint answered {what} ({method} {path}) with {response.status_code}; {status} is right."
        )
    body = _json(response)
    if not (isinstance(body, dict) and isinstance(body.get("error"), dict) and body["error"].get("request_id")):
        raise DeployError(f"The endpoint answered {what} ({method} {path}) without an error body.")
