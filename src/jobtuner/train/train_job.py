"""Fine-tuning on several machines as Kubeflow Trainer's `TrainJob` (v1alpha1), with a runtime of its own.

Each machine runs `jobtuner train` once; the operator tells it who the others are (PET_NNODES, PET_NODE_RANK,
PET_MASTER_ADDR, PET_MASTER_PORT: see `launch.machines`), and it starts a process for each of its GPUs. A claim that all
of them can mount holds the prepared data, the stand-in or a local base, and the result, which the first machine writes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jobtuner.errors import ConfigError

__all__ = ["TrainJobSpec", "train_job"]

_API = "trainer.kubeflow.org/v1alpha1"
_USER = 10001  # the images' user
_SETTINGS, _CREDENTIALS = "jobtuner-settings", "jobtuner-credentials"  # as the pipeline's tasks have them
_MOUNT = "/work"


@dataclass(frozen=True)
class TrainJobSpec:
    """What is trained where.

    Raises:
        ConfigError: a count below 1, or an image that can change under its name.
    """

    name: str
    image: str
    """With a tag or a digest."""
    recipe: str
    overrides: Sequence[str] = ()
    """KEY=VALUE of settings."""
    machines: int = 2
    gpus: int = 8
    """Of each machine."""
    claim: str = "jobtuner-work"
    """PersistentVolumeClaim with access mode ReadWriteMany; the prepared data lie in it at <name>/prepare."""
    namespace: str = "jobtuner-pipelines"
    accelerator: str | None = None
    """Value of the node label jobtuner.dev/accelerator; None: whichever GPU there is."""

    def __post_init__(self) -> None:
        if self.machines < 1 or self.gpus < 1:
            raise ConfigError(f"{self.machines} machines of {self.gpus} GPUs: both must be at least 1.")
        tag = self.image.rpartition("/")[2].partition(":")[2]
        if "@sha256:" not in self.image and tag in {"", "latest"}:
            raise ConfigError(f"The image '{self.image}' can change under its name: give name:1.2.3 or name@sha256:….")


def train_job(spec: TrainJobSpec) -> list[dict[str, Any]]:
    """Network policy, runtime and job, in the order in which they are applied.

    The namespace's own policies let the pods reach tracker, object store and Hub; this one lets them reach each other.
    """
    labels = {"app.kubernetes.io/name": spec.name, "app.kubernetes.io/part-of": "jobtuner"}
    metadata = {"name": spec.name, "namespace": spec.namespace, "labels": labels}
    own_pods = [{"podSelector": {"matchLabels": {"app.kubernetes.io/name": spec.name}}}]
    policy = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata,
        "spec": {
            "podSelector": own_pods[0]["podSelector"],
            "policyTypes": ["Ingress", "Egress"],
            # All ports: besides the meeting point, NCCL and gloo open whichever are free.
            "ingress": [{"from": own_pods}],
            "egress": [{"to": own_pods}],
        },
    }
    step = {"trainer.kubeflow.org/trainjob-ancestor-step": "trainer"}
    node = {
        "name": "node",
        "template": {
            "metadata": {"labels": step},
            # A lost machine ends the job of all: it starts again whole, and goes on from the checkpoint.
            "spec": {"backoffLimit": 0, "template": {"metadata": {"labels": labels}, "spec": _pod(spec)}},
        },
    }
    runtime = {
        "apiVersion": _API,
        "kind": "TrainingRuntime",
        "metadata": metadata,
        "spec": {
            "mlPolicy": {"numNodes": spec.machines, "torch": {}},
            "template": {"spec": {"failurePolicy": {"maxRestarts": 5}, "replicatedJobs": [node]}},
        },
    }
    folder = f"{_MOUNT}/{spec.name}"
    settings = [part for setting in spec.overrides for part in ("--set", setting)]
    job = {
        "apiVersion": _API,
        "kind": "TrainJob",
        "metadata": metadata,
        "spec": {
            "runtimeRef": {"apiGroup": "trainer.kubeflow.org", "kind": "TrainingRuntime", "name": spec.name},
            "trainer": {
                "image": spec.image,
                "numNodes": spec.machines,
                "command": ["jobtuner", "train", "--recipe", spec.recipe, *settings],
                "args": ["--prepare", f"{folder}/prepare", "--out", f"{folder}/train"],
                "resourcesPerNode": _resources(spec.gpus),
            },
        },
    }
    return [policy, runtime, job]


def _pod(spec: TrainJobSpec) -> dict[str, Any]:
    selector = {"jobtuner.dev/pool": "gpu"}
    if spec.accelerator is not None:
        selector["jobtuner.dev/accelerator"] = spec.accelerator
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        # A step is finished and a checkpoint written and mirrored: docs/checkpoints.md counts with 20 s.
        "terminationGracePeriodSeconds": 60,
        "securityContext": {
            "runAsNonRoot": True, "runAsUser": _USER, "runAsGroup": _USER, "fsGroup": _USER,
            "fsGroupChangePolicy": "OnRootMismatch", "seccompProfile": {"type": "RuntimeDefault"},
        },
        "nodeSelector": selector,
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
        "containers": [_container(spec)],
        "volumes": [
            {"name": "work", "persistentVolumeClaim": {"claimName": spec.claim}},
            {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "8Gi"}},  # 1 GiB a GPU for NCCL's buffers
            {"name": "tmp", "emptyDir": {"sizeLimit": "20Gi"}},
        ],
    }  # fmt: skip


def _container(spec: TrainJobSpec) -> dict[str, Any]:
    values = {
        "JOBTUNER_HOME": f"{_MOUNT}/{spec.name}/home",
        "JOBTUNER_IMAGE": spec.image,
        "HF_HOME": f"{_MOUNT}/huggingface",  # the base is downloaded once for all machines
        "HOME": "/tmp",  # noqa: S108 the root file system is read-only
    }
    return {
        "name": "node",
        "image": spec.image,
        "env": [{"name": name, "value": value} for name, value in values.items()],
        "envFrom": [
            {"configMapRef": {"name": _SETTINGS, "optional": True}},
            {"secretRef": {"name": _CREDENTIALS, "optional": True}},
        ],
        "resources": _resources(spec.gpus),
        "securityContext": {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "work", "mountPath": _MOUNT},
            {"name": "shm", "mountPath": "/dev/shm"},  # noqa: S108
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108
        ],
    }  # fmt: skip


def _resources(gpus: int) -> dict[str, Any]:
    """For each GPU 4 CPUs and 16 GiB, as the pipeline's training task has them for its one; 8 GiB more for all."""
    memory = f"{16 * gpus + 8}Gi"
    return {
        "requests": {"cpu": str(4 * gpus), "memory": memory, "ephemeral-storage": "20Gi"},
        "limits": {"memory": memory, "nvidia.com/gpu": str(gpus), "ephemeral-storage": "40Gi"},
    }
