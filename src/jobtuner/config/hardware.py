"""The processes and GPUs of the training."""

from typing import Literal

from jobtuner.config.section import Count, Section

__all__ = ["HardwareConfig"]


class HardwareConfig(Section):
    """What the training runs on. These settings change the trained weights by no more than the order of sums."""

    processes: Count | None = None
    """Processes on each machine, which share the examples of every optimizer step; with GPUs each has one of its own.
    None: as many as there are GPUs, and one where there is none."""
    sharding: Literal["none", "fsdp"] = "none"
    """fsdp: each process holds its part of the frozen base and gathers a layer when it is computed (PyTorch's FSDP2),
    for a base that fits on no GPU together with its activations. none: each holds all of it, which is faster."""
