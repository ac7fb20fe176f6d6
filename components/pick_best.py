"""The best trial of a search becomes a recipe."""

from kfp import dsl

from components.image import IMAGE

__all__ = ["pick_best"]


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def pick_best(
    run: dsl.Input[dsl.Artifact],
    prepare: dsl.Input[dsl.Dataset],
    drawn: dsl.Input[dsl.Artifact],
    trials: dsl.Input[list[dsl.Artifact]],
    best: dsl.Output[dsl.Artifact],
) -> None:
    """Call `jobtuner.train.tune_pipeline.pick_best`."""
    from jobtuner.train.tune_pipeline import pick_best

    pick_best(run.path, prepare.path, drawn.path, [trial.path for trial in trials], best.path)
