"""What a model wrote on a test split, as it is kept with a version; and the champion's answers to the same examples."""

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from jobtuner.chat_scores import score_answers
from jobtuner.contracts import PreparedData, TrainedModel
from jobtuner.errors import ContractError, JobTunerError
from jobtuner.generation import Chat, ChatPrompts, load_adapted_writer
from jobtuner.records import ChatAnswer, ChatExample, read_jsonl
from jobtuner.register.answers import ANSWERS_FILE
from jobtuner.register.gate import Unmeasured
from jobtuner.register.registry import RegisteredModel, Registry

__all__ = ["AskedWriter", "ChatAnswers", "LoadWriter", "champion_chats"]


class AskedWriter(Protocol):
    """A loaded champion."""

    prompts: ChatPrompts

    def answers(self, chats: Sequence[Chat]) -> list[str]:
        """One answer a chat."""


LoadWriter = Callable[[TrainedModel, int], AskedWriter]


@dataclass(frozen=True)
class ChatAnswers:
    """One model's answers to the test split of one data set."""

    task: str
    data_fingerprint: str
    rows: list[ChatAnswer]

    def save(self, path: Path) -> None:
        """Write one JSON document; equal answers give equal bytes."""
        rows = [row.to_json() for row in self.rows]
        document = {"task": self.task, "data_fingerprint": self.data_fingerprint, "rows": rows}
        path.write_text(json.dumps(document, ensure_ascii=False, indent=0), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            ContractError: the file is missing, cut, or of another form.
        """
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            rows = [ChatAnswer.from_json(row) for row in document["rows"]]
            return cls(document["task"], document["data_fingerprint"], rows)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ContractError(f"{path} holds no readable answers ({error}). Register the model again.") from error

    def only(self, ids: Sequence[str]) -> list[ChatAnswer] | None:
        """The answers to some examples in their order; None where one is missing."""
        found = {row.id: row for row in self.rows}
        return [found[name] for name in ids] if found.keys() >= set(ids) else None


def champion_chats(
    registry: Registry,
    name: str,
    champion: RegisteredModel,
    prepared: PreparedData,
    ours: ChatAnswers,
    batch_size: int,
    load: LoadWriter = load_adapted_writer,
) -> list[ChatAnswer] | Unmeasured:
    """What the champion writes to the examples that the challenger was tested on, scored.

    Args:
        registry: where the champion lies.
        name: the model's name there.
        champion: its version.
        prepared: the data whose test split it is asked.
        ours: the challenger's answers.
        batch_size: answers written at once.
        load: makes a writer of adapter and base.

    Returns:
        Its stored answers where they are of these very examples, else new ones; or why there are none.
    """
    ids = [row.id for row in ours.rows]
    with tempfile.TemporaryDirectory(prefix="jobtuner-champion-") as scratch:
        try:
            kept = ChatAnswers.load(registry.fetch(name, champion.version, ANSWERS_FILE, Path(scratch) / "answers"))
            same = kept.only(ids) if kept.data_fingerprint == ours.data_fingerprint else None
            if same is not None and kept.task == ours.task:
                return same
        except JobTunerError:
            pass  # a version whose file was cut: it is asked anew
        try:
            folder = registry.fetch(name, champion.version, "", Path(scratch) / "model")
            writer = load(TrainedModel.load(folder), batch_size)
            found = writer.prompts.settings.task
            if found != ours.task:
                return Unmeasured(champion.version, f"it was trained for the task {found}, not {ours.task}.")
            tested = {item.id: item for item in map(ChatExample.from_json, read_jsonl(prepared.folder / "test.jsonl"))}
            rows = [tested[row] for row in ids]
            return score_answers(ours.task, rows, writer.answers([writer.prompts.of_example(row) for row in rows]))
        except (JobTunerError, OSError, ValueError, RuntimeError) as error:  # RuntimeError: weights that do not fit
            return Unmeasured(champion.version, str(error).strip())
