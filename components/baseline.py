"""The cheap model that the fine-tuned one must beat."""

from kfp import dsl

from components.image import IMAGE

__all__ = ["baseline"]


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def baseline(
    run: dsl.Input[dsl.Artifact],
    prepare: dsl.Input[dsl.Dataset],
    baseline: dsl.Output[dsl.Model],
) -> None:
    """Call `jobtuner.stages.run_stage`."""
    from jobtuner.stages import run_stage

    run_stage("baseline", run=run.path, inputs={"prepare": prepare.path}, out=baseline.path)
