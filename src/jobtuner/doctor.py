"""What this machine has and which services it reaches; nothing here fails because something is absent."""

import os
import platform
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

from jobtuner.cores import usable_cores
from jobtuner.run import home, local_tracking_uri
from jobtuner.tracking_entries import without_credentials

__all__ = ["TIMEOUT", "Check", "examine", "probe_url"]

TIMEOUT = 3.0
"""Seconds that a service gets to answer."""

_MEMORY_GB = 4.0  # resident size of the largest stage of `smoke`, with room for the system
_DISK_GB = 5.0  # results, cache and logs of some runs of `smoke`
_GB = 1e9
_NF4_ERROR = 0.1  # mean error of a normal value in units of its deviation; NF4 in blocks of 64 gives 0.07


@dataclass(frozen=True)
class Check:
    """One finding."""

    name: str
    state: Literal["ok", "missing", "broken"]
    detail: str
    next_step: str = ""
    """What to do about it; empty where nothing need be done."""


def examine() -> list[Check]:
    """Run all checks, each in a few seconds at most."""
    checks: list[tuple[str, Callable[[], Check]]] = [
        ("Python", _python),
        ("Cores", _cores),
        ("Memory", _memory),
        ("Disk", _disk),
        ("torch", _torch),
        ("GPU", _gpu),
        ("4-bit quantisation", _four_bit),
        ("kubectl", _kubectl),
        ("Cluster", _cluster),
        ("MLflow", _mlflow),
        ("Object store", _object_store),
        ("Kubeflow Pipelines", _pipelines),
    ]
    return [_guarded(name, check) for name, check in checks]


def _guarded(name: str, check: Callable[[], Check]) -> Check:
    try:
        return check()
    except ImportError as error:
        return Check(name, "missing", str(error), "Install the project's environment again: make setup.")
    except Exception as error:  # noqa: BLE001  # whatever a library raises here is the finding
        return Check(name, "broken", f"{type(error).__name__}: {error}")


def _python() -> Check:
    version = platform.python_version()
    if platform.python_version_tuple()[:2] in {("3", "11"), ("3", "12")}:
        return Check("Python", "ok", version)
    return Check("Python", "broken", version, "Use Python 3.11 or 3.12.")


def _cores() -> Check:
    return Check("Cores", "ok", f"{usable_cores()} usable of {os.cpu_count()}")


def _memory() -> Check:
    memory = psutil.virtual_memory()
    detail = f"{memory.available / _GB:.1f} GB free of {memory.total / _GB:.1f} GB"
    if memory.available < _MEMORY_GB * _GB:
        return Check("Memory", "broken", detail, f"`make run` needs about {_MEMORY_GB:.0f} GB: close other programs.")
    return Check("Memory", "ok", detail)


def _disk() -> Check:
    folder = next(path for path in (home(), *home().parents) if path.exists())
    free = shutil.disk_usage(folder).free
    detail = f"{free / _GB:.1f} GB free at {folder}"
    if free < _DISK_GB * _GB:
        return Check("Disk", "broken", detail, f"Free {_DISK_GB:.0f} GB, or set JOBTUNER_HOME to another disk.")
    return Check("Disk", "ok", detail)


def _torch() -> Check:
    import torch

    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU build"
    return Check("torch", "ok", f"{torch.__version__}, {build}, {torch.get_num_threads()} threads")


def _gpu() -> Check:
    import torch

    if not torch.cuda.is_available():
        step = "Fine for the stand-in (recipe smoke); the 7B recipe needs a GPU: `jobtuner submit --gpus 1`."
        return Check("GPU", "missing", "no CUDA device", step)
    properties = torch.cuda.get_device_properties(0)
    count = torch.cuda.device_count()
    return Check("GPU", "ok", f"{count} x {properties.name}, {properties.total_memory / _GB:.0f} GB")


def _four_bit() -> Check:
    """Quantise and restore a small matrix, as QLoRA does with the base model's weights."""
    import bitsandbytes
    import torch
    from bitsandbytes.functional import dequantize_4bit, quantize_4bit

    device = "cuda" if torch.cuda.is_available() else "cpu"
    weights = torch.randn(64, 64, generator=torch.Generator().manual_seed(0)).to(device)
    packed, state = quantize_4bit(weights, quant_type="nf4", compress_statistics=True)
    error = float((dequantize_4bit(packed, state) - weights).abs().mean())
    detail = f"bitsandbytes {bitsandbytes.__version__}, NF4 on {device}, mean error {error:.3f}"
    if not error < _NF4_ERROR:
        return Check("4-bit quantisation", "broken", detail, f"Below {_NF4_ERROR} is right: reinstall bitsandbytes.")
    return Check("4-bit quantisation", "ok", detail)


def _kubectl() -> Check:
    path = shutil.which("kubectl")
    if path is None:
        return Check(
            "kubectl", "missing", "not on the PATH", "Needed for a cluster only: kubernetes.io/docs/tasks/tools."
        )
    return Check("kubectl", "ok", path)


def _cluster() -> Check:
    if shutil.which("kubectl") is None:
        return Check("Cluster", "missing", "no kubectl to ask with")
    command = ["kubectl", "get", "--raw", "/readyz", f"--request-timeout={TIMEOUT - 1:.0f}s"]
    step = "Needed for a cluster only: set KUBECONFIG, or `kubectl config use-context`."
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        return Check("Cluster", "broken", f"no answer within {TIMEOUT:.0f} s", "Check the VPN and the current context.")
    if answer.returncode:
        lines = answer.stderr.strip().splitlines() or ["no answer"]
        return Check("Cluster", "missing", lines[-1], step)
    return Check("Cluster", "ok", "the API server is ready")


def _mlflow() -> Check:
    uri = local_tracking_uri()
    shown = without_credentials(uri)
    if uri.startswith(("http://", "https://")):
        return probe_url("MLflow", f"{uri.rstrip('/')}/health", shown, "Check MLFLOW_TRACKING_URI and the server.")
    if uri.startswith("sqlite:///"):
        file = Path(uri.removeprefix("sqlite:///"))
        return Check("MLflow", "ok", f"{file}{'' if file.exists() else ' (made by the first run)'}")
    return Check("MLflow", "ok", shown)


def _object_store() -> Check:
    url = os.environ.get("MINIO_ENDPOINT") or os.environ.get("AWS_ENDPOINT_URL")
    if not url:
        return Check("Object store", "missing", "MINIO_ENDPOINT is not set", "Needed for s3:// locations only.")
    return probe_url("Object store", url, url, "Check MINIO_ENDPOINT and the port-forward.", refusal_counts=True)


def _pipelines() -> Check:
    url = os.environ.get("KF_PIPELINES_ENDPOINT")
    if not url:
        step = "Needed for `jobtuner submit` only."
        return Check("Kubeflow Pipelines", "missing", "KF_PIPELINES_ENDPOINT is not set", step)
    address = f"{url.rstrip('/')}/apis/v2beta1/healthz"
    return probe_url("Kubeflow Pipelines", address, url, "Check KF_PIPELINES_ENDPOINT and the port-forward.")


def probe_url(name: str, address: str, shown: str, next_step: str, refusal_counts: bool = False) -> Check:
    """Ask an HTTP service for an answer.

    Args:
        name: of the check.
        address: what is asked for.
        shown: what is printed (no credentials).
        next_step: printed where there is no answer.
        refusal_counts: True where an HTTP error shows too that the service is there (S3 refuses anonymous requests).
    """
    if not address.startswith(("http://", "https://")):
        return Check(name, "broken", f"{shown} is no http(s) URL", next_step)
    try:
        with urllib.request.urlopen(address, timeout=TIMEOUT) as answer:  # noqa: S310 http(s) only: see above
            return Check(name, "ok", f"{shown} answers {answer.status}")
    except urllib.error.HTTPError as error:
        if refusal_counts or error.code in {401, 403}:
            return Check(name, "ok", f"{shown} answers {error.code}")
        return Check(name, "broken", f"{shown} answers {error.code} {error.reason}", next_step)
    except OSError as error:
        return Check(name, "broken", f"{shown}: {getattr(error, 'reason', error)}", next_step)
