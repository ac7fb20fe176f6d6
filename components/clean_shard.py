"""One shard of the rows, read and cleaned."""

from kfp import dsl

from components.image import IMAGE

__all__ = ["clean_shard"]


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def clean_shard(run: dsl.Input[dsl.Artifact], number: int, shards: int, cleaned: dsl.Output[dsl.Dataset]) -> None:
    """Call `jobtuner.stages.clean_shard`."""
    from jobtuner.stages import clean_shard

    clean_shard(run.path, number, shards, cleaned.path)
