"""Merged weights, proven equal to base and adapter."""

from kfp import dsl

from components.image import IMAGE

__all__ = ["export"]


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def export(
    run: dsl.Input[dsl.Artifact],
    prepare: dsl.Input[dsl.Dataset],
    train: dsl.Input[dsl.Model],
    evaluate: dsl.Input[dsl.Artifact],
    export: dsl.Output[dsl.Model],
) -> None:
    """Call `jobtuner.stages.run_stage`."""
    from jobtuner.stages import run_stage

    run_stage(
        "export",
        run=run.path,
        inputs={"prepare": prepare.path, "train": train.path, "evaluate": evaluate.path},
        out=export.path,
    )
