"""`jobtuner predict`: an exported model at work."""

import json
import os
from typing import Annotated, Any

import typer

from jobtuner.cli.options import ModelOption, latest
from jobtuner.errors import DataError
from jobtuner.records import UNKNOWN_LANGUAGE

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command("predict")(_predict)


def _predict(
    texts: Annotated[list[str], typer.Argument(metavar="AD...", help="Job ads or titles, each in quotes.")],
    language: Annotated[
        str | None, typer.Option(help="Language of the titles shown, e.g. de.", show_default="the ad's, by a guess")
    ] = None,
    ad_language: Annotated[
        str | None,
        typer.Option(help="Language of the ads, whose temperature is taken.", show_default="found by lingua"),
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="Codes shown an ad.")] = 5,
    model: ModelOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object an ad.")] = False,
) -> None:
    """Name the occupation of job ads."""
    if not all(text.strip() for text in texts):
        raise DataError("An ad is empty; put its text or title in quotes: jobtuner predict 'Night nurse, Berlin'.")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # a small model is read in no time
    import numpy as np

    from jobtuner.display import guess_language
    from jobtuner.languages import languages_of
    from jobtuner.scoring import load_exported
    from jobtuner.serve.text import tidy

    classifier = load_exported(latest("export", "model") if model is None else model)
    read = [tidy(text) for text in texts]
    own = classifier.temperatures.languages
    spoken = [ad_language] * len(texts)
    if own:  # else all ads have one temperature, and lingua need not be loaded
        spoken = [*languages_of(read, spoken, {*own, *classifier.taxonomy.languages})]
    scores = classifier.temperatures.corrected_scores(classifier.log_probabilities(read), spoken)
    for text, row, found in zip(texts, scores, spoken, strict=True):
        best = np.argsort(-row, kind="stable")[:top]
        answers = [(classifier.labels[index], float(np.exp(row[index]))) for index in best]
        _show(text, answers, classifier.taxonomy, language or _said(found) or guess_language(text), as_json)


def _said(language: str | None) -> str | None:
    return None if language == UNKNOWN_LANGUAGE else language


def _show(text: str, answers: list[tuple[str, float]], taxonomy: Any, shown: str, as_json: bool) -> None:
    from jobtuner.display import show_prediction

    titled = [(code, taxonomy.title(code, shown), probability) for code, probability in answers]
    if as_json:
        found = [{"code": code, "title": title, "probability": probability} for code, title, probability in titled]
        typer.echo(json.dumps({"text": text, "language": shown, "top": found}, ensure_ascii=False))
    else:
        from rich.console import Console

        show_prediction(Console(), text, titled)
