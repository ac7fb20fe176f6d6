"""Job ads become cleaned, deduplicated, split examples."""

from kfp import dsl

from components.image import IMAGE

__all__ = ["prepare"]


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def prepare(
    run: dsl.Input[dsl.Artifact],
    prepare: dsl.Output[dsl.Dataset],
) -> None:
    """Call `jobtuner.stages.run_stage`."""
    from jobtuner.stages import run_stage

    run_stage("prepare", run=run.path, inputs={}, out=prepare.path)
