"""`jobtuner plan`: what fine-tuning would take, before anything is loaded."""

from typing import TYPE_CHECKING, Annotated

import typer

from jobtuner.cli.options import SetOption, parse_overrides
from jobtuner.errors import ConfigError

if TYPE_CHECKING:
    from jobtuner.config import Config
    from jobtuner.train.plan import Plan

__all__ = ["add_to"]

_PROMPT_TOKENS, _ANSWER_TOKENS = 30, 6  # around the ad; a code of four or five digits and the end of the turn

_Rate = Annotated[float | None, typer.Option(min=0.001, help="Tokens a second that you measured.")]
_Peak = Annotated[float | None, typer.Option(min=0.001, help="Dense TFLOP/s of the GPU in the compute dtype.")]
_Mfu = Annotated[float, typer.Option(min=0.01, max=1.0, help="Share of --peak-tflops that is reached; a guess.")]


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command("plan")(_plan)


def _plan(
    *,
    recipe: Annotated[str, typer.Argument(help="Name of a built-in recipe, or path of a YAML file.")],
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


def _generated(config: "Config") -> int:
    """Training examples that the generator makes for this recipe."""
    from jobtuner.prepare.synthesize import generated_count

    if config.data.input is not None:
        raise ConfigError(f"How many training examples {config.data.input} holds is not known: give --examples.")
    return round(generated_count(config.data.generate) * (1 - config.split.validation - config.split.test))


def _lines(plan: "Plan", examples: int, tokens: int, seconds: float | None, price: float | None) -> list[str]:
    from jobtuner.display import duration

    share = plan.trainable_parameters / plan.total_parameters
    lines = [
        f"parameters   {plan.total_parameters:,}, of which trainable {plan.trainable_parameters:,} ({share:.2%})",
        *(f"  {_size(count):>11}  {part}" for part, count in plan.memory.items() if count),
        f"  {_size(plan.peak_bytes):>11}  in all; on a GPU its CUDA context comes on top",
        f"examples     {examples:,} of {tokens:,} tokens; {plan.tokens:,} tokens in {plan.steps:,} optimizer steps",
        f"computation  {plan.flops:.3g} useful floating-point operations",
    ]
    if seconds is None:
        return [*lines, "time         give --tokens-per-second, or --peak-tflops with --mfu"]
    lines.append(f"time         {duration(seconds)}")
    return lines if price is None else [*lines, f"cost         {seconds / 3600 * price:,.2f} at {price:,.2f} an hour"]


def _size(count: int) -> str:
    return f"{count / 2**30:,.2f} GiB" if count >= 2**30 else f"{count / 2**20:,.1f} MiB"
