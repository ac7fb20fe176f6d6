"""An exported model as one GGUF file, for llama.cpp and what is built on it.

The tensors are named as llama.cpp's "qwen2" has them. Its rotary embeddings work on two halves, as Qwen2's own, so no
rows are permuted. Matrices are stored as asked for, vectors (norms, biases) as float32. llama.cpp does not bring text
into Unicode form NFC, as the tokenizer does: ask it with text that is.
"""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jobtuner.errors import ConfigError, ModelError, StorageError
from jobtuner.export.gguf_tokenizer import add_tokenizer
from jobtuner.progress import track
from jobtuner.scoring import InferenceSettings

if TYPE_CHECKING:
    import gguf

__all__ = ["GGUF_TYPES", "K_QUANTS", "export_gguf"]

GGUF_TYPES = ("f16", "q8_0")
"""Types that are written here."""
K_QUANTS = ("q2_k", "q3_k_m", "q4_k_m", "q5_k_m", "q6_k")
"""Types that llama.cpp's own quantiser makes from an f16 file."""

_QUANTIZER = "llama-quantize"
_Q8_BLOCK = 32  # weights that share a scale: a row must hold a whole number of blocks
_LARGEST_F16 = 65_504.0


def export_gguf(model: Path, out: Path, kind: str, *, overwrite: bool = False) -> None:
    """Write an exported model as GGUF. The file appears under its name when it is whole.

    Args:
        model: folder that the export stage wrote as `model/`.
        out: the file.
        kind: how matrices are stored.
        overwrite: whether a file of that name may be replaced.

    Raises:
        ConfigError: the type is unknown, the file exists, or llama.cpp's quantiser is not to be found.
        ModelError: the folder holds no Qwen2 model, or one with a feature that the format's "qwen2" has not.
        StorageError: the file cannot be written.
    """
    accepted = (*GGUF_TYPES, *K_QUANTS)
    if kind not in accepted:
        raise ConfigError(f"The GGUF type is '{kind}'; accepted are {', '.join(accepted)}.")
    if out.exists() and not overwrite:
        raise ConfigError(f"{out} exists. Name another file, or replace it with --overwrite.")
    quantizer = _quantizer() if kind in K_QUANTS else None
    source, part = _Source.open(model), out.with_name(f"{out.name}.part")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        _write(source, part, "f16" if quantizer else kind)
        if quantizer is not None:
            _quantize(quantizer, part, kind)
        part.replace(out)
    except OSError as error:
        raise StorageError(f"{out} cannot be written: {error}.") from error
    finally:
        part.unlink(missing_ok=True)


@dataclass(frozen=True)
class _Source:
    """An exported model on disk."""

    folder: Path
    config: dict[str, Any]
    settings: InferenceSettings

    @classmethod
    def open(cls, folder: Path) -> "_Source":
        settings = InferenceSettings.load(folder)
        try:
            config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ModelError(f"{folder} holds no merged model ({error}). Name the model/ of an export.") from error
        if config.get("model_type") != "qwen2":
            raise ModelError(f"The model is a '{config.get('model_type')}'; only qwen2 is exported as GGUF.")
        rope = config.get("rope_parameters") or {}
        if rope.get("rope_type", "default") != "default" or config.get("use_sliding_window"):
            raise ModelError("The model scales its rotary embeddings or uses a sliding window; the GGUF has neither.")
        return cls(folder, config, settings)

    @cached_property
    def files(self) -> dict[str, Path]:
        """Tensor name to the file that holds it, in the files' order.

        Raises:
            ModelError: there are no safetensors.
        """
        from safetensors import safe_open

        found: dict[str, Path] = {}
        for path in sorted(self.folder.glob("*.safetensors")):
            with safe_open(path, framework="pt") as file:
                found |= dict.fromkeys(file.keys(), path)
        if not found:
            raise ModelError(f"{self.folder} holds no .safetensors file. Name the model/ of an export.")
        if self.config.get("tie_word_embeddings"):
            found.pop("lm_head.weight", None)  # llama.cpp takes the input embeddings where there are no others
        return found

    def tensors(self) -> Iterator[tuple[str, NDArray[np.float32]]]:
        """Every tensor as float32, one at a time: a 7B model's are 30 GB."""
        from safetensors import safe_open

        with ExitStack() as stack:
            opened = {path: stack.enter_context(safe_open(path, framework="pt")) for path in set(self.files.values())}
            for name, path in self.files.items():
                yield name, opened[path].get_tensor(name).float().numpy()

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Tensor name to shape, without reading the weights."""
        from safetensors import safe_open

        shapes = {}
        for name, path in self.files.items():
            with safe_open(path, framework="pt") as file:
                shapes[name] = tuple(file.get_slice(name).get_shape())
        return shapes


def _write(source: _Source, path: Path, kind: str) -> None:
    import gguf

    writer = gguf.GGUFWriter(path, "qwen2")
    try:
        _add_model(writer, source, kind)
        add_tokenizer(writer, source.folder, int(source.config["vocab_size"]))
        names, shapes = _names(source), source.shapes()
        kinds = {name: _stored(shape, kind) for name, shape in shapes.items()}
        for name, shape in shapes.items():
            block, size = gguf.GGML_QUANT_SIZES[kinds[name]]
            count = int(np.prod(shape)) // block * size
            writer.add_tensor_info(names[name], shape, np.dtype(np.float32), count, raw_dtype=kinds[name])
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        with track("Writing GGUF", total=len(shapes), unit="tensors") as bar:
            for name, tensor in source.tensors():
                writer.write_tensor_data(_converted(name, tensor, kinds[name]))
                bar.advance()
    finally:
        writer.close()


def _add_model(writer: "gguf.GGUFWriter", source: _Source, kind: str) -> None:
    import gguf

    config, rope = source.config, source.config.get("rope_parameters") or {}
    writer.add_type("model")
    writer.add_name(f"jobtuner-{source.settings.task}-{source.settings.model_version}")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16 if kind == "f16" else gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_rope_freq_base(rope.get("rope_theta", config.get("rope_theta", 10_000.0)))
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    # What a client must know to ask as the model was trained: checked against the folder's inference.json.
    writer.add_string("jobtuner.task", source.settings.task)
    writer.add_string("jobtuner.prompt_hash", source.settings.prompt_hash)
    writer.add_string("jobtuner.taxonomy_version", source.settings.taxonomy_version)
    writer.add_string("jobtuner.model_fingerprint", source.settings.model_fingerprint)
    writer.add_float64("jobtuner.temperature", source.settings.temperature)


def _names(source: _Source) -> dict[str, str]:
    """Our tensor names to llama.cpp's.

    Raises:
        ModelError: a tensor that a Qwen2 model has not.
    """
    import gguf

    mapping = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN2, source.config["num_hidden_layers"])
    names = {name: mapping.get_name(name, try_suffixes=(".weight", ".bias")) for name in source.files}
    if unknown := sorted(name for name, other in names.items() if other is None):
        raise ModelError(f"The model has tensors that qwen2 has not, {unknown[0]} among them. Merge the adapter first.")
    return {name: str(other) for name, other in names.items()}


def _stored(shape: tuple[int, ...], kind: str) -> "gguf.GGMLQuantizationType":
    import gguf

    if len(shape) == 1:
        return gguf.GGMLQuantizationType.F32
    if kind == "q8_0" and shape[-1] % _Q8_BLOCK == 0:
        return gguf.GGMLQuantizationType.Q8_0
    return gguf.GGMLQuantizationType.F16


def _converted(name: str, tensor: NDArray[np.float32], kind: "gguf.GGMLQuantizationType") -> NDArray[Any]:
    import gguf

    if not np.isfinite(tensor).all() or np.abs(tensor).max(initial=0.0) > _LARGEST_F16:
        raise ModelError(f"{name} holds values that are no numbers, or beyond float16's {_LARGEST_F16:g}.")
    return np.asarray(gguf.quants.quantize(tensor, kind))


def _quantizer() -> list[str]:
    """The command that calls llama.cpp's quantiser: the program, or the library of llama-cpp-python.

    Raises:
        ConfigError: there is none.
    """
    named = os.environ.get("LLAMA_QUANTIZE")
    if found := shutil.which(named or _QUANTIZER):
        return [found]
    if not named and importlib.util.find_spec("llama_cpp"):
        return [sys.executable, "-m", "jobtuner.export.llama_quantize"]
    raise ConfigError(
        f"K-quants are made by llama.cpp's {_QUANTIZER}, which is not on the PATH. Install llama-cpp-python, build "
        f"llama.cpp, or name the program in LLAMA_QUANTIZE; {' and '.join(GGUF_TYPES)} need nothing."
    )


def _quantize(quantizer: list[str], path: Path, kind: str) -> None:
    """Replace an f16 file by what the quantiser makes of it.

    Raises:
        ModelError: it failed; the message ends with its last lines.
    """
    made = path.with_name(f"{path.name}.{kind}")
    try:
        done = subprocess.run([*quantizer, path, made, kind.upper()], capture_output=True, text=True, check=False)
        if done.returncode != 0 or not made.exists():
            lines = "\n".join((done.stderr + done.stdout).splitlines()[-5:])
            raise ModelError(f"{' '.join(quantizer)} ended with code {done.returncode}:\n{lines}")
        made.replace(path)
    finally:
        made.unlink(missing_ok=True)
