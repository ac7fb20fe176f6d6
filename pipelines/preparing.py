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

__all__ = ["TaskMaker", "preparing"]


class _Prepared(NamedTuple):
    prepare: dsl.Dataset


TaskMaker = Callable[..., dsl.PipelineTask]
"""From a component's task, its title and whether its result may be reused, to the task as its place needs it."""

_AT_ONCE = 4
"""Shards cleaned at the same time: 4 × (1 CPU + 0.1) = 4.4, no more than baseline and train ask for beside each other,
which the namespace's quota is made of."""


def preparing(task: TaskMaker) -> Any:
    """The graph, as a component that takes `run` and `shards` and gives `prepare`.

    Args:
        task: by `training.task_maker`.
    """

    @dsl.pipeline(name="prepare")
    def prepare_data(run: dsl.Input[dsl.Artifact], shards: int) -> _Prepared:
        with dsl.If(shards == 1, name="in one piece"):
            whole = task(prepare(run=run), "Prepare the data").outputs["prepare"]
        with dsl.Else(name="in shards"):
            numbers = task(number_shards(shards=shards), "Number the shards").outputs["Output"]
            with dsl.ParallelFor(numbers, name="shards", parallelism=_AT_ONCE) as number:
                shard = task(clean_shard(run=run, number=number, shards=shards), "Clean a shard")
            cleaned = dsl.Collected(shard.outputs["cleaned"])
            merged = task(merge_shards(run=run, shards=cleaned), "Merge the shards").outputs["prepare"]
        return _Prepared(prepare=dsl.OneOf(whole, merged))

    return prepare_data
