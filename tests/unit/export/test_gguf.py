"""The GGUF file: read back by gguf's own reader, and run by llama.cpp where it is installed."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from jobtuner.errors import ConfigError, ModelError
from jobtuner.export import llama_quantize
from jobtuner.export.gguf import K_QUANTS, export_gguf
from jobtuner.scoring import InferenceSettings
from tests.conftest import ADS

if TYPE_CHECKING:
    from gguf import GGUFReader

NAMES = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
    "model.layers.1.input_layernorm.weight": "blk.1.attn_norm.weight",
    "model.layers.1.post_attention_layernorm.weight": "blk.1.ffn_norm.weight",
    "model.layers.1.self_attn.q_proj.weight": "blk.1.attn_q.weight",
    "model.layers.1.self_attn.q_proj.bias": "blk.1.attn_q.bias",
    "model.layers.1.self_attn.k_proj.weight": "blk.1.attn_k.weight",
    "model.layers.1.self_attn.k_proj.bias": "blk.1.attn_k.bias",
    "model.layers.1.self_attn.v_proj.weight": "blk.1.attn_v.weight",
    "model.layers.1.self_attn.v_proj.bias": "blk.1.attn_v.bias",
    "model.layers.1.self_attn.o_proj.weight": "blk.1.attn_output.weight",
    "model.layers.1.mlp.gate_proj.weight": "blk.1.ffn_gate.weight",
    "model.layers.1.mlp.up_proj.weight": "blk.1.ffn_up.weight",
    "model.layers.1.mlp.down_proj.weight": "blk.1.ffn_down.weight",
}
"""As llama.cpp's qwen2 reads them; layer 0 likewise."""


def weights(folder: Path) -> dict[str, NDArray[np.float32]]:
    from safetensors.torch import load_file

    return {name: tensor.float().numpy() for name, tensor in load_file(folder / "model.safetensors").items()}


def stored(path: Path) -> dict[str, tuple[str, NDArray[np.float32]]]:
    """Name to type and values as float32."""
    from gguf import GGUFReader
    from gguf.quants import dequantize

    tensors = GGUFReader(path).tensors
    return {item.name: (item.tensor_type.name, dequantize(item.data, item.tensor_type)) for item in tensors}


def value(reader: "GGUFReader", key: str) -> Any:
    field = reader.get_field(key)
    assert field is not None, key
    return field.contents()


def test_f16_holds_every_tensor_under_its_name(exported: Path, tmp_path: Path) -> None:
    export_gguf(exported, tmp_path / "m.gguf", "f16")
    found, ours = stored(tmp_path / "m.gguf"), weights(exported)
    names = NAMES | {ours.replace(".1.", ".0."): theirs.replace(".1.", ".0.") for ours, theirs in NAMES.items()}
    assert set(found) == {names[name] for name in ours}
    for name, tensor in ours.items():
        kind, values = found[names[name]]
        assert kind == ("F32" if tensor.ndim == 1 else "F16")
        np.testing.assert_array_equal(values, tensor if tensor.ndim == 1 else tensor.astype(np.float16))


def test_q8_0_is_within_its_rounding(exported: Path, tmp_path: Path) -> None:
    """A block of 32 weights shares a float16 scale, max / 127: half a step, and float16's rounding, is the bound."""
    export_gguf(exported, tmp_path / "m.gguf", "q8_0")
    found, ours = stored(tmp_path / "m.gguf"), weights(exported)
    for name, theirs in NAMES.items():
        kind, values = found[theirs]
        if ours[name].ndim == 1:
            assert kind == "F32"
            continue
        assert kind == "Q8_0"
        largest = np.abs(ours[name].reshape(-1, 32)).max(axis=1, keepdims=True)
        error = np.abs(values.reshape(-1, 32) - ours[name].reshape(-1, 32))
        assert (error <= largest / 127 * 0.5 + largest * 2**-10).all()


def test_tied_embeddings_are_stored_once(exported: Path, tmp_path: Path) -> None:
    config = json.loads((exported / "config.json").read_text(encoding="utf-8")) | {"tie_word_embeddings": True}
    (exported / "config.json").write_text(json.dumps(config), encoding="utf-8")
    export_gguf(exported, tmp_path / "m.gguf", "f16")
    assert "output.weight" not in stored(tmp_path / "m.gguf")


def test_the_metadata_describe_the_model_and_how_to_ask_it(exported: Path, tmp_path: Path) -> None:
    from gguf import GGUFReader
    from transformers import AutoTokenizer

    export_gguf(exported, tmp_path / "m.gguf", "f16")
    reader = GGUFReader(tmp_path / "m.gguf")
    config = json.loads((exported / "config.json").read_text(encoding="utf-8"))
    assert value(reader, "general.architecture") == "qwen2"
    assert value(reader, "qwen2.block_count") == 2
    assert value(reader, "qwen2.attention.head_count_kv") == 1
    assert value(reader, "qwen2.rope.freq_base") == config["rope_parameters"]["rope_theta"]
    assert value(reader, "jobtuner.prompt_hash") == "p" * 64
    assert value(reader, "jobtuner.temperature") == 1.25
    tokenizer = AutoTokenizer.from_pretrained(exported)
    tokens, kinds = value(reader, "tokenizer.ggml.tokens"), value(reader, "tokenizer.ggml.token_type")
    assert len(tokens) == len(kinds) == config["vocab_size"] > len(tokenizer)
    assert tokens[: len(tokenizer)] == tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    assert {tokens[place] for place, kind in enumerate(kinds) if kind == 3} == {
        "<|endoftext|>",
        "<|im_start|>",
        "<|im_end|>",
    }
    assert set(kinds[len(tokenizer) :]) == {5}  # unused
    assert tokens[value(reader, "tokenizer.ggml.eos_token_id")] == "<|im_end|>"
    assert value(reader, "tokenizer.ggml.add_bos_token") is False
    assert value(reader, "tokenizer.chat_template") == tokenizer.chat_template


def test_weights_in_several_files_are_one_file(exported: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    export_gguf(exported, tmp_path / "one.gguf", "f16")
    all_of_them = load_file(exported / "model.safetensors")
    (exported / "model.safetensors").unlink()
    for number, names in enumerate((list(all_of_them)[:9], list(all_of_them)[9:])):
        save_file({name: all_of_them[name] for name in names}, exported / f"model-{number}.safetensors")
    export_gguf(exported, tmp_path / "two.gguf", "f16")
    one, two = stored(tmp_path / "one.gguf"), stored(tmp_path / "two.gguf")
    assert set(one) == set(two)
    assert all(np.array_equal(one[name][1], two[name][1]) for name in one)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model_type": "llama"}, "only qwen2"),
        ({"rope_parameters": {"rope_type": "yarn"}}, "rotary"),
        ({"use_sliding_window": True}, "sliding"),
        ({"num_hidden_layers": 1}, "layers.1"),
        ({"vocab_size": 100}, "embedding 100 rows"),
    ],
)
def test_a_model_that_the_format_cannot_hold_is_refused(
    exported: Path, tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    config = json.loads((exported / "config.json").read_text(encoding="utf-8")) | change
    (exported / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(ModelError, match=said):
        export_gguf(exported, tmp_path / "out" / "m.gguf", "f16")
    assert list((tmp_path / "out").glob("*")) == []  # nothing half-written stays


def test_another_tokenizer_is_refused(exported: Path, tmp_path: Path) -> None:
    path = exported / "tokenizer.json"
    path.write_text(path.read_text(encoding="utf-8").replace(r"|\\p{N}|", r"|\\p{N}{1,3}|"), encoding="utf-8")
    with pytest.raises(ModelError, match=r"not Qwen2\.5's"):
        export_gguf(exported, tmp_path / "m.gguf", "f16")


def test_values_beyond_float16_are_refused(exported: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(exported / "model.safetensors")
    tensors["lm_head.weight"][0, 0] = 1e6
    save_file(tensors, exported / "model.safetensors")
    with pytest.raises(ModelError, match=r"lm_head.*65504"):
        export_gguf(exported, tmp_path / "m.gguf", "f16")


def test_an_unknown_type_and_a_taken_name_are_refused(exported: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="f16, q8_0, q2_k"):
        export_gguf(exported, tmp_path / "m.gguf", "f8")
    (tmp_path / "m.gguf").write_text("precious", encoding="utf-8")
    with pytest.raises(ConfigError, match="--overwrite"):
        export_gguf(exported, tmp_path / "m.gguf", "f16")
    assert (tmp_path / "m.gguf").read_text(encoding="utf-8") == "precious"


def quantizer(folder: Path, script: str) -> str:
    """A program that is called as `llama-quantize IN OUT TYPE`."""
    path = folder / "quantize"
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IEXEC)
    return str(path)


def test_k_quants_are_left_to_llama_quantize(exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLAMA_QUANTIZE", quantizer(tmp_path, 'head -c 4 "$1" > "$2"; printf %s "$3" >> "$2"'))
    export_gguf(exported, tmp_path / "m.gguf", "q4_k_m")
    assert (tmp_path / "m.gguf").read_bytes() == b"GGUFQ4_K_M"
    monkeypatch.setenv("LLAMA_QUANTIZE", quantizer(tmp_path, "echo no room >&2; exit 3"))
    with pytest.raises(ModelError, match="code 3:\nno room"):
        export_gguf(exported, tmp_path / "n.gguf", "q4_k_m")
    monkeypatch.setenv("LLAMA_QUANTIZE", str(tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match="LLAMA_QUANTIZE"):
        export_gguf(exported, tmp_path / "n.gguf", "q4_k_m")
    assert sorted(path.name for path in tmp_path.glob("*gguf*")) == ["m.gguf"]


def test_the_command_writes_the_file(exported: Path, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from jobtuner.cli import app

    done = CliRunner().invoke(app, ["export-gguf", str(exported), str(tmp_path / "m.gguf"), "--type", "Q8_0"])
    assert done.exit_code == 0, done.output
    assert "MiB" in done.output
    assert stored(tmp_path / "m.gguf")["token_embd.weight"][0] == "Q8_0"


LLAMA_PYTHON = os.environ.get("LLAMA_PYTHON", sys.executable)


_LOST = {"q2_k": 0.25, "q3_k_m": 0.15, "q4_k_m": 0.12, "q5_k_m": 0.07, "q6_k": 0.04}
"""Share of a tensor's length that may go: 1.6 to 2.2 times what the trained stand-in loses."""


def llama(asked: dict[str, Any]) -> dict[str, Any]:
    script = Path(__file__).parent / "llama_greedy.py"
    done = subprocess.run([LLAMA_PYTHON, script], input=json.dumps(asked), capture_output=True, text=True, check=False)
    if "No module named 'llama_cpp'" in done.stderr:
        pytest.skip("llama-cpp-python is not installed; LLAMA_PYTHON may name an interpreter that has it")
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(json.loads(done.stdout))


@pytest.mark.gguf
def test_llama_cpp_answers_and_splits_text_as_we_do(exported: Path, tmp_path: Path) -> None:
    """Greedy answers to 20 prompts, and the tokens of texts in several scripts, are equal."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from jobtuner.tasks import PromptEncoder, get_label_task

    export_gguf(exported, tmp_path / "m.gguf", "f16")
    tokenizer = AutoTokenizer.from_pretrained(exported)
    # Both sides compute with the weights as the file holds them; what is left is the order of float32 sums.
    model = AutoModelForCausalLM.from_pretrained(exported, dtype=torch.float16).float().eval()
    model.generation_config.eos_token_id = None  # neither side stops, or avoids, its end token
    encoder = PromptEncoder(get_label_task(InferenceSettings.load(exported).task), tokenizer, 64)
    prompts = encoder.prompts([f"{ad} {number}" for number in range(4) for ad in ADS][:20])
    assert len(prompts) == 20
    texts = [
        "Köche (m/w/d), 2.500 €!",
        "  zwei  Räume\n\n\tund Tab",
        "Ærø søger 12345 🙂 людей",
        "it's WE'LL  don't\r\nx",
    ]
    answers = llama({"model": str(tmp_path / "m.gguf"), "prompts": prompts, "texts": texts, "count": 12})
    expected = [
        model.generate(torch.tensor([prompt]), max_new_tokens=12, do_sample=False)[0, len(prompt) :]
        for prompt in prompts
    ]
    assert answers["answers"] == [row.tolist() for row in expected]
    assert answers["tokens"] == [tokenizer.encode(text, add_special_tokens=False) for text in texts]


@pytest.mark.gguf
@pytest.mark.parametrize("kind", K_QUANTS)
def test_llama_cpp_makes_and_reads_k_quants(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Rows of the tiny model hold no whole block of 256, so llama.cpp takes its other types in their place; how near
    the weights stay tells that they were quantised, and not lost."""
    script = Path(llama_quantize.__file__)
    monkeypatch.setenv("LLAMA_QUANTIZE", quantizer(tmp_path, f'exec {LLAMA_PYTHON} {script} "$@"'))
    llama({"model": str(one_of(exported, tmp_path, "f16")), "prompts": [], "texts": [], "count": 0})  # skips without it
    whole, small = stored(tmp_path / "f16.gguf"), stored(one_of(exported, tmp_path, kind))
    assert {name for name, (how, _) in small.items() if how != whole[name][0]}, "nothing was quantised"
    for name, (_, values) in whole.items():
        lost = np.linalg.norm(values - small[name][1]) / np.linalg.norm(values)
        assert lost < _LOST[kind], (name, lost)
    answers = llama({"model": str(tmp_path / f"{kind}.gguf"), "prompts": [[1, 2, 3]], "texts": [], "count": 4})
    assert len(answers["answers"][0]) == 4


def one_of(exported: Path, folder: Path, kind: str) -> Path:
    export_gguf(exported, folder / f"{kind}.gguf", kind)
    return folder / f"{kind}.gguf"
