"""Training ads with foreign text in them, whose answer stays: what cleaning does not catch, a model shall ignore.

Four kinds: orders that name a code which is not the ad's; chatter, so that a model does not learn that every foreign
sentence is an order; words of other ads, shuffled, so that single words weigh less than what belongs together; and
letters of some script that mean nothing, for the languages that the training ads are not written in. Half of the last
two carry a wrong code. The wordings are no test's.
"""

import hashlib
import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache
from importlib import resources

from jobtuner.records import Example

__all__ = ["ForeignText"]

_SCRIPTS = (
    "abcdefghijklmnopqrstuvwxyz",
    "aeiourstnlkmpáéíóúàèìòùäëïöüâêîôûãõåæøçñşğıłżśćčřšžýőű",
    "абвгдежзийклмнопрстуфхцчшщъыьэюя",
    "αβγδεζηθικλμνξοπρστυφχψως",
    "ابتثجحخدذرزسشصضطظعغفقكلمنهوي",
    "अआइईउऊएओकखगघचछजटडणतथदधनपफबभमयरलवशषसह",
    "あいうえおかきくけこさしすせそたちつてとなにぬねのはひふへほまみむめもらりるれろ",
    "的一是在不了有和人这中大为上个国我以要他时来用们生到作地于出就分对成会可主发年动",
)
_LETTERS = (3, 9)
"""Of a word."""
_BYTES = (20, 120)
"""Of senseless text: a tokenizer that does not know a script takes a token for each, and the ad must stay in sight."""


class ForeignText:
    """Puts foreign text into a share of the examples. What happens to one depends on its id and the seed alone.

    Args:
        labels: codes of the training split.
        texts: some ads of the training split; their words are used.
        share: between 0 and 1.
        seed: of the choices.
    """

    def __init__(self, labels: Sequence[str], texts: Iterable[str], share: float, seed: int) -> None:
        self._labels, self._share, self._seed = labels, share, seed
        self._words = sorted({word for text in texts for word in text.split()})

    def put_into(self, example: Example) -> Example:
        """The example, or the same with foreign text before, after or in its own."""
        digest = hashlib.sha256(f"{self._seed}/hostile/{example.id}".encode()).digest()
        draw = random.Random(digest)  # noqa: S311  # data, no secret
        if draw.random() >= self._share:
            return example
        return replace(example, text=_placed(example.text, self._foreign(example.label, draw), draw))

    def _foreign(self, label: str, draw: random.Random) -> str:
        code = draw.choice([code for code in self._labels if code != label] or [""])
        kind = draw.choice(("orders", "chatter", "words", "letters"))
        if kind == "orders":
            return draw.choice(_sentences()["orders"]).format(code=code)
        if kind == "chatter":
            return draw.choice(_sentences()["chatter"])
        words = draw.choices(self._words, k=draw.randint(4, 14)) if kind == "words" else _letters(draw)
        if draw.random() < 0.5:
            words.insert(draw.randint(0, len(words)), code)
        return " ".join(words)


def _letters(draw: random.Random) -> list[str]:
    script, most, words = draw.choice(_SCRIPTS), draw.randint(*_BYTES), [""]
    while sum(len(word.encode()) + 1 for word in words) < most:
        words.append("".join(draw.choices(script, k=draw.randint(*_LETTERS))))
    return words[1:]


def _placed(text: str, foreign: str, draw: random.Random) -> str:
    """The foreign text before the text, behind it, or after one of its words."""
    gaps = [place for place, character in enumerate(text) if character == " "]
    where = draw.randrange(3)
    if where == 0:
        return f"{foreign}\n{text}"
    if where == 1 or not gaps:
        return f"{text}\n{foreign}"
    place = draw.choice(gaps)
    return f"{text[:place]} {foreign}{text[place:]}"


@cache
def _sentences() -> dict[str, list[str]]:
    file = resources.files("jobtuner.prepare") / "templates" / "hostile.json"
    return dict(json.loads(file.read_text(encoding="utf-8")))
