"""`jobtuner predict`: an exported model at work."""

import json
import os
from typing import Annotated, Any

import typer

from jobtuner.cli.options import ModelOption, latest
from jobtuner.errors import DataError

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command("predict")(_predict)


def _predict(
    texts: Annotated[list[str], typer.Argument(metavar="AD...", help="Job ads or titles, each in quotes.")],
    language: Annotated[
        str | None, typer.Option(help="Language of the titles shown, e.g. de.", show_default="the ad's, by a guess")
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

    from jobtuner.scoring import load_exported
    from jobtuner.serve.text import tidy

    classifier = load_exported(latest("export", "model") if model is None else model)
    scores = classifier.log_probabilities([tidy(text) for text in texts])
    for text, row in zip(texts, scores, strict=True):
        best = np.argsort(-row, kind="stable")[:top]
        answers = [(classifier.labels[index], float(np.exp(row[index]))) for index in best]
        _show(text, answers, classifier.taxonomy, language, as_json)


def _show(text: str, answers: list[tuple[str, float]], taxonomy: Any, language: str | None, as_json: bool) -> None:
    from jobtuner.display import guess_language, show_prediction

    shown = guess_language(text) if language is None else language
    titled = [(code, taxonomy.title(code, shown), probability) for code, probability in answers]
    if as_json:
        found = [{"code": code, "title": title, "probability": probability} for code, title, probability in titled]
        typer.echo(json.dumps({"text": text, "language": shown, "top": found}, ensure_ascii=False))
    else:
        from rich.console import Console

        show_prediction(Console(), text, titled)
