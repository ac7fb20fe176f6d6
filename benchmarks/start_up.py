"""Claim: with stored bytecode a process that trains has its libraries in about half the processor time.

    .venv/bin/python benchmarks/start_up.py

pip compiles what it installs; uv does so only when it is asked (as `make setup` asks it), and where
PYTHONDONTWRITEBYTECODE is set, Python never makes up for it: every process then compiles thousands of files anew.
Processor seconds of a fresh interpreter that imports what a stage does, the best of three, with an empty cache that it
may not write and with a full one. Both lie in temporary folders: the environment stays as it is.
"""

import os
import resource
import subprocess
import sys
import tempfile

WORKLOADS = {
    "a training": "import peft, trl; from transformers import AutoModelForCausalLM; from trl import SFTTrainer",
    "a tracked stage": "from mlflow import MlflowClient",
    "a baseline": "import sklearn.linear_model, scipy.sparse",
}
ROUNDS = 3


def cpu_seconds(code: str, cache: str, write: bool) -> float:
    """User and system time of one interpreter that runs the code."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPYCACHEPREFIX": cache}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    if not write:
        environment["PYTHONDONTWRITEBYTECODE"] = "1"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Print one line a workload."""
    print(f"{'processor seconds to import':<28}{'no bytecode':>12}{'bytecode':>10}{'ratio':>8}")
    with tempfile.TemporaryDirectory() as empty, tempfile.TemporaryDirectory() as full:
        for name, code in WORKLOADS.items():
            cpu_seconds(code, full, write=True)
            without = min(cpu_seconds(code, empty, write=False) for _ in range(ROUNDS))
            stored = min(cpu_seconds(code, full, write=False) for _ in range(ROUNDS))
            print(f"{name:<28}{without:>12.1f}{stored:>10.1f}{without / stored:>8.2f}", flush=True)


if __name__ == "__main__":
    main()
