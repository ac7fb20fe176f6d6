"""Training ads with a foreign sentence in them, whose answer stays: what cleaning does not catch, a model shall ignore.

Half of the sentences name a code that is not the ad's; the others are chatter, so that a model does not learn that
every foreign sentence is an order, or that every ad begins with its title. The wordings are no test's.
"""

import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from importlib import resources

from jobtuner.records import Example

__all__ = ["with_foreign_text"]


def with_foreign_text(example: Example, labels: Sequence[str], share: float, seed: int) -> Example:
    """The example, or with the probability `share` the same with a foreign sentence before, after or in its text.

    What happens to an example depends on its id and the seed alone.

    Args:
        example: of the training split, clean.
        labels: codes of the training split.
        share: between 0 and 1.
        seed: of the choice.
    """
    digest = hashlib.sha256(f"{seed}/hostile/{example.id}".encode()).digest()
    draw = random.Random(digest)  # noqa: S311  # data, no secret
    if draw.random() >= share:
        return example
    return replace(example, text=_placed(example.text, _sentence(example.label, labels, draw), draw))


def _sentence(label: str, labels: Sequence[str], draw: random.Random) -> str:
    others = [code for code in labels if code != label]
    kind = "orders" if others and draw.random() < 0.5 else "chatter"
    sentence = draw.choice(_sentences()[kind])
    return sentence.format(code=draw.choice(others)) if kind == "orders" else sentence


def _placed(text: str, sentence: str, draw: random.Random) -> str:
    """The sentence before the text, behind it, or after one of its words."""
    gaps = [place for place, character in enumerate(text) if character == " "]
    where = draw.randrange(3)
    if where == 0:
        return f"{sentence}\n{text}"
    if where == 1 or not gaps:
        return f"{text}\n{sentence}"
    place = draw.choice(gaps)
    return f"{text[:place]} {sentence}{text[place:]}"


@cache
def _sentences() -> dict[str, list[str]]:
    file = resources.files("jobtuner.prepare") / "templates" / "hostile.json"
    return dict(json.loads(file.read_text(encoding="utf-8")))
