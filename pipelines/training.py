"""The pipeline: which stage reads which, and nothing else.

resolve → prepare → baseline ┐
                  → train   ─┴→ evaluate → export → register → deploy
"""

from typing import Any

from kfp import dsl

from components.baseline import baseline
from components.deploy import deploy
from components.evaluate import evaluate
from components.export import export
from components.prepare import prepare
from components.register import register
from components.resolve import resolve
from components.train import train
from pipelines.cluster import on_gpu, resuming, with_cluster_settings

__all__ = ["PIPELINE_NAME", "build_pipeline", "training_pipeline"]

PIPELINE_NAME = "jobtuner-training"


def build_pipeline(gpus: int = 0) -> Any:
    """The pipeline, with this many GPUs for each task that runs the language model."""

    @dsl.pipeline(name=PIPELINE_NAME, description="Job ads in, a proven and served occupation model out.")
    def training_pipeline(recipe: str = "smoke", overrides: dict[str, Any] = {}) -> None:  # noqa: B006 kfp reads it once
        """Run all stages of a recipe.

        Args:
            recipe: name of a built-in recipe, or path of a YAML file inside the image.
            overrides: dotted key to value, e.g. {"training.epochs": "2"}.
        """
        resolved = _task(resolve(recipe=recipe, overrides=overrides), "Check the recipe", cached=False)
        run = resolved.outputs["run"]
        data = _task(prepare(run=run), "Prepare the data").outputs["prepare"]
        cheap = _task(baseline(run=run, prepare=data), "Train the baseline").outputs["baseline"]
        tuned = resuming(_task(train(run=run, prepare=data), "Fine-tune"))
        model = on_gpu(tuned, gpus).outputs["train"]
        scored = evaluate(run=run, prepare=data, baseline=cheap, train=model)
        report = on_gpu(_task(scored, "Evaluate"), gpus).outputs["evaluate"]
        exported = export(run=run, prepare=data, train=model, evaluate=report)
        merged = on_gpu(_task(exported, "Export"), gpus).outputs["export"]
        entry = register(run=run, prepare=data, train=model, evaluate=report, export=merged)
        # A champion of other data is asked anew there: that runs the language model.
        version = on_gpu(_task(entry, "Decide and register", cached=False), gpus).outputs["register"]
        endpoint = deploy(run=run, prepare=data, register=version, export=merged)
        _task(endpoint, "Deploy", cached=False)

    return training_pipeline


def _task(task: dsl.PipelineTask, title: str, cached: bool = True) -> dsl.PipelineTask:
    """Set what all tasks have in common; `cached=False` for those that act on the world outside their folder."""
    task.set_display_name(title).set_caching_options(cached)
    return with_cluster_settings(task)


training_pipeline = build_pipeline()
