"""Recall and precision of `jobtuner.personal_data` on 6,000 generated ads in six languages, and its speed.

    .venv/bin/python benchmarks/personal_data.py [--ads 6000] [--seed 1] [--show 5]

Recall: share of gold spans of which every character lies in found spans of the same kind. Precision: share of found
spans that overlap a gold span of the same kind; the ads also hold salaries, dates, codes, VAT and reference numbers.
Where the package `phonenumbers` is installed, its matcher is measured beside ours and told each ad's countries. (It
knows which numbers a country has given out, and the digits here are random: its recall suffers from that.)
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from jobtuner.personal_data import KINDS, find_personal_data

sys.path.insert(0, str(Path(__file__).parents[1]))  # run as a script or imported by the tests
from benchmarks.personal_data_gold import LANGUAGES, GoldAd, GoldSpan, gold_ads

_REGIONS = {
    "en": ("GB", "US", "IE"),
    "de": ("DE", "AT", "CH"),
    "fr": ("FR", "BE"),
    "es": ("ES", "MX"),
    "da": ("DK", "NO", "SE"),
    "it": ("IT",),
}

_Find = Callable[[GoldAd], Sequence[GoldSpan]]


def ours(ad: GoldAd) -> list[GoldSpan]:
    """What JobTuner finds, not told the language."""
    return [GoldSpan(span.start, span.end, span.kind) for span in find_personal_data(ad.text)]


def library_phones(ad: GoldAd) -> list[GoldSpan]:
    """What `phonenumbers` finds, told the countries that the ad may be of."""
    import phonenumbers

    found: dict[int, GoldSpan] = {}
    for region in _REGIONS[ad.language]:
        for match in phonenumbers.PhoneNumberMatcher(ad.text, region):
            found.setdefault(match.start, GoldSpan(match.start, match.end, "PHONE"))
    return list(found.values())


class Score:
    """Counts of gold spans, found gold spans, found spans and right ones."""

    def __init__(self) -> None:
        self.gold: Counter[str] = Counter()
        self.recalled: Counter[str] = Counter()
        self.found: Counter[str] = Counter()
        self.right: Counter[str] = Counter()
        self.missed: list[tuple[str, str]] = []
        self.wrong: list[tuple[str, str]] = []

    def add(self, ad: GoldAd, found: Sequence[GoldSpan]) -> None:
        """Count one ad."""
        for gold in ad.spans:
            covered = {at for span in found if span.kind == gold.kind for at in range(span.start, span.end)}
            whole = covered.issuperset(at for at in range(gold.start, gold.end) if ad.text[at].isalnum())
            self.gold[gold.kind] += 1
            self.recalled[gold.kind] += whole
            if not whole:
                self.missed.append((gold.kind, _around(ad.text, gold)))
        for span in found:
            right = any(span.kind == gold.kind and span.start < gold.end and gold.start < span.end for gold in ad.spans)
            self.found[span.kind] += 1
            self.right[span.kind] += right
            if not right:
                self.wrong.append((span.kind, _around(ad.text, span)))

    def recall(self, kind: str) -> float:
        """Share of the gold spans that were found whole."""
        return self.recalled[kind] / max(1, self.gold[kind])

    def precision(self, kind: str) -> float:
        """Share of what was found that is personal data."""
        return self.right[kind] / max(1, self.found[kind])


def _around(text: str, span: GoldSpan) -> str:
    before, after = text[max(0, span.start - 15) : span.start], text[span.end : span.end + 10]
    return f"{before}⟦{text[span.start : span.end]}⟧{after}".replace("\n", "⏎")


def measure(ads: Sequence[GoldAd], find: _Find) -> tuple[Score, float]:
    """The score, and the seconds that finding took."""
    started = time.perf_counter()
    found = [find(ad) for ad in ads]
    seconds = time.perf_counter() - started
    score = Score()
    for ad, spans in zip(ads, found, strict=True):
        score.add(ad, spans)
    return score, seconds


def _report(name: str, score: Score, seconds: float, ads: int, kinds: Sequence[str], show: int) -> None:
    print(f"\n{name}: {ads / seconds:,.0f} ads/s")
    print(f"  {'kind':8} {'gold':>6} {'recall':>8} {'found':>6} {'precision':>10}")
    for kind in kinds:
        recall = f"{score.gold[kind]:6,} {score.recall(kind):8.4f}"
        print(f"  {kind:8} {recall} {score.found[kind]:6,} {score.precision(kind):10.4f}")
    for title, entries in (("missed", score.missed), ("wrongly found", score.wrong)):
        for kind in kinds:
            for _, place in [entry for entry in entries if entry[0] == kind][:show]:
                print(f"    {title} {kind}: {place}")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="Recall and precision of the removal of personal data.")
    parser.add_argument("--ads", type=int, default=6000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--show", type=int, default=0, help="mistakes of each kind to print")
    arguments = parser.parse_args()
    ads = list(gold_ads(arguments.ads, arguments.seed))
    length = sum(len(ad.text) for ad in ads) / len(ads)
    print(f"{len(ads):,} ads in {len(LANGUAGES)} languages, {length:.0f} characters on average")
    score, seconds = measure(ads, ours)
    _report("jobtuner.personal_data", score, seconds, len(ads), KINDS, arguments.show)
    try:
        score, seconds = measure(ads, library_phones)
    except ImportError:
        print("\nphonenumbers is not installed: no comparison.")
        return
    _report("phonenumbers, told the country", score, seconds, len(ads), ("PHONE",), arguments.show)


if __name__ == "__main__":
    main()
