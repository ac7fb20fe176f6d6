"""A process that imports once and forks the processes of each training: `python -m tests.unit.train.ranks`.

One JSON object a line on stdin: config, prepare, out, processes, and signal_at: when this step is done the last of them
gets SIGTERM. On stdout the exit codes. Nothing has trained before a fork, so no thread is lost in it.
"""

import gc
import json
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import bitsandbytes  # noqa: F401 here and below: what a training imports on its way is imported before the fork
import datasets  # noqa: F401
import matplotlib.figure  # noqa: F401
import torch
import torch.distributed.fsdp
from peft import LoraConfig, get_peft_model  # noqa: F401
from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen2ForCausalLM, Qwen2Tokenizer  # noqa: F401
from trl import SFTConfig, SFTTrainer  # noqa: F401

from jobtuner.config import Config
from jobtuner.train import trainer
from jobtuner.train.best import Watch
from jobtuner.train.group import joined
from jobtuner.train.stage import fine_tune_in


def _train(job: dict[str, Any], rank: int, port: int) -> int:
    names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": job["processes"], "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in names.items()} | {"MASTER_ADDR": "127.0.0.1"})
    out = Path(job["out"])
    with out.with_suffix(f".{rank}.log").open("w") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        watch = None
        if rank == job["processes"] - 1 and job.get("signal_at"):
            watch = _signal_at(job["signal_at"])
        try:
            with joined() as group:
                fine_tune_in(
                    Config.model_validate(job["config"], strict=False), Path(job["prepare"]), out, group, watch
                )
        except SystemExit as error:
            sys.stderr.write(str(error))
            sys.stderr.flush()
            return int(error.code or 0)
        except Exception as error:  # noqa: BLE001 the test reads what it was
            sys.stderr.write(f"{type(error).__name__}: {error}")
            sys.stderr.flush()
            return 1
    return 0


def _signal_at(step: int) -> Watch:
    def watch(now: int, _: dict[str, float]) -> None:
        if now == step:
            os.kill(os.getpid(), signal.SIGTERM)

    return watch


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main() -> None:
    """Fork for each line."""
    assert torch.get_num_threads() == 1
    assert trainer
    gc.freeze()
    for line in sys.stdin:
        job, port, children = json.loads(line), _free_port(), []
        for rank in range(job["processes"]):
            child = os.fork()
            if not child:
                os._exit(_train(job, rank, port))
            children.append(child)
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        sys.stdout.write(json.dumps(codes) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
