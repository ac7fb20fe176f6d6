"""What a task needs on a cluster and not on a laptop: settings, credentials, a user, a GPU. kfp.local ignores them."""

from kfp import dsl, kubernetes

__all__ = ["CREDENTIALS", "GPU", "RETRIES", "SETTINGS", "USER_ID", "on_gpu", "resuming", "with_cluster_settings"]

SETTINGS = "jobtuner-settings"
"""ConfigMap with the addresses of the tracker and the object store."""
CREDENTIALS = "jobtuner-credentials"
"""Secret with what opens them. Credentials never are pipeline parameters: the KFP executor prints those."""
GPU = "nvidia.com/gpu"
USER_ID = 10001
"""The images' user, not root: namespaces under the Pod Security Standard "restricted" ask for it."""

RETRIES = 5
"""Of a training whose machine was taken away: each goes on from the last checkpoint."""

_SETTING_KEYS = (
    "MLFLOW_TRACKING_URI",
    "MLFLOW_S3_ENDPOINT_URL",
    "MINIO_ENDPOINT",
    "AWS_ENDPOINT_URL",
    "AWS_REGION",
    "HF_ENDPOINT",
    "JOBTUNER_CHECKPOINTS",
)
_CREDENTIAL_KEYS = (
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "HF_TOKEN",
)


def with_cluster_settings(task: dsl.PipelineTask) -> dsl.PipelineTask:
    """Give the task the environment that `jobtuner` reads; a key that the cluster does not define stays unset."""
    kubernetes.use_config_map_as_env(task, SETTINGS, {key: key for key in _SETTING_KEYS}, optional=True)
    kubernetes.use_secret_as_env(task, CREDENTIALS, {key: key for key in _CREDENTIAL_KEYS}, optional=True)
    kubernetes.set_security_context(task, run_as_user=USER_ID, run_as_non_root=True)
    return task


def resuming(task: dsl.PipelineTask) -> dsl.PipelineTask:
    """Start the task again when it ended with an error; a SIGTERM ends it with 143.

    A retry is a new pod with a new output folder: what it goes on from lies below JOBTUNER_CHECKPOINTS, under a key
    that follows from settings, data and base model alone.
    """
    return task.set_retry(RETRIES, backoff_duration="30s", backoff_factor=2.0, backoff_max_duration="600s")


def on_gpu(task: dsl.PipelineTask, gpus: int) -> dsl.PipelineTask:
    """Ask for `gpus` whole GPUs, on nodes that are kept for GPU work; 0 asks for none."""
    if gpus:
        task.set_accelerator_type(GPU).set_accelerator_limit(gpus)
        kubernetes.add_toleration(task, key=GPU, operator="Exists", effect="NoSchedule")
    return task
