"""An export in the object store: what the serving pods load, and what it takes to ask them.

s3://jobtuner-models/models/<model>-<export>/    16 characters of each fingerprint
    model/          merged weights, tokenizer, inference.json, taxonomy.json
    adapter/        the LoRA adapter
    parity.jsonl    prompts with the answers that a served copy must give
    contract.json   written last: a folder without it is unfinished
"""

from dataclasses import dataclass
from pathlib import Path

from jobtuner.contracts import CONTRACT_FILE, PARITY_FILE, ExportedModel
from jobtuner.errors import ContractError, DeployError
from jobtuner.progress import track
from jobtuner.records import read_jsonl
from jobtuner.storage import download, names, upload

__all__ = ["Bundle", "Prompt", "fetch_bundle", "find_bundle", "upload_bundle"]

_ID_CHARS = 16  # of a SHA-256 in hex: 64 bits tell models apart


@dataclass(frozen=True)
class Prompt:
    """One prompt of the parity check."""

    id: str
    text: str
    language: str
    label: str
    """The right code."""
    answered: str
    """The merged model's code."""


@dataclass(frozen=True)
class Bundle:
    """An exported model in the object store, and its small files here."""

    location: str
    """s3 folder."""
    exported: ExportedModel
    """Its folder may lack the weights."""

    @property
    def folder(self) -> Path:
        """Tokenizer, prompt and labels: how the model is to be asked."""
        return self.exported.folder / "model"

    def prompts(self) -> list[Prompt]:
        """The prompts of the parity check.

        Raises:
            ContractError: the export has none.
        """
        path = self.exported.folder / PARITY_FILE
        found = [Prompt(**row) for row in read_jsonl(path)] if path.is_file() else []
        if not found:
            raise ContractError(
                f"{path} is missing or empty: an older version exported this. Run the export stage again."
            )
        return found


def upload_bundle(exported: ExportedModel, models: str) -> Bundle:
    """Copy an export to its place below `models`; what is there already, complete, stays untouched.

    Raises:
        StorageError: the store refuses or does not answer.
    """
    location = f"{models}/{exported.model_fingerprint[:_ID_CHARS]}-{exported.fingerprint[:_ID_CHARS]}"
    if CONTRACT_FILE not in names(location):
        files = [path for path in sorted(exported.folder.rglob("*")) if path.is_file()]
        contract = exported.folder / CONTRACT_FILE
        with track("Uploading the model", total=len(files), unit="files") as bar:
            for path in [*(path for path in files if path != contract), contract]:
                upload(path, f"{location}/{path.relative_to(exported.folder).as_posix()}")
                bar.advance()
    return Bundle(location, exported)


def find_bundle(model_fingerprint: str, models: str, serving: str | None = None) -> str | None:
    """The s3 folder with the export of a trained model, or None where there is none that is complete.

    Args:
        model_fingerprint: of the trained model.
        models: where exports lie.
        serving: the one that serves; of several exports of the model it is the one.

    Raises:
        DeployError: there are several, and none of them serves: nothing tells which is meant.
        StorageError: the store refuses or does not answer.
    """
    start = model_fingerprint[:_ID_CHARS]
    found = [name.partition("/")[0] for name in names(models) if name.endswith(f"/{CONTRACT_FILE}")]
    mine = [f"{models}/{name}" for name in sorted(found) if start and name.startswith(f"{start}-")]
    if len(mine) < 2 or serving in mine:
        return serving if serving in mine else next(iter(mine), None)
    raise DeployError(
        f"There are {len(mine)} exports of the model {start}: {', '.join(mine)}. Remove all but the one that is to "
        "serve, or deploy that one by the pipeline, with deploy.target=kserve."
    )


def _is_weights(name: str) -> bool:
    """model/….safetensors and adapter/….safetensors, and not what lies in folders below."""
    return name.endswith(".safetensors") and name.count("/") == 1


def fetch_bundle(location: str, folder: Path) -> Bundle:
    """Load everything but the model's weights into a folder; the baseline and the words of its training are small.

    Raises:
        ContractError: there is no complete export.
        StorageError: the store refuses or does not answer.
    """
    for name in names(location):
        if not _is_weights(name):
            target = folder / name
            if not target.resolve().is_relative_to(folder.resolve()):
                raise ContractError(f"{location} holds an object named '{name}', which leads out of it. Remove it.")
            target.parent.mkdir(parents=True, exist_ok=True)
            download(f"{location}/{name}", target)
    if not (folder / CONTRACT_FILE).is_file():
        raise ContractError(f"{location} holds no complete export. `jobtuner deploy` uploads one.")
    return Bundle(location, ExportedModel.load(folder))
