"""The tasks: the only home of prompts and of parsing answers."""

from typing import Literal, overload

from jobtuner.errors import ModelError
from jobtuner.tasks.base import PromptEncoder, Task, prompt_hash
from jobtuner.tasks.chat import ChatEncoder, ChatTask, chat_prompt_hash
from jobtuner.tasks.cover_letter import Applicant, CoverLetterTask
from jobtuner.tasks.instruct import InstructTask
from jobtuner.tasks.occupation import OccupationTask
from jobtuner.tasks.skills import SkillSpan, SkillsTask

__all__ = [
    "CHAT_TASKS",
    "Applicant",
    "ChatEncoder",
    "ChatTask",
    "CoverLetterTask",
    "InstructTask",
    "OccupationTask",
    "PromptEncoder",
    "SkillSpan",
    "SkillsTask",
    "Task",
    "chat_prompt_hash",
    "get_chat_task",
    "get_label_task",
    "get_task",
    "prompt_hash",
]

_LABEL_TASKS: dict[str, Task] = {task.name: task for task in (OccupationTask(),)}
_CHAT_TASKS: dict[str, ChatTask] = {task.name: task for task in (SkillsTask(), CoverLetterTask(), InstructTask())}

CHAT_TASKS = frozenset(_CHAT_TASKS)
"""Tasks that answer in text; the others answer with a label."""


@overload
def get_task(name: Literal["occupation"]) -> OccupationTask: ...
@overload
def get_task(name: Literal["skills"]) -> SkillsTask: ...
@overload
def get_task(name: Literal["cover_letter"]) -> CoverLetterTask: ...
@overload
def get_task(name: Literal["instruct"]) -> InstructTask: ...
@overload
def get_task(name: str) -> Task | ChatTask: ...


def get_task(name: str) -> object:
    """The task of that name; `Config` admits no other."""
    return _LABEL_TASKS[name] if name in _LABEL_TASKS else _CHAT_TASKS[name]


def get_label_task(name: str) -> Task:
    """The task of that name, which answers with a label.

    Raises:
        ModelError: it answers in text.
    """
    if name not in _LABEL_TASKS:
        raise ModelError(f"A model of the task '{name}' answers in text and scores no labels. {_HINT}")
    return _LABEL_TASKS[name]


def get_chat_task(name: str) -> ChatTask:
    """The task of that name, which answers in text.

    Raises:
        ModelError: it answers with a label.
    """
    if name not in _CHAT_TASKS:
        raise ModelError(f"A model of the task '{name}' scores labels and writes no text. {_HINT}")
    return _CHAT_TASKS[name]


_HINT = "`jobtuner predict` asks occupation models, `jobtuner skills`, `letter` and `chat` the others."
