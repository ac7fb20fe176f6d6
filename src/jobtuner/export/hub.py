"""A run's model on the Hugging Face Hub: merged weights, or the adapter alone, with the model card as its README."""

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobtuner.contracts import EvalReport, PreparedData, TrainedModel
from jobtuner.errors import ConfigError, ModelError, StorageError

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

__all__ = ["Parcel", "pack", "push"]

_TOKEN_VARIABLE = "HF_TOKEN"  # noqa: S105  # the name of a variable, not a token
_PUBLISHED = frozenset({".safetensors", ".json", ".jinja", ".txt"})
_REPO_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
_LICENCES = {  # of the Qwen2.5 text models, from their model pages: identifier and, where it is no common one, its name
    r"Qwen/Qwen2\.5-(0\.5B|1\.5B|7B|14B|32B)(-Instruct)?": ("apache-2.0", None),
    r"Qwen/Qwen2\.5-3B(-Instruct)?": ("other", "qwen-research"),
    r"Qwen/Qwen2\.5-72B(-Instruct)?": ("other", "qwen"),
}
_METRICS = {"accuracy": "Accuracy", "macro_f1": "Macro F1", "ece": "Expected calibration error"}


@dataclass(frozen=True)
class Parcel:
    """What would be uploaded."""

    files: dict[str, Path | bytes]
    """Path in the repository to a file here, or to its content."""
    standin: bool
    """Whether the base is the stand-in."""

    def sizes(self) -> Iterator[tuple[str, int]]:
        """Path in the repository and bytes of each file."""
        for name, content in self.files.items():
            yield name, len(content) if isinstance(content, bytes) else content.stat().st_size


def pack(model: Path, *, adapter: bool = False) -> Parcel:
    """Gather the files of a run's model.

    Args:
        model: folder of a run, with the stages' folders in it; or its export/model.
        adapter: the adapter and the tokenizer alone, for use with the base model.

    Raises:
        ContractError: the run has not come that far, or a file was changed since.
        ModelError: there is no model card, a file is of a kind that is not published, or the adapter's base is the
            stand-in, which nobody else has.
    """
    run = model.parents[1] if (model / "inference.json").exists() and model.parent.name == "export" else model
    trained = TrainedModel.load(run / "train")
    if adapter and trained.base_is_standin:
        raise ModelError("An adapter needs its base, and this one's is the stand-in: push the merged model instead.")
    sources = [trained.folder / "adapter", trained.folder / "tokenizer"] if adapter else [run / "export" / "model"]
    files: dict[str, Path | bytes] = {}
    for source in sources:
        paths = sorted(path for path in source.rglob("*") if path.is_file() and path.name != "README.md")
        files |= {path.relative_to(source).as_posix(): path for path in paths}
    if not files:
        raise ModelError(f"{sources[0]} holds no files. `jobtuner run` exports a model.")
    if strange := [name for name in files if Path(name).suffix not in _PUBLISHED]:
        raise ModelError(f"{strange[0]} is of a kind that is not published; {', '.join(sorted(_PUBLISHED))} are.")
    if adapter:
        files["adapter_config.json"] = _without_local_path(trained)
        files["inference.json"] = trained.folder / "inference.json"
    return Parcel({"README.md": _readme(run, trained, adapter=adapter), **files}, trained.base_is_standin)


def _without_local_path(trained: TrainedModel) -> bytes:
    """The adapter's settings, naming the base as the Hub does: PEFT writes the folder that it was loaded from."""
    path = trained.folder / "adapter" / "adapter_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    settings |= {"base_model_name_or_path": trained.base, "revision": trained.settings.get("revision")}
    return json.dumps(settings, indent=2).encode()


def _readme(run: Path, trained: TrainedModel, *, adapter: bool) -> bytes:
    """The model card, with the metadata that the Hub reads."""
    from huggingface_hub import ModelCardData

    try:
        card = (run / "register" / "model_card.md").read_text(encoding="utf-8")
    except OSError as error:
        raise ModelError(f"{run} has no model card ({error}); the register stage writes it.") from error
    licence, name = _licence(trained)
    metadata = ModelCardData(
        model_name=card.partition("\n")[0].removeprefix("# ").strip(),
        license=licence,
        license_name=name,
        base_model=None if trained.base_is_standin else trained.base,
        base_model_relation=None if trained.base_is_standin else "adapter" if adapter else "finetune",
        library_name="peft" if adapter else "transformers",
        pipeline_tag="text-generation",
        language=PreparedData.load(run / "prepare").languages,
        tags=["job-ads", "occupation-coding", "qlora"],
        eval_results=_results(run),
    )
    return f"---\n{metadata.to_yaml()}\n---\n\n{card}".encode()


def _licence(trained: TrainedModel) -> tuple[str, str | None]:
    for pattern, licence in _LICENCES.items():
        if re.fullmatch(pattern, trained.base):
            return licence
    return "other", "see-the-model-card"


def _results(run: Path) -> "list[EvalResult]":
    from huggingface_hub import EvalResult

    report = EvalReport.load(run / "evaluate")
    return [
        EvalResult(
            task_type="text-classification",
            dataset_type="job-ads",
            dataset_name=f"test split, {report.examples} ads",
            metric_type=key,
            metric_name=title,
            metric_value=round(float(report.model[key]), 4),
        )
        for key, title in _METRICS.items()
        if key in report.model
    ]


def push(parcel: Parcel, repo_id: str, *, private: bool, force_standin: bool = False) -> str:
    """Upload in one commit: the repository has all of it, or none. It is made where there is none.

    Args:
        parcel: from `pack`.
        repo_id: OWNER/NAME.
        private: of a repository that is made now; one that exists stays as it is.
        force_standin: upload even a stand-in.

    Returns:
        The commit's address.

    Raises:
        ConfigError: the name is no repository's, it is a stand-in, or HF_TOKEN is not set.
        StorageError: the Hub refused, or cannot be reached.
    """
    if not _REPO_ID.fullmatch(repo_id):
        raise ConfigError(f"The repository is '{repo_id}'; OWNER/NAME is needed, of letters, digits, '.', '_' and '-'.")
    if parcel.standin and not force_standin:
        raise ConfigError(
            "This is the stand-in: its scores show that the machine works, and others would take it for a model. "
            "Push a fine-tuned Qwen2.5, or add --force-standin."
        )
    token = os.environ.get(_TOKEN_VARIABLE)
    if not token:
        raise ConfigError(f"{_TOKEN_VARIABLE} is not set: put a token with write access there. No other place is read.")
    return _commit(parcel, repo_id, token, private=private)


def _commit(parcel: Parcel, repo_id: str, token: str, *, private: bool) -> str:
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]  # the client that the library uses, whichever it is

    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT"), token=token)
    operations: list[Any] = [CommitOperationAdd(name, content) for name, content in parcel.files.items()]
    try:
        api.create_repo(repo_id, private=private, exist_ok=True)
        done = api.create_commit(repo_id, operations, commit_message="Model, tokenizer and card from JobTuner")
    except HfHubHTTPError as error:
        status = error.response.status_code
        hint = f" Has the token in {_TOKEN_VARIABLE} write access to {repo_id}?" if status in {401, 403} else ""
        raise StorageError(f"The Hub refused ({status}): {error.server_message or error}.{hint}") from error
    except (httpx.HTTPError, OSError, ValueError) as error:
        raise StorageError(f"The Hub at {api.endpoint} cannot be used: {type(error).__name__}: {error}.") from error
    return str(done.commit_url)
