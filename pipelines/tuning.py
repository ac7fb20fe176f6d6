"""A search for better settings, its trials beside each other on nodes of their own.

resolve → prepare → draw → trial (one task each) → pick; at the end, whatever happened: finish
"""

from typing import Any

from kfp import dsl

from components.draw_trials import draw_trials
from components.pick_best import pick_best
from components.prepare import prepare
from components.resolve import resolve
from components.train_trial import train_trial
from pipelines.resources import CPU_NODES, Nodes
from pipelines.training import ending_the_run, task_maker

__all__ = ["TUNING_NAME", "build_tuning", "tuning_pipeline"]

TUNING_NAME = "jobtuner-tuning"
_AT_ONCE = 4
"""Trials beside each other, a GPU each where the pipeline is compiled with some."""


def build_tuning(nodes: Nodes | None = CPU_NODES) -> Any:
    """The pipeline, its tasks on these nodes of a cluster; None: on this machine."""
    task = task_maker(nodes)

    @dsl.pipeline(name=TUNING_NAME, description="A recipe and a search space in, the best recipe out.")
    def tuning_pipeline(
        space: str,
        recipe: str = "smoke",
        overrides: dict[str, Any] = {},  # noqa: B006 kfp reads it once
        trials: int = 12,
        metric: str = "macro_f1",
    ) -> None:
        """Train the trials and compare them.

        Args:
            space: YAML as text, as the file of `jobtuner tune --space` holds it: JSON would make 8 a double.
            recipe: name of a built-in recipe, or path of a YAML file inside the image.
            overrides: dotted key to value, e.g. {"training.epochs": "2"}.
            trials: how many are drawn.
            metric: loss, accuracy, label_accuracy or macro_f1, on the validation split.
        """
        with ending_the_run(task, nodes, recipe, overrides) as number:
            resolved = resolve(recipe=recipe, overrides=overrides, pipeline_run=number)
            run = task(resolved, "Check the recipe", cached=False).outputs["run"]
            data = task(prepare(run=run), "Prepare the data").outputs["prepare"]
            drawn = task(draw_trials(run=run, space=space, trials=trials, metric=metric), "Draw the trials")
            settings = drawn.outputs["drawn"]
            with dsl.ParallelFor(drawn.outputs["Output"], name="trials", parallelism=_AT_ONCE) as one:
                trained = task(train_trial(run=run, prepare=data, drawn=settings, number=one), "Train a trial")
            found = dsl.Collected(trained.outputs["trial"])
            best = pick_best(run=run, prepare=data, drawn=settings, trials=found)
            task(best, "Pick the best", cached=False)

    return tuning_pipeline


tuning_pipeline = build_tuning()
