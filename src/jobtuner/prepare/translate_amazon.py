"""Translation by Amazon Translate: short texts packed together, a steady rate, patience when it says "too many".

Credentials and region come from the environment and the files that boto3 reads.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from jobtuner.errors import DataError, DeployError
from jobtuner.prepare.translate import Estimate
from jobtuner.records import JobAd

__all__ = ["LIST_PRICE", "AmazonTranslator"]

LIST_PRICE = 15.0
"""US dollars a million characters of real-time standard translation; prices change, so it can be set."""

_MOST_BYTES = 10_000
"""UTF-8 bytes of one TranslateText request (the service's quota)."""
_ATTEMPTS = 6
_FIRST_PAUSE = 0.5  # seconds, doubled each time
_BUSY = {"ThrottlingException", "TooManyRequestsException", "ServiceUnavailableException", "InternalServerException"}
_UNKNOWN_PAIR = {"UnsupportedLanguagePairException", "UnsupportedDisplayLanguageCodeException"}


class AmazonTranslator:
    """Texts of one line are packed many to a request, one a line; others go alone, cut between lines where too long.

    Args:
        client: boto3's client of the service "translate"; None: one from the environment.
        requests_per_second: kept below, whatever the service's quota allows.
        price: US dollars a million characters.
        pause: waits so many seconds; tests give one that does not.

    Raises:
        DeployError: boto3 is missing, or knows no region.
    """

    def __init__(
        self,
        client: Any = None,
        *,
        requests_per_second: float = 10.0,
        price: float = LIST_PRICE,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = _client() if client is None else client
        self._interval = 1 / requests_per_second
        self._price = price
        self._pause = pause
        self._next = 0.0

    def estimate(self, ads: Sequence[JobAd], languages: Sequence[str]) -> Estimate:
        """Every character of the source is charged for, once a language."""
        texts = [ad.text for ad in ads]
        characters = sum(map(len, texts)) * len(languages)
        each = sum(len(_pieces(pack[0])) if len(pack) == 1 else 1 for pack in _packs(texts))
        requests = each * len(languages)
        cost = characters / 1e6 * self._price
        return Estimate(len(ads) * len(languages), characters, requests, cost, requests * self._interval)

    def write(self, ads: Sequence[JobAd], language: str) -> Iterator[str | None]:
        """See `Translator`. Ads of one request share the source language of the first."""
        for source, group in _by_language(ads):
            for pack in _packs([ad.text for ad in group]):
                yield from self._pack(pack, source, language)

    def _pack(self, texts: Sequence[str], source: str, target: str) -> list[str | None]:
        if len(texts) > 1:
            lines = self._ask("\n".join(texts), source, target).split("\n")
            if len(lines) == len(texts):
                return [line.strip() or None for line in lines]
            # A line was split or joined: nobody can tell which, so each text is asked for alone.
        return ["".join(self._ask(piece, source, target) for piece in _pieces(text)).strip() or None for text in texts]

    def _ask(self, text: str, source: str, target: str) -> str:
        from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]

        if not text.strip():
            return text
        for attempt in range(1, _ATTEMPTS + 1):
            self._keep_rate()
            try:
                answer = self._client.translate_text(Text=text, SourceLanguageCode=source, TargetLanguageCode=target)
            except ClientError as error:
                code = error.response.get("Error", {}).get("Code", "")
                if code in _UNKNOWN_PAIR:
                    raise DataError(
                        f"Amazon Translate does not translate from {source} to {target}: {error}"
                    ) from error
                if code not in _BUSY or attempt == _ATTEMPTS:
                    raise DeployError(f"Amazon Translate refused after {attempt} attempts: {error}") from error
                self._pause(_FIRST_PAUSE * 2 ** (attempt - 1))
            except BotoCoreError as error:
                raise DeployError(f"Amazon Translate cannot be reached: {error}") from error
            else:
                # The service trims its answer; line breaks at the ends hold the pieces of one text apart.
                return str(answer["TranslatedText"]) + text[len(text.rstrip()) :]
        raise AssertionError("the last attempt returns or raises")

    def _keep_rate(self) -> None:
        now = time.monotonic()
        if now < self._next:
            self._pause(self._next - now)
        self._next = max(now, self._next) + self._interval


def _client() -> Any:
    try:
        import boto3  # type: ignore[import-untyped]
        from botocore.config import Config  # type: ignore[import-untyped]
        from botocore.exceptions import BotoCoreError
    except ImportError as error:
        raise DeployError("Amazon Translate needs boto3: pip install boto3.") from error
    try:
        # Lost connections are tried again by botocore; answers that say "too many" are ours to wait for.
        region = os.environ.get("AWS_REGION") or None  # boto3 itself reads AWS_DEFAULT_REGION and its files
        return boto3.client(
            "translate", region_name=region, config=Config(retries={"mode": "standard", "max_attempts": 3})
        )
    except BotoCoreError as error:
        raise DeployError(f"Amazon Translate cannot be used: {error} Set AWS_REGION and credentials.") from error


def _by_language(ads: Sequence[JobAd]) -> Iterator[tuple[str, list[JobAd]]]:
    """Neighbours of the same language together, in their order; "auto" lets the service find an unknown one."""
    group: list[JobAd] = []
    for ad in ads:
        if group and ad.language != group[0].language:
            yield _code(group[0]), group
            group = []
        group.append(ad)
    if group:
        yield _code(group[0]), group


def _code(ad: JobAd) -> str:
    return "auto" if ad.language == "und" else ad.language


def _packs(texts: Sequence[str]) -> Iterator[list[str]]:
    """Runs of texts of one line that fit into one request together; any other text alone."""
    pack: list[str] = []
    size = 0
    for text in texts:
        length = len(text.encode()) + 1
        single = "\n" in text or not text.strip() or length > _MOST_BYTES
        if pack and (single or size + length > _MOST_BYTES):
            yield pack
            pack, size = [], 0
        if single:
            yield [text]
        else:
            pack.append(text)
            size += length
    if pack:
        yield pack


def _pieces(text: str) -> list[str]:
    """A text in pieces of at most `_MOST_BYTES`, cut after a line break, else after a space, else anywhere."""
    pieces = []
    while len(text.encode()) > _MOST_BYTES:
        head = text.encode()[:_MOST_BYTES].decode(errors="ignore")
        cut = max(head.rfind("\n"), 0) or max(head.rfind(" "), 0) or len(head) - 1
        pieces.append(text[: cut + 1])
        text = text[cut + 1 :]
    return [*pieces, text]
