"""The deploy stage: start the exported model, prove that it answers, write down the proof."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jobtuner.config import Config
from jobtuner.contracts import Deployment, ExportedModel, ModelVersion, PreparedData
from jobtuner.deploy.chat_stage import ask_exported
from jobtuner.deploy.local import LocalEndpoint
from jobtuner.deploy.smoke_test import smoke_test
from jobtuner.errors import ContractError
from jobtuner.records import Example, read_jsonl
from jobtuner.tasks import CHAT_TASKS
from jobtuner.taxonomy import Taxonomy

__all__ = ["run"]

_TARGET = "local"
_IN_PROCESS = "in-process"  # tasks that answer in text: asked without a server


def run(config: Config, inputs: Mapping[str, Path], out_dir: Path) -> Deployment:
    """Serve the exported model on this machine, ask it one test ad a language, stop it.

    Args:
        config: `deploy` is used.
        inputs: folders of `prepare`, `register`, `export`.
        out_dir: gets server.log, smoke_test.json and the contract.

    Raises:
        ContractError: the registered and the exported model are not the same.
        DeployError: the endpoint did not start, or answered wrongly.
    """
    prepared = PreparedData.load(inputs["prepare"])
    version = ModelVersion.load(inputs["register"])
    exported = ExportedModel.load(inputs["export"])
    if version.model_fingerprint != exported.model_fingerprint:
        raise ContractError(
            f"The registered model {version.name}/{version.version} has the fingerprint {version.model_fingerprint}, "
            f"the exported one {exported.model_fingerprint}. Run register and export on the same trained model."
        )
    model_version = f"{version.name}/{version.version}"
    if config.task in CHAT_TASKS:
        target, url, checks = _IN_PROCESS, "", ask_exported(prepared, exported, out_dir)
    else:
        target, (url, checks) = _TARGET, _serve_and_ask(config, prepared, exported, out_dir)
    proof = {"target": target, "model_version": model_version, "model": exported.fingerprint, "checks": checks}
    text = json.dumps(proof, ensure_ascii=False, indent=1)
    (out_dir / "smoke_test.json").write_text(text, encoding="utf-8")
    return Deployment(
        folder=out_dir,
        fingerprint=hashlib.sha256(text.encode()).hexdigest(),  # without the URL: its port is another every time
        target=target,
        url=url,
        model_version=model_version,
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
