"""`jobtuner deploy-champion`: the cluster follows the registry's alias."""

from typing import TYPE_CHECKING, Annotated

import typer

from jobtuner.cli.options import RecipeOption, SetOption, parse_overrides
from jobtuner.errors import ConfigError

if TYPE_CHECKING:
    from jobtuner.config import Config
    from jobtuner.deploy.follow import Champion

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command("deploy-champion")(_deploy_champion)


def _deploy_champion(
    recipe: RecipeOption = "smoke",
    settings: SetOption = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on looking: the alias moves, the cluster follows.")
    ] = False,
    again: Annotated[bool, typer.Option("--again", help="Try a model that has failed before.")] = False,
    every: Annotated[float, typer.Option(min=1.0, help="With --watch: seconds between two looks.")] = 60.0,
) -> None:
    """Deploy the registry's champion to the cluster, where another model serves (recipe: register, deploy.kserve)."""
    from jobtuner.config import load_config
    from jobtuner.deploy.follow import follow, look_once, told_of
    from jobtuner.deploy.kube import Kube

    config = load_config(recipe, parse_overrides(settings))
    target, rank = config.deploy.kserve, config.lora.r
    kube = Kube(target.namespace)
    if watch:
        if again:
            raise ConfigError("--again would try a failing model for ever with --watch. Give one of them.")
        follow(lambda: _champion(config), kube, target, rank, every=every)
    champion = _champion(config)
    found, outcome = look_once(champion, kube, target, rank, again=again)
    typer.echo(told_of(found, champion, target, outcome))


def _champion(config: "Config") -> "Champion | None":
    from jobtuner.deploy.follow import Champion
    from jobtuner.register.registry import champion_of, open_registry
    from jobtuner.run import local_tracking_uri

    name = config.register_.model_name
    found = champion_of(open_registry(local_tracking_uri(), config.register_.experiment).versions(name))
    return None if found is None else Champion(f"{name}/{found.version}", found.fingerprint)
