"""A file of ads by way of the gateway, in shards beside each other: split → ask (one task a shard) → join."""

from typing import Any

from kfp import dsl

from components.ask_shard import ask_shard
from components.join import join
from components.split import split
from pipelines.resources import CPU_NODES, Nodes
from pipelines.training import task_maker

__all__ = ["BATCH_NAME", "batch_pipeline", "build_batch"]

BATCH_NAME = "jobtuner-batch"
_AT_ONCE = 4
"""Shards asked about at the same time: `jobtuner batch` keeps 8 requests under way, and 4 × 8 = 32 are what one vLLM
works at (--max-num-seqs)."""


def build_batch(nodes: Nodes | None = CPU_NODES) -> Any:
    """The pipeline, its tasks on these nodes of a cluster; None: on this machine."""
    task = task_maker(nodes)

    @dsl.pipeline(name=BATCH_NAME, description="A file of ads in, their occupations out, by way of the gateway.")
    def batch_pipeline(
        source: str,
        endpoint: str = "http://jobtuner-gateway.jobtuner.svc.cluster.local:8080",
        target: str = "",
        shards: int = 8,
        options: list[str] = [],  # noqa: B006 kfp reads it once
    ) -> None:
        """Answer every ad of a file.

        Args:
            source: .jsonl, .csv or .parquet, at s3://bucket/key.
            endpoint: the gateway; its key is JOBTUNER_GATEWAY_KEY of the Secret jobtuner-credentials.
            target: s3://bucket/folder for the answers; "" keeps them as the pipeline's artifact alone.
            shards: into how many the file is cut; four are asked about at once.
            options: more options of `jobtuner batch`, e.g. ["--text-column", "description"].
        """
        cut = task(split(source=source, shards=shards), "Split", cached=False)
        with dsl.ParallelFor(cut.outputs["Output"], name="shards", parallelism=_AT_ONCE) as number:
            asked = ask_shard(parts=cut.outputs["parts"], number=number, endpoint=endpoint, options=options)
            answered = task(asked, "Ask", cached=False)
        gathered = dsl.Collected(answered.outputs["answers"])
        task(join(shards=gathered, target=target), "Join", cached=False)

    return batch_pipeline


batch_pipeline = build_batch()
