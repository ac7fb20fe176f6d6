import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from jobtuner.errors import ConfigError
from jobtuner.serve.gateway import create_app
from jobtuner.serve.keys import ApiKey, Bucket, KeyRing, add_key, read_keys, remove_key
from tests.unit.serve.conftest import wait_until
from tests.unit.serve.fakes import KeywordClassifier

BODY = {"ads": [{"text": "nurse"}]}


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def test_a_key_is_shown_once_and_only_its_hash_is_stored(file: Path) -> None:
    secret = add_key(file, "site", per_minute=30)
    assert secret.startswith("jobtuner_")
    assert len(secret) > 40
    assert secret not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [(key.name, key.per_minute) for key in read_keys(file)] == [("site", 30)]
    assert add_key(file, "other") != secret
    assert [key.name for key in read_keys(file)] == ["site", "other"]
    assert [entry.name for entry in file.parent.iterdir()] == ["keys.json"]


def test_a_name_is_given_once_and_removed_once(file: Path) -> None:
    add_key(file, "site")
    with pytest.raises(ConfigError, match="already"):
        add_key(file, "site")
    remove_key(file, "site")
    with pytest.raises(ConfigError, match="no key named site"):
        remove_key(file, "site")


@pytest.mark.parametrize(
    ("name", "sha256", "per_minute", "told"),
    [
        ("", "0" * 64, 1.0, "named ''"),
        ("a b", "0" * 64, 1.0, "named 'a b'"),
        ("a", "0" * 63, 1.0, "63 characters"),
        ("a", "Z" * 64, 1.0, "64 hex digits"),
        ("a", "0" * 64, 0.0, "above 0"),
        ("a", "0" * 64, float("nan"), "above 0"),
    ],
)
def test_entries_are_checked(name: str, sha256: str, per_minute: float, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        ApiKey(name, sha256, per_minute)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"keys": 3}',
        '{"keys": [{"name": "a"}]}',
        json.dumps({"keys": [{"name": "a", "sha256": "0" * 64, "per_minute": True}]}),
        json.dumps({"keys": [{"name": "a", "sha256": "0" * 64, "key": "secret"}]}),
        json.dumps({"keys": [{"name": name, "sha256": "0" * 64} for name in "ab"]}),
    ],
)
def test_a_file_of_another_form_is_refused(file: Path, text: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigError, match="keys"):
        KeyRing(file)


def test_the_ring_knows_owners_and_follows_the_file(file: Path) -> None:
    first, clock = add_key(file, "first"), Clock()
    ring = KeyRing(file, clock)
    assert (found := ring.owner(first)) is not None
    assert found.name == "first"
    for wrong in ("", first[:-1], first + "x", first.upper(), "jobtuner_\udcff"):
        assert ring.owner(wrong) is None
    second = add_key(file, "second")
    remove_key(file, "first")
    assert ring.owner(second) is None, "the file is looked at every five seconds"
    clock.now += 5
    assert ring.owner(second) is not None
    assert ring.owner(first) is None
    file.write_text("half an edit")
    clock.now += 5
    assert ring.owner(second) is not None, "a broken file leaves the last good keys in force"
    remove_and_mend = json.dumps({"keys": []})
    file.write_text(remove_and_mend)
    clock.now += 5
    assert ring.owner(second) is None


def test_a_bucket_lets_a_minutes_worth_through_and_then_a_steady_stream() -> None:
    bucket = Bucket(per_minute=30, now=0.0)
    assert [bucket.wait(0.0) for _ in range(30)] == [0.0] * 30
    assert bucket.wait(0.0) == pytest.approx(2.0)
    assert bucket.wait(1.0) == pytest.approx(1.0)
    assert bucket.wait(2.0) == 0.0
    assert bucket.wait(2.0) == pytest.approx(2.0)
    assert bucket.wait(1e6) == 0.0
    slow = Bucket(per_minute=0.5, now=0.0)
    assert slow.wait(0.0) == 0.0
    assert slow.wait(0.0) == pytest.approx(120.0)


def test_a_changed_limit_counts_at_once_and_keys_do_not_share_buckets(file: Path) -> None:
    add_key(file, "site", per_minute=1)
    ring = KeyRing(file, Clock())
    key = ApiKey("site", "0" * 64, 1)
    assert ring.wait(key) == 0.0
    assert ring.wait(key) > 0.0
    assert ring.wait(ApiKey("other", "1" * 64, 1)) == 0.0
    assert ring.wait(ApiKey("site", "0" * 64, 2)) == 0.0


@pytest.fixture
def guarded(file: Path, classifier: KeywordClassifier) -> Iterator[tuple[TestClient, str]]:
    secret = add_key(file, "site", per_minute=3)
    with TestClient(create_app(classifier, keys=KeyRing(file))) as client:
        wait_until(lambda: client.get("/ready").status_code == 200)
        classifier.seen.clear()
        yield client, secret


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Basic {secret}"},
        {"Authorization": "{secret}"},
        {"X-Api-Key": "{secret}"},
    ],
)
def test_without_a_valid_key_nothing_is_read(
    guarded: tuple[TestClient, str], classifier: KeywordClassifier, headers: dict[str, str]
) -> None:
    client, secret = guarded
    sent = {name: value.format(secret=secret) for name, value in headers.items()}
    for path in ("/v1/occupations", "/v1/models", "/openapi.json", "/nowhere"):
        response = client.post(path, json=BODY, headers=sent)
        assert response.status_code == 401, path
        assert response.headers["www-authenticate"] == "Bearer"
        assert response.json()["error"]["type"] == "unauthorized"
        assert secret not in response.text
    assert classifier.seen == []
    assert client.get("/health").status_code == 200


def test_a_key_opens_until_its_minute_is_used_up(guarded: tuple[TestClient, str]) -> None:
    client, secret = guarded
    headers = {"Authorization": f"bearer {secret}"}
    statuses = [client.post("/v1/occupations", json=BODY, headers=headers).status_code for _ in range(4)]
    assert statuses == [200, 200, 200, 429]
    refused = client.get("/v1/models", headers=headers)
    assert refused.status_code == 429
    assert refused.json()["error"]["type"] == "rate_limited"
    assert 1 <= int(refused.headers["retry-after"]) <= 20


def test_the_log_names_the_key_and_never_shows_it(
    guarded: tuple[TestClient, str], caplog: pytest.LogCaptureFixture
) -> None:
    client, secret = guarded
    with caplog.at_level("INFO", logger="jobtuner.serve"):
        client.post("/v1/occupations", json=BODY, headers={"Authorization": f"Bearer {secret}"})
        client.post("/v1/occupations", json=BODY, headers={"Authorization": f"Bearer {secret[:-1]}"})
    fields = [getattr(record, "fields", {}) for record in caplog.records]
    assert [entry.get("key") for entry in fields if entry.get("path") == "/v1/occupations"] == ["site", None]
    assert secret[:-1] not in str(fields) + caplog.text


def test_openapi_tells_of_the_key_only_where_one_is_needed(
    guarded: tuple[TestClient, str], classifier: KeywordClassifier
) -> None:
    client, secret = guarded
    document = client.get("/openapi.json", headers={"Authorization": f"Bearer {secret}"}).json()
    assert document["paths"]["/v1/occupations"]["post"]["security"] == [{"HTTPBearer": []}]
    assert "security" not in document["paths"]["/health"]["get"]
    with TestClient(create_app(classifier)) as open_client:
        assert "security" not in open_client.get("/openapi.json").json()["paths"]["/v1/occupations"]["post"]
