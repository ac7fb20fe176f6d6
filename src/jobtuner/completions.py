"""A small client for OpenAI-compatible servers: JSON out, JSON in, patience with servers that are busy.

The key, where the server wants one, comes from the environment variable JOBTUNER_ENDPOINT_KEY alone: never from an
option, which others could read off the process list. It is a variable of its own, so that a key meant for one provider
never goes to another.
"""

import os
import random
import time
from collections.abc import Callable, Mapping
from typing import Any, Self
from urllib.parse import urlsplit

from jobtuner.errors import ConfigError, DeployError

__all__ = ["KEY_VARIABLE", "CompletionsClient", "RefusedError", "base_url"]

KEY_VARIABLE = "JOBTUNER_ENDPOINT_KEY"

_BUSY = {429, 502, 503, 504}
_ATTEMPTS = 6
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
"""Seconds. Pauses double: 0.5, 1, 2, 4, 8, some 16 s of patience in all; Retry-After may ask for up to 30 a time."""
_SHOWN = 300  # characters of an answer in an error message


class RefusedError(DeployError):
    """The server found fault with the request itself; sending it again would not help."""


class CompletionsClient:
    """Requests to one server; may be used by several threads at once.

    Args:
        url: the server, with or without the final /v1.
        timeout: seconds that one request may take.
        connections: requests under way at once.
        attempts: how often one request is sent at most.
        key_variable: the environment variable that holds the server's key.
        pause: waits so many seconds; tests give one that does not.

    Raises:
        ConfigError: the URL is none, or holds a password.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout: float = 120.0,
        connections: int = 8,
        attempts: int = _ATTEMPTS,
        key_variable: str = KEY_VARIABLE,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        import httpx

        self.url = base_url(url)
        key = os.environ.get(key_variable)
        self._key_variable = key_variable
        self._attempts, self._pause = attempts, pause
        self._http = httpx.Client(
            timeout=timeout,
            headers={"Authorization": f"Bearer {key}"} if key else {},
            limits=httpx.Limits(max_connections=connections),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def model(self, name: str | None) -> str:
        """The name to ask for: the given one if it is served, or the only one served.

        Raises:
            DeployError: the server serves no such model, or several and none was named.
        """
        answer = self.request("GET", "/models")
        try:
            served = [str(row["id"]) for row in answer["data"]]
        except (KeyError, TypeError) as error:
            raise self.wrong(f"its list of models is {_short(answer)}") from error
        if name in served:
            return str(name)
        if name is None and len(served) == 1:
            return served[0]
        wanted = f"no model '{name}'" if name else "more than one model"
        raise DeployError(f"{self.url} serves {wanted}. Give --served-model one of: {', '.join(served) or '(none)'}.")

    def request(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Send one request, again while the server is busy or not reachable, and return the answer's JSON.

        Raises:
            DeployError: the server cannot be reached, stays busy, refuses, or answers with something else than JSON.
        """
        import httpx

        problem = ""
        for attempt in range(self._attempts):
            wait = min(_FIRST_PAUSE * 2**attempt, _LONGEST_PAUSE)
            try:
                response = self._http.request(method, self.url + path, json=body)
            except httpx.TransportError as error:
                problem = f"{type(error).__name__}: {error}".rstrip(": ")
            else:
                if response.status_code not in _BUSY:
                    return self._read(response, path)
                problem = f"HTTP {response.status_code}"
                wait = _retry_after(response.headers.get("retry-after"), wait)
            if attempt + 1 < self._attempts:
                self._pause(wait * random.uniform(1.0, 1.25))  # noqa: S311  # so that threads do not come back at once
        raise DeployError(
            f"{self.url}{path} gave no answer in {self._attempts} attempts (last: {problem}). Check that the server "
            "runs and is not overloaded; fewer requests at once (--concurrency) or a longer --timeout may help."
        )

    def wrong(self, what: str) -> DeployError:
        """The error that this server's answer cannot be used."""
        return DeployError(f"{self.url} answered, but not as an OpenAI-compatible server does: {what}.")

    def _read(self, response: Any, path: str) -> Any:
        status = response.status_code
        if status in {401, 403}:
            raise DeployError(f"{self.url} refused the request (HTTP {status}). Put its key into {self._key_variable}.")
        if status in {400, 413, 422}:
            raise RefusedError(f"{self.url}{path} answered HTTP {status}: {_short(response.text)}")
        if status != 200:
            raise DeployError(f"{self.url}{path} answered HTTP {status}: {_short(response.text)}")
        try:
            return response.json()
        except ValueError as error:
            raise self.wrong(f"no JSON but {_short(response.text)}") from error


def base_url(url: str) -> str:
    """The address with its final /v1.

    Raises:
        ConfigError: it is no address, or holds a password.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigError(f"--endpoint {url} is no address; give one such as http://127.0.0.1:8000/v1.")
    if parts.username or parts.password:
        raise ConfigError(f"--endpoint holds a user name or password; put the key into {KEY_VARIABLE} instead.")
    plain = url.rstrip("/")
    return plain if plain.endswith("/v1") else f"{plain}/v1"


def _retry_after(header: str | None, otherwise: float) -> float:
    """Seconds that the server asks to wait; the form with a date is not used by the servers meant here."""
    try:
        return min(max(float(header or ""), 0.0), _LONGEST_PAUSE)
    except ValueError:
        return otherwise


def _short(answer: object) -> str:
    text = str(answer)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
