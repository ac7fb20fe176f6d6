"""The command line: parse, call, print. `jobtuner --help` lists the commands.

Nothing heavy is imported before a command needs it. Commands that use kfp reach it by name, through `pipelines`: this
package never imports kfp.
"""

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from jobtuner.cli import (
    batch,
    boilerplate,
    checks,
    data,
    deploy_champion,
    drift_demo,
    gguf,
    hub,
    keys,
    log,
    model,
    monitor,
    pipeline,
    plan,
    registry,
    review,
    schedule,
    serve,
    shards,
    stage,
    synthesize,
    taxonomy,
    text,
    train_job,
    tune,
)
from jobtuner.errors import JobTunerError

__all__ = ["app", "main"]


class _Group(TyperGroup):
    """Turns errors with a message for the user into that message and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except JobTunerError as error:
            if ctx.params.get("debug"):
                raise
            from rich.console import Console
            from rich.markup import escape

            console = Console(stderr=True)
            console.print(f"[red]{escape(str(error))}[/red]", soft_wrap=True, highlight=False)
            raise typer.Exit(error.exit_code) from error


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Fine-tune, prove, register and serve a language model for job ads.",
)


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the trace of an error.")] = False,
) -> None:
    """Options of all commands; `_Group` reads them."""


pipeline.add_to(app)
schedule.add_to(app)
stage.add_to(app)
shards.add_to(app)
data.add_to(app)
model.add_to(app)
serve.add_to(app)
batch.add_to(app)
text.add_to(app)
keys.add_to(app)
log.add_to(app)
monitor.add_to(app)
review.add_to(app)
drift_demo.add_to(app)
registry.add_to(app)
deploy_champion.add_to(app)
gguf.add_to(app)
hub.add_to(app)
plan.add_to(app)
boilerplate.add_to(app)
synthesize.add_to(app)
taxonomy.add_to(app)
tune.add_to(app)
train_job.add_to(app)
checks.add_to(app)


def main() -> None:
    """Entry point of the `jobtuner` command."""
    app()
