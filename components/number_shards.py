"""The numbers of the shards that the data is prepared in: what the pipeline loops over."""

from kfp import dsl

from components.image import IMAGE

__all__ = ["number_shards"]


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def number_shards(shards: int) -> list[int]:
    """Call `jobtuner.stages.shard_numbers`."""
    from jobtuner.stages import shard_numbers

    return shard_numbers(shards)
