import json
from collections import Counter
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer
from typer.testing import CliRunner

from jobtuner.cli import app
from jobtuner.config import Columns
from jobtuner.prepare.sources import read_rows
from jobtuner.records import JobAd


def call(*words: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["synthesize", *map(str, words)])
    return result.exit_code, " ".join(result.output.split())


def test_ads_are_balanced_deterministic_and_readable_as_input(tmp_path: Path) -> None:
    words = ("--ads-per-unit", "1", "--languages", "en,de", "--translate-to", "da")
    code, text = call("-o", tmp_path / "a.jsonl.gz", *words)
    assert code == 0, text
    assert "192 ads of 48 occupations, 4 to 4 each; en 48, de 48, da 96" in text
    call("-o", tmp_path / "b.jsonl", *words)
    call("-o", tmp_path / "c.jsonl", *words, "--seed", "3")
    first, again, other = (
        list(read_rows(tmp_path / name, Columns(id="id", group="group")))
        for name in ("a.jsonl.gz", "b.jsonl", "c.jsonl")
    )
    assert first == again != other
    assert set(Counter(row.label for row in first).values()) == {4}
    danish = [row for row in first if isinstance(row, JobAd) and row.language == "da"]
    assert len({row.text for row in danish}) == len(danish) == 96
    assert {row.group for row in danish} == {row.id for row in first if row.language != "da"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("-o", "a.csv"), "a name that ends with .jsonl or .jsonl.gz"),
        (
            ("-o", "a.jsonl", "--translator", "deepl", "--translate-to", "sv"),
            "accepted are templates, amazon, endpoint",
        ),
        (("-o", "a.jsonl", "--translator", "amazon"), "no effect without --translate-to"),
        (("-o", "a.jsonl", "--paraphrases", "1"), "need --endpoint URL"),
        (("-o", "a.jsonl", "--endpoint", "http://x"), "no effect without --translator endpoint or --paraphrases"),
        (("-o", "a.jsonl", "--languages", "sv"), "no sv, but en, es, fr, de, da"),
        (("-o", "a.jsonl", "--noise", "2"), "noise"),
    ],
)
def test_what_cannot_work_is_refused(
    words: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, text = call(*words)
    assert code == 2
    assert message in text
    assert not list(tmp_path.iterdir())


def test_what_costs_money_waits_for_yes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("AWS_REGION", "eu-west-1"), ("AWS_ACCESS_KEY_ID", "k"), ("AWS_SECRET_ACCESS_KEY", "s")):
        monkeypatch.setenv(name, value)
    words = (
        "--ads-per-unit",
        "1",
        "--languages",
        "en",
        "--translate-to",
        "sv",
        "--translator",
        "amazon",
        "--price",
        "100",
    )
    code, text = call("-o", tmp_path / "a.jsonl", *words)
    assert code == 2
    assert "48 texts" in text and "US dollars" in text and "Nothing was sent. Add --yes" in text
    assert not list(tmp_path.iterdir())


def test_one_flag_uploads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import boto3  # type: ignore[import-untyped]

    moto = ThreadedMotoServer("127.0.0.1", port=0)
    moto.start()
    host, port = moto.get_host_and_port()
    for name, value in (
        ("MINIO_ENDPOINT", f"http://{host}:{port}"), ("AWS_ACCESS_KEY_ID", "k"), ("AWS_SECRET_ACCESS_KEY", "s")
    ):  # fmt: skip
        monkeypatch.setenv(name, value)
    client = boto3.client("s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1")
    client.create_bucket(Bucket="ads")
    try:
        code, text = call("-o", "s3://ads/made/ads.jsonl", "--ads-per-unit", "1", "--languages", "da")
        body = client.get_object(Bucket="ads", Key="made/ads.jsonl")["Body"].read().decode()
    finally:
        moto.stop()
    assert code == 0 and "s3://ads/made/ads.jsonl: 48 ads" in text
    assert len([json.loads(line) for line in body.splitlines()]) == 48
