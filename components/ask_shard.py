"""One shard of ads, asked about by way of the gateway."""

from kfp import dsl

from components.image import IMAGE

__all__ = ["ask_shard"]


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def ask_shard(
    parts: dsl.Input[dsl.Dataset],
    number: int,
    endpoint: str,
    options: list[str],
    answers: dsl.Output[dsl.Dataset],
) -> None:
    """Call `jobtuner.shards.ask_shard`."""
    from jobtuner.shards import ask_shard

    ask_shard(parts.path, number, endpoint, options, answers.path)
