"""The container image that every component runs in."""

import os

from jobtuner import __version__
from jobtuner.errors import ConfigError

__all__ = ["IMAGE", "IMAGE_VARIABLE", "component_image"]

IMAGE_VARIABLE = "JOBTUNER_IMAGE"
"""Environment variable, read when the pipeline is compiled: another image, with a tag or a digest."""


def component_image() -> str:
    """The image named by JOBTUNER_IMAGE, else the CPU image of this version.

    The name of the default holds "python": kfp.local warns about any other.

    Raises:
        ConfigError: the image floats (no tag, or the tag "latest"), so that two runs of one pipeline could differ.
    """
    image = os.environ.get(IMAGE_VARIABLE) or f"jobtuner/python-cpu:{__version__}"
    tag = image.rpartition("/")[2].partition(":")[2]
    if "@sha256:" not in image and tag in {"", "latest"}:
        raise ConfigError(
            f"{IMAGE_VARIABLE} is '{image}', which can change under its name. Give a version tag (name:1.2.3) or a "
            "digest (name@sha256:…)."
        )
    return image


IMAGE = component_image()
