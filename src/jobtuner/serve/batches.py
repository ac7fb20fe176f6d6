"""/v1/batches: many ads now, their answers later. Kept in a folder, so that a restart loses nothing.

FOLDER/ID/state.json, input.jsonl (until it is finished), answers.jsonl, answers.jsonl.rejected.jsonl
"""

import asyncio
import json
import logging
import re
import shutil
import threading
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobtuner.completions import RefusedError
from jobtuner.errors import DeployError
from jobtuner.serve.batch import BatchJob, run_batch
from jobtuner.serve.batch_client import occupation_answer
from jobtuner.serve.batch_files import Columns, Row
from jobtuner.serve.desk import Desk, Question
from jobtuner.serve.errors import errors
from jobtuner.serve.schemas import Ad
from jobtuner.serve.schemas_batch import BatchList, BatchRequest, BatchState
from jobtuner.serve.scorer import BusyError

if TYPE_CHECKING:
    from fastapi import FastAPI

__all__ = ["Batches", "add_batches"]

_MOST_KEPT = 200
"""Batches in the folder, finished ones included; the next one gets 429."""
_MOST_WAITING = 16
_KEEP_SECONDS = 7 * 86_400.0
_TOGETHER = 16  # ads scored at once: interactive requests come between
_PATIENCE = 0.5  # seconds between two attempts where interactive requests fill the queue
_NAME = re.compile(r"[0-9a-f]{32}")
_LOG = logging.getLogger("jobtuner.serve")
_STATE, _INPUT, _ANSWERS = "state.json", "input.jsonl", "answers.jsonl"


class Batches:
    """The batches of one folder, worked on one after the other.

    Args:
        folder: where they are kept; made where it is missing.
        desk: answers the ads.
        model_version: goes with the answers.
    """

    def __init__(self, folder: Path, desk: Desk, model_version: str) -> None:
        self._folder, self._desk, self._model_version = folder, desk, model_version
        folder.mkdir(parents=True, exist_ok=True)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="batches")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()
        self._closing = threading.Event()

    def open(self) -> None:
        """Take up what an earlier process has left; to be called in the event loop."""
        self._loop = asyncio.get_running_loop()
        for state in self.overview(None):
            if time.time() - state.created > _KEEP_SECONDS:
                shutil.rmtree(self._folder / state.id, ignore_errors=True)
            elif state.status in {"queued", "running"}:
                self._pool.submit(self._work, state.id)

    def close(self) -> None:
        """Stop; what is unfinished waits for the next process."""
        self._closing.set()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def submit(self, request: BatchRequest, owner: str) -> BatchState:
        """Store a batch and put it into the queue.

        Raises:
            BusyError: too many are stored or wait.
        """
        with self._lock:
            states = self.overview(None)
            waiting = sum(state.status in {"queued", "running"} for state in states)
            if len(states) >= _MOST_KEPT or waiting >= _MOST_WAITING:
                raise BusyError(60)
            state = BatchState(
                id=uuid.uuid4().hex, status="queued", ads=len(request.ads), created=int(time.time()), owner=owner
            )
            place = self._folder / f".{state.id}"
            place.mkdir()
            with (place / _INPUT).open("w", encoding="utf-8") as stream:
                for ad in request.ads:
                    stream.write(json.dumps(ad.model_dump(), ensure_ascii=False) + "\n")
            options = {"top_k": request.top_k, "title_language": request.title_language}
            (place / "options.json").write_text(json.dumps(options), encoding="utf-8")
            (place / _STATE).write_text(state.model_dump_json(), encoding="utf-8")
            place.rename(self._folder / state.id)  # it is there as a whole or not at all
        self._pool.submit(self._work, state.id)
        return state

    def overview(self, owner: str | None) -> list[BatchState]:
        """All batches of an owner (None: of all), the oldest first."""
        found = [
            BatchState.model_validate_json(path.read_text("utf-8")) for path in self._folder.glob(f"[!.]*/{_STATE}")
        ]
        return sorted((item for item in found if owner is None or item.owner == owner), key=lambda item: item.created)

    def state(self, name: str, owner: str) -> BatchState | None:
        """One batch; None where the owner has no such one."""
        path = self._folder / name / _STATE
        if not (_NAME.fullmatch(name) and path.is_file()):
            return None
        found = BatchState.model_validate_json(path.read_text("utf-8"))
        return found if found.owner == owner else None

    def answers(self, name: str) -> Path:
        """File of a finished batch's answers."""
        return self._folder / name / _ANSWERS

    def delete(self, name: str) -> None:
        """Forget a batch; one that is worked on ends with its next answers."""
        shutil.rmtree(self._folder / name, ignore_errors=True)

    def _work(self, name: str) -> None:
        place = self._folder / name
        try:
            state = BatchState.model_validate_json((place / _STATE).read_text("utf-8"))
            options = json.loads((place / "options.json").read_text("utf-8"))
            self._save(state.model_copy(update={"status": "running"}))
            job = BatchJob(
                *(place / _INPUT, place / _ANSWERS),
                columns=Columns("text", "id", "language"),
                part_rows=256,
                ads_per_request=_TOGETHER,
                concurrency=1,
                progress=False,
            )
            summary = run_batch(job, lambda rows: self._ask(rows, options, name))
            counts = {"answered": summary.answered, "rejected": summary.rejected}
            self._save(state.model_copy(update={"status": "done", **counts}))
            (place / _INPUT).unlink()  # the ads are not kept longer than they are needed
        except Exception as error:  # noqa: BLE001  # whatever it was, the next batch is not to blame
            if not self._closing.is_set() and place.is_dir():
                _LOG.error("batch failed", extra={"fields": {"batch": name, "error": type(error).__name__}})
                self._save(state.model_copy(update={"status": "failed", "reason": type(error).__name__}))

    def _save(self, state: BatchState) -> None:
        path = self._folder / state.id / _STATE
        temporary = path.with_suffix(".tmp")
        temporary.write_text(state.model_dump_json(), encoding="utf-8")
        temporary.replace(path)

    def _ask(self, rows: Sequence[Row], options: dict[str, Any], name: str) -> list[dict[str, Any]]:
        """Answers from the desk, whose event loop is another thread's; interactive requests go first."""
        try:
            ads = [Ad(text=row.text, language=row.language, id=row.id) for row in rows]
        except ValueError as error:
            raise RefusedError("the text holds no readable character") from error
        question = Question(ads, options["top_k"], options["title_language"], name)
        while not self._closing.is_set() and (self._folder / name).is_dir() and self._loop is not None:
            future = asyncio.run_coroutine_threadsafe(self._desk.answer(question), self._loop)
            try:
                results = future.result()
            except (BusyError, TimeoutError):
                self._closing.wait(_PATIENCE)
            else:
                return [occupation_answer(result.model_dump(), self._model_version) for result in results]
        raise DeployError("the batch was stopped or deleted")


def add_batches(app: "FastAPI", batches: Batches, guarded: dict[str, Any]) -> None:
    """Add the paths below /v1/batches; each key sees its own batches alone."""
    from fastapi import HTTPException, Request
    from fastapi.responses import FileResponse

    need_key = bool(guarded)

    def owner(request: Request) -> str:
        return str(getattr(request.state, "key", ""))

    def mine(name: str, request: Request) -> BatchState:
        state = batches.state(name, owner(request))
        if state is None:
            raise HTTPException(404, "There is no such batch.")
        return state

    answers = errors(408, 413, 422, 429, 500, guarded=need_key)

    @app.post("/v1/batches", summary="Submit many ads", status_code=202, responses=answers, **guarded)
    async def submit(body: BatchRequest, request: Request) -> BatchState:
        request.state.ads = len(body.ads)
        return await asyncio.to_thread(batches.submit, body, owner(request))

    some = errors(429, 500, guarded=need_key)

    @app.get("/v1/batches", summary="All batches", responses=some, **guarded)
    async def every(request: Request) -> BatchList:
        return BatchList(data=await asyncio.to_thread(batches.overview, owner(request)))

    one = errors(404, 429, 500, guarded=need_key)

    @app.get("/v1/batches/{name}", summary="State of a batch", responses=one, **guarded)
    async def state(name: str, request: Request) -> BatchState:
        return mine(name, request)

    @app.delete("/v1/batches/{name}", summary="Forget a batch", responses=one, **guarded)
    async def forget(name: str, request: Request) -> BatchState:
        found = mine(name, request)
        await asyncio.to_thread(batches.delete, name)
        return found

    file: dict[int | str, dict[str, Any]] = {
        200: {"content": {"application/x-ndjson": {}}, "description": "One JSON object an ad, in their order."},
        **errors(404, 409, 429, 500, guarded=need_key),
    }

    @app.get(
        "/v1/batches/{name}/result",
        summary="Answers of a finished batch",
        response_class=FileResponse,
        responses=file,
        **guarded,
    )
    async def result(name: str, request: Request) -> FileResponse:
        found = mine(name, request)
        if found.status != "done":
            raise HTTPException(409, f"The batch is {found.status}; there are answers when it is done.")
        return FileResponse(batches.answers(name), media_type="application/x-ndjson")
