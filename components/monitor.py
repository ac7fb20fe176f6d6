"""One look at the served model: drift, quality, and whether a training is due."""

from kfp import dsl

from components.image import IMAGE

__all__ = ["monitor"]


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def monitor(
    run: dsl.Input[dsl.Artifact],
    monitor: dsl.Output[dsl.Artifact],
    retrain: dsl.OutputPath(bool),  # type: ignore[valid-type]  # kfp's way to say it
) -> None:
    """Call `jobtuner.scheduled.look`."""
    from jobtuner.scheduled import look

    look(run.path, monitor.path, retrain)
