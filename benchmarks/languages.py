"""Claim: how often, and how fast, the language of real job titles and of generated ads is found.

Titles: MELO's national job titles, so many a language; ads: generated ones. "known" gives the finder the languages of
the data alone, "european" all that the recipe's default names. There is no alternative in this environment to compare
with.

    .venv/bin/python benchmarks/languages.py DATA_DIR [--titles 300]
"""

import argparse
import gzip
import json
import random
import time
from collections import defaultdict
from pathlib import Path

from jobtuner.config import DataConfig, GenerateConfig
from jobtuner.languages import LanguageFinder
from jobtuner.prepare.synthesize import generate_ads

TITLES = "titles_esco_multilingual/melo_national_titles.dev.jsonl.gz"


def titles(path: Path, most: int) -> list[tuple[str, str]]:
    """Language and title, at most so many a language."""
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        rows = [json.loads(line) for line in stream]
    random.Random(17).shuffle(rows)
    found: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for row in rows:
        if len(found[row["lang"]]) < most:
            found[row["lang"]].append((row["lang"], row["title"]))
    return [pair for pairs in found.values() for pair in pairs]


def measure(name: str, finder: LanguageFinder, pairs: list[tuple[str, str]]) -> None:
    """Print accuracy, the weakest languages and the rate."""
    for _, text in pairs:  # models are loaded when they are first needed
        finder.find(text)
    start = time.process_time()
    right: dict[str, list[bool]] = defaultdict(list)
    for language, text in pairs:
        right[language].append(finder.find(text) == language)
    seconds = time.process_time() - start
    accuracy = sum(map(sum, right.values())) / len(pairs)
    weak = sorted((sum(hits) / len(hits), language) for language, hits in right.items())[:4]
    told = ", ".join(f"{language} {share:.2f}" for share, language in weak)
    print(f"{name:<20} {accuracy:.4f} of {len(pairs):,}; {len(pairs) / seconds:,.0f} texts/s; weakest: {told}")


def main() -> None:
    """Measure titles and ads with both sets of languages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--titles", type=int, default=300, help="Titles a language.")
    options = parser.parse_args()
    pairs = titles(options.data / TITLES, options.titles)
    ads = [(ad.language, ad.text) for ad in generate_ads(GenerateConfig(ads_per_unit=6), 17)]
    for name, languages in (
        ("known", sorted({language for language, _ in pairs})),
        ("european", DataConfig().languages),
    ):
        finder = LanguageFinder(languages)
        measure(f"titles, {name}", finder, pairs)
        measure(f"ads, {name}", finder, ads)


if __name__ == "__main__":
    main()
