"""`jobtuner validate`, `doctor` and `version`: what would run, and where."""

import platform

import typer

from jobtuner import __version__
from jobtuner.cli.options import RecipeArgument, SetOption, parse_overrides

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command("validate")(_validate)
    app.command("doctor")(_doctor)
    app.command("version")(_version)


def _validate(
    recipe: RecipeArgument,
    settings: SetOption = None,
) -> None:
    """Check a recipe, name every mistake at once, and print all settings as they would be used."""
    import yaml

    from jobtuner.config import load_config

    config = load_config(recipe, parse_overrides(settings))
    data = config.model_dump(mode="json", by_alias=True)
    typer.echo(yaml.safe_dump(data, sort_keys=False, allow_unicode=True), nl=False)


def _doctor() -> None:
    """Look at this machine and at the services in reach. Says what is missing and fails on nothing."""
    from rich.console import Console

    from jobtuner.display import show_checks
    from jobtuner.doctor import examine

    console = Console()
    with console.status("Looking around"):
        checks = examine()
    show_checks(console, checks)


def _version() -> None:
    """Print the version."""
    typer.echo(f"jobtuner {__version__} (Python {platform.python_version()})")
