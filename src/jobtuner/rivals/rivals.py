"""One rival a task: a linear tagger, the template letter writer, the answer of the nearest training question."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from jobtuner.errors import ModelError
from jobtuner.letters import known_language, write_letter
from jobtuner.records import ChatExample, read_jsonl, write_jsonl
from jobtuner.rivals.tagger import SkillTagger
from jobtuner.tasks import Applicant, SkillsTask, get_chat_task

__all__ = ["Rival", "fit_rival", "load_rival"]

_SETTINGS_FILE, _ROWS_FILE = "baseline.json", "rows.jsonl"
_MOST_ROWS = 50_000  # training questions that are searched
_CHUNK = 500  # questions searched at once


class Rival(Protocol):
    """A model that answers prepared examples in text."""

    def answers(self, examples: Sequence[ChatExample]) -> list[str]:
        """One answer an example; its own right answer is not looked at."""

    def save(self, folder: Path) -> None:
        """Write it, baseline.json among the files."""


class _Tagger:
    """skills: quotes what the tagger finds."""

    def __init__(self, tagger: SkillTagger) -> None:
        self._tagger = tagger

    def answers(self, examples: Sequence[ChatExample]) -> list[str]:
        task = SkillsTask()
        return [task.answer([row.text[a:b] for a, b in self._tagger.spans(row.text)]) for row in examples]

    def save(self, folder: Path) -> None:
        self._tagger.save(folder)


class _Letters:
    """cover_letter: the template writer, always with the first wording."""

    def answers(self, examples: Sequence[ChatExample]) -> list[str]:
        found = []
        for row in examples:
            applicant = Applicant.from_json(row.facts["applicant"])
            found.append(write_letter(applicant, known_language(applicant.language or row.language)))
        return found

    def save(self, folder: Path) -> None:
        _write_settings(folder, {"kind": "template_letters"})


class _Nearest:
    """instruct: the answer of the training question whose TF-IDF words are nearest."""

    def __init__(self, questions: Sequence[str], answers: Sequence[str]) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer

        self._questions, self._answers = list(questions), list(answers)
        self._words = TfidfVectorizer(sublinear_tf=True, token_pattern=r"(?u)\w+")  # noqa: S106  # of words, not of a login
        self._matrix: Any = self._words.fit_transform(self._questions)

    def answers(self, examples: Sequence[ChatExample]) -> list[str]:
        found = []
        for start in range(0, len(examples), _CHUNK):
            wanted = self._words.transform([_question(row) for row in examples[start : start + _CHUNK]])
            nearest = (wanted @ self._matrix.T).toarray().argmax(axis=1)
            found += [self._answers[int(index)] for index in nearest]
        return found

    def save(self, folder: Path) -> None:
        rows = zip(self._questions, self._answers, strict=True)
        write_jsonl(folder / _ROWS_FILE, ({"question": question, "answer": answer} for question, answer in rows))
        _write_settings(folder, {"kind": "nearest_question"})


def _question(row: ChatExample) -> str:
    return "\n".join([*(turn["content"] for turn in row.facts.get("before", ())), row.text])


def _write_settings(folder: Path, settings: dict[str, Any]) -> None:
    (folder / _SETTINGS_FILE).write_text(json.dumps(settings, indent=1), encoding="utf-8")


def fit_rival(task: str, train: Sequence[ChatExample]) -> Rival:
    """Fit the task's rival on the training split.

    Raises:
        DataError: the task is skills, and the split holds none.
    """
    if task == "skills":
        spans = [[(int(a), int(b)) for a, b in row.facts["spans"]] for row in train]
        return _Tagger(SkillTagger.fit([row.text for row in train], spans))
    if task == "cover_letter":
        return _Letters()
    rows = train[:_MOST_ROWS]
    return _Nearest([_question(row) for row in rows], [row.answer for row in rows])


def load_rival(task: str, folder: Path) -> Rival:
    """Read what `save` wrote.

    Raises:
        ModelError: the folder holds no rival of this task.
    """
    get_chat_task(task)
    kinds = {"skills": "tagger", "cover_letter": "template_letters", "instruct": "nearest_question"}
    try:
        kind = json.loads((folder / _SETTINGS_FILE).read_text(encoding="utf-8")).get("kind")
    except (OSError, ValueError, AttributeError) as error:
        raise ModelError(f"{folder} holds no baseline ({error}). Run the stage baseline again.") from error
    if kind != kinds[task]:
        raise ModelError(f"{folder} holds the baseline '{kind}'; the task {task} has '{kinds[task]}'. Run it again.")
    if task == "skills":
        return _Tagger(SkillTagger.load(folder))
    if task == "cover_letter":
        return _Letters()
    rows = list(read_jsonl(folder / _ROWS_FILE))
    return _Nearest([row["question"] for row in rows], [row["answer"] for row in rows])
