from typing import Any

import pytest
import torch

from jobtuner.config import LoraSettings, QuantizationConfig
from jobtuner.errors import ModelError
from jobtuner.models import load_quantized, quantized_layers
from jobtuner.train.lora import add_adapter, verify
from tests.conftest import LORA, NF4, Standin

PLAIN = QuantizationConfig(type="none", double=False, compute_dtype="float32")


def build(standin: Standin, lora: LoraSettings = LORA, quantization: QuantizationConfig = NF4) -> Any:
    return add_adapter(load_quantized(str(standin.folder), None, quantization), lora, gradient_checkpointing=False)


@pytest.mark.parametrize("kind", ["nf4", "fp4"])
@pytest.mark.parametrize("double", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_quantization_settings_are_found_in_the_built_model(
    standin: Standin, kind: Any, double: bool, dtype: Any
) -> None:
    asked = QuantizationConfig(type=kind, double=double, compute_dtype=dtype)
    found = verify(build(standin, quantization=asked), asked, LORA)
    assert found["quantization"] == {"type": kind, "double": double, "compute_dtype": dtype}
    assert found["quantized_layers"] == 14  # 2 layers × (q, k, v, o, gate, up, down)
    assert found["adapted_layers"] == 14


def test_lora_settings_are_found_in_the_built_model(standin: Standin) -> None:
    asked = LoraSettings(r=16, alpha=8, dropout=0.25, target_modules=["q_proj", "embed_tokens"])
    found = verify(build(standin, asked), NF4, asked)
    assert found["lora"] == {
        "r": 16, "alpha": 8, "dropout": 0.25, "rslora": False, "dora": False, "initialization": "default"
    }  # fmt: skip
    assert found["adapted_layers"] == 3  # q of two layers, and the embedding


@pytest.mark.parametrize(
    "other",
    [
        LoraSettings(r=16, alpha=16, dropout=0.0),
        LoraSettings(r=8, alpha=8, dropout=0.0),
        LoraSettings(r=8, alpha=16, dropout=0.5),
        LORA.model_copy(update={"rslora": True}),
        LORA.model_copy(update={"dora": True}),
        LORA.model_copy(update={"initialization": "gaussian"}),
    ],
)
def test_a_lora_setting_that_took_no_effect_is_an_error(standin: Standin, other: LoraSettings) -> None:
    with pytest.raises(ModelError, match="did not take effect"):
        verify(build(standin), NF4, other)


@pytest.mark.parametrize(
    "other", [NF4.model_copy(update={"type": "fp4"}), NF4.model_copy(update={"double": False}), QuantizationConfig()]
)
def test_a_quantization_setting_that_took_no_effect_is_an_error(standin: Standin, other: QuantizationConfig) -> None:
    with pytest.raises(ModelError, match="asked for"):
        verify(build(standin), other, LORA)


def test_an_unquantized_base_is_an_error(standin: Standin) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    plain = AutoModelForCausalLM.from_pretrained(str(standin.folder))
    model = get_peft_model(plain, LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM"))
    with pytest.raises(ModelError, match="type is none, asked for nf4"):
        verify(model, NF4, LORA)


def test_a_quantized_base_is_an_error_where_none_was_asked_for(standin: Standin) -> None:
    with pytest.raises(ModelError, match="type is nf4, asked for none"):
        verify(build(standin), PLAIN, LORA)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_lora_on_an_unquantized_base(standin: Standin, dtype: Any) -> None:
    asked = QuantizationConfig(type="none", double=False, compute_dtype=dtype)
    found = verify(build(standin, quantization=asked), asked, LORA)
    assert found["quantization"] == {"type": "none", "double": False, "compute_dtype": dtype}
    assert found["quantized_layers"] == 0
    assert found["adapted_layers"] == 14


@pytest.mark.parametrize("quantization", [NF4, PLAIN], ids=["nf4", "none"])
@pytest.mark.parametrize(
    "change",
    [
        {"rslora": True},
        {"dora": True},
        {"initialization": "gaussian"},
        {"rslora": True, "dora": True, "initialization": "gaussian", "r": 64, "alpha": 5, "dropout": 0.1},
    ],
)
def test_variants_of_lora_are_found_in_the_built_model_and_learn(
    standin: Standin, change: dict[str, Any], quantization: QuantizationConfig
) -> None:
    asked = LORA.model_copy(update=change)
    model = build(standin, asked, quantization)
    found = verify(model, quantization, asked)["lora"]
    assert found == asked.model_dump(exclude={"target_modules"})
    tokens = torch.arange(1, 13).reshape(2, 6)
    model(input_ids=tokens, labels=tokens).loss.backward()
    grown = {name for name, each in model.named_parameters() if each.grad is not None and float(each.grad.abs().max())}
    kinds = {"lora_B"} | ({"lora_magnitude_vector"} if asked.dora else set())  # A's gradient is 0 while B is
    assert {kind for kind in ("lora_A", "lora_B", "lora_magnitude_vector") for name in grown if kind in name} == kinds


def test_rank_stabilised_scaling_is_that_of_the_paper(standin: Standin) -> None:
    model = build(standin, LORA.model_copy(update={"r": 64, "rslora": True}))
    layer = model.get_base_model().model.layers[0].self_attn.q_proj
    assert layer.scaling["default"] == pytest.approx(16 / 8)  # alpha / √r


def test_the_base_is_trained_on_as_it_was_loaded(standin: Standin) -> None:
    """What training computes with is what evaluation and serving load: nothing is turned into float32."""
    asked = QuantizationConfig(compute_dtype="bfloat16")
    before = {name: each.dtype for name, each in load_quantized(str(standin.folder), None, asked).named_parameters()}
    inner = build(standin, quantization=asked).get_base_model()
    after = {n.replace(".base_layer", ""): each.dtype for n, each in inner.named_parameters() if "lora_" not in n}
    assert after == before
    assert after["model.embed_tokens.weight"] == torch.bfloat16


def test_gradient_checkpointing_recomputes_the_layers(standin: Standin) -> None:
    base = load_quantized(str(standin.folder), None, NF4)
    calls = []
    base.model.layers[0].mlp.register_forward_pre_hook(lambda *_: calls.append(1))
    model = add_adapter(base, LORA, gradient_checkpointing=True).train()
    tokens = torch.arange(1, 13).reshape(2, 6)
    model(input_ids=tokens, labels=tokens).loss.backward()
    assert len(calls) == 2  # once forward, once again in the backward pass


def test_an_attention_this_machine_lacks_is_one_clear_error(standin: Standin) -> None:
    with pytest.raises(ModelError, match=r"flash_attention_2.*everywhere: sdpa"):
        load_quantized(str(standin.folder), None, NF4, "flash_attention_2")


def test_a_missing_target_is_named(standin: Standin) -> None:
    with pytest.raises(ModelError, match="q_proj"):
        build(standin, LoraSettings(target_modules=["query"]))
    partly = LoraSettings(r=8, alpha=16, dropout=0.0, target_modules=["q_proj", "query"])
    with pytest.raises(ModelError, match="no layer is called query"):
        verify(build(standin, partly), NF4, partly)


def test_a_trainable_base_weight_is_an_error(standin: Standin) -> None:
    model = build(standin)
    model.get_base_model().model.norm.weight.requires_grad_(True)
    with pytest.raises(ModelError, match="no part of the adapter"):
        verify(model, NF4, LORA)


def test_gradients_still_flow_through_the_base_after_an_evaluation(standin: Standin) -> None:
    """The AVX512-BF16 trap: an inference kernel without a gradient must not replace the base layers for good."""
    model = build(standin, quantization=QuantizationConfig(compute_dtype="bfloat16"))
    tokens = torch.arange(1, 13).reshape(2, 6)
    model.eval()
    with torch.no_grad():
        model(input_ids=tokens)
    model.train()
    first = model.get_base_model().model.layers[0].self_attn.q_proj
    model(input_ids=tokens, labels=tokens).loss.backward()
    assert float(first.lora_B["default"].weight.grad.abs().sum()) > 0
    assert all(not layer.support_avx512bf16_for_cpu for layer in quantized_layers(model).values())


def test_an_unknown_base_is_one_clear_error() -> None:
    with pytest.raises(ModelError, match=r"no-such-folder.*Accepted"):
        load_quantized("./no-such-folder", None, NF4)
