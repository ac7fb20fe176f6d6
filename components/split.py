"""A file of ads becomes shards."""

from kfp import dsl

from components.image import IMAGE

__all__ = ["split"]


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def split(
    source: str,
    shards: int,
    parts: dsl.Output[dsl.Dataset],
    numbers: dsl.OutputPath(list),  # type: ignore[valid-type]  # kfp's way to say it
) -> None:
    """Call `jobtuner.shards.split`."""
    from jobtuner.shards import split

    split(source, shards, parts.path, numbers)
