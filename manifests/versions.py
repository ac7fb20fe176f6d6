"""Write manifests/images/kustomization.yaml from versions.env: the tag of each image, or its digest where it is known.

python -m manifests.versions        write the file
python -m manifests.versions --pin  look up digests first (crane, skopeo or docker buildx), into versions.env
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

__all__ = ["IMAGES", "VERSIONS", "digest_of", "image_lines", "main", "pinned", "read_versions"]

VERSIONS = Path(__file__).parents[1] / "versions.env"
IMAGES = Path(__file__).parent / "images" / "kustomization.yaml"
_REFERENCE = re.compile(
    r"(?P<name>[a-z0-9.-]+(?::[0-9]+)?(?:/[a-z0-9._-]+)+|[a-z0-9._-]+):(?P<tag>[\w][\w.-]*)(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)
_IN_MANIFESTS = {  # variable → what the manifests call the image, wherever it really lies
    "JOBTUNER_CPU_IMAGE": "jobtuner/python-cpu",
    "JOBTUNER_TRAIN_IMAGE": "jobtuner/python-train",
    "VLLM_IMAGE": "docker.io/vllm/vllm-openai",
    "VLLM_CPU_IMAGE": "docker.io/vllm/vllm-openai-cpu",
    "MLFLOW_IMAGE": "ghcr.io/mlflow/mlflow",
    "POSTGRES_IMAGE": "docker.io/library/postgres",
    "MINIO_IMAGE": "quay.io/minio/minio",
    "MINIO_CLIENT_IMAGE": "quay.io/minio/mc",
    "SEAWEEDFS_IMAGE": "docker.io/chrislusf/seaweedfs",
}
_LOOKUPS = {  # tool → its arguments; each prints the digest of the list of all platforms
    "crane": ("digest",),
    "skopeo": ("inspect", "--no-tags", "--format", "{{.Digest}}"),
    "docker": ("buildx", "imagetools", "inspect", "--format", "{{.Manifest.Digest}}"),
}
_HEAD = """\
# Written by manifests/versions.py from versions.env: change it there. A component, so that it comes last in an overlay,
# after the parts and features that name images.
apiVersion: kustomize.config.k8s.io/v1alpha1
kind: Component
configurations: [fields.yaml]
images:
"""


def read_versions(path: Path | None = None) -> dict[str, str]:
    """Name → value of the lines NAME=value; path None: versions.env.

    Raises:
        ValueError: a line is neither that, a comment, nor empty; or an image has no tag.
    """
    path = VERSIONS if path is None else path
    found = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not equals or not re.fullmatch("[A-Z][A-Z0-9_]*", name) or not value:
            raise ValueError(f"{path}, line {number}: NAME=value is needed, not '{line}'.")
        if name.endswith("_IMAGE") and not _REFERENCE.fullmatch(value):
            raise ValueError(
                f"{path}, line {number}: '{value}' is no image with a tag, such as quay.io/minio/mc:1.2.3."
            )
        found[name] = value
    return found


def image_lines(versions: dict[str, str]) -> str:
    """The component as YAML text."""
    lines = []
    for variable, name in _IN_MANIFESTS.items():
        match = _REFERENCE.fullmatch(versions[variable])
        assert match is not None  # read_versions has looked
        moved = f"    newName: {match['name']}\n" if match["name"] != name else ""
        pin = f"digest: {match['digest']}  # {match['tag']}" if match["digest"] else f'newTag: "{match["tag"]}"'
        lines.append(f"  - name: {name}\n{moved}    {pin}\n")
    return _HEAD + "".join(lines)


def digest_of(reference: str) -> str:
    """Ask the registry for the digest of an image, through whichever tool is installed.

    Raises:
        LookupError: no tool is installed, or the tool fails; says what it said.
    """
    tool = next((name for name in _LOOKUPS if shutil.which(name)), None)
    if tool is None:
        raise LookupError(f"None of {', '.join(_LOOKUPS)} is installed. Install one to look up digests.")
    target = f"docker://{reference}" if tool == "skopeo" else reference
    answer = subprocess.run([tool, *_LOOKUPS[tool], target], capture_output=True, text=True, check=False)
    digest = answer.stdout.strip()
    if answer.returncode or not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
        raise LookupError(f"{tool} found no digest of {reference}: {(answer.stderr or digest).strip()[:300]}")
    return digest


def pinned(text: str, lookup: Callable[[str], str]) -> str:
    """versions.env with the digest of every image, looked up anew."""

    def pin(match: re.Match[str]) -> str:
        reference = match["value"].partition("@")[0]
        return f"{match['name']}={reference}@{lookup(reference)}"

    return re.sub(r"(?m)^(?P<name>[A-Z0-9_]+_IMAGE)=(?P<value>\S+)$", pin, text)


def main(arguments: Sequence[str]) -> int:
    """Entry point; returns the exit code. With --pin nothing is written unless every digest was found."""
    if not set(arguments) <= {"--pin"}:
        sys.stderr.write(f"{' '.join(arguments)}: only --pin is accepted.\n")
        return 2
    if arguments:
        try:
            VERSIONS.write_text(pinned(VERSIONS.read_text(encoding="utf-8"), digest_of), encoding="utf-8")
        except LookupError as error:
            sys.stderr.write(f"{error}\nNothing was changed.\n")
            return 1
    IMAGES.write_text(image_lines(read_versions()), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
