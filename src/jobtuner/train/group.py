"""The processes that train one adapter together: who they are, and what they tell each other.

Each process has a GPU of its own and sees nothing of the others but this: the rows of an optimizer step are dealt out,
the gradients are summed once a step, and every process then takes the same step. transformers and accelerate are left
to believe that each process is alone, so order, checkpoints and schedule are those of a single one, and the number of
processes changes the result by nothing but the order of sums.

The environment is torchrun's, and `accelerate launch` sets the same: RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and
MASTER_PORT.
"""

import json
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobtuner.errors import ConfigError

if TYPE_CHECKING:
    import torch

__all__ = ["ALONE", "RANK_VARIABLES", "Group", "joined", "started_as_rank"]

RANK_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK")
_TIMEOUT = timedelta(hours=2)  # the first process may build the stand-in, or read a base of 145 GB, while others wait
_BUCKET = 64_000_000  # numbers summed at once: 256 MB of float32 beside the gradients


@dataclass(frozen=True)
class Group:
    """The processes; all methods but the properties must be called by each of them."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes what the group made."""
        return self.rank == 0

    def gather(self, values: Sequence[float]) -> "torch.Tensor":
        """The values of all processes: float64, shape [size, len(values)], on the CPU."""
        import torch
        from torch import distributed

        mine = torch.tensor(list(values), dtype=torch.float64)
        if self.size == 1:
            return mine[None]
        found = [torch.empty_like(mine) for _ in range(self.size)]
        distributed.all_gather(found, mine)
        return torch.stack(found)

    def sum_gradients(self, parameters: "Sequence[torch.nn.Parameter]") -> None:
        """Replace each gradient by the sum over all processes; one that a process has not counts as 0."""
        import torch
        from torch import distributed

        if self.size == 1:
            return
        for bucket in _buckets(parameters):
            flat = torch.cat([_gradient(each).flatten() for each in bucket])
            distributed.all_reduce(flat)
            for parameter, part in zip(bucket, flat.split([each.numel() for each in bucket]), strict=True):
                parameter.grad = part.view_as(parameter)

    def tell(self, value: Any) -> Any:
        """The first process's value, which JSON must have a form for."""
        if self.size == 1:
            return value
        if self.first:
            self._send(json.dumps(value).encode())
            return value
        return json.loads(self._receive())

    def copy_folder(self, source: Path | None, target: Path) -> Path:
        """A folder of the first process with its files, for every process: copied to `target` by all but the first."""
        names = self.tell(sorted(path.name for path in source.iterdir() if path.is_file()) if source else None)
        if source is not None:
            if self.size > 1:
                for name in names:
                    self._send((source / name).read_bytes())
            return source
        target.mkdir(parents=True, exist_ok=True)
        for name in names:
            (target / name).write_bytes(self._receive())
        return target

    def _send(self, content: bytes) -> None:
        import torch
        from torch import distributed

        distributed.broadcast(torch.tensor([len(content)]), 0)
        distributed.broadcast(torch.frombuffer(bytearray(content), dtype=torch.uint8), 0)

    def _receive(self) -> bytes:
        import torch
        from torch import distributed

        size = torch.tensor([0])
        distributed.broadcast(size, 0)
        content = torch.empty(int(size), dtype=torch.uint8)
        distributed.broadcast(content, 0)
        return content.numpy().tobytes()


ALONE = Group()
"""A process that trains by itself."""


def started_as_rank() -> bool:
    """Whether a launcher started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE") or 1) > 1


@contextmanager
def joined() -> Iterator[Group]:
    """The group that the environment names, for as long as the context is open; `ALONE` where it names none.

    To be entered before anything asks for a GPU: from then on the process sees its own one alone.

    Raises:
        ConfigError: the launcher named no port at which the processes can meet.
    """
    if not started_as_rank():
        yield ALONE
        return
    if os.environ.get("MASTER_PORT") == "0":  # the processes would look for each other there for half an hour
        raise ConfigError("MASTER_PORT is 0: name a free port, or start torchrun with --standalone, which takes one.")
    group = Group(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    _take_one_gpu(int(os.environ.get("LOCAL_RANK") or 0))
    import torch
    from torch import distributed

    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    distributed.init_process_group(backend, rank=group.rank, world_size=group.size, timeout=_TIMEOUT)
    # It warns of what is meant to be: a group, and a trainer that knows nothing of it.
    logging.getLogger("transformers.training_args").setLevel(logging.ERROR)
    hidden = {name: os.environ.pop(name) for name in RANK_VARIABLES if name in os.environ}
    try:
        yield group  # after an error no farewell: the others may wait in a sum, and whoever started them ends them
        distributed.barrier()
        distributed.destroy_process_group()
    finally:
        os.environ.update(hidden)


def _take_one_gpu(local: int) -> None:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        os.environ["CUDA_VISIBLE_DEVICES"] = str(local)
    elif local < len(devices := [each for each in visible.split(",") if each]):
        os.environ["CUDA_VISIBLE_DEVICES"] = devices[local]


def _buckets(parameters: "Sequence[torch.nn.Parameter]") -> "Iterator[list[torch.nn.Parameter]]":
    bucket: list[torch.nn.Parameter] = []
    for parameter in parameters:
        if bucket and sum(each.numel() for each in bucket) + parameter.numel() > _BUCKET:
            yield bucket
            bucket = []
        bucket.append(parameter)
    if bucket:
        yield bucket


def _gradient(parameter: "torch.nn.Parameter") -> "torch.Tensor":
    import torch

    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
