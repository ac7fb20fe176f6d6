"""What a fine-tuning run will take, before anything is loaded: parameters, memory by part, steps, time, cost.

The memory is what PyTorch's allocator hands out at the peak of a step. On a GPU the CUDA context (some hundred
megabytes) and the allocator's fragments come on top.
"""

from dataclasses import dataclass

from jobtuner.config import Config, LoraSettings, QuantizationConfig, TrainingConfig
from jobtuner.train.arguments import optimizer_steps
from jobtuner.train.mixture import epoch_rows
from jobtuner.train.shapes import Shape

__all__ = [
    "Plan",
    "Workload",
    "activation_bytes",
    "adapter_parameters",
    "logit_bytes",
    "make_plan",
    "weight_bytes",
]

_OPTIMIZER_BYTES = {"adamw_torch": 8, "adamw_torch_fused": 8, "adamw_8bit": 2.03, "paged_adamw_8bit": 2.03}
"""Bytes a trainable parameter: two moments, in float32, or in 8 bits with a float32 for each block of 256."""


@dataclass(frozen=True)
class Workload:
    """What the run reads."""

    examples: int
    """Of the recipe's own set."""
    example_tokens: int
    """Mean tokens of an example, prompt and answer included."""
    answer_tokens: int
    """Of these, answer."""


@dataclass(frozen=True)
class Plan:
    """The result; bytes, seconds, and counts."""

    total_parameters: int
    """Base and adapter."""
    trainable_parameters: int
    memory: dict[str, int]
    """Bytes by part, of each process."""
    processes: int
    """Processes on one machine, each with a GPU of its own."""
    loading_bytes: int
    """Bytes of the whole base, which each process holds for a moment before it is cut; 0 where it is not."""
    steps: int
    tokens: int
    """Tokens of all examples over all steps; what a shared prefix saves is left aside."""
    flops: float
    """Useful floating-point operations of the run (`Shape.flops_a_token`)."""

    @property
    def peak_bytes(self) -> int:
        """Sum of the parts, or the whole base while it is loaded, where that is more."""
        return max(sum(self.memory.values()), self.loading_bytes)

    def seconds(
        self, tokens_per_second: float | None = None, peak_flops: float | None = None, mfu: float = 0.3
    ) -> float | None:
        """Time of the steps.

        Args:
            tokens_per_second: measured, of all processes together; comes first where it is given.
            peak_flops: what one chip can do at most, dense, in the compute dtype, a second.
            mfu: share of it that useful operations reach. 0.3 is a guess: measure yours with `make gpu-bench`.

        Returns:
            None where neither is given.
        """
        if tokens_per_second is not None:
            return self.tokens / tokens_per_second
        return None if peak_flops is None else self.flops / (peak_flops * mfu * self.processes)


def make_plan(config: Config, shape: Shape, work: Workload) -> Plan:
    """Plan the train stage of a recipe on a base of this shape."""
    training, full = config.training, config.training.method == "full"
    base = shape.linear_parameters + shape.other_parameters
    trainable = base if full else adapter_parameters(shape, config.lora)
    processes = config.hardware.processes or 1
    parts = processes if config.hardware.sharding == "fsdp" else 1
    per_step = training.batch_size * training.gradient_accumulation
    examples = epoch_rows(training.mixture, work.examples)
    steps = optimizer_steps(training, examples)
    rows = min(steps * per_step, round(training.epochs * examples))
    size = _dtype_bytes(config.quantization)
    by_budget = training.pass_tokens is not None
    share = min(training.batch_size, examples, -(-per_step // processes))  # examples of a pass
    pass_tokens = training.pass_tokens or share * work.example_tokens
    pass_rows = max(1, pass_tokens // work.example_tokens) if by_budget else share
    linear, constants = weight_bytes(shape, config.quantization)
    largest = max(inputs * outputs for inputs, outputs in shape.linear.values())
    others = shape.other_parameters * size
    held = {"all weights (float32)": base * 4, "their bfloat16 copies of a step": base * 2 if size == 2 else 0}
    if not full:
        held = {
            "weights of the linear layers": -(-linear // parts),
            "their quantisation constants": constants,
            # In parts too; what they are cut from is gathered for the whole of a step.
            "embeddings, output layer, norms": others + (-(-others // parts) if parts > 1 else 0),
            "two layers gathered": 2 * linear // shape.layers if parts > 1 else 0,
            "adapter (float32)": trainable * 4,
        }
    memory = {
        **held,
        "gradients (float32)": trainable * 4,
        "optimizer": round(trainable * _OPTIMIZER_BYTES[training.optimizer]),
        "activations": activation_bytes(
            shape, config.quantization, None if full else config.lora, training, pass_tokens
        ),
        "logits of the answers": logit_bytes(shape, pass_rows * work.answer_tokens),
        "one layer unpacked": 0 if config.quantization.type == "none" else largest * size,
    }
    return Plan(
        total_parameters=base if full else base + trainable,
        trainable_parameters=trainable,
        memory=memory,
        processes=processes,
        loading_bytes=linear + constants + others if parts > 1 else 0,
        steps=steps,
        tokens=rows * work.example_tokens,
        flops=rows * work.example_tokens * shape.flops_a_token(work.example_tokens, full),
    )


def adapter_parameters(shape: Shape, lora: LoraSettings) -> int:
    """A has rank × inputs and B outputs × rank weights; DoRA adds one magnitude an output."""
    chosen = set(shape.linear) if lora.target_modules == "all-linear" else set(lora.target_modules)
    layer = sum(
        lora.r * (inputs + outputs) + (outputs if lora.dora else 0)
        for name, (inputs, outputs) in shape.linear.items()
        if name in chosen
    )
    return shape.layers * layer + (lora.r * (shape.vocab + shape.hidden) if "embed_tokens" in chosen else 0)


def weight_bytes(shape: Shape, quantization: QuantizationConfig) -> tuple[int, int]:
    """Bytes of the linear layers' weights and of their quantisation constants.

    4 bits a weight, and a float32 for each block of 64. Double quantisation holds those in 8 bits, with a float32 for
    each 256 of them (QLoRA, arXiv 2305.14314, section 3).
    """
    count = shape.linear_parameters
    if quantization.type == "none":
        return count * _dtype_bytes(quantization), 0
    blocks = count / 64
    return count // 2, round(blocks * (1 + 4 / 256) if quantization.double else blocks * 4)


def activation_bytes(
    shape: Shape, quantization: QuantizationConfig, lora: LoraSettings | None, training: TrainingConfig, tokens: int
) -> int:
    """Bytes that the forward pass keeps for the backward pass.

    Counted on a packed forward pass with PyTorch's saved-tensor hooks, all linear layers adapted. A token keeps in each
    layer: 14 numbers as wide as the hidden size in the compute dtype (inputs of the norms, of q, k, v together, of o,
    of gate and up together; query, keys and values, once as made, once as attention takes them), 2 in float32 (inside
    the norms), 4 as wide as the MLP, 7 of the adapter's rank. Dropout keeps for each adapted layer a mask of a byte and
    an input of its own. Full fine-tuning (lora None) keeps the same inputs, for the gradients of the weights; that is
    derived, not counted. With checkpointing a layer keeps its input alone, and one layer at a time the rest.
    """
    h, i, size = shape.hidden, shape.intermediate, _dtype_bytes(quantization)
    layer = size * (14 * h + 4 * i + 7 * (lora.r if lora else 0)) + 4 * 2 * h
    if lora and lora.dropout > 0:
        layer += (size + 1) * (6 * h + i)
    kept = shape.layers * size * h + layer if training.gradient_checkpointing else shape.layers * layer
    return tokens * (kept + (size + 4) * h)  # and the last norm


def logit_bytes(shape: Shape, answers: int) -> int:
    """Bytes of the logits of this many answer tokens: in bfloat16, in float32, their log-softmax, both gradients."""
    return answers * shape.vocab * (2 + 4 + 4 + 4 + 2)


def _dtype_bytes(quantization: QuantizationConfig) -> int:
    return 4 if quantization.compute_dtype == "float32" else 2
