"""A conversation → the assistant's next turn."""

from collections.abc import Mapping, Sequence
from typing import Any

from jobtuner.errors import DataError
from jobtuner.records import Message
from jobtuner.tasks.text import defused_messages

__all__ = ["InstructTask"]

_ROLES = ("system", "user", "assistant")


class InstructTask:
    """Any instruction, with or without a conversation before it → answer."""

    name = "instruct"

    def messages(self, conversation: Sequence[Message]) -> list[Message]:
        """The conversation as a prompt: it ends with the user's turn.

        Raises:
            DataError: a turn without role and text, a role that is none, or the last turn is not the user's.
        """
        _check(conversation)
        if conversation[-1]["role"] != "user":
            raise DataError(f"The conversation ends with the {conversation[-1]['role']}; the user must have the word.")
        return defused_messages(list(conversation))

    def split(self, conversation: Sequence[Message]) -> tuple[list[Message], str]:
        """What comes before the last assistant turn, and that turn: the prompt and its right answer.

        Raises:
            DataError: no assistant turn, an empty one, or none of the user's before it.
        """
        _check(conversation)
        places = [index for index, item in enumerate(conversation) if item["role"] == "assistant"]
        if not places:
            raise DataError("The conversation holds no assistant turn; there is nothing to learn from it.")
        prompt = list(conversation[: places[-1]])
        if not prompt or prompt[-1]["role"] != "user":
            raise DataError("No user turn stands before the last assistant turn.")
        answer = conversation[places[-1]]["content"].strip()
        if not answer:
            raise DataError("The last assistant turn is empty.")
        return prompt, answer

    def prompt(self, text: str, facts: Mapping[str, Any]) -> list[Message]:
        """The chat before the answer: `facts["before"]`, the earlier turns, then the user's text."""
        return self.messages([*facts.get("before", ()), {"role": "user", "content": text}])

    def answer(self, text: str) -> str:
        """The assistant's right answer."""
        return text.strip()

    def parse(self, answer: str) -> str:
        """The text of an answer."""
        return answer.strip()


def _check(conversation: Sequence[Message]) -> None:
    if not conversation:
        raise DataError("The conversation is empty.")
    for number, item in enumerate(conversation, start=1):
        role, content = item.get("role"), item.get("content")
        if role not in _ROLES or not isinstance(content, str):
            raise DataError(
                f"Turn {number} of the conversation has the role {role!r} and a {type(content).__name__}; a role of "
                f"{', '.join(_ROLES)} and text are needed."
            )
        if role == "system" and number > 1:
            raise DataError(f"Turn {number} of the conversation is a system message; only the first may be.")
