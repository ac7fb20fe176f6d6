"""A run of the pipeline on a Kubeflow cluster."""

import contextlib
import io
import os
import tempfile
import urllib.error
import urllib.request
import warnings
from collections.abc import Mapping
from pathlib import Path

from jobtuner.config import load_config, recipe_names
from jobtuner.errors import ConfigError, DeployError
from pipelines.compile import compile_pipeline
from pipelines.resources import CPU_NODES, Nodes

__all__ = ["ENDPOINT_VARIABLE", "SERVICE_ACCOUNT", "TOKEN_VARIABLE", "submit"]

ENDPOINT_VARIABLE = "KF_PIPELINES_ENDPOINT"
TOKEN_VARIABLE = "KF_PIPELINES_TOKEN"  # noqa: S105 the name of a variable
SERVICE_ACCOUNT = "jobtuner-pipeline"
"""The tasks' own: manifests/ give it its rights in the cluster, Terraform those in the cloud."""
_TIMEOUT = 10.0  # seconds for the first answer


def submit(
    recipe: str,
    overrides: Mapping[str, str],
    *,
    endpoint: str | None = None,
    namespace: str | None = None,
    experiment: str | None = None,
    run_name: str | None = None,
    nodes: Nodes = CPU_NODES,
    service_account: str | None = SERVICE_ACCOUNT,
) -> str:
    """Compile the pipeline, start a run of it and return the link to it.

    Args:
        recipe: name of a built-in recipe (a file of this machine does not exist on the cluster).
        overrides: dotted key to value as YAML text.
        endpoint: URL of the Kubeflow Pipelines API; None: KF_PIPELINES_ENDPOINT. A token comes from KF_PIPELINES_TOKEN.
        namespace: the user's namespace where the installation has several users.
        experiment: None: the recipe's `register.experiment`.
        run_name: None: the recipe's name.
        nodes: where the tasks run.
        service_account: whose rights the tasks have; None: what the installation gives to runs that name none.

    Raises:
        ConfigError: wrong recipe, override or endpoint; nothing has been sent.
        DeployError: the API is not reachable or refused the run.
    """
    if recipe not in recipe_names() and Path(recipe).exists():
        raise ConfigError(
            f"{recipe} is a file on this machine, which the cluster cannot read. Name a built-in recipe "
            f"({', '.join(recipe_names())}) and give what differs with --set."
        )
    config = load_config(recipe, overrides)
    host, token = _host(endpoint), os.environ.get(TOKEN_VARIABLE)
    _check_reachable(host, token)
    with tempfile.TemporaryDirectory() as folder:
        package = compile_pipeline(Path(folder) / "training.yaml", nodes)
        run_id = _create(
            host,
            token,
            namespace,
            pipeline_file=str(package),
            arguments={"recipe": recipe, "overrides": dict(overrides)},
            experiment_name=config.register_.experiment if experiment is None else experiment,
            run_name=config.name if run_name is None else run_name,
            service_account=service_account,
        )
    return f"{host}/#/runs/details/{run_id}"


def _create(host: str, token: str | None, namespace: str | None, **run: object) -> str:
    import kfp
    import kfp_server_api
    import urllib3

    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):  # kfp prints links of its own
            warnings.simplefilter(
                "ignore", FutureWarning
            )  # "works with Kubeflow Pipelines 2 only": so does this project
            client = kfp.Client(host=host, existing_token=token, namespace=namespace or "kubeflow")
            return str(client.create_run_from_pipeline_package(namespace=namespace, **run).run_id)
    except kfp_server_api.ApiException as error:
        raise DeployError(
            f"Kubeflow Pipelines at {host} refused the run: {error.status} {error.reason}. {error.body}"
        ) from error
    except urllib3.exceptions.HTTPError as error:
        raise DeployError(f"The connection to Kubeflow Pipelines at {host} broke: {error}. Try again.") from error


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
