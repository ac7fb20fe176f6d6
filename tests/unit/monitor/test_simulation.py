"""The demo in small: a model of words, three months, a change in the second."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jobtuner.monitor.simulation import Month, Week, draw, play
from jobtuner.records import JobAd

OLD = {"2221": ["nurse", "ward", "clinic", "night"], "5120": ["cook", "kitchen", "meals", "hotel"]}
NEW = {"2512": ["python", "software", "cloud", "code"]}


class WordModel:
    """Counts the words that it saw with each label."""

    def __init__(self, ads: Sequence[JobAd]) -> None:
        self.labels = sorted({ad.label or "" for ad in ads})
        self._seen = {label: Counter[str]() for label in self.labels}
        for ad in ads:
            self._seen[ad.label or ""].update(ad.text.split())

    def log_probabilities(self, texts: Sequence[str]) -> NDArray[np.float32]:
        scores = np.array(
            [[sum(self._seen[label][word] > 0 for word in text.split()) for label in self.labels] for text in texts],
            dtype=np.float32,
        )
        exponentials = np.exp(scores)
        found: NDArray[np.float32] = np.log(exponentials / exponentials.sum(axis=1, keepdims=True)).astype(np.float32)
        return found


def ads(count: int, words: dict[str, list[str]], seed: int) -> list[JobAd]:
    generator = np.random.default_rng(seed)
    found = []
    for number in range(count):
        label = str(generator.choice(sorted(words)))
        text = " ".join([*generator.choice(words[label], 4), *generator.choice(["for", "our", "team", "now"], 3)])
        found.append(JobAd(f"{seed}-{number}", f"{text} {seed}000{number}", label, "en"))
    return found


def test_the_watched_model_comes_back_and_the_other_does_not(tmp_path: Path) -> None:
    months = [
        Month("quiet", [ads(200, OLD, 2)]),
        Month("new", [ads(200, OLD | NEW, seed) for seed in (4, 5, 6)]),
    ]
    told: list[Week] = []
    weeks = play(ads(600, OLD, 1), months, WordModel, told.append)
    assert weeks == told
    quiet, new = weeks[:1], weeks[1:]
    assert [week.trained_on for week in quiet] == [0]
    assert [week.watched for week in quiet] == [week.left_alone for week in quiet]
    assert any(week.trained_on for week in new)
    assert new[0].decision.action in {"watch", "retrain"}
    assert new[-1].left_alone.estimate < 0.8
    assert new[-1].watched.estimate > 0.95
    draw(weeks, tmp_path / "drift.png")
    assert (tmp_path / "drift.png").read_bytes().startswith(b"\x89PNG")
