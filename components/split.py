"""A file of ads becomes shards."""

from kfp import dsl

from components.image import IMAGE

__all__ = ["split"]


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def split(source: str, shards: int, parts: dsl.Output[dsl.Dataset]) -> list[int]:
    """Call `jobtuner.shards.split`."""
    from jobtuner.shards import split

    return split(source, shards, parts.path)
