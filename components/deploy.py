"""An endpoint that answers, or a roll-back."""

from kfp import dsl

from components.image import IMAGE

__all__ = ["deploy"]


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def deploy(
    run: dsl.Input[dsl.Artifact],
    prepare: dsl.Input[dsl.Dataset],
    register: dsl.Input[dsl.Artifact],
    export: dsl.Input[dsl.Model],
    deploy: dsl.Output[dsl.Artifact],
) -> None:
    """Call `jobtuner.stages.run_stage`."""
    from jobtuner.stages import run_stage

    run_stage(
        "deploy",
        run=run.path,
        inputs={"prepare": prepare.path, "register": register.path, "export": export.path},
        out=deploy.path,
    )
