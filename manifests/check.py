"""Render the overlays, alone and with every feature, and judge the results.

python -m manifests.check render DIR    write every overlay to DIR/<overlay>.yaml
python -m manifests.check               judge: kubecheck (schemas, the API server's rules, Pod Security, good
                                        practice, references) and checkov, on the pods of KServe and KFP too;
                                        exceptions.yaml says what is excused

KUBECHECK and CHECKOV name the two tools; what is not there is skipped with a line that says so.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from manifests.kfp_pods import task_pods
from manifests.versions import read_versions

__all__ = [
    "FEATURES",
    "OVERLAYS",
    "ROOT",
    "all_pinned",
    "checkov",
    "combinations",
    "documents",
    "exceptions",
    "kubecheck",
    "main",
    "parts_of",
    "render",
    "tool",
    "unexcused",
    "with_model",
    "with_tasks",
]

ROOT = Path(__file__).parent
OVERLAYS = sorted(path.parent.name for path in ROOT.glob("overlays/*/kustomization.yaml"))
FEATURES = sorted(path.parent.name for path in ROOT.glob("features/*/kustomization.yaml"))
_DEFAULTS = {
    "KUBECHECK": ROOT.parents[1] / "shared" / "tools" / "kube-offline" / "kubecheck",
    "CHECKOV": Path("checkov"),
}
_AFTER_IMAGES = {"external-store": ("clusters/example", "features/external-store")}  # it reads what the first one says
_CRDS = ROOT / "crds.yaml"


def tool(name: str) -> str | None:
    """Path of KUBECHECK or CHECKOV: from the environment, else its usual place; None where it is not installed."""
    return shutil.which(os.environ.get(name) or str(_DEFAULTS[name]))


def render(overlay: str, features: Sequence[str] = ()) -> str:
    """An overlay, with features on top, as `kubectl kustomize` writes it.

    Raises:
        RuntimeError: kustomize refuses; with its words.
    """
    if not features:
        return _kustomize(ROOT / "overlays" / overlay)
    with tempfile.TemporaryDirectory() as folder:
        names = [f"features/{name}" for name in features if name not in _AFTER_IMAGES] + ["images"]
        names += [part for name in features for part in _AFTER_IMAGES.get(name, ())]
        here = Path(folder).resolve()  # kustomize takes relative paths alone, and counts them without links
        content = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": [os.path.relpath(ROOT.resolve() / "overlays" / overlay, here)],
            "components": [os.path.relpath(ROOT.resolve() / name, here) for name in names],
        }
        (here / "kustomization.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
        return _kustomize(here)


def _kustomize(folder: Path) -> str:
    answer = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True, check=False)
    if answer.returncode:
        raise RuntimeError(f"kubectl kustomize {folder}: {answer.stderr.strip()}")
    return answer.stdout


def documents(text: str) -> list[dict[str, Any]]:
    """The objects of a rendered overlay."""
    return [
        document for document in yaml.load_all(text, Loader=yaml.CSafeLoader) if document
    ]  # libyaml: ten times as fast


def parts_of(overlay: str) -> set[str]:
    """Names of the features that an overlay has already."""
    content = yaml.safe_load((ROOT / "overlays" / overlay / "kustomization.yaml").read_text(encoding="utf-8"))
    return {Path(path).name for path in content.get("components", [])}


def combinations() -> list[tuple[str, tuple[str, ...]]]:
    """Every overlay alone, and with each feature that it does not have."""
    alone: list[tuple[str, tuple[str, ...]]] = [(overlay, ()) for overlay in OVERLAYS]
    return alone + [(overlay, (name,)) for overlay in OVERLAYS for name in FEATURES if name not in parts_of(overlay)]


@cache
def exceptions() -> dict[str, list[dict[str, Any]]]:
    """What exceptions.yaml excuses."""
    content: dict[str, list[dict[str, Any]]] = yaml.safe_load((ROOT / "exceptions.yaml").read_text(encoding="utf-8"))
    return content


def kubecheck(path: Path, *, pods: Path | None = None, digests: bool = False) -> list[str]:
    """What kubecheck finds in a rendered overlay, one line a finding.

    Args:
        path: the rendered overlay.
        pods: gets the pods of all controllers, KServe's among them, as plain manifests.
        digests: an image without a digest is a finding.

    Raises:
        RuntimeError: kubecheck is not installed, or did not run.
    """
    program = tool("KUBECHECK")
    if program is None:
        raise RuntimeError("kubecheck is not installed. Set KUBECHECK to its path.")
    external = ",".join(entry["name"] for entry in exceptions()["external"])
    options = ["--pss", "restricted", "--hygiene", "--external", external, "--crds", str(_CRDS)]
    options += ["--digest"] * digests + (["--pods-out", str(pods)] if pods else [])
    answer = subprocess.run([program, *options, str(path)], capture_output=True, text=True, check=False)
    if answer.returncode not in {0, 1} or "kubecheck: " not in answer.stderr:
        raise RuntimeError(f"kubecheck did not run: {answer.stderr.strip()}")
    return answer.stdout.splitlines()


def checkov(paths: Sequence[Path]) -> set[tuple[str, str]]:
    """(rule, Kind.namespace.name) of everything that checkov finds, excused or not.

    Raises:
        RuntimeError: checkov is not installed, or looked at nothing.
    """
    program = tool("CHECKOV")
    if program is None:
        raise RuntimeError("checkov is not installed. Set CHECKOV to its path.")
    files = [option for path in paths for option in ("-f", str(path))]
    command = [program, "--framework", "kubernetes", "--compact", "--quiet", "--output", "json", *files]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    report = json.loads(answer.stdout)
    if not isinstance(report, dict) or not report["summary"]["passed"]:
        raise RuntimeError(f"checkov looked at nothing: {answer.stdout[:300]} {answer.stderr[:300]}")
    return {(found["check_id"], found["resource"]) for found in report["results"]["failed_checks"]}


def unexcused(found: set[tuple[str, str]]) -> tuple[list[str], list[str]]:
    """Findings of checkov that no exception covers, and exceptions that cover nothing."""
    entries = exceptions()["checkov"]
    used = set()
    rest = []
    for rule, resource in sorted(found):
        name = ".".join(resource.split(".")[:3])  # a pod's container or template may follow
        match = [i for i, entry in enumerate(entries) if entry["rule"] == rule and _covers(entry, name)]
        used.update(match)
        rest += [] if match else [f"{rule} {resource}"]
    return rest, [f"{entry['rule']} {entry['objects']}" for i, entry in enumerate(entries) if i not in used]


def _covers(entry: dict[str, Any], name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in entry["objects"])


def _title(overlay: str, features: tuple[str, ...]) -> str:
    return "+".join([overlay, *features])


def with_model(overlay: str) -> str:
    """A rendered overlay whose models the pipeline deploys, with what a deployment makes."""
    from jobtuner.config import KServeConfig
    from jobtuner.deploy.manifest import PROFILES, ServedModel, inference_service

    settings = KServeConfig(max_replicas=3 if "ScaledObject" in overlay else 1)
    made = inference_service(
        settings.name,
        settings.namespace,
        ServedModel(f"{settings.models}/example/model"),
        PROFILES[settings.profile],
        replicas=settings.max_replicas,
        fingerprint="example",
    )
    return yaml.safe_dump_all([*documents(overlay), made], sort_keys=False)


def _write_all(folder: Path) -> dict[str, Path]:
    """Render everything into a folder; name of the combination → file."""

    def write(combination: tuple[str, tuple[str, ...]]) -> tuple[str, Path]:
        path = folder / f"{_title(*combination)}.yaml"
        text = render(*combination)
        path.write_text(with_model(text) if "pipeline-deploy" in combination[1] else text, encoding="utf-8")
        return _title(*combination), path

    with ThreadPoolExecutor(max_workers=2) as pool:
        files = dict(pool.map(write, combinations()))
    (folder / "pipeline.yaml").write_text(with_tasks(render("dev")), encoding="utf-8")
    return files | {"pipeline": folder / "pipeline.yaml"}


def all_pinned() -> bool:
    """Whether versions.env has a digest for every image: from then on one without is a finding."""
    return all("@" in value for name, value in read_versions().items() if name.endswith("_IMAGE"))


def with_tasks(overlay: str) -> str:
    """A rendered overlay with the pods of the pipeline's tasks, on one GPU each where they use one."""
    from pipelines.compile import pipeline_yaml
    from pipelines.resources import Nodes

    content = documents(overlay)
    (entry,) = [
        limits
        for item in content
        if item["kind"] == "LimitRange" and item["metadata"]["namespace"] == "jobtuner-pipelines"
        for limits in item["spec"]["limits"]
    ]
    tasks = task_pods(pipeline_yaml(Nodes(gpus=1)), entry, read_versions()["JOBTUNER_CPU_IMAGE"])
    return yaml.safe_dump_all([*content, *tasks], sort_keys=False)


def _judge() -> Iterator[str]:
    """Everything that is wrong, line by line; skipped tools are told on standard error."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = _write_all(folder)
        sys.stderr.write(
            f"{len(combinations())} combinations of {len(OVERLAYS)} overlays and {len(FEATURES)} features render.\n"
        )
        if tool("KUBECHECK") is None:
            sys.stderr.write("kubecheck is not installed (KUBECHECK=path): schemas and rules were NOT checked.\n")
            return
        pods = {title: folder / f"{title}.pods.yaml" for title in files}
        with ThreadPoolExecutor(max_workers=2) as pool:
            digests = all_pinned()
            results = pool.map(lambda title: kubecheck(files[title], pods=pods[title], digests=digests), files)
        for title, lines in zip(files, results, strict=True):
            yield from (f"{title}: {line}" for line in lines)
        if tool("CHECKOV") is None:
            sys.stderr.write("checkov is not installed (CHECKOV=path): its rules were NOT checked.\n")
            return
        rest, unused = unexcused(checkov(_once([*files.values(), *pods.values()], folder)))
        yield from (f"checkov: {line}" for line in rest)
        yield from (f"exceptions.yaml excuses nothing any more: {line}" for line in unused)


def _once(paths: Sequence[Path], folder: Path) -> list[Path]:
    """The same objects, each form of each once: most combinations differ in a handful, and checkov is slow.

    The n-th form of every object goes into the n-th file, since checkov takes two of one name in a file for one.
    """
    forms: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for path in paths:
        for document in documents(path.read_text(encoding="utf-8")):
            meta = document["metadata"]
            known = forms.setdefault((document["kind"], meta.get("namespace", ""), meta["name"]), [])
            meta.get("annotations", {}).pop("kubecheck/source", None)  # the file it came from
            if document not in known:
                known.append(document)
    files = []
    for number in range(max(map(len, forms.values()))):
        content = [known[number] for known in forms.values() if len(known) > number]
        files.append(folder / f"form-{number}.yaml")
        files[-1].write_text(yaml.safe_dump_all(content), encoding="utf-8")
    return files


def main(arguments: Sequence[str]) -> int:
    """Entry point; returns the exit code."""
    if list(arguments[:1]) == ["render"] and len(arguments) == 2:
        folder = Path(arguments[1])
        folder.mkdir(parents=True, exist_ok=True)
        for overlay in OVERLAYS:
            (folder / f"{overlay}.yaml").write_text(render(overlay), encoding="utf-8")
            sys.stdout.write(f"{folder / overlay}.yaml\n")
        return 0
    if arguments:
        sys.stderr.write(f"{' '.join(arguments)}: nothing, or `render DIR`, is accepted.\n")
        return 2
    findings = list(_judge())
    sys.stdout.writelines(f"{line}\n" for line in findings)
    sys.stderr.write(f"{len(findings)} findings.\n")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
