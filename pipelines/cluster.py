"""What every task gets on a cluster and not on a laptop: settings, credentials, a user. kfp.local ignores them."""

from kfp import dsl, kubernetes

__all__ = ["CREDENTIALS", "GPU", "SETTINGS", "USER_ID", "with_cluster_settings"]

SETTINGS = "jobtuner-settings"
"""ConfigMap with the addresses of the tracker and the object store."""
CREDENTIALS = "jobtuner-credentials"
"""Secret with what opens them. Credentials never are pipeline parameters: the KFP executor prints those."""
GPU = "nvidia.com/gpu"
USER_ID = 10001
"""The images' user, not root: namespaces under the Pod Security Standard "restricted" ask for it."""

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
    "JOBTUNER_ENDPOINT_KEY",  # vLLM's
    "JOBTUNER_GATEWAY_KEY",
)


def with_cluster_settings(task: dsl.PipelineTask) -> dsl.PipelineTask:
    """Give the task the environment that `jobtuner` reads; a key that the cluster does not define stays unset."""
    kubernetes.use_config_map_as_env(task, SETTINGS, {key: key for key in _SETTING_KEYS}, optional=True)
    kubernetes.use_secret_as_env(task, CREDENTIALS, {key: key for key in _CREDENTIAL_KEYS}, optional=True)
    kubernetes.set_security_context(task, run_as_user=USER_ID, run_as_non_root=True)
    return task
