"""From Terraform's outputs to kustomize: python terraform/cluster_env.py --env gcp-dev.

Writes manifests/clusters/<env>/, a component that an overlay lists after images:

    cluster.env          what the cluster is called, where its buckets and images are
    kustomization.yaml   our images from that registry; on Google Cloud, which service account each component acts as

`--credentials COMPONENT` prints that component's S3 key instead, as lines for
`kubectl create secret --from-env-file=/dev/stdin`: a secret goes through a pipe, never into a file.
"""

import argparse
import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

__all__ = ["component", "credentials", "env_file", "main"]

ROOT = Path(__file__).resolve().parent
CONTRACT = json.loads((ROOT / "modules" / "contract" / "contract.json").read_text())
IMAGES = ("python-cpu", "python-train")
"""Our images; the manifests call them jobtuner/<name>."""


def env_file(values: dict[str, str]) -> str:
    """The lines KEY=value, in the contract's order.

    Raises:
        ValueError: the output has other keys than the contract, or a value with a line break.
    """
    expected = CONTRACT["cluster_env"]
    if set(values) != set(expected):
        odd = sorted(set(values) ^ set(expected))
        raise ValueError(
            f"The output cluster_env and contract.json differ in {', '.join(odd)}; apply this version first."
        )
    broken = sorted(key for key, value in values.items() if "\n" in value)
    if broken:
        raise ValueError(f"The output cluster_env has a line break in {', '.join(broken)}; one line is accepted.")
    return "".join(f"{key}={values[key]}\n" for key in expected)


def component(env: str, values: dict[str, str]) -> str:
    """The kustomization that brings `values` into an overlay."""
    lines = [
        f"# Written by terraform/cluster_env.py --env {env}: change Terraform, then run it again.",
        "# A component: list it after the one that sets tags (images).",
        "apiVersion: kustomize.config.k8s.io/v1alpha1",
        "kind: Component",
        "# What an overlay's replacements can take values from, and what tells people where the cluster stands.",
        "configMapGenerator:",
        "  - name: jobtuner-cluster",
        f"    namespace: {CONTRACT['namespaces']['platform']}",
        "    envs: [cluster.env]",
        "    options: {disableNameSuffixHash: true}",
        "images:",
    ]
    for image in IMAGES:
        lines += [f"  - name: jobtuner/{image}", f"    newName: {values['IMAGE_REGISTRY']}/{image}"]
    # EKS knows by itself which pod acts as what (Pod Identity); GKE reads it from an annotation.
    if values["CLOUD"] == "gcp":
        lines.append("patches:")
        for name in CONTRACT["access"]:
            lines += _annotation(CONTRACT["service_accounts"][name], values[f"IDENTITY_{name.upper()}"])
    return "\n".join(lines) + "\n"


def _annotation(account: dict[str, str], email: str) -> list[str]:
    return [
        # By selector: an overlay without that account (features/pipeline-deploy brings the deployer's) is no error.
        f"  - target: {{kind: ServiceAccount, name: {account['name']}, namespace: {account['namespace']}}}",
        "    patch: |-",
        "      apiVersion: v1",
        "      kind: ServiceAccount",
        "      metadata:",
        f"        name: {account['name']}",
        f"        namespace: {account['namespace']}",
        "        annotations:",
        f"          iam.gke.io/gcp-service-account: {email}",
    ]


def credentials(keys: dict[str, dict[str, str]], name: str) -> str:
    """The S3 key of a component, as lines of an environment file.

    Raises:
        ValueError: the environment has no key for that component.
    """
    if name not in keys:
        there = ", ".join(sorted(keys)) or "none"
        raise ValueError(f"There is no S3 key for '{name}'; there are: {there}. Add it to hmac_components and apply.")
    return f"AWS_ACCESS_KEY_ID={keys[name]['access_key']}\nAWS_SECRET_ACCESS_KEY={keys[name]['secret_key']}\n"


def _output(terraform: str, env: str, name: str) -> Any:
    command = [*shlex.split(terraform), f"-chdir={ROOT / 'envs' / env}", "output", "-no-color", "-json", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(f"{shlex.join(command)} failed; was the environment applied? {done.stderr.strip()}")
    return json.loads(done.stdout)


def main(arguments: list[str] | None = None) -> int:
    """Read the outputs and write the component, or print a key; returns the exit status."""
    known = sorted(path.parent.name for path in ROOT.glob("envs/*/main.tf"))
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--env", required=True, choices=known, help="which environment")
    parser.add_argument("--terraform", default="terraform", help="the command (default: terraform)")
    parser.add_argument(
        "--to", type=Path, default=ROOT.parent / "manifests" / "clusters", help="folder of the components"
    )
    parser.add_argument("--credentials", metavar="COMPONENT", help="print this component's S3 key instead")
    options = parser.parse_args(arguments)
    try:
        if options.credentials:
            sys.stdout.write(credentials(_output(options.terraform, options.env, "credentials"), options.credentials))
            return 0
        values = _output(options.terraform, options.env, "cluster_env")
        files = {"cluster.env": env_file(values), "kustomization.yaml": component(options.env, values)}
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    folder = options.to / options.env
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)
        print(f"wrote {folder / name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
