"""The promotion gate and the registry entry."""

from kfp import dsl

from components.image import IMAGE

__all__ = ["register"]


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def register(
    run: dsl.Input[dsl.Artifact],
    prepare: dsl.Input[dsl.Dataset],
    train: dsl.Input[dsl.Model],
    evaluate: dsl.Input[dsl.Artifact],
    export: dsl.Input[dsl.Model],
    register: dsl.Output[dsl.Artifact],
) -> None:
    """Call `jobtuner.stages.run_stage`."""
    from jobtuner.stages import run_stage

    run_stage(
        "register",
        run=run.path,
        inputs={
            "prepare": prepare.path,
            "train": train.path,
            "evaluate": evaluate.path,
            "export": export.path,
        },
        out=register.path,
    )
