"""The pipeline: which stage reads which, and nothing else.

resolve → prepare → baseline ┐
                  → train   ─┴→ evaluate → export → register → deploy; at the end, whatever happened: finish
"""

import contextlib
from collections.abc import Iterator
from typing import Any

from kfp import dsl

from components.baseline import baseline
from components.deploy import deploy
from components.evaluate import evaluate
from components.export import export
from components.finish import finish
from components.register import register
from components.resolve import resolve
from components.train import train
from pipelines.cluster import with_cluster_settings
from pipelines.preparing import TaskMaker, preparing
from pipelines.resources import CPU_NODES, Nodes, with_resources

__all__ = [
    "PIPELINE_NAME",
    "TaskMaker",
    "build_pipeline",
    "ending_the_run",
    "task_maker",
    "train_and_deploy",
    "training_pipeline",
]

PIPELINE_NAME = "jobtuner-training"


def task_maker(nodes: Nodes | None) -> TaskMaker:
    """Tasks for these nodes of a cluster; None: for this machine.

    kfp.local warns of resources and obeys retries: minutes of waiting for an error that comes again.
    """

    def task(made: dsl.PipelineTask, title: str, cached: bool = True) -> dsl.PipelineTask:
        """Set what a cluster needs to know; `cached=False` for tasks that act on the world outside their folder."""
        made.set_display_name(title).set_caching_options(cached)
        return made if nodes is None else with_resources(with_cluster_settings(made), nodes)

    return task


@contextlib.contextmanager
def ending_the_run(task: TaskMaker, nodes: Nodes | None, recipe: Any, overrides: Any) -> Iterator[str]:
    """The tasks of the block, and after them, whatever happened, one that ends the tracked run; yields the run's id.

    kfp lets a last task read no other task's output: it finds the tracked run by Kubeflow's own id of the run. On this
    machine there is none: `jobtuner run` ends its tracked run itself.
    """
    if nodes is None:
        yield ""
        return
    number = dsl.PIPELINE_JOB_ID_PLACEHOLDER
    last = finish(recipe=recipe, overrides=overrides, pipeline_run=number)
    with dsl.ExitHandler(task(last, "Report", cached=False), name="stages"):
        yield number


def train_and_deploy(task: TaskMaker, data: Any, run: Any) -> None:
    """Every stage of a training.

    Args:
        task: by `task_maker`.
        data: the prepared data, see `preparing`.
        run: the output of `resolve`.
    """
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


def build_pipeline(nodes: Nodes | None = CPU_NODES) -> Any:
    """The pipeline, its tasks on these nodes of a cluster; None: on this machine."""
    task = task_maker(nodes)
    prepare = preparing(task, choice=nodes is not None)

    @dsl.pipeline(name=PIPELINE_NAME, description="Job ads in, a proven and served occupation model out.")
    def training_pipeline(
        recipe: str = "smoke",
        overrides: dict[str, Any] = {},  # noqa: B006 kfp reads it once
        shards: int = 1,
    ) -> None:
        """Run all stages of a recipe.

        Args:
            recipe: name of a built-in recipe, or path of a YAML file inside the image.
            overrides: dotted key to value, e.g. {"training.epochs": "2"}.
            shards: into how many the rows are cut for cleaning; four are cleaned at once.
        """
        with ending_the_run(task, nodes, recipe, overrides) as number:
            resolved = resolve(recipe=recipe, overrides=overrides, pipeline_run=number)
            run = task(resolved, "Check the recipe", cached=False).outputs["run"]
            train_and_deploy(task, prepare(run, shards).outputs["prepare"], run)

    return training_pipeline


training_pipeline = build_pipeline()
