"""The plan against what is really built, saved for the backward pass, and known of the real models."""

from pathlib import Path
from typing import Any

import pytest
import torch

from jobtuner.config import LoraSettings, QuantizationConfig, TrainingConfig, load_config
from jobtuner.errors import ConfigError
from jobtuner.models import load_quantized, quantized_layers
from jobtuner.tasks.base import IGNORED
from jobtuner.train.batches import answer_loss
from jobtuner.train.lora import add_adapter, verify
from jobtuner.train.packing import pack, packed_attention
from jobtuner.train.plan import Plan, Workload, activation_bytes, logit_bytes, make_plan, weight_bytes
from jobtuner.train.shapes import SHAPES, Shape, shape_of
from tests.conftest import Standin

WORK = Workload(examples=1000, example_tokens=100, answer_tokens=6)

# Parameters that the Hub states for each model's safetensors files.
TOTALS = {
    "qwen2.5-0.5b": 494_032_768,
    "qwen2.5-1.5b": 1_543_714_304,
    "qwen2.5-3b": 3_085_938_688,
    "qwen2.5-7b": 7_615_616_512,
    "qwen2.5-14b": 14_770_033_664,
    "qwen2.5-32b": 32_763_876_352,
    "qwen2.5-72b": 72_706_203_648,
}


@pytest.mark.parametrize("name", SHAPES)
def test_known_shapes_have_the_parameters_that_the_models_have(name: str) -> None:
    assert SHAPES[name].linear_parameters + SHAPES[name].other_parameters == TOTALS[name]


def of_standin(standin: Standin) -> Shape:
    config = load_config("smoke")
    return shape_of(config.model.model_copy(update={"base": str(standin.folder)}))


@pytest.mark.parametrize(
    "lora",
    [
        LoraSettings(r=8),
        LoraSettings(r=64, dora=True),
        LoraSettings(r=16, target_modules=["q_proj", "down_proj"]),
        LoraSettings(r=8, target_modules=["v_proj", "embed_tokens"]),
    ],
)
@pytest.mark.parametrize("kind", ["nf4", "none"])
def test_parameters_are_counted_as_they_are_built(standin: Standin, lora: LoraSettings, kind: Any) -> None:
    quantization = QuantizationConfig(type=kind, double=kind == "nf4", compute_dtype="float32")
    found = verify(
        add_adapter(load_quantized(str(standin.folder), None, quantization), lora, False), quantization, lora
    )
    config = load_config("smoke").model_copy(update={"lora": lora, "quantization": quantization})
    plan = make_plan(config, of_standin(standin), WORK)
    assert plan.trainable_parameters == found["trainable_parameters"]
    assert plan.total_parameters == found["total_parameters"]


@pytest.mark.parametrize("double", [True, False])
def test_bytes_of_the_weights_are_those_in_memory(tmp_path: Path, double: bool) -> None:
    from transformers import Qwen2ForCausalLM

    shape = Shape(640, 256, 704, 2, 4, 2, tied=False)
    Qwen2ForCausalLM(_config(shape)).save_pretrained(tmp_path)
    asked = QuantizationConfig(double=double)
    model = load_quantized(str(tmp_path), None, asked)
    weights, constants = 0, 0
    for layer in quantized_layers(model).values():
        weights += layer.weight.untyped_storage().nbytes()
        state = layer.weight.quant_state
        constants += state.absmax.nbytes + (state.state2.absmax.nbytes if double else 0)
    others = sum(each.nbytes for each in model.parameters() if each.dtype == torch.bfloat16)
    planned = weight_bytes(shape, asked)
    assert weights == planned[0]
    assert constants == pytest.approx(planned[1], rel=0.01)  # the last block of a layer may be a part of one
    assert others == shape.other_parameters * 2


def _config(shape: Shape) -> Any:
    from transformers import Qwen2Config

    return Qwen2Config(**shape.as_config())


@pytest.mark.parametrize(
    ("kind", "dropout", "checkpointing"),
    [("bfloat16", 0.0, False), ("bfloat16", 0.1, False), ("float32", 0.0, False), ("bfloat16", 0.0, True)],
)
def test_activations_are_those_that_autograd_saves(
    tmp_path: Path, kind: Any, dropout: float, checkpointing: bool
) -> None:
    from transformers import Qwen2ForCausalLM

    shape = Shape(640, 256, 704, 3, 4, 2, tied=False)
    Qwen2ForCausalLM(_config(shape)).save_pretrained(tmp_path)
    quantization = QuantizationConfig(compute_dtype=kind)
    lora, training = LoraSettings(r=16, dropout=dropout), TrainingConfig(gradient_checkpointing=checkpointing)
    model = add_adapter(load_quantized(str(tmp_path), None, quantization), lora, checkpointing).train()
    for each in model.parameters():
        if each.requires_grad:
            each.data = each.data.float()
    ids = [list(range(5, 25)) + [30 + row] * 80 for row in range(4)]
    batch = pack([{"input_ids": row, "labels": [IGNORED] * 99 + row[99:]} for row in ids], 20)
    own = {each.untyped_storage().data_ptr() for each in [*model.parameters(), *model.buffers()]}
    saved: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in own:
            saved.setdefault(tensor.untyped_storage().data_ptr(), tensor)
        return tensor

    with (
        packed_attention(model),
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", dtype=torch.bfloat16, enabled=kind == "bfloat16"),
    ):
        answer_loss(model, batch)
    found = sum(tensor.untyped_storage().nbytes() for tensor in saved.values())
    tokens = batch["input_ids"].shape[1]
    planned = activation_bytes(shape, quantization, lora, training, tokens)
    if checkpointing:  # the one layer that is computed anew is not saved yet
        whole = activation_bytes(shape, quantization, lora, TrainingConfig(), tokens)
        ends = tokens * 6 * shape.hidden
        planned -= (whole - ends) // shape.layers
    # The stand-in's attention is small beside a real one's, masks and copies of A and B are not planned for.
    assert found == pytest.approx(planned, rel=0.2)


@pytest.mark.gpu
@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_peak_is_what_the_allocator_hands_out(tmp_path: Path, checkpointing: bool) -> None:
    from transformers import Qwen2ForCausalLM

    shape = Shape(32_000, 1024, 2816, 12, 16, 4, tied=False)
    Qwen2ForCausalLM(_config(shape)).save_pretrained(tmp_path)
    config = load_config("qwen2_5_0_5b").model_copy(
        update={"training": TrainingConfig(batch_size=8, gradient_checkpointing=checkpointing)}
    )
    model = add_adapter(load_quantized(str(tmp_path), None, config.quantization), config.lora, checkpointing).train()
    trainable = [each for each in model.parameters() if each.requires_grad]
    for each in trainable:
        each.data = each.data.float()
    optimizer = torch.optim.AdamW(trainable)
    row = {"input_ids": list(range(512)), "labels": [IGNORED] * 506 + list(range(506, 512))}
    batch = {
        key: {name: each.cuda() if isinstance(each, torch.Tensor) else each for name, each in value.items()}
        if isinstance(value, dict)
        else value.cuda()
        for key, value in pack([row] * 8, 0).items()
    }
    for _ in range(2):  # the optimizer's state exists from the second step on
        torch.cuda.reset_peak_memory_stats()
        with packed_attention(model), torch.autocast("cuda", dtype=torch.bfloat16):
            answer_loss(model, batch).backward()
        optimizer.step()
        optimizer.zero_grad()
    planned = make_plan(config, shape, Workload(examples=8, example_tokens=512, answer_tokens=6)).peak_bytes
    assert torch.cuda.max_memory_allocated() == pytest.approx(planned, rel=0.25)


def plan(**training: Any) -> Plan:
    config = load_config("qwen2_5_0_5b")
    config = config.model_copy(update={"training": TrainingConfig(**training)})
    return make_plan(config, SHAPES["qwen2.5-0.5b"], WORK)


def test_steps_tokens_time_and_cost() -> None:
    made = plan(epochs=2.0, batch_size=10, gradient_accumulation=3)
    assert (made.steps, made.tokens) == (68, 200_000)
    assert plan(epochs=2.0, batch_size=10, max_steps=7).tokens == 7 * 10 * 100
    assert made.seconds(tokens_per_second=4000) == 50.0
    assert made.seconds() is None
    by_peak = made.seconds(peak_flops=1e14, mfu=0.5)
    assert by_peak == pytest.approx(made.flops / 5e13)
    shape = SHAPES["qwen2.5-0.5b"]
    assert made.flops == 200_000 * (4 * shape.linear_parameters + 6 * 100 * 896 * 24)


def test_settings_that_save_memory_are_seen_to_save_it() -> None:
    usual = plan(batch_size=16).memory
    assert plan(batch_size=16, gradient_checkpointing=True).memory["activations"] < usual["activations"] / 5
    assert plan(batch_size=16, pass_tokens=400).memory["activations"] == usual["activations"] / 4
    assert plan(batch_size=16, pass_tokens=400).memory["logits of the answers"] == logit_bytes(
        SHAPES["qwen2.5-0.5b"], 4 * 6
    )
    assert plan(optimizer="adamw_8bit").memory["optimizer"] < usual["optimizer"] / 3
    assert sum(usual.values()) == plan(batch_size=16).peak_bytes


def of(recipe: str, **changes: str) -> Plan:
    config = load_config(recipe, {key.replace("__", "."): value for key, value in changes.items()})
    return make_plan(config, shape_of(config.model), Workload(examples=10_000, example_tokens=500, answer_tokens=6))


def test_a_base_in_parts_is_planned_for_each_gpu() -> None:
    parts, whole = of("qwen2_5_72b"), of("qwen2_5_72b", hardware__sharding="none")
    name = "weights of the linear layers"
    assert parts.memory[name] == pytest.approx(whole.memory[name] / 8, abs=1)
    assert parts.memory["adapter (float32)"] == whole.memory["adapter (float32)"]
    assert parts.memory["activations"] == whole.memory["activations"]
    assert whole.loading_bytes == 0
    assert parts.loading_bytes == sum(
        whole.memory[part] for part in (name, "their quantisation constants", "embeddings, output layer, norms")
    )
    assert parts.peak_bytes == parts.loading_bytes > sum(parts.memory.values())


def test_more_processes_take_as_many_steps_of_smaller_shares() -> None:
    one, four = (
        of("qwen2_5_7b", training__pass_tokens="null"),
        of("qwen2_5_7b", training__pass_tokens="null", hardware__processes="4"),
    )
    assert (four.steps, four.tokens) == (one.steps, one.tokens)
    assert four.memory["activations"] == one.memory["activations"] / 4
    assert four.seconds(peak_flops=1e14) == pytest.approx(one.seconds(peak_flops=1e14) / 4)  # type: ignore[operator]


def test_full_fine_tuning_is_planned_with_all_weights() -> None:
    changes = {"training__method": "full", "lora": "{}", "quantization__type": "none", "quantization__double": "false"}
    plan = of("qwen2_5_0_5b", **changes)
    count = TOTALS["qwen2.5-0.5b"]
    assert plan.trainable_parameters == plan.total_parameters == count
    held = ("all weights (float32)", "gradients (float32)", "optimizer")
    assert sum(plan.memory[part] for part in held) == 16 * count
    assert plan.flops > of("qwen2_5_0_5b").flops


def test_a_model_of_unknown_shape_is_one_clear_error(tmp_path: Path) -> None:
    model = load_config("smoke").model
    with pytest.raises(ConfigError, match=r"mistral.*qwen2\.5-7b.*local folder"):
        shape_of(model.model_copy(update={"base": "mistralai/mistral-7b"}))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ConfigError, match="vocab_size"):
        shape_of(model.model_copy(update={"base": str(tmp_path)}))


def test_the_shape_of_the_standin_follows_from_the_recipe() -> None:
    assert shape_of(load_config("smoke").model) == Shape(4096, 192, 512, 2, 3, 3, tied=False)
    assert shape_of(load_config("qwen2_5_0_5b").model) == SHAPES["qwen2.5-0.5b"]
