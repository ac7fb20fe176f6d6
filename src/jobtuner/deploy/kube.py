"""What the deploy stage asks of a Kubernetes API server, by the `kubernetes` client.

The cluster and the credentials come from the environment alone: KUBECONFIG (or ~/.kube/config), else the service
account of the pod. Objects are plain dicts, as in manifests: KServe's kinds have no class in the client.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

from jobtuner.errors import DeployError

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

__all__ = ["Kube", "Object"]

Object = dict[str, Any]

_PATHS = {
    "InferenceService": "/apis/serving.kserve.io/v1beta1/namespaces/{}/inferenceservices",
    "ConfigMap": "/api/v1/namespaces/{}/configmaps",
    "Lease": "/apis/coordination.k8s.io/v1/namespaces/{}/leases",
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "Service": "/api/v1/namespaces/{}/services",
    "Pod": "/api/v1/namespaces/{}/pods",
    "Event": "/api/v1/namespaces/{}/events",
}
_MANAGER = "jobtuner-deploy"
_TIMEOUT = (10.0, 30.0)  # seconds to connect, and to answer
_SHOWN = 300  # characters of a refusal


class Kube:
    """Requests to one namespace of one cluster.

    Args:
        namespace: where the objects live.
        api: a client that is set up already; None: from the environment.

    Raises:
        DeployError: no cluster is named by the environment.
    """

    def __init__(self, namespace: str, api: "ApiClient | None" = None) -> None:
        self.namespace = namespace
        self._api = _from_environment() if api is None else api

    def elsewhere(self, namespace: str) -> "Kube":
        """Requests to another namespace of the same cluster."""
        return Kube(namespace, self._api)

    def apply(self, item: Object) -> Object:
        """Server-side apply: the object becomes as described in the fields described; again changes nothing.

        Conflicts are forced: what deploys a model owns the fields of the model.
        """
        query = {"fieldManager": _MANAGER, "force": "true"}
        path = self._path(item["kind"], item["metadata"]["name"])
        return self._call("PATCH", path, item, query, content="application/apply-patch+yaml") or {}

    def get(self, kind: str, name: str) -> Object | None:
        """The object, or None where there is none."""
        return self._call("GET", self._path(kind, name), missing=True)

    def create(self, item: Object) -> Object | None:
        """Make an object; None where it is there already."""
        return self._call("POST", self._path(item["kind"]), item, conflict=True)

    def replace(self, item: Object) -> Object | None:
        """Put an object in the place of the version that was read; None where somebody was faster."""
        return self._call("PUT", self._path(item["kind"], item["metadata"]["name"]), item, conflict=True)

    def delete(self, kind: str, name: str) -> None:
        """Remove an object; nothing happens where it is gone already."""
        self._call("DELETE", self._path(kind, name), missing=True)

    def pods(self, label: str) -> list[Object]:
        """Pods with this label, `key=value`."""
        return self._list("Pod", {"labelSelector": label})

    def warnings(self) -> list[Object]:
        """The namespace's events of type Warning; the API server keeps them for an hour."""
        return self._list("Event", {"fieldSelector": "type=Warning"})

    def _list(self, kind: str, query: Mapping[str, str]) -> list[Object]:
        return list((self._call("GET", self._path(kind), query=query) or {}).get("items") or [])

    def _path(self, kind: str, name: str = "") -> str:
        folder = _PATHS[kind].format(quote(self.namespace, safe=""))
        return f"{folder}/{quote(name, safe='')}" if name else folder

    def _call(
        self,
        method: str,
        path: str,
        body: Object | None = None,
        query: Mapping[str, str] | None = None,
        *,
        content: str = "application/json",
        missing: bool = False,
        conflict: bool = False,
    ) -> Object | None:
        """One request; `missing` and `conflict` say which refusal is an answer, None, and no error."""
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        try:
            answer = self._api.call_api(
                path,
                method,
                query_params=list((query or {}).items()),
                header_params={"Accept": "application/json", "Content-Type": content},
                body=body,
                response_type="object",
                auth_settings=["BearerToken"],
                _return_http_data_only=True,
                _request_timeout=_TIMEOUT,
            )
        except ApiException as error:
            if (missing and error.status == 404) or (conflict and error.status == 409):
                return None
            raise DeployError(self._refusal(method, path, error)) from error
        except HTTPError as error:
            host = self._api.configuration.host
            raise DeployError(
                f"The cluster {host} does not answer: {error}. Check KUBECONFIG and the network."
            ) from error
        return cast("Object", answer)

    def _refusal(self, method: str, path: str, error: Any) -> str:
        told = f"The cluster {self._api.configuration.host} refused {method} {path}: {error.status} {error.reason}."
        if error.status in {401, 403}:
            needed = "The service account needs the rights of manifests/features/pipeline-deploy."
            return f"{told} {needed} {_short(error.body)}"
        if error.status == 404:
            return f"{told} KServe is not installed there, or the namespace {self.namespace} does not exist."
        return f"{told} {_short(error.body)}"


def _from_environment() -> "ApiClient":
    import urllib3
    from kubernetes import client, config

    try:
        config.load_config()
    except config.ConfigException as error:
        raise DeployError(
            f"No cluster is named: {error} Set KUBECONFIG, or run where a pod's service account is mounted."
        ) from error
    settings = client.Configuration.get_default_copy()
    # An API server that restarts is away for seconds: 0 + 2 + 4 + 8 + 16. All that is asked here may be asked again.
    settings.retries = urllib3.Retry(
        total=5, backoff_factor=1.0, status_forcelist=(429, 500, 502, 503, 504), allowed_methods=None,
        raise_on_status=False,
    )  # fmt: skip
    return client.ApiClient(settings)


def _short(text: object) -> str:
    shown = " ".join(str(text or "").split())
    return shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "…"
