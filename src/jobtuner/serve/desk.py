"""From ads to answers: every answer of the gateway is made here, whoever asks for it.

The baseline answers where it is sure enough, the model the rest; then titles, counters, and those who listen.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from jobtuner.clean import legible
from jobtuner.probabilities import Temperatures
from jobtuner.router import route
from jobtuner.serve.backend import Classifier, Predictor
from jobtuner.serve.metrics import Metrics
from jobtuner.serve.observers import Answered, Audience
from jobtuner.serve.schemas import Ad, Candidate, Group, OccupationResult
from jobtuner.serve.scorer import BusyError, Scorer
from jobtuner.taxonomy import Taxonomy, ancestors

__all__ = ["Cascade", "Desk", "Question"]

_PATH = "/v1/occupations"
_By = Literal["baseline", "model"]


@dataclass(frozen=True)
class Cascade:
    """The cheap model in front of the dear one."""

    baseline: Predictor
    """With calibrated probabilities."""
    threshold: float
    """The baseline's answer stands where its probability reaches this."""
    temperatures: Temperatures = field(default_factory=Temperatures)
    """The baseline's: of all ads, which its probabilities have, and of ads whose language is known."""


@dataclass(frozen=True)
class Question:
    """Ads to classify, and how the answers are to look."""

    ads: Sequence[Ad]
    top_k: int
    title_language: str | None
    request_id: str


@dataclass(frozen=True)
class _Scored:
    labels: Sequence[str]
    row: NDArray[np.float64]
    by: _By


class Desk:
    """Answers questions about occupations.

    Args:
        classifier: the model.
        scorer: runs it.
        metrics: counts the answers.
        audience: sees them.
        seconds: an answer must be there by then.
        cascade: what answers before the model; None: the model answers all.
        cheap: runs the cascade's baseline.
    """

    def __init__(
        self,
        classifier: Classifier,
        scorer: Scorer,
        metrics: Metrics,
        audience: Audience,
        *,
        seconds: float,
        cascade: Cascade | None = None,
        cheap: Scorer | None = None,
    ) -> None:
        self._classifier, self._scorer, self._metrics, self._audience = classifier, scorer, metrics, audience
        self._seconds, self._cascade, self._cheap = seconds, cascade, cheap
        self._codes = frozenset(classifier.labels)

    async def answer(self, question: Question) -> list[OccupationResult]:
        """One result an ad, in their order.

        Raises:
            BusyError: the queue is full.
            TimeoutError: it took too long.
            DeployError: the model is a server's, and that does not answer.
            ModelError: the model answers with something else than probabilities.
        """
        try:
            async with asyncio.timeout(self._seconds):
                read = await asyncio.to_thread(lambda: [legible(ad.text, self._codes) for ad in question.ads])
                scored = await self._scored(question.ads, [text for text, _ in read])
        except (BusyError, TimeoutError):
            raise
        except Exception:
            self._scorer.probe()  # one ad's fault, or the model's? The probe tells, and `/ready` with it.
            raise
        orders = [count for _, count in read]
        results = [self._result(question, *item) for item in zip(question.ads, scored, orders, strict=True)]
        self._metrics.answered(results)
        self._metrics.left_out(_PATH, sum(orders))
        for ad, result in zip(question.ads, results, strict=True):
            self._audience.tell(
                Answered(question.request_id, ad.text, ad.language, result, self._classifier.model_version)
            )
        return results

    async def _scored(self, ads: Sequence[Ad], read: Sequence[str]) -> list[_Scored]:
        """Who answers each ad, and how: the baseline reads what a person would, the model cleans as it was trained."""
        texts, languages = [ad.text for ad in ads], [ad.language for ad in ads]
        first: dict[int, _Scored] = {}
        if self._cascade is not None and self._cheap is not None:
            rows = self._cascade.temperatures.corrected(await self._cheap.score(read), languages)
            labels, threshold = self._cascade.baseline.labels, self._cascade.threshold
            first = {
                place: _Scored(labels, row, "baseline")
                for place, row in enumerate(rows)
                if route(float(row.max()), threshold) == "baseline"
            }
        rest = [place for place in range(len(texts)) if place not in first]
        if rest:
            rows = await self._scorer.score([texts[place] for place in rest])
            rows = self._classifier.temperatures.corrected(rows, [languages[place] for place in rest])
            first |= {
                place: _Scored(self._classifier.labels, row, "model") for place, row in zip(rest, rows, strict=True)
            }
        return [first[place] for place in range(len(texts))]

    def _result(self, question: Question, ad: Ad, scored: _Scored, orders: int) -> OccupationResult:
        language = question.title_language or ad.language or "en"
        order = np.argsort(-scored.row, kind="stable")[: question.top_k]
        taxonomy = self._classifier.taxonomy
        top = [_candidate(scored.labels[place], float(scored.row[place]), taxonomy, language) for place in order]
        best = top[0]
        return OccupationResult(
            id=ad.id,
            code=best.code,
            title=best.title,
            probability=best.probability,
            answered_by=scored.by,
            abstain=scored.by == "model" and best.probability < self._classifier.abstain_below,
            orders=orders,
            top=top,
        )


def _candidate(code: str, probability: float, taxonomy: Taxonomy, language: str) -> Candidate:
    path = [Group(code=group, title=taxonomy.title(group, language)) for group in ancestors(code)[:-1]]
    return Candidate(code=code, title=taxonomy.title(code, language), probability=probability, path=path)
