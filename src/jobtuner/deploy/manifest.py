"""A model and a serving profile become the InferenceService that KServe runs. Pure: nothing is asked, nothing is sent.

The same objects stand as YAML in manifests/base/serving and manifests/features, where their numbers are argued; a test
renders those and holds this against them. ServingRuntime (probes, shutdown, /dev/shm), Service, route and network
policies come from there; this makes what changes from model to model.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

__all__ = [
    "MODEL_LABEL",
    "PROFILES",
    "SERVED_NAME",
    "Manifest",
    "Profile",
    "ServedModel",
    "inference_service",
    "service",
]

Manifest = dict[str, Any]

SERVED_NAME = "occupation"
"""The name that requests give for our model, merged or adapter."""
MODEL_LABEL = "jobtuner.dev/model"
"""Label of the pods: which model they serve. KServe's status does not tell: it says Ready of the old pods too."""

_USER_ID = 10001
_RUNTIME = "jobtuner-vllm"
_ALONE = {"type": "Recreate"}  # a pool with one GPU has no room for the next pod beside the last
_ONE_BY_ONE = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
_LABELS = {
    "app.kubernetes.io/component": "llm",  # NetworkPolicy and monitors select by it
    "app.kubernetes.io/part-of": "jobtuner",
    "networking.kserve.io/visibility": "cluster-local",  # else KServe adds a route of its own, open for every path
}


@dataclass(frozen=True)
class ServedModel:
    """What is served: merged weights, or a base with adapters."""

    location: str
    """s3 folder of the merged weights; with adapters, of the base."""
    adapters: Mapping[str, str] = field(default_factory=dict)
    """Served name to s3 folder of the adapter."""
    rank: int = 16
    """Largest LoRA rank among the adapters."""


@dataclass(frozen=True)
class Profile:
    """Nodes, sizes and vLLM's options for one kind of machine."""

    options: tuple[str, ...]
    nodes: Mapping[str, str] = field(default_factory=dict)
    """Labels of the nodes."""
    gpus: int = 1
    cpu: str = "4"
    memory: str = "16Gi"
    memory_limit: str = "24Gi"


def _gpu(accelerator: str | None, share: str, length: int, sequences: int) -> Profile:
    nodes = {"jobtuner.dev/pool": "gpu"} | ({"jobtuner.dev/accelerator": accelerator} if accelerator else {})
    options = (f"--max-model-len={length}", f"--gpu-memory-utilization={share}")
    queue = (f"--max-num-seqs={sequences}", f"--max-num-queued-reqs={2 * sequences}")  # two waves
    return Profile((*options, *queue), nodes)


PROFILES: Mapping[str, Profile] = MappingProxyType(
    {
        "gpu": _gpu(None, "0.90", 4096, 32),
        "l4": _gpu("l4", "0.90", 4096, 32),
        "a100": _gpu("a100", "0.92", 8192, 64),
        "h100": _gpu("h100", "0.92", 8192, 128),
        "cpu-tiny": Profile(
            ("--max-model-len=2048", "--max-num-seqs=4", "--max-num-queued-reqs=8", "--enforce-eager"),
            gpus=0,
            cpu="2",
            memory="4Gi",
            memory_limit="6Gi",
        ),
    }
)
"""Recipe's name to profile; manifests/base/serving and manifests/features/{gpu-*,cpu-tiny} argue the numbers."""


def inference_service(
    name: str,
    namespace: str,
    model: ServedModel,
    profile: Profile,
    *,
    fp8: bool = False,
    replicas: int = 1,
    fingerprint: str | None = None,
    annotations: Mapping[str, str] = MappingProxyType({}),
) -> Manifest:
    """The InferenceService for one model.

    Args:
        name: the service's name.
        namespace: where it lives.
        model: what it serves.
        profile: on which machine.
        fp8: quantise the weights while they are loaded.
        replicas: at most; more than one are an autoscaler's business.
        fingerprint: put on the pods as MODEL_LABEL, so that one can tell which model answers; None: no label.
        annotations: added to the two that KServe needs.
    """
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": dict(_LABELS),
            "annotations": {
                "serving.kserve.io/deploymentMode": "Standard",
                "serving.kserve.io/autoscalerClass": "none" if replicas == 1 else "external",
                **annotations,
            },
        },
        "spec": {"predictor": _predictor(model, profile, fp8, replicas, fingerprint)},
    }


def service(name: str, namespace: str) -> Manifest:
    """A Service of our own before the pods: KServe's is headless or not by a setting of the platform."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app.kubernetes.io/component": "llm"}},
        "spec": {
            "selector": {"app": f"isvc.{name}-predictor"},  # KServe's label
            "ports": [{"name": "http", "port": 8080, "targetPort": 8080, "protocol": "TCP"}],
        },
    }


def _predictor(model: ServedModel, profile: Profile, fp8: bool, replicas: int, fingerprint: str | None) -> Manifest:
    predictor: Manifest = {
        "minReplicas": 1,
        "maxReplicas": replicas,
        "deploymentStrategy": _ALONE if replicas == 1 else _ONE_BY_ONE,
        "serviceAccountName": "jobtuner-serving",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 90,  # as the runtime's preStop and --shutdown-timeout need
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER_ID,
            "runAsGroup": _USER_ID,
            "fsGroup": _USER_ID,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "model": {
            "modelFormat": {"name": "vLLM"},
            "runtime": _RUNTIME,
            "args": _arguments(model, profile, fp8),
            "resources": _resources(profile),
        },
    }
    if profile.gpus:
        predictor["tolerations"] = [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
        predictor["nodeSelector"] = dict(profile.nodes)
    if fingerprint is not None:
        predictor["labels"] = {MODEL_LABEL: fingerprint}
    if model.adapters:
        predictor["storageUris"] = [
            {"uri": model.location, "mountPath": "/mnt/models/base"},
            *({"uri": uri, "mountPath": f"/mnt/models/{name}"} for name, uri in model.adapters.items()),
        ]
    else:
        predictor["model"]["storageUri"] = model.location
    return predictor


def _arguments(model: ServedModel, profile: Profile, fp8: bool) -> list[str]:
    if model.adapters:
        folder, served = "/mnt/models/base", model.location.rpartition("/")[2]
    else:
        folder, served = "/mnt/models", SERVED_NAME
    arguments = [f"--model={folder}", f"--served-model-name={served}", "--dtype=bfloat16", *profile.options]
    if model.adapters:
        modules = [f"{name}=/mnt/models/{name}" for name in model.adapters]
        arguments += ["--enable-lora", f"--max-lora-rank={model.rank}", f"--max-loras={len(modules)}"]
        arguments += [f"--lora-modules={modules[0]}", *modules[1:]]
    return arguments + (["--quantization=fp8"] if fp8 else [])


def _resources(profile: Profile) -> Manifest:
    gpus = {"nvidia.com/gpu": str(profile.gpus)} if profile.gpus else {}
    return {
        "requests": {"cpu": profile.cpu, "memory": profile.memory, **gpus},
        "limits": {"memory": profile.memory_limit, **gpus},
    }
