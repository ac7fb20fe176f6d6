"""Of an ad only what it is about: occupation, skills and tasks, as GLiNER2 finds them. Optional and slow."""

from jobtuner.entities import entity_finder

__all__ = ["job_parts"]

_TYPES = ("occupation", "skill", "task")


def job_parts(text: str, model: str) -> str:
    """The passages that name an occupation, a skill or a task, in the order of the ad, one a line, each once.

    Args:
        text: the clean text of an ad.
        model: GLiNER2 checkpoint, by name or local folder.

    Raises:
        ModelError: gliner2 is not installed, the checkpoint cannot be loaded, or its answer is not understood.
    """
    passages = [text[start:end].strip() for start, end in entity_finder(model, "clean.job_parts").find(text, _TYPES)]
    return "\n".join(dict.fromkeys(filter(None, passages)))
