"""The pipelines as YAML: for `kfp run create -f`, or as Kubernetes objects for `kubectl apply`."""

import hashlib
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from jobtuner import __version__
from jobtuner.errors import ConfigError
from pipelines.batch import build_batch
from pipelines.monitoring import build_monitoring
from pipelines.resources import CPU_NODES, Nodes
from pipelines.training import build_pipeline
from pipelines.tuning import build_tuning

__all__ = ["PIPELINES", "Format", "compile_pipeline", "pipeline_yaml"]

Format = Literal["pipeline", "manifest"]
"""pipeline: what KFP's API takes. manifest: Pipeline and PipelineVersion, for an installation that keeps its pipelines
in the Kubernetes API (`--pipelineStore=kubernetes`)."""

_DIGEST_CHARS = 8

PIPELINES: Mapping[str, Callable[[Nodes], Any]] = MappingProxyType(
    {"training": build_pipeline, "monitoring": build_monitoring, "batch": build_batch, "tuning": build_tuning}
)
"""Name on the command line to what builds it."""


def pipeline_yaml(
    nodes: Nodes = CPU_NODES, which: str = "training", kind: Format = "pipeline", namespace: str | None = None
) -> str:
    """Compile a pipeline; equal code and settings give equal bytes.

    Args:
        nodes: where its tasks run.
        which: key of PIPELINES.
        kind: for whom it is written.
        namespace: of the Kubernetes objects; None: wherever they are applied.

    Raises:
        ConfigError: there is no such pipeline.
    """
    from kfp import compiler
    from kfp.compiler.compiler_utils import KubernetesManifestOptions

    if which not in PIPELINES:
        raise ConfigError(f"There is no pipeline '{which}'. The pipelines are {', '.join(PIPELINES)}.")
    built = PIPELINES[which](nodes)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pipeline.yaml"
        compiler.Compiler().compile(built, str(path))
        text = path.read_text(encoding="utf-8")
        if kind == "pipeline":
            return text
        # A version's content cannot be changed in the cluster: each content has a name of its own.
        digest = hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_CHARS]
        options = KubernetesManifestOptions(
            pipeline_name=f"jobtuner-{which}",
            pipeline_version_name=f"jobtuner-{which}-{__version__}-{digest}",
            namespace=namespace,
            include_pipeline_manifest=True,
        )
        compiler.Compiler().compile(
            built, str(path), kubernetes_manifest_options=options, kubernetes_manifest_format=True
        )
        return path.read_text(encoding="utf-8")


def compile_pipeline(
    output: Path,
    nodes: Nodes = CPU_NODES,
    which: str = "training",
    kind: Format = "pipeline",
    namespace: str | None = None,
) -> Path:
    """Write a compiled pipeline to a file, its folder included, and return the path; arguments as `pipeline_yaml`."""
    text = pipeline_yaml(nodes, which, kind, namespace)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(text, encoding="utf-8")
    return output
