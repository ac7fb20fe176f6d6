"""Ads in further languages and other words: what a translator is, and what all of them share.

`TemplateTranslator` (here) writes the same ad anew from templates in the other language; `translate_amazon` and
`translate_endpoint` ask a service. Translations and paraphrases share the source's group, so that no split parts them.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from jobtuner.config import GenerateConfig
from jobtuner.errors import DataError
from jobtuner.prepare.phrases import load_phrases
from jobtuner.prepare.synthesize import generate_ad
from jobtuner.records import JobAd

__all__ = ["Estimate", "TemplateTranslator", "Translator", "translated"]


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a translation will take, known before it starts."""

    texts: int
    characters: int
    requests: int
    cost: float | None = None
    """In the currency of the price given; None: nothing is charged, or it is not known."""
    seconds: float | None = None
    """At the allowed rate of requests; None: not known."""

    def __str__(self) -> str:
        parts = [f"{self.texts:,} texts, {self.characters:,} characters, {self.requests:,} requests"]
        parts += [f"{self.cost:,.2f} (US dollars at the price given)"] if self.cost is not None else []
        parts += [f"at least {self.seconds:,.0f} s"] if self.seconds is not None else []
        return "; ".join(parts)


class Translator(Protocol):
    """Writes ads anew in a language."""

    def estimate(self, ads: Sequence[JobAd], languages: Sequence[str]) -> Estimate:
        """What `write` will take for all these ads and languages."""

    def write(self, ads: Sequence[JobAd], language: str) -> Iterator[str | None]:
        """The text of each ad in the language, in their order; None where no usable answer came.

        Raises:
            DataError: an ad or language that this translator cannot do at all.
            DeployError: the service cannot be reached or refuses.
        """


class TemplateTranslator:
    """The same generated ad from the other language's templates: same occupation and number, its own phrases there."""

    def __init__(self, config: GenerateConfig, seed: int) -> None:
        self._config, self._seed = config, seed

    def estimate(self, ads: Sequence[JobAd], languages: Sequence[str]) -> Estimate:
        """Templates cost nothing."""
        load_phrases(self._config.templates).check(languages)
        return Estimate(len(ads) * len(languages), sum(len(ad.text) for ad in ads) * len(languages), 0)

    def write(self, ads: Sequence[JobAd], language: str) -> Iterator[str | None]:
        """See `Translator`."""
        units = load_phrases(self._config.templates).units[language]
        for ad in ads:
            match = re.fullmatch(r"[a-z]{2}-(.+)-([0-9]+)", ad.id)
            if match is None:
                raise DataError(f"The ad {ad.id} was not generated, so there are no templates to write it from.")
            code, seed = match[1], f"{self._seed}/{ad.language}"  # ads of two languages get two translations
            yield generate_ad(self._config, seed, code, language, int(match[2])).text if code in units else None


def translated(ads: Sequence[JobAd], texts: Sequence[str | None], language: str, mark: str) -> Iterator[JobAd]:
    """The new ads of some: ids with a mark, the source's label and group; those without a text are left out."""
    for ad, text in zip(ads, texts, strict=True):
        if text is not None:
            yield replace(ad, id=f"{ad.id}-{mark}", text=text, language=language, group=ad.group or ad.id)
