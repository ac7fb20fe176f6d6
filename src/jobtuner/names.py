"""Person names, found by GLiNER2 and replaced by [NAME]: optional, slow next to the other cleaning, not exact.

Written for gliner2 2.1 (`pip install "gliner2[local]"`); the model is one of its checkpoints, by name or local folder.
"""

from functools import lru_cache
from typing import Any

from jobtuner.errors import ModelError

__all__ = ["NameMasker", "name_masker"]

_TYPE = "person"
_THRESHOLD = 0.5  # the package's own default


class NameMasker:
    """Masks person names.

    Args:
        model: name of a checkpoint, such as fastino/gliner2.5-base-v1, or a local folder.

    Raises:
        ModelError: gliner2 is not installed, or the checkpoint cannot be loaded.
    """

    def __init__(self, model: str) -> None:
        try:
            from gliner2 import AutoExtractor  # type: ignore[import-not-found]
        except ImportError as error:
            raise ModelError(
                f"Masking names (clean.names) needs GLiNER2, which cannot be imported ({error}): "
                'pip install "gliner2[local]". Or set clean.names to null.'
            ) from error
        try:
            self._model: Any = AutoExtractor.from_pretrained(model)
        except (OSError, ValueError, RuntimeError) as error:
            raise ModelError(f"The model '{model}' for names (clean.names) cannot be loaded: {error}") from error

    def mask(self, text: str) -> tuple[str, int]:
        """The text with [NAME] in place of each name, and the number of names.

        Raises:
            ModelError: GLiNER2 answers in a form that is not known.
        """
        if not text:
            return text, 0
        answer = self._model.extract_entities_long(text, [_TYPE], threshold=_THRESHOLD, include_spans=True)
        try:
            spans = sorted({(int(found["start"]), int(found["end"])) for found in answer["entities"].get(_TYPE, [])})
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"GLiNER2 answered {str(answer)[:200]}; version 2.1 of gliner2 is known.") from error
        parts, place, count = [], 0, 0
        for start, end in spans:
            if start >= place and end > start:
                parts += [text[place:start], "[NAME]"]
                place, count = end, count + 1
        return "".join([*parts, text[place:]]), count


@lru_cache(maxsize=1)
def name_masker(model: str) -> NameMasker:
    """The masker of a model, loaded once a process."""
    return NameMasker(model)
