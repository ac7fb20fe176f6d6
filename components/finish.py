"""The last task, whatever happened before: the tracked run ends as the pipeline did."""

from typing import Any

from kfp import dsl

from components.image import IMAGE

__all__ = ["finish"]


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def finish(recipe: str, overrides: dict[str, Any], pipeline_run: str, status: dsl.PipelineTaskFinalStatus) -> None:
    """Call `jobtuner.run.finish`."""
    from jobtuner.run import finish

    finish(recipe, overrides, pipeline_run, status.state, status.error_message)
