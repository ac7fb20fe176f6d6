"""The deploy stage: the registered model is served, here or on a cluster, and proves that it answers."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jobtuner.config import Config
from jobtuner.contracts import Deployment, ExportedModel, ModelVersion, PreparedData
from jobtuner.deploy.bundle import upload_bundle
from jobtuner.deploy.chat_stage import ask_exported
from jobtuner.deploy.cluster import Rollout, release_of
from jobtuner.deploy.kube import Kube
from jobtuner.deploy.local import LocalEndpoint
from jobtuner.deploy.smoke_test import smoke_test
from jobtuner.errors import ContractError
from jobtuner.progress import notice
from jobtuner.records import Example, read_jsonl
from jobtuner.tasks import CHAT_TASKS
from jobtuner.taxonomy import Taxonomy

__all__ = ["run"]

_IN_PROCESS = "in-process"  # tasks that answer in text: asked without a server


def run(config: Config, inputs: Mapping[str, Path], out_dir: Path) -> Deployment:
    """Serve the exported model where `deploy.target` says.

    local: on this machine, asked one test ad a language, and stopped. kserve: uploaded, and deployed to the cluster
    where the gate has promoted it; a model that it has not promoted is uploaded alone.

    Args:
        config: `deploy` and `lora.r` are used.
        inputs: folders of `prepare`, `register`, `export`.
        out_dir: gets smoke_test.json and the contract; of a local endpoint server.log.

    Raises:
        ContractError: the registered and the exported model are not the same.
        DeployError: the endpoint did not start, or answered wrongly; what served before serves again.
        StorageError: the export could not be uploaded.
    """
    version, exported = ModelVersion.load(inputs["register"]), ExportedModel.load(inputs["export"])
    if version.model_fingerprint != exported.model_fingerprint:
        raise ContractError(
            f"The registered model {version.name}/{version.version} has the fingerprint {version.model_fingerprint}, "
            f"the exported one {exported.model_fingerprint}. Run register and export on the same trained model."
        )
    if config.deploy.target == "kserve":
        return _on_cluster(config, version, exported, out_dir)
    prepared = PreparedData.load(inputs["prepare"])
    if config.task in CHAT_TASKS:
        return _proven(out_dir, _IN_PROCESS, version, exported, "", ask_exported(prepared, exported, out_dir), {})
    return _here(config, prepared, version, exported, out_dir)


def _here(
    config: Config, prepared: PreparedData, version: ModelVersion, exported: ExportedModel, out_dir: Path
) -> Deployment:
    examples = _one_per_language(prepared)
    taxonomy = Taxonomy.load(prepared.folder / "taxonomy.json")
    settings = config.deploy
    endpoint = LocalEndpoint(
        exported.folder / "model", out_dir / "server.log", host=settings.host, start_seconds=settings.start_seconds
    )
    with endpoint:
        url, checks = endpoint.url, smoke_test(endpoint.url, taxonomy, examples)
    return _proven(out_dir, "local", version, exported, url, checks, {})


def _on_cluster(config: Config, version: ModelVersion, exported: ExportedModel, out_dir: Path) -> Deployment:
    settings = config.deploy.kserve
    bundle = upload_bundle(exported, settings.models)
    more: dict[str, Any] = {"location": bundle.location}
    if not version.promoted:
        notice(f"{version.name}/{version.version} was not promoted: it lies at {bundle.location} and is not deployed.")
        return _proven(out_dir, "none", version, exported, "", [], more)
    release = release_of(bundle, f"{version.name}/{version.version}", settings, config.lora.r)
    outcome = Rollout(Kube(settings.namespace), settings, bundle, release).run()
    more |= {"release": release.digest, "agreement_with_champion": outcome.agreement}
    return _proven(out_dir, "kserve", version, exported, outcome.url, outcome.checks, more)


def _proven(
    out_dir: Path,
    target: str,
    version: ModelVersion,
    exported: ExportedModel,
    url: str,
    checks: list[dict[str, Any]],
    more: Mapping[str, Any],
) -> Deployment:
    """Write the proof and the contract."""
    name = f"{version.name}/{version.version}"
    proof = {"target": target, "model_version": name, "model": exported.fingerprint, "checks": checks, **more}
    text = json.dumps(proof, ensure_ascii=False, indent=1)
    (out_dir / "smoke_test.json").write_text(text, encoding="utf-8")
    return Deployment(
        folder=out_dir,
        fingerprint=hashlib.sha256(text.encode()).hexdigest(),  # without the URL: a local port is another every time
        target=target,
        url=url,
        model_version=name,
        checks=checks,
    ).save()


def _serve_and_ask(
    config: Config, prepared: PreparedData, exported: ExportedModel, out_dir: Path
) -> tuple[str, list[dict[str, Any]]]:
    """The endpoint's address, and its answers."""
    taxonomy, settings = Taxonomy.load(prepared.folder / "taxonomy.json"), config.deploy
    endpoint = LocalEndpoint(
        exported.folder / "model", out_dir / "server.log", host=settings.host, start_seconds=settings.start_seconds
    )
    with endpoint:
        return endpoint.url, smoke_test(endpoint.url, taxonomy, _one_per_language(prepared))


def _one_per_language(prepared: PreparedData) -> list[Example]:
    """The first test example by id of every language, in the languages' order."""
    first: dict[str, Example] = {}
    for row in read_jsonl(prepared.folder / "test.jsonl"):
        example = Example.from_json(row)
        if example.language not in first or example.id < first[example.language].id:
            first[example.language] = example
    if not first:
        raise ContractError(f"{prepared.folder / 'test.jsonl'} holds no example. Run the prepare stage again.")
    return [first[language] for language in sorted(first)]
