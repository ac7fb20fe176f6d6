"""Translation and paraphrase by any OpenAI-compatible server, our own vLLM for one."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from jobtuner.completions import CompletionsClient
from jobtuner.prepare.translate import Estimate
from jobtuner.records import JobAd, Message

__all__ = ["EndpointTranslator"]

_NAMES = {
    "ar": "Arabic", "bg": "Bulgarian", "cs": "Czech", "da": "Danish", "de": "German", "el": "Greek", "en": "English",
    "es": "Spanish", "et": "Estonian", "fi": "Finnish", "fr": "French", "ga": "Irish", "hr": "Croatian",
    "hu": "Hungarian", "is": "Icelandic", "it": "Italian", "ja": "Japanese", "ko": "Korean", "lt": "Lithuanian",
    "lv": "Latvian", "mt": "Maltese", "nl": "Dutch", "no": "Norwegian", "pl": "Polish", "pt": "Portuguese",
    "ro": "Romanian", "ru": "Russian", "sk": "Slovak", "sl": "Slovenian", "sv": "Swedish", "tr": "Turkish",
    "uk": "Ukrainian", "zh": "Chinese",
}  # fmt: skip
_RULES = "Keep line breaks, lists, numbers, names and contact details. Answer with the ad alone."


class EndpointTranslator:
    """Asks a chat model to write each ad anew: in another language, or in the same one in other words.

    Args:
        client: the server.
        model: its name for the model.
        concurrency: ads asked about at once.
        temperature: 0 for translations; higher ones vary paraphrases.
        seed: makes a server that supports it repeat its answers.
    """

    def __init__(
        self, client: CompletionsClient, model: str, *, concurrency: int = 8, temperature: float = 0.0, seed: int = 17
    ) -> None:
        self._client, self._model, self._concurrency = client, model, concurrency
        self._temperature, self._seed = temperature, seed

    def estimate(self, ads: Sequence[JobAd], languages: Sequence[str]) -> Estimate:
        """One request a text; what it costs depends on the server."""
        count = len(ads) * len(languages)
        return Estimate(count, sum(len(ad.text) for ad in ads) * len(languages), count)

    def write(self, ads: Sequence[JobAd], language: str) -> Iterator[str | None]:
        """See `Translator`. An ad that is in the language already is paraphrased."""
        with ThreadPoolExecutor(self._concurrency) as pool:
            yield from pool.map(lambda numbered: self._one(numbered[1], language, numbered[0]), enumerate(ads))

    def _one(self, ad: JobAd, language: str, number: int) -> str | None:
        body = {
            "model": self._model,
            "messages": _messages(ad, language),
            "max_tokens": 64 + 2 * len(ad.text),  # a token is hardly shorter than half a character, in any language
            "temperature": self._temperature,
            "seed": self._seed + number,
        }
        answer = self._client.request("POST", "/chat/completions", body)
        try:
            choice = answer["choices"][0]
            text, reason = choice["message"]["content"], choice.get("finish_reason")
        except (KeyError, IndexError, TypeError) as error:
            raise self._client.wrong(f"no choice with a message but {str(answer)[:200]}") from error
        if reason != "stop" or not isinstance(text, str) or not text.strip():
            return None  # cut, filtered or empty
        return text.strip() if text.strip() != ad.text.strip() else None


def _messages(ad: JobAd, language: str) -> list[Message]:
    name = _NAMES.get(language, f"the language with the ISO 639-1 code {language}")
    task = (
        f"Rewrite the job ad in other words, in {name}. The job, its tasks and requirements stay the same."
        if ad.language == language
        else f"Translate the job ad into {name}."
    )
    return [{"role": "system", "content": f"{task} {_RULES}"}, {"role": "user", "content": ad.text}]
