"""The tasks: the only home of prompts and of parsing answers."""

from jobtuner.tasks.base import PromptEncoder, Task, prompt_hash
from jobtuner.tasks.occupation import OccupationTask

__all__ = ["OccupationTask", "PromptEncoder", "Task", "get_task", "prompt_hash"]

_TASKS: dict[str, Task] = {task.name: task for task in (OccupationTask(),)}


def get_task(name: str) -> Task:
    """The task of that name; `Config` admits no other."""
    return _TASKS[name]
