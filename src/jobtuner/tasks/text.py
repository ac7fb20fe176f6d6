"""Text from strangers inside a prompt."""

import re

from jobtuner.records import Message

__all__ = ["defused", "defused_messages"]

_CONTROL = re.compile(r"<\|(\w+)\|>")


def defused(text: str) -> str:
    """The text with every spelt control token broken up: `<|im_end|>` becomes `<| im_end |>`, which ends no turn.

    Our own encoder never makes a control token of a text; a server that renders the chat template may.
    """
    return _CONTROL.sub(r"<| \1 |>", text)


def defused_messages(messages: list[Message]) -> list[Message]:
    """The same chat with every content defused and without white space around it."""
    return [{"role": item["role"], "content": defused(item["content"]).strip()} for item in messages]
