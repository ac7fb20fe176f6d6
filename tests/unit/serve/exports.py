"""A stand-in as the export stage would leave it, without the stages before."""

from pathlib import Path

from jobtuner.config import CleanConfig
from jobtuner.known_answers import write_known_answers
from jobtuner.models import load_tokenizer
from jobtuner.scoring import TAXONOMY_FILE, InferenceSettings, load_exported
from jobtuner.tasks import get_task, prompt_hash
from jobtuner.taxonomy import Taxonomy

__all__ = ["complete"]


def complete(folder: Path, taxonomy: Taxonomy) -> Path:
    """Write beside weights and tokenizer what inference needs; the temperature is 1.5, the threshold 0.9."""
    taxonomy.save(folder / TAXONOMY_FILE)
    InferenceSettings(
        task="occupation",
        labels=taxonomy.labels,
        prompt_hash=prompt_hash(get_task("occupation"), load_tokenizer(str(folder))),
        max_ad_tokens=64,
        taxonomy_version=taxonomy.version,
        data_fingerprint="d",
        model_fingerprint="m",
        quantization={},
        clean=CleanConfig().model_dump(mode="json"),
        temperature=1.5,
        model_version="nurses/1",
        abstain_below=0.9,
    ).save(folder)
    write_known_answers(load_exported(folder), folder)
    return folder
