"""The frozen base cut into parts, one a process: FSDP2 under a LoRA adapter, quantised base or not.

Each layer of the model is one unit: its weights lie in equal parts on all processes, are gathered when the layer is
computed, forward and backward, and let go after it. bitsandbytes' packed weights are cut like any other tensor; their
quantisation constants (an eighth of a bit a weight with double quantisation) stay whole. The adapter is left out: it
is small, so every process holds it and its optimizer state, as without sharding, and the same checkpoints serve both.
"""

from typing import Any

from jobtuner.errors import ModelError

__all__ = ["is_sharded", "shard_base"]


def shard_base(model: Any, processes: int) -> dict[str, int]:
    """Cut the frozen weights of a model with an adapter, in place.

    Args:
        model: on this process's device, the same in all processes.
        processes: how many there are in the group.

    Returns:
        sharded_parameters (stored numbers; two 4-bit weights count as one) and sharded_units, read back from the model.

    Raises:
        ModelError: a frozen weight was left whole, or a part of the adapter was cut.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FSDPModule, fully_shard

    device = next(model.parameters()).device.type
    mesh = init_device_mesh(device, (processes,))
    whole = {each for each in model.parameters() if each.requires_grad}
    causal = model.get_base_model()
    for layer in causal.model.layers:
        fully_shard(layer, mesh=mesh, ignored_params=whole)
    # Embedding, last norm, output layer. Let go after each pass like a layer, not kept as a root's weights usually are:
    # what one process does alone, such as writing a checkpoint, cuts them again, and then it would gather alone.
    fully_shard(causal, mesh=mesh, ignored_params=whole, reshard_after_forward=True)
    wrong = [name for name, each in model.named_parameters() if _is_cut(each) == each.requires_grad]
    if wrong:
        raise ModelError(f"hardware.sharding did not take effect on {len(wrong)} weights, {wrong[0]} among them.")
    cut = [each for each in model.parameters() if not each.requires_grad]
    return {
        "sharded_parameters": sum(each.numel() for each in cut),
        "sharded_units": sum(isinstance(module, FSDPModule) for module in causal.modules()),
    }


def is_sharded(model: Any) -> bool:
    """Whether the model's weights lie on several processes: then all must compute it together."""
    return any(_is_cut(each) for each in model.parameters())


def _is_cut(parameter: Any) -> bool:
    from torch.distributed.tensor import DTensor

    return isinstance(parameter, DTensor)
