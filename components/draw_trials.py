"""The trials of a search are drawn."""

from kfp import dsl

from components.image import IMAGE

__all__ = ["draw_trials"]


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def draw_trials(
    run: dsl.Input[dsl.Artifact], space: str, trials: int, metric: str, drawn: dsl.Output[dsl.Artifact]
) -> list[int]:
    """Call `jobtuner.train.tune_pipeline.draw_trials`."""
    from jobtuner.train.tune_pipeline import draw_trials

    return draw_trials(run.path, space, trials, metric, drawn.path)
