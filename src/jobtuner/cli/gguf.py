"""`jobtuner export-gguf`: an exported model for llama.cpp."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command("export-gguf")(_export)


def _export(
    model: Annotated[Path, typer.Argument(metavar="MODEL_FOLDER", help="The model/ of an export.")],
    out: Annotated[Path, typer.Argument(metavar="OUT.gguf", help="The file to write.")],
    kind: Annotated[
        str,
        typer.Option(
            "--type", help="f16, q8_0; or, by llama-quantize or llama-cpp-python, q2_k, q3_k_m, q4_k_m, q5_k_m, q6_k."
        ),
    ] = "f16",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file of that name.")] = False,
) -> None:
    """Write an exported model as one GGUF file."""
    from jobtuner.display import typed_path
    from jobtuner.export.gguf import export_gguf

    export_gguf(model, out, kind.lower(), overwrite=overwrite)
    typer.echo(f"{typed_path(out)}: {out.stat().st_size / 2**20:.1f} MiB")
