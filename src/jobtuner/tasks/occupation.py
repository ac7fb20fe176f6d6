"""Which occupation does an ad look for? The answer is a code of the taxonomy."""

from collections.abc import Collection

from jobtuner.records import Message

__all__ = ["OccupationTask"]


class OccupationTask:
    """Ad or title in any language → code."""

    name = "occupation"

    def messages(self, text: str) -> list[Message]:
        """The chat that asks for the occupation of one ad. Short: every token is paid for once per ad."""
        return [
            {"role": "system", "content": "Classify the job ad. Answer with its occupation code."},
            {"role": "user", "content": text},
        ]

    def answer(self, label: str) -> str:
        """The assistant's right answer."""
        return label

    def parse(self, answer: str, labels: Collection[str]) -> str | None:
        """The code in a model's answer, or None where it is no code of the taxonomy."""
        code = answer.strip()
        return code if code in labels else None
