import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from jobtuner.errors import DataError, StorageError
from jobtuner.prediction_log.reader import delete_answers, expire, iter_window, read_window
from jobtuner.prediction_log.sketch import Vocabulary
from jobtuner.prediction_log.spool import leftovers
from jobtuner.prediction_log.store import LogStore
from jobtuner.prediction_log.writer import LogSettings, PredictionLog
from tests.unit.prediction_log.samples import NOON, answer

QUICK = LogSettings(spool_seconds=0.02, flush_seconds=0.05)
DAY = timedelta(days=1)


def ids(location: Path | str) -> list[str]:
    table = read_window(str(location), NOON - 1000 * DAY, NOON + 1000 * DAY, ["id"])
    return sorted(table["id"].to_pylist())


def wait_until(told: Callable[[], bool], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not told():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def test_answers_come_back_without_their_text(tmp_path: Path) -> None:
    log = PredictionLog(str(tmp_path), vocabulary=Vocabulary.of(["nurse wanted for"]))
    assert log.offer([answer(0), answer(1, ad_id="mine", language=None, abstained=True)]) == 2
    assert log.close()
    first, second = read_window(str(tmp_path), NOON, NOON + DAY).to_pylist()
    assert (first["id"], second["id"]) == ("r1/0", "mine")
    assert (first["language"], second["language"]) == ("en", "und")
    assert (first["label"], first["model_version"], first["answered_by"]) == ("2221", "m1", "model")
    assert first["top"] == [{"code": "2221", "probability": 0.75}, {"code": "2222", "probability": 0.25}]
    assert first["unknown_words"] == pytest.approx(2 / 5)  # "ward" and "call" of five words
    assert len(first["sketch"]) == 64
    assert (first["characters"], first["words"]) == (len(answer(0).text), 8)
    assert (first["time"], second["abstained"]) == (NOON, True)
    assert first["text"] is None
    stored = b"".join(path.read_bytes() for path in tmp_path.rglob("*.parquet"))
    assert b"Nurse" not in stored


def test_a_text_is_kept_on_demand_and_without_personal_data(tmp_path: Path) -> None:
    log = PredictionLog(str(tmp_path), LogSettings(keep_text=True))
    log.offer([answer(0, text="Nurse. Write to eva@klinik.de \ud800")])
    assert log.close()
    assert read_window(str(tmp_path), NOON, NOON + DAY)["text"].to_pylist() == ["Nurse. Write to [EMAIL] �"]


def test_a_language_that_nobody_named_is_found_among_those_that_are_told(tmp_path: Path) -> None:
    log = PredictionLog(str(tmp_path), LogSettings(languages=("de", "en", "da")))
    texts = [
        "Wir suchen eine Krankenpflegerin für die Nachtschicht",
        "Vi søger en sygeplejerske til natholdet på afdelingen",
        "12345",
    ]
    log.offer([answer(number, text=text, language=None) for number, text in enumerate(texts)])
    log.offer([answer(3, text=texts[0], language="fr"), answer(4, text=texts[0] + " \ud800", language=None)])
    assert log.close()
    languages = read_window(str(tmp_path), NOON, NOON + DAY)["language"].to_pylist()
    assert languages == ["de", "da", "und", "fr", "de"]
    with pytest.raises(DataError, match="known are"):
        PredictionLog(str(tmp_path), LogSettings(languages=("de", "xx")))


def test_parts_lie_in_the_day_of_their_answers(tmp_path: Path) -> None:
    log = PredictionLog(str(tmp_path))
    log.offer([answer(0), answer(1, time=NOON - DAY), answer(2, time=NOON + DAY)])
    assert log.close()
    assert [name.partition("/")[0] for name in LogStore(str(tmp_path)).parts()] == [
        "day=2026-11-19",
        "day=2026-11-20",
        "day=2026-11-21",
    ]
    assert read_window(str(tmp_path), NOON, NOON + DAY)["id"].to_pylist() == ["r1/0"]  # the end is not inside
    with pytest.raises(DataError, match="no time zone"):
        read_window(str(tmp_path), datetime(2026, 1, 1), NOON)


def test_a_part_is_published_by_time_and_by_size(tmp_path: Path) -> None:
    log = PredictionLog(str(tmp_path), QUICK)
    log.offer([answer(0)])
    wait_until(lambda: ids(tmp_path) == ["r1/0"])
    log.close()
    big = PredictionLog(str(tmp_path / "big"), LogSettings(spool_seconds=0.02, flush_rows=10))
    big.offer([answer(number) for number in range(9)])
    time.sleep(0.2)
    assert big.counts().published == 0
    big.offer([answer(9)])
    wait_until(lambda: big.counts().published == 10)
    big.close()


def test_a_full_queue_drops_counts_and_does_not_wait(tmp_path: Path) -> None:
    log = PredictionLog(str(tmp_path), LogSettings(queue=5, spool_seconds=3600))
    started = time.monotonic()
    assert log.offer([answer(number) for number in range(8)]) == 5
    assert log.offer([answer(9)]) == 0
    assert time.monotonic() - started < 0.5
    counts = log.counts()
    assert (counts.offered, counts.dropped, counts.waiting) == (9, 4, 5)
    assert log.close()
    assert len(ids(tmp_path)) == 5
    assert log.offer([answer(10)]) == 0  # closed
    assert log.counts().dropped == 5


_KILLED = """
import sys, time
from jobtuner.prediction_log.writer import LogSettings, PredictionLog
from tests.unit.prediction_log.samples import answer
log = PredictionLog(sys.argv[1], LogSettings(spool_seconds=0.02))
log.offer([answer(number) for number in range(20)])
while not log._spool or log._spool.rows < 20:
    time.sleep(0.01)
print("spooled", flush=True)
time.sleep(60)
"""


def test_what_a_killed_process_left_is_taken_up_and_a_living_ones_rows_are_not(tmp_path: Path) -> None:
    root = Path(__file__).parents[3]
    environment = {**os.environ, "PYTHONPATH": f"{root / 'src'}:{root}"}
    command = [sys.executable, "-c", _KILLED, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None and process.stdout.readline() == b"spooled\n"
        assert PredictionLog(str(tmp_path)).close() is False  # a neighbour's spool is not ours
        assert ids(tmp_path) == []
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    log = PredictionLog(str(tmp_path))
    assert log.close()
    assert len(ids(tmp_path)) == 20
    assert log.counts().published == 20


def test_of_a_spool_that_was_cut_the_whole_batches_are_taken(tmp_path: Path) -> None:
    log = PredictionLog(str(tmp_path), LogSettings(spool_seconds=0.01))
    for number in range(3):
        log.offer([answer(number)])
        wait_until(lambda: log._spool is not None and log._spool.rows == number + 1)  # noqa: B023
    spool = log._spool
    assert spool is not None
    torn = tmp_path / "other" / ".spool" / spool.path.name
    torn.parent.mkdir(parents=True)
    torn.write_bytes(spool.path.read_bytes()[:-100])
    (torn.parent / "empty.arrows").touch()
    log.close()
    assert PredictionLog(str(tmp_path / "other")).close()
    assert ids(tmp_path / "other") == ["r1/0", "r1/1"]


def test_rows_wait_for_a_store_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    away = True

    def publish(self: LogStore, table: object, name: str) -> None:
        if away:
            raise StorageError("the store does not answer")
        original(self, table, name)

    original = LogStore.publish
    monkeypatch.setattr(LogStore, "publish", publish)
    log = PredictionLog(str(tmp_path / "log"), QUICK)
    log.offer([answer(0)])
    wait_until(lambda: log.counts().failures >= 1)
    log.offer([answer(1)])
    assert not log.close()  # in the spool
    away = False
    assert PredictionLog(str(tmp_path / "log")).close()
    assert ids(tmp_path / "log") == ["r1/0", "r1/1"]


def test_a_spool_that_cannot_be_published_does_not_fill_the_disk(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    spool.mkdir()
    (spool / "old.bin").write_bytes(b"x" * 2000)
    log = PredictionLog(str(tmp_path / "log"), LogSettings(spool_seconds=0.01, spool=spool, spool_bytes=1000))
    log.offer([answer(0)])
    wait_until(lambda: log.counts().dropped == 1)
    log.close()


def test_publishing_a_part_twice_leaves_one(tmp_path: Path) -> None:
    """A kill between publishing and deleting the spool file must not double its rows."""
    log = PredictionLog(str(tmp_path), LogSettings(spool_seconds=0.01))
    log.offer([answer(0)])
    wait_until(lambda: log._spool is not None and log._spool.rows == 1)
    spool = log._spool
    assert spool is not None
    wait_until(lambda: spool.path.stat().st_size > 1000)
    content = spool.path.read_bytes()
    assert log.close()
    spool.path.write_bytes(content)
    assert PredictionLog(str(tmp_path)).close()
    assert ids(tmp_path) == ["r1/0"]


def test_a_locked_spool_is_nobodys_leftover(tmp_path: Path) -> None:
    log = PredictionLog(str(tmp_path), LogSettings(spool_seconds=0.01))
    log.offer([answer(0)])
    wait_until(lambda: log._spool is not None)
    with leftovers(tmp_path / ".spool") as paths:
        assert paths == []
    log.close()


def test_rows_are_deleted_by_id_and_by_request(tmp_path: Path) -> None:
    log = PredictionLog(str(tmp_path))
    log.offer([answer(0), answer(1, ad_id="eva"), answer(0, request="r2"), answer(1, request="r2")])
    log.offer([answer(0, request="r3", time=NOON - DAY)])
    assert log.close()
    assert delete_answers(str(tmp_path), ["eva", "r2", "unknown"]) == 3
    assert ids(tmp_path) == ["r1/0", "r3/0"]
    assert delete_answers(str(tmp_path), ["r3"]) == 1
    assert ids(tmp_path) == ["r1/0"]
    assert not (tmp_path / "day=2026-11-19").exists()
    assert delete_answers(str(tmp_path), ["r3"]) == 0


def test_old_days_expire(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    log = PredictionLog(str(tmp_path))
    log.offer([answer(number, time=now - number * DAY) for number in range(5)])
    assert log.close()
    assert PredictionLog(str(tmp_path), LogSettings(keep_days=3)).close()  # at its start
    assert ids(tmp_path) == ["r1/0", "r1/1", "r1/2"]
    assert len(expire(str(tmp_path), 1, now.date())) == 2
    assert ids(tmp_path) == ["r1/0"]
    with pytest.raises(DataError, match="1 or more"):
        expire(str(tmp_path), 0, date(2026, 1, 1))


def test_a_damaged_part_is_named(tmp_path: Path) -> None:
    part = tmp_path / "day=2026-11-20" / "half.parquet"
    part.parent.mkdir()
    part.write_bytes(b"PAR1 half")
    (tmp_path / "day=soon").mkdir()
    (tmp_path / "day=soon" / "x.parquet").touch()  # no part of ours
    with pytest.raises(DataError, match=r"half\.parquet is no readable part"):
        list(iter_window(str(tmp_path), NOON, NOON + DAY))
    assert list(iter_window(str(tmp_path), NOON + 5 * DAY, NOON + 6 * DAY)) == []
    assert read_window(str(tmp_path / "nowhere"), NOON, NOON + DAY, ["label"]).column_names == ["label", "time"]


def test_the_log_in_an_object_store(s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    location = f"{s3}/log"
    log = PredictionLog(location, LogSettings(spool=tmp_path / "spool"))
    log.offer([answer(0), answer(1, ad_id="eva"), answer(2, time=NOON - DAY)])
    assert log.close()
    assert ids(location) == ["eva", "r1/0", "r1/2"]
    assert delete_answers(location, ["eva"]) == 1
    assert ids(location) == ["r1/0", "r1/2"]
    assert len(expire(location, 1, NOON.date())) == 1
    assert ids(location) == ["r1/0"]
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(StorageError):
        ids(location)
