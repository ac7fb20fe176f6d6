"""`jobtuner push`: a run's model on the Hugging Face Hub."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command("push")(_push)


def _push(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Folder of a run, or its export/model.")],
    repo_id: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="The repository; made where there is none.")],
    adapter: Annotated[bool, typer.Option("--adapter", help="The adapter alone, not the merged weights.")] = False,
    private: Annotated[bool, typer.Option("--private", help="Make the repository a private one.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show files and metadata; upload nothing.")] = False,
    force_standin: Annotated[bool, typer.Option("--force-standin", help="Upload even the stand-in.")] = False,
) -> None:
    """Upload a run's model with its model card to the Hugging Face Hub. The token comes from HF_TOKEN."""
    from jobtuner.export.hub import pack, push

    parcel = pack(model, adapter=adapter)
    if dry_run:
        readme = parcel.files["README.md"]
        assert isinstance(readme, bytes)
        typer.echo("---" + readme.decode().split("---\n")[1].join(["\n", "---\n"]))
        for name, size in parcel.sizes():
            typer.echo(f"{size / 2**20:10.2f} MiB  {name}")
        return
    typer.echo(push(parcel, repo_id, private=private, force_standin=force_standin))
