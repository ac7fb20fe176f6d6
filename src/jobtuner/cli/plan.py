"""`jobtuner plan`: what fine-tuning would take, before anything is loaded."""

from collections.abc import Callable
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobtuner.cli.options import RecipeArgument, SetOption, latest, parse_overrides
from jobtuner.errors import ConfigError

if TYPE_CHECKING:
    from jobtuner.config import Config
    from jobtuner.train.plan import Plan

__all__ = ["add_to", "with_dry_run"]

_PROMPT_TOKENS, _ANSWER_TOKENS = 30, 6  # around the ad; a code of four or five digits and the end of the turn

_Rate = Annotated[float | None, typer.Option(min=0.001, help="Tokens a second that you measured.")]
_Peak = Annotated[float | None, typer.Option(min=0.001, help="Dense TFLOP/s of the GPU in the compute dtype.")]
_Mfu = Annotated[float, typer.Option(min=0.01, max=1.0, help="Share of --peak-tflops that is reached; a guess.")]


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command("plan")(_plan)


def _plan(
    *,
    recipe: RecipeArgument,
    settings: SetOption = None,
    examples: Annotated[
        int | None, typer.Option(min=1, help="Training examples.", show_default="what the recipe generates")
    ] = None,
    example_tokens: Annotated[
        int | None,
        typer.Option(min=2, help="Mean tokens of an example with its prompt.", show_default="the most there can be"),
    ] = None,
    tokens_per_second: _Rate = None,
    peak_tflops: _Peak = None,
    mfu: _Mfu = 0.3,
    price_per_hour: Annotated[float | None, typer.Option(min=0.0, help="Of the machine, in your currency.")] = None,
) -> None:
    """Parameters, memory by part, steps, time and cost of a recipe's fine-tuning. Loads no model, needs no network."""
    from jobtuner.config import load_config
    from jobtuner.train.mixture import rows_drawn
    from jobtuner.train.plan import Workload, make_plan
    from jobtuner.train.shapes import shape_of

    config = load_config(recipe, parse_overrides(settings))
    work = Workload(
        examples=examples if examples is not None else _generated(config),
        example_tokens=example_tokens or config.prompt.max_ad_tokens + _PROMPT_TOKENS + _ANSWER_TOKENS,
        answer_tokens=_ANSWER_TOKENS,
    )
    plan = make_plan(config, shape_of(config.model), work)
    seconds = plan.seconds(tokens_per_second, peak_tflops and peak_tflops * 1e12, mfu)
    for line in _lines(plan, work.examples, work.example_tokens, seconds, price_per_hour):
        typer.echo(line)
    for name, each in config.training.mixture.items():
        drawn = rows_drawn(each.weight, work.examples)
        typer.echo(f"mixture      {name} ({each.task}): {each.weight:g} of {work.examples:,} = {drawn:,} an epoch")


def with_dry_run(command: Callable[..., None]) -> Callable[..., None]:
    """The command of the stage train, which with `--dry-run` prints the plan of its recipe and data instead."""

    def either(**options: Any) -> None:
        if not options.pop("dry_run"):
            if options["out"] is None:
                raise ConfigError("--out is missing: the folder to write the result to (or --dry-run).")
            command(**options)
            return
        _plan_of(options["run"], options["recipe"], options["settings"], options["prepare"] or latest("prepare"))

    parameters = [
        item.replace(default=None) if item.name == "out" else item for item in signature(command).parameters.values()
    ]
    kind = Annotated[bool, typer.Option("--dry-run", help="Print what it would take, as `jobtuner plan`, and stop.")]
    parameters.append(Parameter("dry_run", Parameter.KEYWORD_ONLY, annotation=kind, default=False))
    either.__annotations__ = {item.name: item.annotation for item in parameters}
    either.__signature__ = Signature(parameters)  # type: ignore[attr-defined]  # inspect reads it
    return either


def _plan_of(run: Path | None, recipe: str | None, settings: list[str] | None, prepare: Path) -> None:
    """The plan of a recipe, or of a run's; on the prepared data where there are some."""
    import tempfile

    from jobtuner.config import load_config
    from jobtuner.run import Run

    config = load_config(recipe, parse_overrides(settings)) if recipe else Run.load(run or latest("run")).config
    rows, examples = prepare / "train.jsonl", None
    if rows.is_file():
        with rows.open(encoding="utf-8") as stream:
            examples = sum(1 for _ in stream)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{config.name}.json"  # JSON is YAML
        config.save(path)
        _plan(recipe=f"{path.rename(path.with_suffix('.yaml'))}", examples=examples)


def _generated(config: "Config") -> int:
    """Training examples that the generator makes for this recipe."""
    from jobtuner.prepare.synthesize import generated_count

    if config.data.input is not None:
        raise ConfigError(f"How many training examples {config.data.input} holds is not known: give --examples.")
    return round(generated_count(config.data.generate) * (1 - config.split.validation - config.split.test))


def _lines(plan: "Plan", examples: int, tokens: int, seconds: float | None, price: float | None) -> list[str]:
    from jobtuner.display import duration

    share = plan.trainable_parameters / plan.total_parameters
    each = f", on each of {plan.processes} GPUs" if plan.processes > 1 else ""
    loading = "the whole base, on each GPU for a moment before it is cut"
    lines = [
        f"parameters   {plan.total_parameters:,}, of which trainable {plan.trainable_parameters:,} ({share:.2%})",
        *(f"  {_size(count):>11}  {part}" for part, count in plan.memory.items() if count),
        f"  {_size(sum(plan.memory.values())):>11}  in all{each}; on a GPU its CUDA context comes on top",
        *([f"  {_size(plan.loading_bytes):>11}  {loading}"] if plan.loading_bytes else []),
        f"examples     {examples:,} of {tokens:,} tokens; {plan.tokens:,} tokens in {plan.steps:,} optimizer steps",
        f"computation  {plan.flops:.3g} useful floating-point operations",
    ]
    if seconds is None:
        return [*lines, "time         give --tokens-per-second, or --peak-tflops with --mfu"]
    lines.append(f"time         {duration(seconds)}")
    return lines if price is None else [*lines, f"cost         {seconds / 3600 * price:,.2f} at {price:,.2f} an hour"]


def _size(count: int) -> str:
    return f"{count / 2**30:,.2f} GiB" if count >= 2**30 else f"{count / 2**20:,.1f} MiB"
