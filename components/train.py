"""QLoRA fine-tuning of the base model."""

from kfp import dsl

from components.image import IMAGE

__all__ = ["train"]


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def train(
    run: dsl.Input[dsl.Artifact],
    prepare: dsl.Input[dsl.Dataset],
    train: dsl.Output[dsl.Model],
) -> None:
    """Call `jobtuner.stages.run_stage`."""
    from jobtuner.stages import run_stage

    run_stage("train", run=run.path, inputs={"prepare": prepare.path}, out=train.path)
