"""Model and baseline on the same test split."""

from kfp import dsl

from components.image import IMAGE

__all__ = ["evaluate"]


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def evaluate(
    run: dsl.Input[dsl.Artifact],
    prepare: dsl.Input[dsl.Dataset],
    baseline: dsl.Input[dsl.Model],
    train: dsl.Input[dsl.Model],
    evaluate: dsl.Output[dsl.Artifact],
) -> None:
    """Call `jobtuner.stages.run_stage`."""
    from jobtuner.stages import run_stage

    run_stage(
        "evaluate",
        run=run.path,
        inputs={"prepare": prepare.path, "baseline": baseline.path, "train": train.path},
        out=evaluate.path,
    )
