"""What each task asks of the cluster: CPU, memory, GPUs, nodes, retries, time."""

from dataclasses import dataclass, replace

from kfp import dsl, kubernetes

from jobtuner.errors import ConfigError
from pipelines.cluster import GPU

__all__ = ["ACCELERATORS", "CPU_NODES", "NEEDS", "Need", "Nodes", "with_resources"]

ACCELERATORS = ("l4", "a100", "h100")
"""Values of the node label jobtuner.dev/accelerator."""

_POOL = "jobtuner.dev/pool"
_ACCELERATOR = "jobtuner.dev/accelerator"
_SPOT = "jobtuner.dev/spot"


@dataclass(frozen=True)
class Need:
    """What one task asks for. There is no CPU limit: it would throttle a task while its node idles."""

    cpu: str
    memory: str
    """What is kept free for it."""
    memory_limit: str
    """What it is killed at."""
    hours: float
    """From the start of its pod, the image's download included; a retry has as long again."""
    model: bool = False
    """It runs the language model: on GPUs where the pipeline is compiled with some."""
    retries: int = 2
    """For a node that goes, or a service that is away for a moment."""
    processes: bool = False
    """It starts a process for each of its GPUs."""
    one_gpu: bool = False
    """It uses one GPU, however many the others get."""


# A node of the pool "work" has 8 CPUs and 32 GiB, of which Kubernetes leaves 7.9 and 28; one with an L4 the same.
NEEDS = {
    # pydantic and MLflow's client: 0.4 GiB. Not repeated: it opens the run that the others are recorded in.
    "resolve": Need(cpu="500m", memory="1Gi", memory_limit="2Gi", hours=0.5, retries=0),
    # As resolve; it ends that run.
    "finish": Need(cpu="500m", memory="1Gi", memory_limit="2Gi", hours=0.5),
    # Rows pass through one by one; what is written counts as page cache.
    "split": Need(cpu="500m", memory="1Gi", memory_limit="4Gi", hours=2),
    # Eight requests of 16 ads under way, and their answers. A million ads at 10 a second and shard are 28 h for one of
    # them, 3.5 h for each of eight. A retry asks the shard anew: its finished parts were in the pod.
    "ask-shard": Need(cpu="500m", memory="1Gi", memory_limit="2Gi", hours=12),
    "join": Need(cpu="500m", memory="1Gi", memory_limit="4Gi", hours=2),
    # A window of the log and the reference, some 10,000 rows each, and a domain classifier: 1 GiB with libraries.
    # A second look would count a drifted window twice: not repeated.
    "monitor": Need(cpu="1", memory="2Gi", memory_limit="8Gi", hours=1, retries=0),
    # A million ads × 2 kB = 2 GiB, their shingles for near-duplicates as much again. Long ads take three times that.
    "prepare": Need(cpu="2", memory="4Gi", memory_limit="12Gi", hours=4),
    # A list of numbers.
    "number-shards": Need(cpu="500m", memory="1Gi", memory_limit="2Gi", hours=0.5),
    # Reads all rows, one by one, and keeps one in `shards`: a shard of 250,000 ads × 2 kB = 0.5 GiB in parts of 10,000.
    "clean-shard": Need(cpu="1", memory="2Gi", memory_limit="8Gi", hours=4),
    # What is left for "prepare" when all rows are clean: duplicates, splits, the card. As much memory, all rows again.
    "merge-shards": Need(cpu="2", memory="4Gi", memory_limit="12Gi", hours=4),
    # Runs beside "train": 3 + 4 CPUs and 8 + 16 GiB fit on one node. A million ads × 100 terms × 12 bytes = 1.1 GiB,
    # weights of 3,007 codes × 2 views × 80,000 terms × 4 bytes = 1.8 GiB, both twice while it fits.
    "baseline": Need(cpu="3", memory="8Gi", memory_limit="16Gi", hours=4),
    # torch and CUDA 4 GiB, one shard of the base at a time 4 GiB, data 2 GiB, /dev/shm 1 GiB = 11 GiB; the rest is page
    # cache, through which a 7 B base of 15.2 GB is read. A retry goes on from the last checkpoint.
    "train": Need(cpu="4", memory="16Gi", memory_limit="24Gi", hours=24, model=True, retries=5, processes=True),
    # optuna draws, and the recipe is checked for each bound: 0.4 GiB, as resolve.
    "draw-trials": Need(cpu="500m", memory="1Gi", memory_limit="2Gi", hours=0.5),
    # As train, in one process.
    "train-trial": Need(cpu="4", memory="16Gi", memory_limit="24Gi", hours=24, model=True, retries=5, one_gpu=True),
    "pick-best": Need(cpu="500m", memory="1Gi", memory_limit="2Gi", hours=0.5),
    "evaluate": Need(cpu="4", memory="16Gi", memory_limit="24Gi", hours=8, model=True),
    # Merged in bfloat16 on the GPU (7.6 B × 2 bytes = 14.2 GiB: an L4 has 22.5) and written in shards of 5 GB. Without
    # a GPU, or where it is too small, in memory: the limit holds 4.5 B × 2 bytes = 8.4 GiB, twice, and torch.
    "export": Need(cpu="4", memory="16Gi", memory_limit="24Gi", hours=4, model=True),
    # A champion of other data is asked anew there: that runs the language model.
    "register": Need(cpu="4", memory="16Gi", memory_limit="24Gi", hours=8, model=True),
    # It serves once, for the smoke test: 0.5 B × 4 bytes = 1.8 GiB and torch. On a cluster it uploads (15 GB at 50 MB/s
    # 5 min) and waits: canary, place and way back 25 min each (deploy.kserve.ready_seconds), as long for another one's.
    "deploy": Need(cpu="2", memory="4Gi", memory_limit="16Gi", hours=3, retries=1),
}


# Each further process of a training has torch and CUDA (4 GiB), reads the base for itself, one shard at a time (4 GiB),
# and meets the others in /dev/shm (1 GiB: NCCL's rings take 4 MiB × 32 channels × 2 neighbours × 2 ways = 0.5 GiB where
# GPUs have no way to each other, and as much again is free): 9 GiB. Two CPUs: one feeds the GPU, one reads.
# 8 GPUs: 4 + 7 × 2 = 18 CPUs, 16 + 7 × 9 = 79 GiB, killed at 87; the smallest machines with 8 have 96 CPUs, 384 GiB.
_MORE_CPUS, _MORE_GIB = 2, 9


@dataclass(frozen=True)
class Nodes:
    """Which nodes the tasks run on.

    Raises:
        ConfigError: an unknown accelerator, or one without GPUs.
    """

    gpus: int = 0
    """GPUs of each task that runs the language model."""
    accelerator: str | None = None
    """The kind of GPU; None: whichever the cluster has."""
    spot: bool = False
    """Tasks that are retried may run on nodes that can vanish."""
    pools: bool = True
    """Choose nodes by the label that the project's Terraform sets; False for a cluster without it."""

    def __post_init__(self) -> None:
        if self.accelerator is not None and self.accelerator not in ACCELERATORS:
            raise ConfigError(f"--accelerator is '{self.accelerator}'; accepted are {', '.join(ACCELERATORS)}.")
        if self.accelerator is not None and not self.gpus:
            raise ConfigError(f"--accelerator {self.accelerator} without GPUs chooses nothing. Add --gpus 1.")


CPU_NODES = Nodes()
"""No GPU: enough for the stand-in model."""


def with_resources(task: dsl.PipelineTask, nodes: Nodes) -> dsl.PipelineTask:
    """Ask for what the task's entry in NEEDS says, on these nodes."""
    need = NEEDS[task.name]
    processes = max(1, nodes.gpus) if need.processes else 1
    if processes > 1:
        need = _for_processes(need, processes)
    task.set_cpu_request(need.cpu).set_memory_request(need.memory).set_memory_limit(need.memory_limit)
    kubernetes.set_timeout(task, round(need.hours * 3600))
    if need.retries:  # after an error; a SIGTERM ends a stage with one, 143
        task.set_retry(need.retries, backoff_duration="30s", backoff_factor=2.0, backoff_max_duration="600s")
    if need.model:  # torch's processes meet in /dev/shm, of which a container gets 64 MiB
        kubernetes.empty_dir_mount(task, "shm", "/dev/shm", medium="Memory", size_limit=f"{processes}Gi")  # noqa: S108
    return _on_nodes(task, need, nodes)


def _for_processes(need: Need, processes: int) -> Need:
    more = processes - 1
    memory, limit = (
        f"{int(size.removesuffix('Gi')) + more * _MORE_GIB}Gi" for size in (need.memory, need.memory_limit)
    )  # fmt: skip
    return replace(need, cpu=f"{int(need.cpu) + more * _MORE_CPUS}", memory=memory, memory_limit=limit)


def _on_nodes(task: dsl.PipelineTask, need: Need, nodes: Nodes) -> dsl.PipelineTask:
    gpus = min(nodes.gpus, 1) if need.one_gpu else nodes.gpus if need.model else 0
    if nodes.pools:
        kubernetes.add_node_selector(task, _POOL, "gpu" if gpus else "work")
    if gpus:
        task.set_accelerator_type(GPU).set_accelerator_limit(gpus)
        kubernetes.add_toleration(task, key=GPU, operator="Exists", effect="NoSchedule")
        if nodes.accelerator is not None:
            kubernetes.add_node_selector(task, _ACCELERATOR, nodes.accelerator)
    if nodes.spot and need.retries:
        kubernetes.add_toleration(task, key=_SPOT, operator="Equal", value="true", effect="NoSchedule")
    return task
