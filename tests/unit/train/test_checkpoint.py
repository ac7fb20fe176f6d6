"""Checkpoints as files: whole or not there, verified, pruned, mirrored. What they hold does not matter here."""

import errno
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from minio import Minio
from moto.server import ThreadedMotoServer

from jobtuner import storage
from jobtuner.errors import StorageError
from jobtuner.train import mirror as mirror_module
from jobtuner.train.checkpoint import CheckpointStore, UnusableError, verify
from jobtuner.train.mirror import MANIFEST

ME = {"settings": "a", "data": "b", "base model": "c", "training code": "d"}
FILES = ("adapter_model.safetensors", "optimizer.safetensors", "trainer_state.json")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    moto = ThreadedMotoServer("127.0.0.1", port=0)
    moto.start()
    host, port = moto.get_host_and_port()
    Minio(f"{host}:{port}", access_key="key", secret_key="secret", secure=False, region="us-east-1").make_bucket("runs")
    yield f"http://{host}:{port}"
    moto.stop()


@pytest.fixture
def uri(server: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    for name in ("AWS_ENDPOINT_URL", "AWS_SESSION_TOKEN", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MINIO_ENDPOINT", server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    return f"s3://runs/{request.node.name.replace('[', '-').replace(']', '')}"


def write(store: CheckpointStore, *steps: int) -> None:
    for step in steps:
        with store.write(step, 3000) as folder:
            for name in FILES:
                (folder / name).write_bytes(f"{name} of step {step}; ".encode() * 40)


def steps(store: CheckpointStore) -> list[int]:
    return sorted(int(path.name.removeprefix("checkpoint-")) for path in store.folder.glob("checkpoint-*"))


def newest(store: CheckpointStore) -> int | None:
    found = store.newest()
    return found.step if found else None


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def renumber(path: Path) -> None:
    path.write_text(path.read_text().replace('"step": 20', '"step": 10'))


def empty(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "a cut adapter": (lambda folder: cut(folder / FILES[0]), "adapter_model.safetensors has 100 of "),
    "a missing state": (lambda folder: (folder / FILES[2]).unlink(), "trainer_state.json is missing"),
    "an empty folder": (empty, "it has no manifest.json, so it was never finished"),
    "a cut optimizer": (lambda folder: cut(folder / FILES[1]), "optimizer.safetensors has 100 of "),
    "a flipped bit": (lambda folder: flip(folder / FILES[0]), "adapter_model.safetensors is not what was written"),
    "a cut manifest": (lambda folder: cut(folder / MANIFEST), "its manifest.json is not readable"),
    "a changed manifest": (lambda folder: renumber(folder / MANIFEST), "manifest.json is not what was written"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_newest_whole_checkpoint_is_used_and_the_reason_told(
    damage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    break_it, reason = DAMAGES[damage]
    with CheckpointStore(tmp_path, ME) as store:
        write(store, 10, 20)
        break_it(store.folder / "checkpoint-20")
        assert newest(store) == 10
        assert f"The checkpoint of step 20 (here) is not used: {reason}" in capsys.readouterr().err
        write(store, 20)  # the damaged one gives way
        assert (newest(store), steps(store)) == (20, [10, 20])


def test_every_flipped_bit_is_noticed(tmp_path: Path) -> None:
    with CheckpointStore(tmp_path, ME) as store:
        write(store, 1)
        folder = store.folder / "checkpoint-1"
        for path in (folder / MANIFEST, folder / FILES[0]):
            content = path.read_bytes()
            for place in range(0, len(content), 7):
                path.write_bytes(content[:place] + bytes([content[place] ^ (1 << place % 8)]) + content[place + 1 :])
                with pytest.raises(UnusableError):
                    verify(folder, 1, ME)
            path.write_bytes(content)
        assert verify(folder, 1, ME).step == 1


def test_no_checkpoint_and_only_bad_ones(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with CheckpointStore(tmp_path, ME) as store:
        assert newest(store) is None
        assert capsys.readouterr().err == ""
        write(store, 5)
        empty(store.folder / "checkpoint-5")
        assert newest(store) is None
        assert "training starts again at step 0" in capsys.readouterr().err


def test_a_checkpoint_of_another_training_is_not_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (
        CheckpointStore(tmp_path, {**ME, "data": "x", "settings": "y"}) as other,
        CheckpointStore(tmp_path, ME) as store,
    ):
        write(other, 30)
        assert newest(store) is None  # another key, another folder
        shutil.copytree(other.folder / "checkpoint-30", store.folder / "checkpoint-30")
        assert newest(store) is None
        assert "is not used: it was made with other data and settings." in capsys.readouterr().err
        shutil.copytree(other.folder / "checkpoint-30", other.folder / "checkpoint-40")
        assert newest(other) == 30
        assert "its manifest is that of step 30" in capsys.readouterr().err


def test_old_ones_go_when_the_new_one_is_there(tmp_path: Path) -> None:
    with CheckpointStore(tmp_path, ME, keep=3) as store:
        write(store, 1, 2, 3, 4, 5)
        assert steps(store) == [3, 4, 5]
        with pytest.raises(RuntimeError), store.write(6, 100) as folder:
            (folder / "half").write_text("x")
            raise RuntimeError
        assert steps(store) == [3, 4, 5]
        assert sorted(path.name for path in store.folder.iterdir()) == [*(f"checkpoint-{n}" for n in (3, 4, 5)), "lock"]
        store.finish(keep=1)
        assert steps(store) == [5]
        store.finish(keep=0)
        assert list(tmp_path.iterdir()) == []


def test_a_damaged_one_is_never_kept_for_a_good_one(tmp_path: Path) -> None:
    with CheckpointStore(tmp_path, ME) as store:
        write(store, 10, 20)
        cut(store.folder / "checkpoint-20" / FILES[0])
        assert newest(store) == 10
        write(store, 15)
        assert steps(store) == [10, 15]


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    with CheckpointStore(tmp_path, ME) as store:
        write(store, 1)
        (store.folder / ".unfinished-1").mkdir()
    with CheckpointStore(tmp_path, ME) as store:
        assert newest(store) == 1
        assert not list(store.folder.glob(".unfinished*"))


def test_two_equal_trainings_at_once_do_not_meet(tmp_path: Path) -> None:
    with CheckpointStore(tmp_path, ME) as first, CheckpointStore(tmp_path, ME) as second:
        assert first.folder != second.folder
        write(first, 1)
        assert newest(second) is None
    with CheckpointStore(tmp_path, ME) as third:
        assert third.folder == first.folder
        assert newest(third) == 1


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match=r"cannot be kept in .*file.*JOBTUNER_CHECKPOINTS"):
        CheckpointStore(tmp_path / "file", ME)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MB: a tmpfs where this user may mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)]
    if os.geteuid() or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("needs the right to mount a tmpfs")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=False)


def test_a_full_disk_leaves_the_former_checkpoint(small_disk: Path) -> None:
    with CheckpointStore(small_disk, ME) as store:
        write(store, 10)
        message = (
            r"The disk is full: the checkpoint of step 20 could not be written to .* It takes 4\.0 MB; .* MB are "
            r"free\. The checkpoint of step 10 is untouched\. Free some space"
        )
        with pytest.raises(StorageError, match=message), store.write(20, 4_000_000) as folder:
            (folder / "optimizer.safetensors").write_bytes(b"x" * 4_000_000)
        assert sorted(path.name for path in store.folder.iterdir()) == ["checkpoint-10", "lock"]
        assert newest(store) == 10


def test_a_full_disk_is_seen_through_a_librarys_error(tmp_path: Path) -> None:
    with (
        CheckpointStore(tmp_path, ME) as store,
        pytest.raises(StorageError, match="There is no former one"),
        store.write(1, 10),
    ):
        raise ValueError(f"I/O error: {os.strerror(errno.ENOSPC)} (os error 28)")


def mirrored(uri: str) -> list[str]:
    return storage.names(uri)


def test_the_mirror_holds_what_a_lost_disk_held(tmp_path: Path, uri: str) -> None:
    with CheckpointStore(tmp_path / "one", ME, mirror=uri) as store:
        write(store, 10, 20, 30)
        before = {path.name: path.read_bytes() for path in (store.folder / "checkpoint-30").iterdir()}
        assert len(mirrored(uri)) == 2 * (len(FILES) + 1)  # two are kept
    with CheckpointStore(tmp_path / "two", ME, mirror=uri) as store:
        assert newest(store) == 30
        assert {path.name: path.read_bytes() for path in (store.folder / "checkpoint-30").iterdir()} == before
        write(store, 40)
        store.finish(keep=1)
        assert {name.split("/")[1].rsplit("-", 1)[0] for name in mirrored(uri)} == {"checkpoint-40"}


@pytest.mark.parametrize("damage", ["cut", "wrong", "no manifest", "missing"])
def test_a_damaged_mirrored_copy_is_noticed(
    damage: str, tmp_path: Path, uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with CheckpointStore(tmp_path / "one", ME, mirror=uri) as store:
        write(store, 10, 20)
    (found,) = (name for name in mirrored(uri) if "checkpoint-20-" in name and name.endswith(FILES[0]))
    local = tmp_path / "other"
    local.write_bytes(b"x" * (10 if damage == "cut" else (store.folder / "checkpoint-20" / FILES[0]).stat().st_size))
    if damage in {"cut", "wrong"}:
        storage.upload(local, f"{uri}/{found}")
    else:
        storage.remove(f"{uri}/{found.replace(FILES[0], MANIFEST) if damage == 'no manifest' else found}")
    with CheckpointStore(tmp_path / "two", ME, mirror=uri) as store:
        assert newest(store) == 10
        said = capsys.readouterr().err
        assert damage == "no manifest" or "The checkpoint of step 20 (a mirrored copy) is not used: adapter" in said
        assert sorted(path.name for path in store.folder.iterdir()) == ["checkpoint-10", "lock"]
        write(store, 30)
        names = {name.split("/")[1].rsplit("-", 1)[0] for name in mirrored(uri) if name.endswith(MANIFEST)}
        assert names == {"checkpoint-10", "checkpoint-30"}


def test_the_good_one_of_two_copies_is_used(tmp_path: Path, uri: str) -> None:
    with CheckpointStore(tmp_path, ME, mirror=uri) as store:
        write(store, 10, 20)
        cut(store.folder / "checkpoint-20" / FILES[1])
        assert newest(store) == 20
        assert verify(store.folder / "checkpoint-20", 20, ME).step == 20


def test_the_manifest_goes_up_last_and_goes_away_first(
    tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[tuple[str, str]] = []
    for verb in ("upload", "remove"):
        real = getattr(mirror_module, verb)

        def noted(*arguments: object, verb: str = verb, real: object = real) -> None:
            done.append((verb, str(arguments[-1]).rpartition("/")[2]))
            real(*arguments)  # type: ignore[operator]

        monkeypatch.setattr(mirror_module, verb, noted)
    with CheckpointStore(tmp_path, ME, keep=2, mirror=uri) as store:
        write(store, 1, 2, 3)
    assert [name for verb, name in done if verb == "upload"] == [*FILES, MANIFEST] * 3
    assert [name for verb, name in done if verb == "remove"] == [MANIFEST, *FILES]


def test_a_store_that_fails_in_the_middle_does_not_end_training_and_at_the_start_it_does(
    tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with CheckpointStore(tmp_path, ME, mirror=uri) as store:
        write(store, 1)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "")
        write(store, 2)
        assert "The checkpoint of step 2 could not be mirrored; training goes on." in capsys.readouterr().err
        assert steps(store) == [1, 2]
    with CheckpointStore(tmp_path, ME, mirror=uri) as store, pytest.raises(StorageError, match="AWS_ACCESS_KEY_ID"):
        store.newest()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    assert {name.split("/")[1].rsplit("-", 1)[0] for name in mirrored(uri)} == {"checkpoint-1"}


def test_the_manifest_says_what_it_was_made_with(tmp_path: Path) -> None:
    with CheckpointStore(tmp_path, ME, made_with={"torch": "2.13"}) as store:
        write(store, 1)
        document = json.loads((store.folder / "checkpoint-1" / MANIFEST).read_text())
        assert sorted(document["files"]) == sorted(FILES)
        found = store.newest()
        assert found is not None and found.made_with == {"torch": "2.13"}
