"""The watch over the served model, for a schedule: one look; and where it says so, a training on fresh data.

resolve → monitor → (a training is due and approved) → prepare → … → deploy; at the end, whatever happened: finish

Approval is the recipe's: with monitor.retrain.approval=manual a look asks, and the next one trains after
`jobtuner monitor approve`. The look and the training are recorded in one tracked run, so the reasons lie beside the
model.
"""

from typing import Any

from kfp import dsl

from components.monitor import monitor
from components.resolve import resolve
from pipelines.preparing import preparing
from pipelines.resources import CPU_NODES, Nodes
from pipelines.training import ending_the_run, task_maker, train_and_deploy

__all__ = ["MONITORING_NAME", "build_monitoring", "monitoring_pipeline"]

MONITORING_NAME = "jobtuner-monitoring"


def build_monitoring(nodes: Nodes | None = CPU_NODES) -> Any:
    """The pipeline, its tasks on these nodes of a cluster; None: on this machine."""
    task = task_maker(nodes)
    prepare = preparing(task, choice=nodes is not None)

    @dsl.pipeline(name=MONITORING_NAME, description="Watch the served model; train anew where it is due and approved.")
    def monitoring_pipeline(
        recipe: str = "smoke",
        overrides: dict[str, Any] = {},  # noqa: B006 kfp reads it once
        shards: int = 1,
    ) -> None:
        """Look, decide, and train where the decision says so.

        Args:
            recipe: name of a built-in recipe, or path of a YAML file inside the image; its section `monitor` counts.
            overrides: dotted key to value, e.g. {"monitor.log": "s3://bucket/log"}.
            shards: as of the training pipeline.
        """
        with ending_the_run(task, nodes, recipe, overrides) as number:
            resolved = resolve(recipe=recipe, overrides=overrides, pipeline_run=number)
            run = task(resolved, "Check the recipe", cached=False).outputs["run"]
            looked = task(monitor(run=run), "Look at the answers", cached=False)
            with dsl.If(looked.outputs["Output"] == True, name="a training is due"):  # noqa: E712 kfp compiles it
                train_and_deploy(task, prepare(run, shards).outputs["prepare"], run)

    return monitoring_pipeline


monitoring_pipeline = build_monitoring()
