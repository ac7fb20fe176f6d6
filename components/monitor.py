"""One look at the served model: drift, quality, and whether a training is due."""

from kfp import dsl

from components.image import IMAGE

__all__ = ["monitor"]


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def monitor(run: dsl.Input[dsl.Artifact], monitor: dsl.Output[dsl.Artifact]) -> bool:
    """Call `jobtuner.scheduled.look`."""
    from jobtuner.scheduled import look

    return look(run.path, monitor.path)
