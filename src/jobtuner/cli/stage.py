"""`jobtuner prepare`, `baseline`, … `deploy`: one stage at a time."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from inspect import Parameter, Signature
from pathlib import Path
from typing import Annotated, Any

import typer

from jobtuner.cli.baseline import baseline_group
from jobtuner.cli.options import SetOption, latest, parse_overrides
from jobtuner.cli.plan import with_dry_run
from jobtuner.cli.rows import with_rows
from jobtuner.errors import ConfigError, Interrupted

__all__ = ["STAGE_COMMANDS", "add_to", "check_out", "run_folder"]

STAGE_COMMANDS: dict[str, tuple[tuple[str, ...], str]] = {
    "prepare": ((), "Read or generate ads; clean, deduplicate and split them."),
    "baseline": (("prepare",), "Train the cheap model that the fine-tuned one must beat."),
    "train": (("prepare",), "Fine-tune the base model with QLoRA."),
    "evaluate": (
        ("prepare", "baseline", "train"),
        "Measure model and baseline on the same test split, or (--on) any model on rows of your own.",
    ),
    "export": (("prepare", "train", "evaluate"), "Merge adapter and base, and prove that nothing was lost."),
    "register": (
        ("prepare", "train", "evaluate", "export"),
        "Decide whether the model becomes champion; write the registry entry.",
    ),
    "deploy": (("prepare", "register", "export"), "Start an endpoint and ask it one ad a language."),
}
"""Stage to the stages it reads and its help text. The inputs stand in `jobtuner.stages` too, whose import is too slow
for `--help`; a test keeps the two equal."""

_Run = Annotated[
    Path | None, typer.Option("--run", help="Folder of a run (config.json, run.json).", show_default="the latest run's")
]
_Recipe = Annotated[str | None, typer.Option("--recipe", "-r", help="Start a new run of this recipe instead.")]
_Out = Annotated[Path, typer.Option("--out", "-o", help="Folder for the result; a former result in it is replaced.")]


def add_to(app: typer.Typer) -> None:
    """Register one command a stage."""
    for name, (inputs, text) in STAGE_COMMANDS.items():
        command = _command(name, inputs)
        if name == "baseline":  # the one stage whose model is of use without a pipeline
            app.add_typer(baseline_group(command, text), name=name, rich_help_panel="One stage")
        else:
            told = {"evaluate": with_rows, "train": with_dry_run}.get(name, lambda same: same)(command)
            app.command(name, help=text, rich_help_panel="One stage")(told)


def _command(name: str, inputs: tuple[str, ...]) -> Callable[..., None]:
    """A function with one option an input, as Typer reads options off a signature."""

    def command(**options: Any) -> None:
        folders = {stage: options[stage] or latest(stage) for stage in inputs}
        if name == "train" and _follows():
            _follow(options["run"], options["recipe"], options["settings"], folders["prepare"])
            return
        check_out(options["out"], folders)
        with run_folder(options["run"], options["recipe"], options["settings"]) as run:
            _run_one(name, run, folders, options["out"])

    options: dict[str, Any] = {"out": _Out, "run": _Run, "recipe": _Recipe, "settings": SetOption}
    for stage in inputs:
        help_text = f"Output folder of {stage}."
        options[stage] = Annotated[Path | None, typer.Option(help=help_text, show_default="the latest run's")]
    command.__annotations__ = options
    command.__signature__ = Signature(  # type: ignore[attr-defined]  # functions do not declare it, inspect reads it
        [
            Parameter(
                option, Parameter.KEYWORD_ONLY, annotation=kind, default=Parameter.empty if option == "out" else None
            )
            for option, kind in options.items()
        ]
    )
    return command


def _run_one(name: str, run: Path, inputs: Mapping[str, Path], out: Path) -> None:
    from jobtuner.stages import run_stage

    contract = run_stage(name, run, inputs, out)
    typer.echo(f"{type(contract).__name__} in {out}")


def _follows() -> bool:
    """Whether another process, here or on another machine, leads the training: it records, and writes the result."""
    return any(os.environ.get(name, "0") not in {"", "0"} for name in ("RANK", "PET_NODE_RANK"))


def _follow(run: Path | None, recipe: str | None, settings: list[str] | None, prepare: Path) -> None:
    import tempfile

    from jobtuner.config import load_config
    from jobtuner.run import Run
    from jobtuner.train.stage import take_part

    config = load_config(recipe, parse_overrides(settings)) if recipe else Run.load(run or latest("run")).config
    with tempfile.TemporaryDirectory() as scratch:
        take_part(config, prepare, Path(scratch))


def check_out(out: Path, inputs: Mapping[str, Path]) -> None:
    """The runner empties the folder: it must hold nothing else than a former result.

    Raises:
        ConfigError: it does, or it is one of the inputs.
    """
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise ConfigError(f"--out {out} is a link or a file. Give a new folder.")
    if out.is_dir() and any(out.iterdir()) and not (out / "contract.json").is_file():
        raise ConfigError(f"--out {out} holds other files, which would be lost. Give a new or an empty folder.")
    for stage, folder in inputs.items():
        if folder.resolve() == out.resolve():
            raise ConfigError(f"--out and --{stage} are both {out}. Give the result a folder of its own.")


@contextmanager
def run_folder(run: Path | None, recipe: str | None, settings: list[str] | None) -> Iterator[Path]:
    """The run that the stage belongs to; a new one, by --recipe, is closed with the stage.

    Raises:
        ConfigError: there is no such run, or the options exclude each other.
    """
    if recipe is None:
        if settings:
            raise ConfigError("--set changes the settings of a new run: give --recipe too. A run's own settings stay.")
        folder = run if run is not None else latest("run")
        if not folder.is_dir():
            raise ConfigError(
                f"There is no run at {folder}. Give --recipe for a new run, or --run with a run's folder."
            )
        yield folder
        return
    if run is not None:
        raise ConfigError(f"--run {run} and --recipe {recipe} exclude each other: a run has its recipe already.")
    with _new_run(recipe, parse_overrides(settings)) as folder:
        yield folder


@contextmanager
def _new_run(recipe: str, overrides: Mapping[str, str]) -> Iterator[Path]:
    from jobtuner.config import load_config
    from jobtuner.run import new_run_folder, resolve
    from jobtuner.tracking import Status, connect

    load_config(recipe, overrides)  # a mistake shows before a folder is made
    folder = new_run_folder() / "run"
    opened_elsewhere = bool(os.environ.get("MLFLOW_RUN_ID"))
    opened = resolve(recipe, overrides, folder)
    typer.echo(f"Run {folder}")
    status: Status = "FAILED"
    try:
        yield folder
        status = "FINISHED"
    except (KeyboardInterrupt, Interrupted):
        status = "KILLED"
        raise
    finally:
        if not opened_elsewhere:
            connect(opened.tracking_uri).close_run(opened.parent_id, status)
