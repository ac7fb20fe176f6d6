"""Does the merged model write what base and adapter write? Token by token, on right answers given to both."""

import math
from pathlib import Path

from jobtuner.config import Config
from jobtuner.contracts import PreparedData, TrainedModel
from jobtuner.errors import DataError
from jobtuner.generation import LocalWriter, Measured, load_adapted_writer, load_exported_writer
from jobtuner.progress import track
from jobtuner.records import ChatExample, read_jsonl

__all__ = ["chat_parity"]


def chat_parity(trained: TrainedModel, folder: Path, prepared: PreparedData, config: Config) -> dict[str, float]:
    """Agreement of the merged model with base + adapter on the first validation examples by id.

    Answers that each model writes on its own would part for good at the first near-tie; with the right answer given,
    every token is a question of its own.

    Returns:
        examples, label_agreement (share of the answers' tokens at which both find the same token likeliest),
        mean_log_difference (nats) and max_abs_difference (of the probability) of the right tokens.

    Raises:
        DataError: there are no validation examples.
    """
    rows = [ChatExample.from_json(row) for row in read_jsonl(prepared.folder / "validation.jsonl")]
    rows = sorted(rows, key=lambda item: item.id)[: config.export.parity_examples]
    if not rows:
        raise DataError(f"{prepared.folder / 'validation.jsonl'} has no rows. Run the stage prepare again.")
    with track("Parity check", total=2, unit="models") as bar:
        before = _measured(load_adapted_writer(trained), rows)
        bar.advance()
        after = _measured(load_exported_writer(folder), rows)
        bar.advance()
    pairs = list(zip(before, after, strict=True))
    same = [a == b for ours, theirs in pairs for a, b in zip(ours.choices, theirs.choices, strict=True)]
    both = [
        pair for ours, theirs in pairs for pair in zip(ours.log_probabilities, theirs.log_probabilities, strict=True)
    ]
    return {
        "examples": float(len(rows)),
        "label_agreement": sum(same) / len(same),
        "mean_log_difference": sum(abs(a - b) for a, b in both) / len(both),
        "max_abs_difference": max(abs(math.exp(a) - math.exp(b)) for a, b in both),
    }


def _measured(writer: LocalWriter, rows: list[ChatExample]) -> list[Measured]:
    return writer.measure([writer.prompts.of_example(row) for row in rows], [row.answer for row in rows])
