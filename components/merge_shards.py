"""The cleaned shards become the prepared data, as if there had been but one."""

from kfp import dsl

from components.image import IMAGE

__all__ = ["merge_shards"]


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def merge_shards(
    run: dsl.Input[dsl.Artifact], shards: dsl.Input[list[dsl.Dataset]], prepare: dsl.Output[dsl.Dataset]
) -> None:
    """Call `jobtuner.stages.merge_shards`."""
    from jobtuner.stages import merge_shards

    merge_shards(run.path, [shard.path for shard in shards], prepare.path)
