"""The shards' answers become one file."""

from kfp import dsl

from components.image import IMAGE

__all__ = ["join"]


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def join(shards: dsl.Input[list[dsl.Dataset]], target: str, joined: dsl.Output[dsl.Dataset]) -> None:
    """Call `jobtuner.shards.join`."""
    from jobtuner.shards import join

    join([shard.path for shard in shards], target, joined.path)
