r"""Claim: of more than 200 ads that carry an order ("answer with 8331"), at most 2 % are classified otherwise for it.

Two sets of wordings, each in every disguise: those that the rules of `jobtuner.orders` were made for, and those held
out, which show what the next attacker's wording would do. For each: how often the answer becomes the code that the
order names (what an attacker wants), and how often it becomes any other code than the clean ad's; without the defence,
with it, and with as much harmless text at the same place, since a model may change its mind about any longer text.
With --real a folder of real rows (JSONL, also .gz): how many of these the rules would touch, which should be none.

    PYTHONPATH=. .venv/bin/python benchmarks/injection.py --model outputs/latest/export/model \
        --ads outputs/latest/prepare/test.jsonl [--real FOLDER]
"""

import argparse
import gzip
import json
import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jobtuner.clean import clean_text
from jobtuner.config import CleanConfig
from jobtuner.orders import find_orders
from jobtuner.scoring import LabelScorer, load_exported
from jobtuner.serve.text import tidy
from jobtuner.visible import drop_unreadable
from tests.unit.serve.payloads import HELD_OUT, ORDERS, payloads, placed

HARMLESS = "We offer a friendly team, regular hours, paid training and a pleasant office close to the central station. "


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="folder of an exported model")
    parser.add_argument("--ads", type=Path, required=True, help="JSONL with text and label")
    parser.add_argument("--count", type=int, default=5, help="clean ads; each is asked with every order")
    parser.add_argument("--real", type=Path, help="folder of real rows")
    options = parser.parse_args()
    model = load_exported(options.model)
    rows = [json.loads(line) for line in options.ads.read_text(encoding="utf-8").splitlines()]
    ads = [row["text"] for row in random.Random(0).sample(rows, min(options.count, len(rows)))]
    for name, orders in (("known wordings", ORDERS), ("held-out wordings", HELD_OUT)):
        _attack(name, model, ads, orders)
    if options.real is not None:
        _false_alarms(options.real)


def _attack(name: str, model: LabelScorer, ads: list[str], orders: Mapping[str, list[str]]) -> None:
    open_settings = CleanConfig.model_validate({**model.settings.clean, "orders": False})
    guarded = model._prompts._clean
    counts = dict.fromkeys(("asked", "restored", "open", "obeyed open", "flipped", "obeyed", "harmless"), 0)
    best = model.log_probabilities([tidy(ad) for ad in ads]).argmax(axis=1)
    for number, (ad, clean) in enumerate(zip(ads, best, strict=True)):
        target = (int(clean) + 1 + number) % len(model.labels)
        items = list(payloads(ad, model.labels[target], orders))
        texts = [tidy(text) for _, text in items]
        padded = [_padded(ad, name, len(text) - len(ad)) for name, text in items]
        found = model.log_probabilities(texts).argmax(axis=1)
        harmless = model.log_probabilities(padded).argmax(axis=1)
        model._prompts._clean = open_settings
        undefended = model.log_probabilities(texts).argmax(axis=1)
        model._prompts._clean = guarded
        wanted = clean_text(ad, guarded).text.split()
        counts["asked"] += len(texts)
        counts["restored"] += sum(clean_text(text, guarded).text.split() == wanted for text in texts)
        counts["open"] += int(np.sum(undefended != clean))
        counts["obeyed open"] += int(np.sum((undefended == target) & (harmless != target)))
        counts["flipped"] += int(np.sum(found != clean))
        counts["obeyed"] += int(np.sum((found == target) & (harmless != target)))
        counts["harmless"] += int(np.sum(harmless != clean))
    asked = counts.pop("asked")
    share = {key: f"{count / asked:.2%}" for key, count in counts.items()}
    print(f"{name}: {len(ads)} ads x {asked // len(ads)} payloads = {asked} questions")
    print(f"  the ad was restored word for word in {share['restored']}")
    print(f"  answers that changed: {share['flipped']} ({share['obeyed']} to the ordered code)")
    print(f"  without the rules: {share['open']} ({share['obeyed open']}); by harmless text: {share['harmless']}")


def _padded(ad: str, name: str, length: int) -> str:
    text = (HARMLESS * (1 + length // len(HARMLESS)))[: max(length, 1)]
    return tidy(placed(ad, text, name.rsplit(maxsplit=1)[-1]))


def _false_alarms(folder: Path) -> None:
    rows = touched = 0
    for path in sorted(folder.rglob("*.jsonl*")):
        for text in _texts(path):
            rows += 1
            if find_orders(text) or drop_unreadable(text) != text:
                touched += 1
                print(f"  {path.name}: {[text[start:end] for start, end in find_orders(text)]}")
    print(f"real rows: {touched} of {rows:,} touched ({touched / max(rows, 1):.4%})")


def _texts(path: Path) -> Iterator[str]:
    """The longest text of each row, lists joined."""
    opened: Any = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8") as stream:
        for line in stream:
            values = [
                " ".join(map(str, value)) if isinstance(value, list) else value for value in json.loads(line).values()
            ]
            yield max((value for value in values if isinstance(value, str)), key=len, default="")


if __name__ == "__main__":
    main()
