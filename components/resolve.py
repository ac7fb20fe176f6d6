"""The first component: recipe and overrides become one validated config and one tracked run."""

from typing import Any

from kfp import dsl

from components.image import IMAGE

__all__ = ["resolve"]


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def resolve(recipe: str, overrides: dict[str, Any], run: dsl.Output[dsl.Artifact], pipeline_run: str = "") -> None:
    """Call `jobtuner.run.resolve`."""
    from jobtuner.run import resolve

    resolve(recipe, overrides, run.path, pipeline_run)
