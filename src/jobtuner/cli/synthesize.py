"""`jobtuner synthesize`: labelled ads from templates, translated and reworded where asked, to file or object store."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobtuner.errors import ConfigError

if TYPE_CHECKING:
    from jobtuner.completions import CompletionsClient
    from jobtuner.prepare.translate import Translator
    from jobtuner.records import JobAd

__all__ = ["add_to"]

_TRANSLATORS = ("templates", "amazon", "endpoint")
_REWORDING_TEMPERATURE = 0.8  # at 0 every paraphrase of an ad would be the same


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command("synthesize")(_synthesize)


def _synthesize(
    output: Annotated[str, typer.Option("--output", "-o", help="File .jsonl or .jsonl.gz, or s3://bucket/key of one.")],
    ads_per_unit: Annotated[int, typer.Option(min=1, help="Ads per occupation and language.")] = 24,
    languages: Annotated[str, typer.Option(help="Languages to write in, with commas.")] = "en,es,fr,de,da",
    noise: Annotated[float, typer.Option(help="Share of ads with typos, HTML, shouting or emoji.")] = 0.3,
    untitled: Annotated[float, typer.Option(help="Share of ads whose heading does not name the occupation.")] = 0.25,
    templates: Annotated[
        Path | None, typer.Option(help="JSON file with templates of your own.", show_default="the built-in ones")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same ads.")] = 17,
    translate_to: Annotated[
        str | None, typer.Option(help="Further languages, with commas: every ad is translated into each.")
    ] = None,
    translator: Annotated[
        str | None, typer.Option(metavar="|".join(_TRANSLATORS), help="Who translates.", show_default="templates")
    ] = None,
    paraphrases: Annotated[int, typer.Option(min=0, help="Further versions of each ad in other words.")] = 0,
    endpoint: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="OpenAI-compatible server that translates and rewords; see below for its key."
        ),
    ] = None,
    served_model: Annotated[
        str | None, typer.Option(help="The server's name for its model.", show_default="the only one")
    ] = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Ads the server is asked about at once.")] = 8,
    price: Annotated[float, typer.Option(min=0, help="Amazon: US dollars a million characters; look it up.")] = 15.0,
    requests_per_second: Annotated[float, typer.Option(min=0.1, help="Amazon: most requests a second.")] = 10.0,
    yes: Annotated[bool, typer.Option("--yes", help="Start what costs money without asking.")] = False,
) -> None:
    """Write labelled ads for every occupation of the templates: balanced, and the same for the same seed.

    The key of --endpoint comes from JOBTUNER_ENDPOINT_KEY, that of Amazon from where boto3 looks for it.
    """
    from jobtuner.config import load_config
    from jobtuner.prepare.synthesize import generate_ads

    targets = _codes(translate_to or "")
    _check(output, targets, translator, paraphrases, endpoint)
    settings = {
        "templates": str(templates) if templates else None,
        "languages": _codes(languages),
        "ads_per_unit": ads_per_unit,
        "noise": noise,
        "untitled": untitled,
    }
    config = load_config("smoke", {f"data.generate.{key}": json.dumps(value) for key, value in settings.items()})
    generate = config.data.generate
    ads = list(generate_ads(generate, seed))
    written = list(ads)
    with ExitStack() as stack:
        client = None
        if endpoint is not None:
            from jobtuner.completions import CompletionsClient

            client = stack.enter_context(CompletionsClient(endpoint, connections=concurrency))
            served_model = client.model(served_model)
        if targets:
            made: Translator
            if (translator or "templates") == "templates":
                from jobtuner.prepare.translate import TemplateTranslator

                made = TemplateTranslator(generate, seed)
            elif translator == "amazon":
                from jobtuner.prepare.translate_amazon import AmazonTranslator

                made = AmazonTranslator(requests_per_second=requests_per_second, price=price)
            else:
                made = _endpoint_translator(client, served_model, concurrency, 0.0, seed)
            _agree(made, ads, targets, yes)
            for target in targets:
                sources = [ad for ad in ads if ad.language != target]
                written += _rewritten(made, sources, target, f"Translating into {target}", target)
        for number in range(1, paraphrases + 1):
            made = _endpoint_translator(
                client, served_model, concurrency, _REWORDING_TEMPERATURE, seed + 100_003 * number
            )
            for language in generate.languages:
                own = [ad for ad in ads if ad.language == language]
                written += _rewritten(made, own, language, f"Rewording ({language})", f"p{number}")
    _save(written, output)
    _tell(written, output)


def _codes(text: str) -> list[str]:
    return [code.strip() for code in text.split(",") if code.strip()]


def _check(output: str, targets: Sequence[str], translator: str | None, paraphrases: int, endpoint: str | None) -> None:
    """Refuse what cannot work, and what would have no effect, before anything is written or paid for."""
    if not output.endswith((".jsonl", ".jsonl.gz")):
        raise ConfigError(f"--output {output}: a name that ends with .jsonl or .jsonl.gz is needed.")
    if translator is not None and translator not in _TRANSLATORS:
        raise ConfigError(f"--translator {translator} is not known; accepted are {', '.join(_TRANSLATORS)}.")
    if translator is not None and not targets:
        raise ConfigError("--translator has no effect without --translate-to, e.g. --translate-to sv,fi.")
    needs_endpoint = translator == "endpoint" or paraphrases > 0
    if needs_endpoint and endpoint is None:
        raise ConfigError("--paraphrases and --translator endpoint need --endpoint URL, an OpenAI-compatible server.")
    if endpoint is not None and not needs_endpoint:
        raise ConfigError("--endpoint has no effect without --translator endpoint or --paraphrases.")


def _endpoint_translator(
    client: "CompletionsClient | None", model: str | None, concurrency: int, temperature: float, seed: int
) -> "Translator":
    from jobtuner.prepare.translate_endpoint import EndpointTranslator

    assert client is not None and model is not None, "_check asks for --endpoint"
    return EndpointTranslator(client, model, concurrency=concurrency, temperature=temperature, seed=seed)


def _agree(made: "Translator", ads: Sequence["JobAd"], targets: Sequence[str], yes: bool) -> None:
    """Say what the translation takes; where it costs money, go on only if that was agreed to."""
    estimate = made.estimate(ads, targets)
    typer.echo(f"Translation into {', '.join(targets)}: {estimate}", err=True)
    if estimate.cost and not yes:
        raise ConfigError(
            "Nothing was sent. Add --yes to the same command to start; --ads-per-unit 1 makes it a trial."
        )


def _rewritten(made: "Translator", ads: Sequence["JobAd"], language: str, label: str, mark: str) -> Iterator["JobAd"]:
    from jobtuner.prepare.translate import translated
    from jobtuner.progress import track

    texts = []
    with track(label, total=len(ads), unit="ads") as bar:
        for text in made.write(ads, language):
            texts.append(text)
            bar.advance()
    missing = texts.count(None)
    if missing:
        typer.echo(f"{label}: {missing:,} of {len(ads):,} ads got no usable answer and are left out.", err=True)
    yield from translated(ads, texts, language, mark)


def _save(ads: Sequence["JobAd"], output: str) -> None:
    import tempfile

    from jobtuner.records import write_jsonl
    from jobtuner.storage import local_path, upload

    here = local_path(output)
    if here is not None:
        here.parent.mkdir(parents=True, exist_ok=True)
        write_jsonl(here, ads)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / output.rsplit("/", 1)[-1]
        write_jsonl(path, ads)
        upload(path, output)


def _tell(ads: Sequence["JobAd"], output: str) -> None:
    spoken = Counter(ad.language for ad in ads)
    labels = Counter(ad.label for ad in ads)
    typer.echo(
        f"{output}: {len(ads):,} ads of {len(labels):,} occupations, {min(labels.values()):,} to "
        f"{max(labels.values()):,} each; {', '.join(f'{language} {count:,}' for language, count in spoken.items())}"
    )
    typer.echo(f"Next: jobtuner run --input {output}" if labels else "")
