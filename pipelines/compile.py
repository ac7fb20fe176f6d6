"""The pipeline as the YAML that `kfp run create -f` takes."""

import tempfile
from pathlib import Path

from pipelines.training import build_pipeline

__all__ = ["compile_pipeline", "pipeline_yaml"]


def pipeline_yaml(gpus: int = 0) -> str:
    """Compile the pipeline; equal code and settings give equal bytes."""
    from kfp import compiler

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pipeline.yaml"
        compiler.Compiler().compile(build_pipeline(gpus), str(path))
        return path.read_text(encoding="utf-8")


def compile_pipeline(output: Path, gpus: int = 0) -> Path:
    """Write the compiled pipeline to a file, its folder included, and return the path."""
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(pipeline_yaml(gpus), encoding="utf-8")
    return output
