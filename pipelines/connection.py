"""Kubeflow Pipelines' API: found, reached, and its refusals told."""

import contextlib
import io
import os
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator
from typing import Any

from jobtuner.errors import ConfigError, DeployError

__all__ = ["ENDPOINT_VARIABLE", "TOKEN_VARIABLE", "connection", "quiet"]

ENDPOINT_VARIABLE = "KF_PIPELINES_ENDPOINT"
TOKEN_VARIABLE = "KF_PIPELINES_TOKEN"  # noqa: S105 the name of a variable
_TIMEOUT = 10.0  # seconds for the first answer


@contextlib.contextmanager
def connection(endpoint: str | None, namespace: str | None) -> Iterator[tuple[Any, str]]:
    """A `kfp.Client` and the API's address; errors of the block become `DeployError`.

    Args:
        endpoint: URL of the Kubeflow Pipelines API; None: KF_PIPELINES_ENDPOINT. A token comes from KF_PIPELINES_TOKEN.
        namespace: the user's namespace where the installation has several users.

    Raises:
        ConfigError: no usable endpoint.
        DeployError: the API is not reachable, or refused.
    """
    host, token = _host(endpoint), os.environ.get(TOKEN_VARIABLE)
    _check_reachable(host, token)
    import kfp
    import kfp_server_api
    import urllib3

    try:
        with quiet():
            client = kfp.Client(host=host, existing_token=token, namespace=namespace or "kubeflow")
        yield client, host
    except kfp_server_api.ApiException as error:
        raise DeployError(
            f"Kubeflow Pipelines at {host} refused: {error.status} {error.reason}. {error.body}"
        ) from error
    except urllib3.exceptions.HTTPError as error:
        raise DeployError(f"The connection to Kubeflow Pipelines at {host} broke: {error}. Try again.") from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """kfp prints links of its own, and that it "works with Kubeflow Pipelines 2 only": so does this project."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore", FutureWarning)
        yield


def _host(endpoint: str | None) -> str:
    host = endpoint if endpoint is not None else os.environ.get(ENDPOINT_VARIABLE, "")
    if not host.startswith(("http://", "https://")):
        raise ConfigError(
            f"The Kubeflow Pipelines endpoint is '{host}'; a URL such as https://kubeflow.example.com/pipeline is "
            f"needed. Give --endpoint or set {ENDPOINT_VARIABLE}. From inside the network: "
            "kubectl -n kubeflow port-forward svc/ml-pipeline 8888, then http://127.0.0.1:8888."
        )
    return host.rstrip("/")


def _check_reachable(host: str, token: str | None) -> None:
    """Ask for the API's health first: kfp.Client would retry for half a minute and end with a trace."""
    request = urllib.request.Request(f"{host}/apis/v2beta1/healthz")  # noqa: S310 http(s) only: see _host
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:  # noqa: S310
            answer.read()
    except urllib.error.HTTPError as error:
        hint = f"Set {TOKEN_VARIABLE} to a valid token." if error.code in {401, 403} else "Is this the API's address?"
        raise DeployError(f"Kubeflow Pipelines at {host} answered {error.code} {error.reason}. {hint}") from error
    except OSError as error:
        raise DeployError(
            f"Kubeflow Pipelines at {host} is not reachable: {error}. Check the address, the VPN or the port-forward."
        ) from error
