"""Tasks that answer in text: skills, cover_letter, instruct."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from jobtuner.config.section import Count, Section

__all__ = ["ChatColumns", "ChatConfig"]


class ChatColumns(Section):
    """Which column of the input holds what, beside those of data.columns (text, language, id, group).

    Chat sets for the task instruct need none: their own layouts are known.
    """

    skills: str = "skills"
    """skills: a list of texts, or of {start, end}, in characters of the text; or one text a row, where rows with the
    same text belong together."""
    tokens: str | None = None
    """skills: the words of a text, in place of text and skills; they are joined with blanks. Needs tags."""
    tags: Sequence[str] = ()
    """skills: columns with one B, I or O a token (B-Skill counts as B); several are laid over each other."""
    links: str | None = None
    """skills: column with the gold concepts of the skills, by id or by name: one text, or a list; where the skills are
    {start, end} it may be a key of these. What the skills taxonomy lacks (such as "LABEL NOT PRESENT") is counted and
    links to nothing. None: gold phrases are linked as answers are."""
    applicant: str = "applicant"
    """cover_letter: the facts, an object as `tasks.Applicant` reads it."""
    letter: str | None = "letter"
    """cover_letter: a letter to learn from; without one, or where it is empty, the template writer makes it."""


class ChatConfig(Section):
    """Settings of the tasks that answer in text; the occupation task reads none of them."""

    columns: ChatColumns = ChatColumns()
    skills_taxonomy: str | None = None
    """skills: file of a skills taxonomy, such as ESCO's skills_en.csv (forms: docs/evaluation.md). Right and answered
    skills are linked to its concepts, and evaluation tells their F1, too. None: no links."""
    max_answer_tokens: Count = 512
    """Training rows with a longer answer are left out, each with its reason; answers are generated up to here."""
    temperature: Annotated[float, Field(ge=0.0, le=2.0)] = 0.0
    """Of generated answers in evaluation; 0: the likeliest token each time."""
    batch_size: Count = 32
    """Answers generated at once."""
