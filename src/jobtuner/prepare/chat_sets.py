"""Rows of public chat sets → chats, by the columns that they document. Pure functions of one row.

| layout     | columns                                                    | sets                                      |
|------------|------------------------------------------------------------|-------------------------------------------|
| r1_distill | reannotated_assistant_content with problem or messages     | ServiceNow-AI/R1-Distill-SFT (v0 and v1)  |
| messages   | messages: list of role, content                            | OpenAI's form, most newer sets            |
| sharegpt   | conversations: list of from, value                         | mlabonne/FineTome-100k, ShareGPT          |
| alpaca     | instruction, output, optionally input and system           | Alpaca, GPTeacher, self-instruct          |
"""

from collections.abc import Mapping, Sequence
from typing import Any

from jobtuner.errors import DataError
from jobtuner.records import Message

__all__ = ["LAYOUTS", "convert", "layout"]

LAYOUTS = {
    "r1_distill": "reannotated_assistant_content with problem, messages or reannotated_messages",
    "messages": "messages, a list of {role, content}",
    "sharegpt": "conversations, a list of {from, value}",
    "alpaca": "instruction and output, optionally input and system",
}
"""Name of each accepted layout and the columns that make it."""

_ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "model": "assistant",
}
_SHOWN = 60  # characters of a wrong value in an error message


def layout(row: Mapping[str, Any]) -> str:
    """The name of the layout that a row has.

    Raises:
        DataError: its keys are those of no accepted layout.
    """
    keys = {key for key, value in row.items() if value is not None}
    if "reannotated_assistant_content" in keys and keys & {"problem", "messages", "reannotated_messages"}:
        return "r1_distill"
    for name, column in (("messages", "messages"), ("sharegpt", "conversations")):
        if column in keys:
            return name
    if {"instruction", "output"} <= keys:
        return "alpaca"
    accepted = "; ".join(f"{name}: {columns}" for name, columns in LAYOUTS.items())
    raise DataError(
        f"A row with the keys {', '.join(sorted(map(str, row))) or '(none)'} is no chat. Accepted: {accepted}."
    )


def convert(row: Mapping[str, Any]) -> list[Message]:
    """The chat of one row: an optional system turn, then user and assistant in turn, the assistant's answer last.

    Raises:
        DataError: the keys are those of no accepted layout, a turn has an unknown role or no text, or the turns are not
            such a chat.
    """
    name = layout(row)
    readers = {"r1_distill": _r1_distill, "messages": _messages, "sharegpt": _sharegpt, "alpaca": _alpaca}
    return _checked(readers[name](row), name)


def _r1_distill(row: Mapping[str, Any]) -> list[Message]:
    """Version v1 holds whole chats; v0 a problem, and the answer with its reasoning between <think> and </think>."""
    if row.get("reannotated_messages"):
        return _turns(row["reannotated_messages"], "reannotated_messages", "role", "content")
    answer = _turn("assistant", row["reannotated_assistant_content"])
    if row.get("problem"):
        return [_turn("user", row["problem"]), answer]
    chat = _turns(row.get("messages"), "messages", "role", "content")
    while chat and chat[-1]["role"] == "assistant":  # the former answer, which the reannotated one replaces
        chat.pop()
    return [*chat, answer]


def _messages(row: Mapping[str, Any]) -> list[Message]:
    return _turns(row["messages"], "messages", "role", "content")


def _sharegpt(row: Mapping[str, Any]) -> list[Message]:
    """Some sets name the column as ShareGPT does and the fields of a turn as OpenAI does."""
    turns = row["conversations"]
    modern = isinstance(turns, Sequence) and bool(turns) and isinstance(turns[0], Mapping) and "role" in turns[0]
    role, content = ("role", "content") if modern else ("from", "value")
    return _turns(turns, "conversations", role, content)


def _alpaca(row: Mapping[str, Any]) -> list[Message]:
    """The input, where there is one, follows the instruction after an empty line."""
    system = [_turn("system", row["system"])] if row.get("system") else []
    parts = [_text(row["instruction"]), _text(row.get("input") or "")]
    question = "\n\n".join(part for part in parts if part.strip())
    return [*system, _turn("user", question), _turn("assistant", row["output"])]


def _turns(turns: object, column: str, role: str, content: str) -> list[Message]:
    if not isinstance(turns, Sequence) or isinstance(turns, str):
        raise DataError(f"The column {column} holds a {type(turns).__name__}; a list of turns is needed.")
    chat = []
    for turn in turns:
        if not isinstance(turn, Mapping) or role not in turn or content not in turn:
            raise DataError(f"A turn of {column} is {_shown(turn)}; {{{role}: …, {content}: …}} is needed.")
        chat.append(_turn(turn[role], turn[content]))
    return chat


def _turn(role: object, content: object) -> Message:
    known = _ROLES.get(str(role).lower())
    if known is None:
        accepted = ", ".join(_ROLES)
        raise DataError(f"A turn has the role {_shown(role)}; accepted are {accepted}. Leave out rows with tool calls.")
    return {"role": known, "content": _text(content)}


def _text(content: object) -> str:
    """A turn's text; OpenAI's list of parts is joined where all of them are text."""
    if isinstance(content, str):
        return content.strip()
    if isinstance(content, Sequence) and content:
        parts = [part.get("text") if isinstance(part, Mapping) else None for part in content]
        if all(isinstance(part, str) for part in parts):
            return "\n".join(map(str, parts)).strip()
    raise DataError(f"A turn's content is {_shown(content)}; text is needed.")


def _checked(chat: list[Message], name: str) -> list[Message]:
    roles = [turn["role"] for turn in chat]
    spoken = roles[1:] if roles[:1] == ["system"] else roles
    wanted = ["user", "assistant"] * (len(spoken) // 2)
    if not spoken or spoken != wanted:
        raise DataError(
            f"The turns of a row in the layout {name} are {', '.join(roles) or '(none)'}; an optional system, then "
            "user and assistant in turn are needed, the assistant last."
        )
    empty = next((number for number, turn in enumerate(chat, start=1) if not turn["content"]), None)
    if empty is not None:
        raise DataError(f"Turn {empty} ({roles[empty - 1]}) of a row in the layout {name} has no text.")
    return chat


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
