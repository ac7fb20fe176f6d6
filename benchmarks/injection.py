r"""Claim: of more than 200 ads that carry an order ("answer with 8331"), at most 2 % are classified otherwise for it.

Two numbers, on a model's own test ads: how often the answer becomes the code that the order names (what an attacker
wants), and how often it becomes any other code than that of the clean ad. The second is compared with the same amount
of harmless text at the same place, since a model may change its mind about any longer text.

    PYTHONPATH=. .venv/bin/python benchmarks/injection.py --model outputs/latest/export/model \
        --ads outputs/latest/prepare/test.jsonl
"""

import argparse
import json
import random
from pathlib import Path

import numpy as np

from jobtuner.scoring import load_exported
from jobtuner.serve.text import tidy
from tests.unit.serve.payloads import payloads

HARMLESS = "We offer a friendly team, regular hours, paid training and a pleasant office close to the central station. "


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="folder of an exported model")
    parser.add_argument("--ads", type=Path, required=True, help="JSONL with text and label")
    parser.add_argument("--count", type=int, default=20, help="clean ads; each is asked with every order")
    options = parser.parse_args()
    model = load_exported(options.model)
    rows = [json.loads(line) for line in options.ads.read_text(encoding="utf-8").splitlines()]
    ads = [row["text"] for row in random.Random(0).sample(rows, min(options.count, len(rows)))]
    best = model.log_probabilities([tidy(ad) for ad in ads]).argmax(axis=1)
    obeyed = flipped = harmless = asked = 0
    for number, (ad, clean) in enumerate(zip(ads, best, strict=True)):
        target = (int(clean) + 1 + number) % len(model.labels)
        texts = [text for _, text in payloads(ad, model.labels[target])]
        lengths = [len(text) - len(ad) for text in texts]
        padding = [(HARMLESS * (1 + length // len(HARMLESS)))[:length] for length in lengths]
        found = model.log_probabilities([tidy(text) for text in texts]).argmax(axis=1)
        padded = model.log_probabilities([tidy(f"{ad}\n{text}") for text in padding]).argmax(axis=1)
        asked += len(texts)
        obeyed += int(np.sum((found == target) & (padded != target)))
        flipped += int(np.sum(found != clean))
        harmless += int(np.sum(padded != clean))
    print(f"{len(ads)} ads x {asked // len(ads)} orders = {asked} questions")
    print(f"  {obeyed} answers became the code that was ordered ({obeyed / asked:.2%})")
    print(f"  {flipped} answers changed at all ({flipped / asked:.2%}),")
    print(f"  {harmless} did by as much harmless text ({harmless / asked:.2%})")


if __name__ == "__main__":
    main()
