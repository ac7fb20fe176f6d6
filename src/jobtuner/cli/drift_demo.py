"""`jobtuner drift-demo`: six months of changing ads in minutes, with and without the watch."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from jobtuner.monitor.simulation import Month, Week
    from jobtuner.records import JobAd

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command("drift-demo")(_demo)


def _demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for drift.png and weeks.json.")] = Path(
        "outputs/drift-demo"
    ),
    ads: Annotated[int, typer.Option(min=200, max=2000, help="Ads a week.")] = 300,
    seed: Annotated[int, typer.Option(help="Of the ads.")] = 17,
) -> None:
    """Play six months of changing ads: a model left alone beside one that the watch trains anew.

    The ads are generated and the model is the baseline, so that it takes minutes on a laptop; log rows, tests and
    decisions are those of production.
    """
    import json
    from dataclasses import asdict

    from jobtuner.config import load_config
    from jobtuner.linear.classifier import BaselineClassifier
    from jobtuner.monitor.simulation import Model, draw, play

    settings = load_config("smoke").baseline

    def fit(rows: "Sequence[JobAd]") -> Model:
        texts, labels = [row.text for row in rows], [row.label or "" for row in rows]
        return BaselineClassifier(settings, seed).fit(texts, labels, languages=[row.language for row in rows])

    training, months = _story(ads, seed)
    output.mkdir(parents=True, exist_ok=True)
    typer.echo(f"Training on {len(training):,} English and German ads; then {len(months)} months of {ads} ads a week.")
    weeks = play(training, months, fit, _tell)
    draw(weeks, output / "drift.png")
    document = [{**asdict(week), "decision": _decision(week)} for week in weeks]
    (output / "weeks.json").write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    trainings = sum(week.trained_on > 0 for week in weeks)
    last = weeks[-4:]
    alone, watched = (
        sum(getattr(week, name).estimate for week in last) / len(last) for name in ("left_alone", "watched")
    )
    typer.echo(
        f"Last month: {100 * alone:.1f} % right when left alone, {100 * watched:.1f} % when watched, after {trainings} "
        f"trainings.\nPicture: {output / 'drift.png'}"
    )


def _decision(week: "Week") -> dict[str, object]:
    return {"action": week.decision.action, "reasons": week.decision.reasons}


def _tell(week: "Week") -> None:
    drifted = ", ".join(week.drifted_tests[:2]) or "no drift"
    trained = f", trained on {week.trained_on:,} ads" if week.trained_on else ""
    alone, watched = 100 * week.left_alone.estimate, 100 * week.watched.estimate
    typer.echo(
        f"{week.day}  {week.month:<28} alone {alone:5.1f} %  watched {watched:5.1f} %  {week.decision.action:<8}"
        f"{drifted}{trained}"
    )


def _story(ads: int, seed: int) -> "tuple[list[JobAd], list[Month]]":
    """Ads to train on, and six months of four weeks in which something changes."""
    import random

    from jobtuner.monitor.simulation import Month

    generator = random.Random(seed)  # noqa: S311  # ads, no secret
    pool = _pool(28 * ads // 64 + 50, seed)  # 28 weeks in at least 32 occupations × 2 languages, and some for chance
    codes = sorted({code for code, _ in pool})
    generator.shuffle(codes)
    old, new = codes[: len(codes) * 2 // 3], codes[len(codes) * 2 // 3 :]
    story = [
        ("all as before", old, ["en", "de"]),
        ("all as before, still", old, ["en", "de"]),
        ("new occupations", codes, ["en", "de"]),
        ("Danish ads come in", codes, ["en", "de", "da"]),
        ("French and Spanish, too", codes, ["en", "de", "da", "fr", "es"]),
        ("the new occupations boom", [*codes, *new, *new], ["en", "de", "da", "fr", "es"]),
    ]

    def draw_week(among: list[str], languages: list[str], count: int) -> "list[JobAd]":
        return [next(pool[generator.choice(among), generator.choice(languages)]) for _ in range(count)]

    training = draw_week(old, ["en", "de"], 4 * ads)
    return training, [
        Month(name, [draw_week(among, languages, ads) for _ in range(4)]) for name, among, languages in story
    ]


def _pool(each: int, seed: int) -> "dict[tuple[str, str], Iterator[JobAd]]":
    """So many ads of each occupation and language."""
    from jobtuner.config import GenerateConfig
    from jobtuner.prepare.synthesize import generate_ads

    found: dict[tuple[str, str], list[JobAd]] = {}
    for ad in generate_ads(GenerateConfig(ads_per_unit=each), seed):
        found.setdefault((ad.label or "", ad.language), []).append(ad)
    return {cell: iter(rows) for cell, rows in found.items()}
