"""Qwen2.5's byte-level BPE tokenizer in GGUF's form: tokens, kinds, merges, the name of its pre-tokenizer."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobtuner.errors import ModelError

if TYPE_CHECKING:
    import gguf

__all__ = ["add_tokenizer"]

# llama.cpp splits text by rules of its own, chosen by name. "qwen2" stands for exactly this expression.
_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def add_tokenizer(writer: "gguf.GGUFWriter", folder: Path, vocab_size: int) -> None:
    """Write the tokenizer's part of the metadata.

    Args:
        writer: of the file.
        folder: holds tokenizer.json, tokenizer_config.json, and the chat template.
        vocab_size: rows of the embedding; Qwen2.5 has more than tokens, the rest is marked as unused.

    Raises:
        ModelError: the tokenizer is not Qwen2.5's kind, or has no chat template.
    """
    data, config = _read(folder / "tokenizer.json"), _read(folder / "tokenizer_config.json")
    _check(data)
    tokens, kinds = _tokens(data, vocab_size)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges([_merge(item) for item in data["model"]["merges"]])
    numbers = {token: number for number, token in enumerate(tokens)}
    writer.add_eos_token_id(numbers[_name(config["eos_token"])])
    writer.add_pad_token_id(numbers[_name(config["pad_token"])])
    writer.add_bos_token_id(numbers[_name(config.get("bos_token") or config["pad_token"])])
    writer.add_add_bos_token(False)
    writer.add_chat_template(_chat_template(folder, config))


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read: {error}. Name the model/ of an export.") from error


def _check(data: dict[str, Any]) -> None:
    parts = (data.get("pre_tokenizer") or {}).get("pretokenizers") or []
    kinds = [part.get("type") for part in parts]
    split = parts[0].get("pattern", {}).get("Regex") if kinds == ["Split", "ByteLevel"] else None
    if data["model"].get("type") != "BPE" or split != _SPLIT or parts[1].get("add_prefix_space"):
        raise ModelError("The tokenizer is not Qwen2.5's: llama.cpp would split texts otherwise. Export safetensors.")


def _tokens(data: dict[str, Any], vocab_size: int) -> tuple[list[str], "list[gguf.TokenType]"]:
    """Text and kind of every token, by number."""
    from gguf import TokenType

    named = {number: (token, TokenType.NORMAL) for token, number in data["model"]["vocab"].items()}
    for item in data["added_tokens"]:
        kind = TokenType.CONTROL if item["special"] else TokenType.USER_DEFINED
        named[item["id"]] = (item["content"], kind)
    if max(named) >= vocab_size:
        raise ModelError(f"The tokenizer has token {max(named)}, the model's embedding {vocab_size} rows.")
    both = [named.get(number, (f"[PAD{number}]", TokenType.UNUSED)) for number in range(vocab_size)]
    return [token for token, _ in both], [kind for _, kind in both]


def _merge(item: str | list[str]) -> str:
    return item if isinstance(item, str) else " ".join(item)  # the byte alphabet holds no space


def _name(token: str | dict[str, Any]) -> str:
    return token if isinstance(token, str) else str(token["content"])


def _chat_template(folder: Path, config: dict[str, Any]) -> str:
    path = folder / "chat_template.jinja"
    template = path.read_text(encoding="utf-8") if path.exists() else config.get("chat_template")
    if not template:
        raise ModelError(f"{folder} has no chat template: nobody could ask the model as it was trained.")
    return str(template)
