"""A classifier that counts words, and a server around it that can be told to misbehave."""

import json
import os
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jobtuner.errors import ModelError
from jobtuner.probabilities import Temperatures
from jobtuner.serve.server import main
from jobtuner.taxonomy import Occupation, Taxonomy

TAXONOMY = Taxonomy(
    [
        Occupation("2221", {"en": "Registered nurses", "de": "Krankenpfleger", "da": "Sygeplejersker"}),
        Occupation("2512", {"en": "Software developers", "de": "Softwareentwickler"}),
        Occupation("5120", {"en": "Cooks", "de": "Köche", "da": "Kokke"}),
        Occupation("51", {"en": "Personal service workers", "de": "Berufe in personenbezogenen Dienstleistungen"}),
        Occupation("8332", {"en": "Heavy truck drivers"}),
    ]
)
WORDS = {
    "2221": {"nurse", "hospital", "krankenpfleger", "sygeplejerske", "enfermera"},
    "2512": {"developer", "python", "software"},
    "5120": {"cook", "kitchen", "koch", "kok", "cocinero"},
    "8332": {"truck", "driver"},
}

ROOT = Path(__file__).parents[3]
COMMAND = [
    sys.executable,
    "-c",
    f"import sys; sys.path.insert(0, {str(ROOT)!r}); from tests.unit.serve import fakes; sys.exit(fakes.run())",
]
"""A server process for `LocalEndpoint(command=...)`."""


class KeywordClassifier:
    """Softmax over the number of words that speak for each code.

    Words with an effect of their own: EXPLODE raises with the text in the message, NAN and INF answer with such
    numbers, SHORT forgets a column, WIDE has one too many, LOUD adds up to 1.01, DIE ends the process, SLOW takes
    1.5 s, PAUSE 20 ms.
    """

    model_version = "keywords/1"
    fingerprint = "f" * 64
    abstain_below = 0.5
    temperatures = Temperatures()

    def __init__(self) -> None:
        self.labels = list(TAXONOMY.labels)
        self.taxonomy = TAXONOMY
        self.seen: list[str] = []
        self.broken = False
        """When set, every call fails."""
        self.closed = threading.Event()
        """When cleared, calls wait until it is set."""
        self.closed.set()
        self.at_once = 0
        self.most_at_once = 0

    def log_probabilities(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            return self._answer(texts)
        finally:
            self.at_once -= 1

    def _answer(self, texts: Sequence[str]) -> NDArray[np.float32]:
        assert self.closed.wait(20)
        self.seen.extend(texts)
        joined = " ".join(texts)
        if self.broken or "EXPLODE" in joined:
            raise RuntimeError(f"cannot read {joined}")
        if "DIE" in joined:
            os._exit(9)
        if "SLOW" in joined:
            time.sleep(1.5)
        if "PAUSE" in joined:
            time.sleep(0.02)
        counts = [[3.0 * len(WORDS[code] & set(text.lower().split())) for code in self.labels] for text in texts]
        logits = np.array(counts)
        scores = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        for name, value in (("NAN", np.nan), ("INF", np.inf)):
            if name in joined:
                scores[0, 0] = value
        if "SHORT" in joined:
            scores = scores[:, 1:]
        if "WIDE" in joined:
            scores = np.pad(scores, ((0, 0), (0, 1)), constant_values=-np.inf)
        if "LOUD" in joined:
            scores = scores + 0.01
        return np.asarray(scores, dtype=np.float32)


def load(folder: Path) -> KeywordClassifier:
    """Read `behaviour.json` of the folder: {"load": "fails" | "hangs" | "dies", "broken": true}, all optional."""
    behaviour = json.loads((folder / "behaviour.json").read_text(encoding="utf-8"))
    match behaviour.get("load"):
        case "fails":
            raise ModelError("The taxonomy of the model is 1111, that of the labels 2222.")
        case "hangs":
            time.sleep(600)
        case "dies":
            os._exit(7)
    classifier = KeywordClassifier()
    classifier.broken = behaviour.get("broken", False)
    return classifier


def run() -> int:
    """The process of `COMMAND`."""
    return main(sys.argv[1:], load=load)


def model_folder(folder: Path, **behaviour: object) -> Path:
    """A folder that `load` reads."""
    folder.mkdir(exist_ok=True)
    (folder / "behaviour.json").write_text(json.dumps(behaviour), encoding="utf-8")
    return folder
