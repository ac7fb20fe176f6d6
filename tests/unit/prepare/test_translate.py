import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3  # type: ignore[import-untyped]
import pytest
from botocore.stub import Stubber  # type: ignore[import-untyped]

from jobtuner.completions import CompletionsClient
from jobtuner.config import GenerateConfig
from jobtuner.errors import DataError, DeployError
from jobtuner.prepare.synthesize import generate_ads
from jobtuner.prepare.translate import TemplateTranslator, translated
from jobtuner.prepare.translate_amazon import AmazonTranslator
from jobtuner.prepare.translate_endpoint import EndpointTranslator
from jobtuner.records import JobAd


def ad(text: str, language: str = "en", number: int = 0) -> JobAd:
    return JobAd(f"{language}-{number}", text, "1", language)


def test_new_ads_keep_label_and_group_of_their_source() -> None:
    ads = [ad("Cook"), JobAd("b", "Nurse", "2", "en", "employer")]
    first, second = translated(ads, ["Koch", "Pfleger"], "de", "de")
    assert first == JobAd("en-0-de", "Koch", "1", "de", "en-0")
    assert second == JobAd("b-de", "Pfleger", "2", "de", "employer")
    assert [new.id for new in translated(ads, [None, "Pfleger"], "de", "x")] == ["b-x"]


def test_templates_translate_generated_ads_and_no_others() -> None:
    config = GenerateConfig(languages=("en", "de"), ads_per_unit=2)
    ads = list(generate_ads(config, 5))[:20]
    translator = TemplateTranslator(config, 5)
    texts = list(translator.write(ads, "da"))
    assert texts == list(translator.write(ads, "da"))
    assert len(set(texts)) == len(ads)  # an English and a German ad of one number get different ones
    assert translator.estimate(ads, ["da"]).cost is None
    with pytest.raises(DataError, match=r"en-0 was not generated"):
        list(translator.write([ad("Cook")], "da"))
    with pytest.raises(DataError, match="no templates in sv"):
        translator.estimate(ads, ["sv"])


class Amazon:
    """boto3's own client with canned answers: a wrong request fails as it would at the service."""

    def __init__(self) -> None:
        self.client = boto3.client(
            "translate", region_name="eu-west-1", aws_access_key_id="key", aws_secret_access_key="secret"
        )
        self.stub = Stubber(self.client)
        self.stub.activate()
        self.pauses: list[float] = []

    def expect(self, text: str, answer: str, source: str = "en", target: str = "de") -> None:
        self.stub.add_response(
            "translate_text",
            {"TranslatedText": answer, "SourceLanguageCode": source, "TargetLanguageCode": target},
            {"Text": text, "SourceLanguageCode": source, "TargetLanguageCode": target},
        )

    def translator(self, **settings: Any) -> AmazonTranslator:
        settings = {"requests_per_second": 1e9} | settings
        return AmazonTranslator(self.client, pause=self.pauses.append, **settings)

    def translate(self, *ads: JobAd, target: str = "de") -> list[str | None]:
        found = list(self.translator().write(ads, target))
        self.stub.assert_no_pending_responses()
        return found


def test_short_texts_travel_together() -> None:
    amazon = Amazon()
    amazon.expect("Cook\nNurse\nDriver", "Koch\nPfleger\nFahrer")
    assert amazon.translate(ad("Cook"), ad("Nurse"), ad("Driver")) == ["Koch", "Pfleger", "Fahrer"]


def test_texts_are_asked_for_alone_where_the_lines_do_not_add_up() -> None:
    amazon = Amazon()
    amazon.expect("Cook\nNurse", "Koch und Pfleger")
    amazon.expect("Cook", "Koch")
    amazon.expect("Nurse", "Pfleger")
    assert amazon.translate(ad("Cook"), ad("Nurse")) == ["Koch", "Pfleger"]


def test_longer_ads_go_alone_and_are_cut_between_lines() -> None:
    amazon = Amazon()
    line = "å" * 2999  # 5,998 bytes: a second one does not fit
    amazon.expect("Two\nlines", "Zwei\nZeilen")
    amazon.expect(f"{line}\n", "A")
    amazon.expect(line, "B")
    assert amazon.translate(ad("Two\nlines"), ad(f"{line}\n{line}")) == ["Zwei\nZeilen", "A\nB"]


def test_languages_do_not_mix_and_unknown_ones_are_found_by_the_service() -> None:
    amazon = Amazon()
    amazon.expect("Cook", "Koch")
    amazon.expect("Kok", "Koch", source="da")
    amazon.expect("Nurse", "Pfleger", source="auto")
    assert amazon.translate(ad("Cook"), ad("Kok", "da"), ad("Nurse", "und")) == ["Koch", "Koch", "Pfleger"]


def test_too_many_requests_are_waited_for() -> None:
    amazon = Amazon()
    amazon.stub.add_client_error("translate_text", "ThrottlingException")
    amazon.stub.add_client_error("translate_text", "TooManyRequestsException")
    amazon.expect("Cook", "Koch")
    assert amazon.translate(ad("Cook")) == ["Koch"]
    assert [pause for pause in amazon.pauses if pause >= 0.5] == [0.5, 1.0]


def test_refusals_are_told() -> None:
    amazon = Amazon()
    for _ in range(6):
        amazon.stub.add_client_error("translate_text", "ThrottlingException", "Rate exceeded")
    with pytest.raises(DeployError, match=r"refused after 6 attempts: .*Rate exceeded"):
        amazon.translate(ad("Cook"))
    amazon.stub.add_client_error("translate_text", "AccessDeniedException", "no rights")
    with pytest.raises(DeployError, match=r"refused after 1 attempts: .*no rights"):
        amazon.translate(ad("Cook"))
    amazon.stub.add_client_error("translate_text", "UnsupportedLanguagePairException")
    with pytest.raises(DataError, match="does not translate from en to tlh"):
        list(amazon.translator().write([ad("Cook")], "tlh"))


def test_the_estimate_counts_characters_requests_and_money() -> None:
    amazon = Amazon()
    ads = [ad("Cook"), ad("Nurse"), ad("Two\nlines"), ad("å" * 5999)]
    found = amazon.translator(price=20.0, requests_per_second=4.0).estimate(ads, ["de", "da"])
    characters = 2 * (4 + 5 + 9 + 5999)
    assert (found.texts, found.characters, found.requests) == (8, characters, 2 * (1 + 1 + 2))
    assert found.cost == pytest.approx(characters / 1e6 * 20)
    assert found.seconds == pytest.approx(2.0)


def test_the_rate_is_kept() -> None:
    amazon = Amazon()
    for _ in range(3):
        amazon.expect("a\nb", "c\nd")
    list(amazon.translator(requests_per_second=2.0).write([ad("a\nb")] * 3, "de"))
    assert amazon.pauses == [pytest.approx(0.5, abs=0.2), pytest.approx(1.0, abs=0.2)]  # the fake pause does not wait


class Server:
    """An OpenAI-shaped server that answers with the ad in capitals, and remembers what it was asked."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.bodies.append(body)
                text = body["messages"][1]["content"]
                reason = "length" if "cut" in text else "stop"
                answer = "" if "empty" in text else text if "same" in text else f" {text.upper()}\n"
                data = json.dumps({"choices": [{"message": {"content": answer}, "finish_reason": reason}]}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class names it
                """No lines on the terminal."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    thread = threading.Thread(target=made.http.serve_forever)
    thread.start()
    yield made
    made.http.shutdown()
    thread.join()
    made.http.server_close()


def test_a_chat_model_translates_and_rewords(server: Server) -> None:
    with CompletionsClient(server.url) as client:
        translator = EndpointTranslator(client, "qwen", concurrency=1, seed=7)
        ads = [ad("Cook\nfor us"), ad("Kok", "da"), ad("cut"), ad("empty"), ad("same")]
        assert list(translator.write(ads, "da")) == ["COOK\nFOR US", "KOK", None, None, None]
        assert translator.estimate(ads, ["da", "sv"]).requests == 10
    first, second = server.bodies[:2]
    assert first["messages"][0]["content"].startswith("Translate the job ad into Danish. Keep line breaks")
    assert first["messages"][1] == {"role": "user", "content": "Cook\nfor us"}
    assert (first["model"], first["temperature"], first["seed"], second["seed"]) == ("qwen", 0.0, 7, 8)
    assert second["messages"][0]["content"].startswith("Rewrite the job ad in other words, in Danish.")
