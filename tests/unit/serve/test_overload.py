import asyncio
import math
from typing import Any

import httpx
import pytest

from jobtuner.serve.gateway import Settings, create_app
from jobtuner.serve.scorer import BusyError, Scorer
from tests.unit.serve.fakes import KeywordClassifier

BODY = {"ads": [{"text": "nurse"}]}


def test_the_queue_is_bounded_and_every_admitted_request_is_answered(classifier: KeywordClassifier) -> None:
    async def scenario() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app=create_app(classifier, settings=Settings(workers=1, queue=3)))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            classifier.closed.clear()
            asks = [asyncio.create_task(client.post("/v1/occupations", json=BODY)) for _ in range(40)]
            done, waiting = await asyncio.wait(asks, timeout=1.0)
            assert len(waiting) == 4  # one at work, three in the queue
            assert all(task.result().status_code == 429 for task in done)
            assert (await client.get("/health")).status_code == 200  # the event loop is free
            classifier.closed.set()
            return list(await asyncio.gather(*asks))

    responses = asyncio.run(scenario())
    refused = [response for response in responses if response.status_code == 429]
    assert sum(response.status_code == 200 for response in responses) == 4
    assert len(refused) == 36
    assert all(int(response.headers["retry-after"]) >= 1 for response in refused)
    assert refused[0].json()["error"]["type"] == "overloaded"
    assert classifier.most_at_once == 1


def test_a_place_is_free_again_after_a_failure(classifier: KeywordClassifier) -> None:
    async def scenario() -> None:
        scorer = Scorer(classifier, workers=1, queue=0)
        for _ in range(3):
            with pytest.raises(RuntimeError):
                await scorer.score(["EXPLODE"])
        assert (await scorer.score(["nurse"])).shape == (1, 4)

    asyncio.run(scenario())


def test_a_cancelled_request_keeps_its_worker_until_the_thread_is_done(classifier: KeywordClassifier) -> None:
    async def scenario() -> None:
        scorer = Scorer(classifier, workers=1, queue=0)
        classifier.closed.clear()
        first = asyncio.create_task(scorer.score(["nurse"]))
        await asyncio.sleep(0.1)
        first.cancel()
        await asyncio.sleep(0.1)
        with pytest.raises(BusyError) as busy:
            await scorer.score(["cook"])
        assert busy.value.retry_after >= 1
        assert first.cancelled()
        classifier.closed.set()
        await asyncio.sleep(0.2)
        await scorer.score(["cook"])

    asyncio.run(scenario())
    assert classifier.most_at_once == 1


def test_a_request_cancelled_in_the_queue_gives_its_place_back_and_is_not_scored(classifier: KeywordClassifier) -> None:
    async def scenario() -> None:
        scorer = Scorer(classifier, workers=1, queue=1)
        classifier.closed.clear()
        first = asyncio.create_task(scorer.score(["nurse"]))
        waiting = asyncio.create_task(scorer.score(["driver"]))
        await asyncio.sleep(0.1)
        waiting.cancel()
        await asyncio.sleep(0.1)
        second = asyncio.create_task(scorer.score(["cook"]))
        await asyncio.sleep(0.1)
        classifier.closed.set()
        await asyncio.gather(first, second)

    asyncio.run(scenario())
    assert classifier.seen == ["nurse", "cook"]


def test_retry_after_is_the_time_of_the_last_request(classifier: KeywordClassifier) -> None:
    async def scenario() -> int:
        scorer = Scorer(classifier, workers=1, queue=0)
        await scorer.score(["SLOW"])
        classifier.closed.clear()
        first = asyncio.create_task(scorer.score(["nurse"]))
        await asyncio.sleep(0.05)
        with pytest.raises(BusyError) as busy:
            await scorer.score(["cook"])
        classifier.closed.set()
        await first
        return busy.value.retry_after

    assert asyncio.run(scenario()) == math.ceil(1.5)


def _post(parts: list[bytes], pause: float) -> Any:
    async def body() -> Any:
        for part in parts:
            yield part
            await asyncio.sleep(pause)

    return body()


def test_a_body_that_dawdles_is_408(classifier: KeywordClassifier) -> None:
    async def scenario() -> httpx.Response:
        transport = httpx.ASGITransport(app=create_app(classifier, settings=Settings(body_seconds=0.3)))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            json_type = {"Content-Type": "application/json"}
            return await client.post("/v1/occupations", content=_post([b"{"] * 20, 0.1), headers=json_type)

    response = asyncio.run(scenario())
    assert (response.status_code, response.json()["error"]["type"]) == (408, "timeout")


def test_open_requests_are_bounded_but_health_is_not(classifier: KeywordClassifier) -> None:
    async def scenario() -> None:
        transport = httpx.ASGITransport(app=create_app(classifier, settings=Settings(max_open=2, body_seconds=5.0)))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            classifier.closed.clear()
            asks = [asyncio.create_task(client.post("/v1/occupations", json=BODY)) for _ in range(2)]
            await asyncio.sleep(0.2)
            third = await client.post("/v1/occupations", json=BODY)
            assert (third.status_code, third.headers["retry-after"]) == (429, "1")
            assert third.json()["error"]["request_id"] == third.headers["x-request-id"]
            assert (await client.get("/health")).status_code == 200
            classifier.closed.set()
            assert [(await task).status_code for task in asks] == [200, 200]
            assert (await client.post("/v1/occupations", json=BODY)).status_code == 200

    asyncio.run(scenario())
