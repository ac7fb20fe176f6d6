"""`jobtuner serve`: an exported model behind HTTP."""

from pathlib import Path
from typing import Annotated, Any

import typer

from jobtuner.cli.options import ModelOption, latest
from jobtuner.errors import ConfigError

__all__ = ["add_to"]

_SERVER = "Model server"
_CASCADE = "Cascade"
_LOG = "Prediction log"


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command("serve")(_serve)


def _server(help_text: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=help_text, rich_help_panel=_SERVER, **more)


def _cascade(help_text: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=help_text, rich_help_panel=_CASCADE, **more)


def _log(help_text: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=help_text, rich_help_panel=_LOG, **more)


def _serve(
    model: ModelOption = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8080,
    keys: Annotated[
        Path | None,
        typer.Option(
            envvar="JOBTUNER_KEYS", help="File of API keys (jobtuner keys add). Without it everybody may ask."
        ),
    ] = None,
    page: Annotated[
        bool | None,
        typer.Option("--page/--no-page", help="Serve the web page at / too.", show_default="if Gradio is installed"),
    ] = None,
    batches: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder that keeps what /v1/batches takes in.", show_default="no batches"),
    ] = None,
    endpoint: Annotated[
        str | None,
        _server(
            "vLLM or KServe that runs the model; prompts, labels and calibration still come from --model. "
            "Its key comes from JOBTUNER_ENDPOINT_KEY.",
            metavar="URL",
        ),
    ] = None,
    served_model: Annotated[
        str | None, _server("The server's name for the model.", show_default="the only one", metavar="NAME")
    ] = None,
    concurrency: Annotated[
        int | None, _server("Ads the server is asked about at once.", show_default="64", min=1, max=1024)
    ] = None,
    timeout: Annotated[
        float | None, _server("Seconds a request to the server may take.", show_default="30", min=0.1)
    ] = None,
    skills_model: Annotated[
        str | None,
        _server(
            "Its name for the model or adapter behind /v1/skills, or an exported one's folder.",
            metavar="NAME",
            show_default="none",
        ),
    ] = None,
    letter_model: Annotated[
        str | None,
        _server("The same for /v1/cover-letters.", metavar="NAME", show_default="none"),
    ] = None,
    skills_taxonomy: Annotated[
        Path | None,
        typer.Option(
            help="ESCO's skills_en.csv, or rows with uri and label: /v1/skills links to their concepts.",
            metavar="FILE",
            show_default="no links",
        ),
    ] = None,
    chat_model: Annotated[
        list[str] | None,
        _server("Another of its models that /v1/chat/completions may be asked for. May be repeated.", metavar="NAME"),
    ] = None,
    cascade: Annotated[
        bool, _cascade("Let the baseline answer where it is sure enough, the model the rest.", "--cascade")
    ] = False,
    cascade_precision: Annotated[
        float | None,
        _cascade("Share of its answers that should be right.", metavar="P", show_default="as accurate as the model"),
    ] = None,
    cascade_threshold: Annotated[
        float | None, _cascade("Its answer stands from this probability on.", metavar="T")
    ] = None,
    baseline: Annotated[
        Path | None, _cascade("Folder of another baseline.", metavar="DIR", show_default="beside the weights")
    ] = None,
    prediction_log: Annotated[
        str | None,
        _log(
            "Folder or s3:// location that gets every answer, without its text.",
            envvar="JOBTUNER_PREDICTION_LOG",
            metavar="LOG",
            show_default="none",
        ),
    ] = None,
    log_text: Annotated[bool, _log("Write the ads' texts too, with personal data masked.", "--log-text")] = False,
    log_languages: Annotated[
        str | None,
        _log(
            "Find the language of ads whose client names none, among these: en,de,fr.",
            envvar="JOBTUNER_LOG_LANGUAGES",
            metavar="CODES",
            show_default="unknown",
        ),
    ] = None,
    review: Annotated[
        bool,
        _log("Show the least certain answers to everybody with a key, at /v1/review and on the page.", "--review"),
    ] = False,
    log_days: Annotated[
        int | None, _log("Days that the log is kept.", min=1, show_default="for ever", metavar="DAYS")
    ] = None,
    log_spool: Annotated[
        Path | None,
        _log("Folder for answers that are not in the log yet.", metavar="DIR", show_default="in the log, or in /tmp"),
    ] = None,
) -> None:
    """Serve an exported model over HTTP until Ctrl-C."""
    from jobtuner.serve.assembly import CascadeChoice, Offer
    from jobtuner.serve.logs import log_as_json
    from jobtuner.serve.page.mount import available
    from jobtuner.serve.server import serve

    wanted = cascade or any(value is not None for value in (cascade_precision, cascade_threshold, baseline))
    offer = Offer(
        model=latest("export", "model") if model is None else Path(model),
        endpoint=_endpoint(endpoint, served_model=served_model, concurrency=concurrency, timeout=timeout),
        cascade=CascadeChoice(baseline, cascade_precision, cascade_threshold) if wanted else None,
        keys=keys,
        batches=batches,
        skills_model=skills_model,
        letter_model=letter_model,
        skills_taxonomy=skills_taxonomy,
        chat_models=tuple(chat_model or ()),
        page=available() if page is None else page,
        review=review,
        log=_log_choice(prediction_log, text=log_text, languages=log_languages, days=log_days, spool=log_spool),
    )
    log_as_json()
    serve(offer, host, port)


def _log_choice(
    location: str | None, *, text: bool, languages: str | None, days: int | None, spool: Path | None
) -> Any:
    from jobtuner.prediction_log.writer import LogSettings
    from jobtuner.serve.recorder import LogChoice

    if location is not None:
        known = tuple(code.strip() for code in (languages or "").split(",") if code.strip())
        return LogChoice(location, LogSettings(keep_text=text, languages=known, keep_days=days, spool=spool))
    if text or languages or days is not None or spool is not None:
        raise ConfigError(
            "--log-text, --log-languages, --log-days and --log-spool would have no effect without --prediction-log LOG."
        )
    return None


def _endpoint(url: str | None, **settings: Any) -> Any:
    from jobtuner.serve.backend import Endpoint

    given = {name: value for name, value in settings.items() if value is not None}
    if url is not None:
        return Endpoint(url, **given)
    if given:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise ConfigError(f"{names} would have no effect without --endpoint URL.")
    return None
