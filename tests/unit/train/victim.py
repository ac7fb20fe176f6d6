"""A process that trains in children which may be killed: `python -m tests.unit.train.victim`.

The imports take seconds and a training of some steps does not: so this process imports, and forks a child for each job.
One JSON object a line on stdin, the child's number on stdout. With OMP_NUM_THREADS=1 no thread exists that a fork could
lose, and every child computes with the same number of threads.
"""

import gc
import json
import os
import signal
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import bitsandbytes  # noqa: F401 here and below: what a training imports on its way is imported before the fork
import datasets  # noqa: F401
import minio  # noqa: F401
import torch
from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training  # noqa: F401
from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen2ForCausalLM, Qwen2Tokenizer  # noqa: F401
from trl import SFTConfig, SFTTrainer  # noqa: F401

from jobtuner import progress
from jobtuner.config import CheckpointConfig, LoraSettings, TrainingConfig
from jobtuner.models import load_quantized, load_tokenizer
from jobtuner.tasks import PromptEncoder, get_task
from jobtuner.train import answer_trainer, batches, checkpoint, trainer
from jobtuner.train.identity import environment, identity
from jobtuner.train.lora import add_adapter
from jobtuner.train.mixture import MixedRows
from jobtuner.train.resume import Checkpointing
from tests.conftest import ADS, NF4

CODES = ["2221", "2221", "5120", "5120", "8331"]


@dataclass(frozen=True)
class Job:
    """One training, and what happens to it."""

    base: str
    root: str
    """Folder for the checkpoints."""
    out: str
    """File for what came out."""
    training: dict[str, Any] = field(default_factory=dict)
    r: Literal[8, 128] = 8
    every: int = 4
    """Steps between two checkpoints."""
    mirror: str | None = None
    kill_at: int | None = None
    """SIGKILL at the end of this step, before a checkpoint of it is written."""
    kill_while_writing: int | None = None
    """SIGKILL when the checkpoint of this step is complete but for its name."""
    signal_at: int | None = None
    """SIGTERM at the end of this step."""
    signal_in: int | None = None
    """SIGTERM after the first batch of the step after this one."""
    bad_row: int | None = None
    """The number of a training row whose loss is multiplied by `bad_factor`."""
    bad_factor: float = 1.0
    environment: dict[str, str] = field(default_factory=dict)


def train(job: Job) -> dict[str, Any]:
    """Train as the job says, on 16 rows and 6 an epoch of another set of 5; what came out, the adapter's bytes too."""
    tokenizer = load_tokenizer(job.base)
    encoder = PromptEncoder(get_task("occupation"), tokenizer, 64)
    texts = [f"{ADS[number % 5]} {'Apply now. ' * (number % 4)}" for number in range(22)]
    encoded = encoder.examples(texts, [CODES[number % 5] for number in range(22)])
    rows, others = encoded[:16], encoded[16:21]
    mixed = [MixedRows("more", others, others[:2], [f"more-{number}" for number in range(5)], drawn=6)]
    torch.manual_seed(0)
    lora = LoraSettings(r=job.r, alpha=16, dropout=0.2, target_modules=["q_proj", "down_proj", "embed_tokens"])
    model = add_adapter(load_quantized(job.base, None, NF4), lora, gradient_checkpointing=False)
    settings = TrainingConfig(**{"epochs": 3.0, "batch_size": 2, "learning_rate": 2e-3, **job.training})
    me = identity(settings.model_dump_json() + lora.model_dump_json(), (rows, rows[:4], others), model)
    poison = None if job.bad_row is None else rows[job.bad_row]["input_ids"]
    os.environ.update(job.environment)
    with (
        _misfortune(job, poison),
        checkpoint.CheckpointStore(Path(job.root), me, 2, job.mirror, environment()) as store,
    ):
        checkpoints = Checkpointing(store, CheckpointConfig(every_steps=job.every))
        ids = [f"ad-{number}" for number in range(len(rows))]
        scratch = Path(job.root) / "scratch"
        metrics, history = trainer.fine_tune(
            model, tokenizer, rows, rows[:4], settings, 7, scratch, checkpoints, ids, mixed=mixed
        )
    adapter = {name: value for name, value in model.state_dict().items() if "lora_" in name}
    weights = b"".join(value.numpy().tobytes() for _, value in sorted(adapter.items())).hex()
    return {"adapter": weights, "metrics": metrics, "history": history}


@contextmanager
def _misfortune(job: Job, poison: list[int] | None) -> Any:
    """Let the job's misfortune strike at its step."""
    real_seal = checkpoint.seal
    at = {"step": 0}

    @contextmanager
    def track(label: str, total: float, unit: str, start: float) -> Any:
        with progress.track(label, total, unit, start) as bar:
            at["step"] = int(start)
            yield _Bar(bar, job, at)

    def seal(folder: Path, step: int, *rest: Any) -> None:
        real_seal(folder, step, *rest)
        if step == job.kill_while_writing:
            os.kill(os.getpid(), signal.SIGKILL)

    def loss(model: Any, inputs: Any, *more: Any) -> Any:
        value = batches.answer_loss(model, inputs, *more)
        if at["step"] == job.signal_in:
            os.kill(os.getpid(), signal.SIGTERM)
        held = poison and any(row[-len(poison) :].tolist() == poison for row in inputs["input_ids"])
        return value * job.bad_factor if held else value

    for module, names in (
        (trainer, {"track": track}),
        (checkpoint, {"seal": seal}),
        (answer_trainer, {"answer_loss": loss}),
    ):
        vars(module).update(names)
    yield


class _Bar:
    def __init__(self, bar: Any, job: Job, at: dict[str, int]) -> None:
        self._bar, self._job, self._at = bar, job, at

    def advance(self, amount: float = 1, **values: Any) -> None:
        self._bar.advance(amount, **values)
        if not amount:
            return
        self._at["step"] += int(amount)
        if self._at["step"] == self._job.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if self._at["step"] == self._job.signal_at:
            os.kill(os.getpid(), signal.SIGTERM)


def _child(job: Job) -> int:
    with Path(job.out).with_suffix(".log").open("w") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        try:
            result = train(job)
        except SystemExit as error:
            sys.stderr.write(str(error))
            sys.stderr.flush()
            return int(error.code or 0)
        except Exception as error:  # noqa: BLE001 the test reads what it was
            sys.stderr.write(f"{type(error).__name__}: {error}")
            sys.stderr.flush()
            return 1
        Path(job.out).write_text(json.dumps(result))
        return 0


def main() -> None:
    """Fork a child for each line."""
    assert torch.get_num_threads() == 1
    gc.freeze()  # else the trainer's collections walk through everything that was imported, in each child anew
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        number = os.fork()
        if not number:
            os._exit(_child(Job(**json.loads(line))))
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()
        _, status = os.waitpid(number, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
