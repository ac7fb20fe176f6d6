import shutil
from pathlib import Path
from typing import Any

import pytest

from jobtuner.scoring import InferenceSettings
from tests.conftest import Standin

SETTINGS: dict[str, Any] = {
    "task": "occupation",
    "labels": ["2211", "2221"],
    "prompt_hash": "p" * 64,
    "max_ad_tokens": 64,
    "taxonomy_version": "t" * 16,
    "data_fingerprint": "d" * 64,
    "model_fingerprint": "f" * 64,
    "quantization": {"type": "none"},
    "clean": {},
    "temperature": 1.25,
    "model_version": "ffffffffffff",
}


@pytest.fixture
def exported(standin: Standin, tmp_path: Path) -> Path:
    """A folder of the form that the export stage writes as `model/`, float32, with biases that are not zero."""
    import torch
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "model"
    shutil.copytree(standin.folder, folder)
    torch.manual_seed(3)
    weights = load_file(folder / "model.safetensors")
    filled = {name: torch.randn_like(tensor) if name.endswith(".bias") else tensor for name, tensor in weights.items()}
    save_file(filled, folder / "model.safetensors", metadata={"format": "pt"})
    InferenceSettings(**SETTINGS).save(folder)
    return folder
