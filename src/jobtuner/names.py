"""Person names, found by GLiNER2 and replaced by [NAME]: optional, slow next to the other cleaning, not exact."""

from jobtuner.entities import entity_finder

__all__ = ["find_names", "mask_names"]

_TYPES = ("person",)


def find_names(text: str, model: str) -> list[tuple[int, int]]:
    """Start and end of each name, in order and apart.

    Args:
        text: the text.
        model: GLiNER2 checkpoint, by name or local folder.

    Raises:
        ModelError: gliner2 is not installed, the checkpoint cannot be loaded, or its answer is not understood.
    """
    return entity_finder(model, "clean.names").find(text, _TYPES)


def mask_names(text: str, model: str) -> tuple[str, int]:
    """The text with [NAME] in place of each name, and the number of names; raises as `find_names`."""
    spans = find_names(text, model)
    parts, place = [], 0
    for start, end in spans:
        parts += [text[place:start], "[NAME]"]
        place = end
    return "".join([*parts, text[place:]]), len(spans)
