"""One trial of a search is trained."""

from kfp import dsl

from components.image import IMAGE

__all__ = ["train_trial"]


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def train_trial(
    run: dsl.Input[dsl.Artifact],
    prepare: dsl.Input[dsl.Dataset],
    drawn: dsl.Input[dsl.Artifact],
    number: int,
    trial: dsl.Output[dsl.Artifact],
) -> None:
    """Call `jobtuner.train.tune_pipeline.train_trial`."""
    from jobtuner.train.tune_pipeline import train_trial

    train_trial(run.path, prepare.path, drawn.path, number, trial.path)
