"""What a text names, as GLiNER2 finds it: persons, occupations, skills, tasks. Optional and slow.

Written for gliner2 2.1 (`pip install "gliner2[local]"`); the model is one of its checkpoints, by name or local folder.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from jobtuner.errors import ModelError

__all__ = ["EntityFinder", "entity_finder"]

_THRESHOLD = 0.5  # the package's own default


class EntityFinder:
    """Finds places in a text by what they name.

    Args:
        model: name of a checkpoint, such as fastino/gliner2.5-base-v1, or a local folder.
        setting: of the recipe, for messages.

    Raises:
        ModelError: gliner2 is not installed, or the checkpoint cannot be loaded.
    """

    def __init__(self, model: str, setting: str) -> None:
        try:
            from gliner2 import AutoExtractor  # type: ignore[import-not-found]
        except ImportError as error:
            raise ModelError(
                f"{setting} needs GLiNER2, which cannot be imported ({error}): "
                f'pip install "gliner2[local]". Or set {setting} to null.'
            ) from error
        try:
            self._model: Any = AutoExtractor.from_pretrained(model)
        except (OSError, ValueError, RuntimeError) as error:
            raise ModelError(f"The model '{model}' of {setting} cannot be loaded: {error}") from error

    def find(self, text: str, types: Sequence[str]) -> list[tuple[int, int]]:
        """Start and end of each place, in order and apart; of places that overlap the first, and the longest of those.

        Raises:
            ModelError: GLiNER2 answers in a form that is not known.
        """
        if not text:
            return []
        answer = self._model.extract_entities_long(text, list(types), threshold=_THRESHOLD, include_spans=True)
        try:
            named = [found for kind in types for found in answer["entities"].get(kind, [])]
            spans = sorted({(int(found["start"]), -int(found["end"])) for found in named})
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"GLiNER2 answered {str(answer)[:200]}; version 2.1 of gliner2 is known.") from error
        kept: list[tuple[int, int]] = []
        for start, end in ((start, -negative) for start, negative in spans):
            if end > start >= (kept[-1][1] if kept else 0):
                kept.append((start, end))
        return kept


@lru_cache(maxsize=2)
def entity_finder(model: str, setting: str) -> EntityFinder:
    """The finder of a model, loaded once a process."""
    return EntityFinder(model, setting)
