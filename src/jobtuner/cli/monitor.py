"""`jobtuner monitor`: look at what the endpoint answered, and decide whether to train anew."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from jobtuner.cli.options import SetOption, latest, parse_overrides
from jobtuner.errors import ConfigError

if TYPE_CHECKING:
    from jobtuner.contracts import MonitorReport

__all__ = ["RETRAIN_EXIT_CODE", "add_to"]

RETRAIN_EXIT_CODE = 10
"""Of `jobtuner monitor --exit-code` where a training is to be started: no error has it."""

_LOOK = "look"

_LogOption = Annotated[
    str | None,
    typer.Option("--log", envvar="JOBTUNER_PREDICTION_LOG", help="Prediction log: folder or s3:// location."),
]
_StateOption = Annotated[str, typer.Option("--state", help="File or s3:// location that remembers former looks.")]
_Alpha = Annotated[float, typer.Option(min=0.001, max=0.5, help="Share of windows without drift that may alarm.")]


class _LookByDefault(TyperGroup):
    """`jobtuner monitor --log …` looks."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        named = bool(args) and (args[0] in self.commands or args[0] == "--help")
        return super().parse_args(ctx, args if named else [_LOOK, *args])


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    text = "Watch a served model: drift, quality, and whether to train anew."
    group = typer.Typer(cls=_LookByDefault, help=text)
    group.command(_LOOK, help="Look at the last days. The word `look` may be left out.")(_look)
    group.command("reference")(_reference)
    group.command("approve")(_approve)
    app.add_typer(group, name="monitor")


def _look(
    log: _LogOption = None,
    reference: Annotated[
        str | None, typer.Option(help="Folder or s3:// location of the model's reference (jobtuner monitor reference).")
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the report.")] = Path("outputs/monitor"),
    corrections: Annotated[
        str | None, typer.Option(help="Corrected answers, JSONL or CSV: a file or s3:// location.")
    ] = None,
    state: Annotated[str | None, typer.Option(help="File or s3:// location that remembers former looks.")] = None,
    until: Annotated[
        str | None, typer.Option(help="End of the window, ISO 8601 with time zone.", show_default="now")
    ] = None,
    recipe: Annotated[str, typer.Option("--recipe", "-r", help="Recipe whose section monitor counts.")] = "smoke",
    settings: SetOption = None,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help=f"End with {RETRAIN_EXIT_CODE} where a training is to be started.")
    ] = False,
) -> None:
    """Compare the log with the reference, measure quality, and decide."""
    named = {"log": log, "reference": reference, "corrections": corrections, "state": state, "until": until}
    overrides = parse_overrides(settings, {f"monitor.{key}": value for key, value in named.items()})
    _check_output(output)
    from jobtuner.config import load_config
    from jobtuner.monitor.stage import run

    config = load_config(recipe, overrides)
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    report = run(config, {}, output)
    _tell(report, output)
    if exit_code and report.retrain:
        raise typer.Exit(RETRAIN_EXIT_CODE)


def _tell(report: "MonitorReport", output: Path) -> None:
    words = {True: "drift", False: "no drift", None: "too few answers to judge drift"}
    typer.echo(f"{report.rows:,} answers from {report.since} to {report.until}: {words[report.drifted]}")
    for name in report.drifted_tests:
        typer.echo(f"  {name}")
    for reason in report.reasons:
        typer.echo(reason)
    typer.echo(f"Decision: {report.action}. Report: {output / 'report.html'}")


def _check_output(output: Path) -> None:
    """The folder is emptied: it must hold nothing else than a former report."""
    if output.is_symlink() or (output.exists() and not output.is_dir()):
        raise ConfigError(f"--output {output} is a link or a file. Give a new folder.")
    if output.is_dir() and any(output.iterdir()) and not (output / "metrics.prom").is_file():
        raise ConfigError(f"--output {output} holds other files, which would be lost. Give a new or an empty folder.")


def _reference(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the reference.")],
    run: Annotated[
        Path | None,
        typer.Option("--run", help="Folder with the outputs of prepare and evaluate.", show_default="the latest run's"),
    ] = None,
    log: _LogOption = None,
    since: Annotated[str | None, typer.Option(help="With --log: start of a stretch that is known to be good.")] = None,
    until: Annotated[str | None, typer.Option(help="With --log: its end.")] = None,
    vocabulary: Annotated[
        Path | None, typer.Option(help="With --log: a former reference, for its words and its threshold.")
    ] = None,
    alpha: _Alpha = 0.01,
) -> None:
    """Write down what the answers look like without drift: of a training run, or (--since, --until) of the log."""
    from jobtuner.drift_reference.build import reference_of_log, reference_of_run

    if since is None and until is None and vocabulary is None:
        from jobtuner.contracts import EvalReport, PreparedData

        folder = latest() if run is None else run
        prepared, report = PreparedData.load(folder / "prepare"), EvalReport.load(folder / "evaluate")
        found = reference_of_run(prepared, report, alpha)
    else:
        from datetime import datetime

        from jobtuner.drift_reference.files import Reference

        if run is not None or log is None or since is None or until is None or vocabulary is None:
            raise ConfigError("A reference of the log needs --log, --since, --until and --vocabulary, and no --run.")
        former = Reference.load(vocabulary)
        ends = datetime.fromisoformat(since), datetime.fromisoformat(until)
        found = reference_of_log(
            log, *ends, vocabulary=former.vocabulary, abstain_below=former.measure.abstain_below, alpha=alpha
        )
    found.save(output)
    sizes = ", ".join(str(item.rows) for item in found.calibrations)
    typer.echo(f"{len(found.rows):,} ads of {found.about['source']}; thresholds for windows of {sizes}: {output}")


def _approve(state: _StateOption) -> None:
    """Let the next look start the training that is due (monitor.retrain.approval=manual)."""
    from jobtuner.monitor.state import approve

    approve(state)
    typer.echo(f"Approved in {state}: the next look starts the training, if it is still due then.")
