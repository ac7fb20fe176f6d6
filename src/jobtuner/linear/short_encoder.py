"""A sentence encoder of few layers: the first, the middle and the last of a pretrained one, small enough to be tuned.

Taking layers of a large encoder is how DistilBERT starts (Sanh et al. 2019). Three of MiniLM's six layers read twice
the titles a second, and after tuning on the rows they tell occupations apart about as well as all six.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jobtuner.errors import ModelError
from jobtuner.linear.embeddings import PACKAGED, location_of, not_available
from jobtuner.progress import notice

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer

__all__ = ["ShortEncoder", "by_length", "chosen_encoder_to_tune", "fastest_type"]

_TOKENIZER = "encoder.tokenizer.json"
_LAYERS = 3
_TOKENS = 32  # that are read of a text: titles have 3 to 12
_BATCH = 256  # texts a forward pass
_PADDING = 96  # tokens of padding a forward pass, at most
_ATTENTION = "eager"  # on a dozen tokens faster than the fused kernel
_STRANGE = 1.9  # tokens a word from which on texts are not in the encoder's language


def chosen_encoder_to_tune(setting: str, texts: Sequence[str]) -> "ShortEncoder | None":
    """The encoder that the setting `tuned_encoder` means; None where none is to be used.

    Args:
        setting: "auto", "none", or an encoder.
        texts: labelled ones; "auto" looks whether the packaged encoder, an English one, knows their words.

    Raises:
        ModelError: an encoder that the setting names is not available.
    """
    if setting == "none":
        return None
    if setting != "auto":
        return ShortEncoder.load(setting)
    try:
        place = location_of(PACKAGED)
    except ModelError:
        notice(f"The baseline has no tuned encoder: {PACKAGED} is not installed (`pip install {PACKAGED}`; "
               "to silence this: baseline.tuned_encoder=none).")  # fmt: skip
        return None
    return ShortEncoder.load(PACKAGED) if _pieces_a_word(place, texts) < _STRANGE else None


def _pieces_a_word(place: str, texts: Sequence[str]) -> float:
    """Tokens for each word of at most 1,000 texts: 1.2 to 1.5 in English, 2.3 (French) to 7 (Bulgarian) elsewhere."""
    from tokenizers import Tokenizer

    some = [text[:200] for text in texts[:: max(1, len(texts) // 1000)]]
    tokenizer = Tokenizer.from_file(str(Path(place) / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    found = tokenizer.encode_batch_fast(some, add_special_tokens=False)
    return sum(len(text.ids) for text in found) / max(1, sum(len(re.findall(r"\w+", text)) for text in some))


class ShortEncoder:
    """Turns texts into vectors of length 1: the mean of the last hidden states.

    Args:
        tokenizer: of the pretrained encoder.
        model: a Transformers encoder with a list of layers at `encoder.layer`, as BERT's and RoBERTa's.
    """

    def __init__(self, tokenizer: "Tokenizer", model: Any) -> None:
        tokenizer.no_padding()
        tokenizer.enable_truncation(_TOKENS)
        self._tokenizer, self.model = tokenizer, model

    @classmethod
    def load(cls, encoder: str) -> "ShortEncoder":
        """Three layers of a pretrained encoder, in float32.

        Raises:
            ModelError: it cannot be loaded, or has no such list of layers.
        """
        from torch.nn import ModuleList
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()  # it reads 90 MB in a second, and JobTuner draws its own
        try:
            place = location_of(encoder)
            tokenizer = AutoTokenizer.from_pretrained(place, trust_remote_code=False).backend_tokenizer
            model = AutoModel.from_pretrained(
                place, trust_remote_code=False, use_safetensors=True, attn_implementation=_ATTENTION
            ).float()
            layers = list(model.encoder.layer)
        except (OSError, ValueError) as error:
            raise not_available(encoder, "set baseline.tuned_encoder=none", error) from error
        except AttributeError as error:
            raise ModelError(
                f"The encoder {encoder} is not built like BERT or RoBERTa: its layers are not at encoder.layer. Set "
                f"baseline.tuned_encoder to another one, or to {PACKAGED} or none."
            ) from error
        kept = np.linspace(0, len(layers) - 1, min(_LAYERS, len(layers))).astype(int)
        model.encoder.layer = ModuleList(layers[number] for number in kept)
        model.config.num_hidden_layers, model.pooler = len(kept), None
        return cls(tokenizer, model)

    @property
    def dimensions(self) -> int:
        """Of the vectors."""
        return int(self.model.config.hidden_size)

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, at most 32."""
        return [found.ids for found in self._tokenizer.encode_batch_fast(list(texts))]

    def vectors(self, tokens: Sequence[list[int]]) -> "torch.Tensor":
        """Vectors of length 1 by one pass, float32 of shape [texts, dimensions]; texts of one length need no mask."""
        import torch

        longest, padding = max(1, *map(len, tokens)), self.model.config.pad_token_id or 0
        ids = torch.tensor([row + [padding] * (longest - len(row)) for row in tokens])
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in tokens])
        hidden = self.model(input_ids=ids, attention_mask=None if mask.all() else mask).last_hidden_state.float()
        mean = (hidden * mask[:, :, None]).sum(dim=1) / mask.sum(dim=1, keepdim=True).clamp(min=1)
        return torch.nn.functional.normalize(mean, dim=1)

    def encode(self, texts: Sequence[str]) -> "torch.Tensor":
        """Vectors of length 1, float32 of shape [texts, dimensions], without dropout."""
        import torch

        self.model.eval()
        tokens = self.tokens(texts)
        result = torch.empty(len(texts), self.dimensions)
        with torch.inference_mode():
            for rows in _with_little_padding(tokens):
                result[rows] = self.vectors([tokens[row] for row in rows])
        return result

    def settle(self) -> None:
        """Take the numbers that a file gives back, half precision, in the kind that this processor computes fastest."""
        self.model = self.model.half().to(fastest_type()).eval()

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Arrays for a file: the weights in half precision, and the tokenizer's JSON as bytes."""
        weights = {f"encoder.{name}": value.half().numpy() for name, value in self.model.state_dict().items()}
        tokenizer = np.frombuffer(self._tokenizer.to_str().encode(), dtype=np.uint8)
        return {**weights, _TOKENIZER: tokenizer}

    def document(self) -> dict[str, Any]:
        """What the JSON file holds: the architecture."""
        return {"encoder": {key: value for key, value in self.model.config.to_dict().items() if key != "_name_or_path"}}

    @classmethod
    def restore(cls, document: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> "ShortEncoder":
        """What `tensors` and `document` told of.

        Raises:
            ValueError, KeyError: they do not belong together.
        """
        import torch
        from tokenizers import Tokenizer
        from transformers import AutoConfig, AutoModel

        config = AutoConfig.for_model(**document["encoder"])
        model = AutoModel.from_config(config, trust_remote_code=False, attn_implementation=_ATTENTION)
        model.pooler = None
        weights = {name.removeprefix("encoder."): torch.from_numpy(value) for name, value in tensors.items()
                   if name.startswith("encoder.") and name != _TOKENIZER}  # fmt: skip
        try:
            model.load_state_dict(weights)
            tokenizer = Tokenizer.from_str(tensors[_TOKENIZER].tobytes().decode())
        except KeyError:
            raise
        except Exception as error:  # RuntimeError of Torch, plain Exception of tokenizers
            raise ValueError(f"a tuned encoder whose parts do not fit: {str(error).partition(chr(10))[0]}") from error
        encoder = cls(tokenizer, model)
        encoder.settle()
        return encoder


def fastest_type() -> "torch.dtype":
    """Of the numbers that this processor multiplies fastest: bfloat16 where it has instructions for them."""
    import torch

    return torch.bfloat16 if torch.cpu.get_capabilities().get("avx512_bf16") else torch.float32


def by_length(tokens: Sequence[list[int]], size: int) -> Iterator[NDArray[np.intp]]:
    """Places of texts of about one length, so many at a time."""
    order = np.argsort([len(row) for row in tokens], kind="stable")
    for start in range(0, len(order), size):
        yield order[start : start + size]


def _with_little_padding(tokens: Sequence[list[int]]) -> Iterator[NDArray[np.intp]]:
    """Places of texts of about one length: few batches, so that many rows share each product with the weights."""
    lengths = np.array([len(row) for row in tokens])
    order = np.argsort(lengths, kind="stable")
    start, sums = 0, np.concatenate([[0], np.cumsum(lengths[order])])
    for end in range(1, len(order) + 1):
        if end == len(order) or (
            (end + 1 - start) * lengths[order[end]] - (sums[end + 1] - sums[start]) > _PADDING or end - start == _BATCH
        ):
            yield order[start:end]
            start = end
