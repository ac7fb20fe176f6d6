"""The pipeline: which stage reads which, and nothing else.

resolve → prepare → baseline ┐
                  → train   ─┴→ evaluate → export → register → deploy; at the end, whatever happened: finish
"""

import contextlib
from typing import Any

from kfp import dsl

from components.baseline import baseline
from components.deploy import deploy
from components.evaluate import evaluate
from components.export import export
from components.finish import finish
from components.prepare import prepare
from components.register import register
from components.resolve import resolve
from components.train import train
from pipelines.cluster import with_cluster_settings
from pipelines.resources import CPU_NODES, Nodes, with_resources

__all__ = ["PIPELINE_NAME", "build_pipeline", "training_pipeline"]

PIPELINE_NAME = "jobtuner-training"


def build_pipeline(nodes: Nodes | None = CPU_NODES) -> Any:
    """The pipeline, its tasks on these nodes of a cluster; None: on this machine.

    kfp.local warns of resources and obeys retries: minutes of waiting for an error that comes again.
    """

    def task(made: dsl.PipelineTask, title: str, cached: bool = True) -> dsl.PipelineTask:
        """Set what a cluster needs to know; `cached=False` for tasks that act on the world outside their folder."""
        made.set_display_name(title).set_caching_options(cached)
        return made if nodes is None else with_resources(with_cluster_settings(made), nodes)

    @dsl.pipeline(name=PIPELINE_NAME, description="Job ads in, a proven and served occupation model out.")
    def training_pipeline(recipe: str = "smoke", overrides: dict[str, Any] = {}) -> None:  # noqa: B006 kfp reads it once
        """Run all stages of a recipe.

        Args:
            recipe: name of a built-in recipe, or path of a YAML file inside the image.
            overrides: dotted key to value, e.g. {"training.epochs": "2"}.
        """
        # kfp lets a last task read no other task's output: it finds the tracked run by Kubeflow's own id of the run.
        number = "" if nodes is None else dsl.PIPELINE_JOB_ID_PLACEHOLDER
        with contextlib.ExitStack() as stack:
            if nodes is not None:  # `jobtuner run` ends its tracked run itself
                last = task(finish(recipe=recipe, overrides=overrides, pipeline_run=number), "Report", cached=False)
                stack.enter_context(dsl.ExitHandler(last, name="stages"))
            checked = resolve(recipe=recipe, overrides=overrides, pipeline_run=number)
            resolved = task(checked, "Check the recipe", cached=False)
            run = resolved.outputs["run"]
            data = task(prepare(run=run), "Prepare the data").outputs["prepare"]
            cheap = task(baseline(run=run, prepare=data), "Train the baseline").outputs["baseline"]
            model = task(train(run=run, prepare=data), "Fine-tune").outputs["train"]
            scored = evaluate(run=run, prepare=data, baseline=cheap, train=model)
            report = task(scored, "Evaluate").outputs["evaluate"]
            exported = export(run=run, prepare=data, train=model, evaluate=report)
            merged = task(exported, "Export").outputs["export"]
            entry = register(run=run, prepare=data, train=model, evaluate=report, export=merged)
            version = task(entry, "Decide and register", cached=False).outputs["register"]
            endpoint = deploy(run=run, prepare=data, register=version, export=merged)
            task(endpoint, "Deploy", cached=False)

    return training_pipeline


training_pipeline = build_pipeline()
