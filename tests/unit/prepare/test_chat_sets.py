import json
from typing import Any

import pytest

from jobtuner.errors import DataError
from jobtuner.prepare.chat_sets import LAYOUTS, convert, layout

THOUGHT = "<think>\n2 and 2\n</think>\n\nIt is \\boxed{4}."
R1_V0 = {
    "id": "x",
    "reannotated_assistant_content": THOUGHT,
    "problem": "2 + 2?",
    "source": "synthetic",
    "solution": "4",
    "verified": None,
    "quality_metrics": None,
}
CHAT = [{"content": "2 + 2?", "role": "user"}, {"content": "5", "role": "assistant"}]
R1_V1 = {"reannotated_assistant_content": THOUGHT, "messages": CHAT, "source_dataset": "s", "verified": None}
SHAREGPT = {
    "conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}],
    "source": "infini-instruct",
    "score": 5.2,
}
ASKED, ANSWERED = {"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": THOUGHT}


@pytest.mark.parametrize(
    ("row", "name", "chat"),
    [
        (R1_V0, "r1_distill", [ASKED, ANSWERED]),
        (R1_V1, "r1_distill", [ASKED, ANSWERED]),
        (R1_V1 | {"reannotated_messages": [ASKED, ANSWERED]}, "r1_distill", [ASKED, ANSWERED]),
        (
            {"messages": [{"role": "developer", "content": "Be kind."}, *CHAT]},
            "messages",
            [{"role": "system", "content": "Be kind."}, ASKED, {"role": "assistant", "content": "5"}],
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "2 + 2?"}]}, ANSWERED]},
            "messages",
            [ASKED, ANSWERED],
        ),
        (SHAREGPT, "sharegpt", [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]),
        ({"conversations": [ASKED, ANSWERED]}, "sharegpt", [ASKED, ANSWERED]),
        (
            {"instruction": "Add.", "input": "2, 2", "output": " 4\n"},
            "alpaca",
            [{"role": "user", "content": "Add.\n\n2, 2"}, {"role": "assistant", "content": "4"}],
        ),
        (
            {"instruction": "Add.", "input": None, "output": "4", "system": "Count."},
            "alpaca",
            [
                {"role": "system", "content": "Count."},
                {"role": "user", "content": "Add."},
                {"role": "assistant", "content": "4"},
            ],
        ),
    ],
)
def test_documented_columns_become_chats(row: dict[str, Any], name: str, chat: list[dict[str, str]]) -> None:
    before = json.dumps(row)
    assert layout(row) == name
    assert convert(row) == chat
    assert json.dumps(row) == before


def test_unknown_columns_name_what_came_and_all_that_is_accepted() -> None:
    with pytest.raises(DataError, match=r"keys answer, question is no chat") as caught:
        convert({"question": "a", "answer": "b"})
    assert all(name in str(caught.value) for name in LAYOUTS)
    with pytest.raises(DataError, match="keys messages is no chat"):
        layout({"messages": None})


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"messages": "text"}, "column messages holds a str; a list of turns"),
        ({"messages": []}, r"are \(none\); an optional system"),
        ({"messages": [ASKED]}, "are user; an optional system"),
        ({"messages": [ASKED, ASKED, ANSWERED]}, "are user, user, assistant;"),
        ({"messages": [ASKED, ANSWERED, ASKED]}, "are user, assistant, user;"),
        ({"messages": [{"role": "tool", "content": "x"}, ANSWERED]}, "role 'tool'; accepted are system, "),
        ({"messages": [{"role": "user"}, ANSWERED]}, "A turn of messages is {'role': 'user'}"),
        ({"messages": [ASKED, {"role": "assistant", "content": "  "}]}, r"Turn 2 \(assistant\) .* has no text"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}, ANSWERED]},
            "content is .*; text is needed",
        ),
        ({"conversations": [{"from": "human", "value": None}]}, "content is None; text is needed"),
        ({"instruction": "a", "output": 4}, "content is 4; text is needed"),
        ({"instruction": "", "output": "b"}, r"Turn 1 \(user\) .* has no text"),
    ],
)
def test_rows_that_are_no_chat_say_why(row: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        convert(row)
