"""Preparing the data, in one piece or in shards beside each other: number → clean (one task a shard) → merge.

A shard is the rows whose id hashes to its number. Duplicates, splits and the data card are the merge's: they need all
rows. What comes out is the same, byte for byte, however many shards there are.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from kfp import dsl

from components.clean_shard import clean_shard
from components.merge_shards import merge_shards
from components.number_shards import number_shards
from components.prepare import prepare

__all__ = ["TaskMaker", "in_one_piece", "in_shards", "preparing"]


class _Prepared(NamedTuple):
    prepare: dsl.Dataset


TaskMaker = Callable[..., dsl.PipelineTask]
"""From a component's task, its title and whether its result may be reused, to the task as its place needs it."""

_AT_ONCE = 4
"""Shards cleaned at the same time: 4 × (1 CPU + 0.1) = 4.4, no more than baseline and train ask for beside each other,
which the namespace's quota is made of."""


def preparing(task: TaskMaker, *, choice: bool) -> Callable[[Any, Any], dsl.PipelineTask]:
    """From `run` and `shards` to the task whose output `prepare` is the data. To be called outside of a pipeline.

    Args:
        task: by `training.task_maker`.
        choice: whether `shards` chooses. kfp.local knows no choice between artifacts, and this machine has but one
            node: there it is done in one piece, by `data.workers` processes.
    """
    if not choice:
        return lambda run, _: in_one_piece(task, run)

    @dsl.pipeline(name="prepare")
    def graph(run: dsl.Input[dsl.Artifact], shards: int) -> _Prepared:
        with dsl.If(shards == 1, name="in one piece"):
            whole = in_one_piece(task, run)
        with dsl.Else(name="in shards"):
            merged = in_shards(task, run, shards)
        return _Prepared(prepare=dsl.OneOf(whole.outputs["prepare"], merged.outputs["prepare"]))

    return lambda run, shards: graph(run=run, shards=shards).set_display_name("Prepare the data")


def in_one_piece(task: TaskMaker, run: Any) -> dsl.PipelineTask:
    """The task that does it all."""
    return task(prepare(run=run), "Prepare the data")


def in_shards(task: TaskMaker, run: Any, shards: Any) -> dsl.PipelineTask:
    """The task that merges what the others have cleaned."""
    numbers = task(number_shards(shards=shards), "Number the shards").outputs["Output"]
    with dsl.ParallelFor(numbers, name="shards", parallelism=_AT_ONCE) as number:
        shard = task(clean_shard(run=run, number=number, shards=shards), "Clean a shard")
    return task(merge_shards(run=run, shards=dsl.Collected(shard.outputs["cleaned"])), "Merge the shards")
