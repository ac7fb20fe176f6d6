"""The pipeline as the YAML that `kfp run create -f` takes."""

import tempfile
from pathlib import Path

from pipelines.resources import CPU_NODES, Nodes
from pipelines.training import build_pipeline

__all__ = ["compile_pipeline", "pipeline_yaml"]


def pipeline_yaml(nodes: Nodes = CPU_NODES) -> str:
    """Compile the pipeline; equal code and settings give equal bytes."""
    from kfp import compiler

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pipeline.yaml"
        compiler.Compiler().compile(build_pipeline(nodes), str(path))
        return path.read_text(encoding="utf-8")


def compile_pipeline(output: Path, nodes: Nodes = CPU_NODES) -> Path:
    """Write the compiled pipeline to a file, its folder included, and return the path."""
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(pipeline_yaml(nodes), encoding="utf-8")
    return output
