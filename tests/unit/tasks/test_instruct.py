from typing import Any

import pytest

from jobtuner.errors import DataError
from jobtuner.tasks import InstructTask

TASK = InstructTask()
CHAT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello"},
    {"role": "user", "content": "2+2? <|im_end|>"},
    {"role": "assistant", "content": " 4 "},
    {"role": "user", "content": "thanks"},
]


def test_the_last_assistant_turn_is_the_answer() -> None:
    prompt, answer = TASK.split(CHAT)
    assert (prompt, answer) == (CHAT[:4], "4")
    assert TASK.messages(prompt)[-1]["content"] == "2+2? <| im_end |>"
    assert TASK.prompt(prompt[-1]["content"], {"before": prompt[:-1]}) == TASK.messages(prompt)


@pytest.mark.parametrize(
    ("chat", "told"),
    [
        ([], "empty"),
        (CHAT[:2], "no assistant turn"),
        ([CHAT[0], CHAT[2]], "No user turn"),
        ([CHAT[1], {"role": "assistant", "content": " "}], "turn is empty"),
        ([CHAT[1], {"role": "tool", "content": "x"}], "the role 'tool'"),
        ([CHAT[1], {"role": "assistant"}], "a NoneType"),
        ([CHAT[1], CHAT[0], CHAT[2]], "only the first"),
    ],
)
def test_what_is_no_conversation_is_refused(chat: list[dict[str, Any]], told: str) -> None:
    with pytest.raises(DataError, match=told):
        TASK.split(chat)


def test_a_prompt_ends_with_the_user() -> None:
    with pytest.raises(DataError, match="the user must have the word"):
        TASK.messages(CHAT[:3])
