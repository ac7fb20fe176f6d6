"""/v1/review: the logged answers that a person should look at, for those who may read all of them."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

from jobtuner.errors import DataError, StorageError
from jobtuner.review import queue
from jobtuner.serve.errors import errors
from jobtuner.serve.schemas_review import ReviewCandidate, ReviewQueue, ReviewRow
from jobtuner.taxonomy import Taxonomy

if TYPE_CHECKING:
    from fastapi import FastAPI

__all__ = ["add_review"]


def add_review(app: "FastAPI", location: str, taxonomy: Taxonomy, guarded: dict[str, Any]) -> None:
    """Add the path.

    Args:
        app: gets it.
        location: of the prediction log.
        taxonomy: gives titles.
        guarded: what routes get where a key is needed.
    """
    from fastapi import HTTPException, Query

    one_by_one = asyncio.Lock()  # each reads days of the log

    def look(days: int, unsure: int, blind: int) -> list[ReviewRow]:
        until = datetime.now(UTC)
        rows = queue(location, until - timedelta(days=days), until, unsure=unsure, random=blind)
        return [_row(row, taxonomy) for row in rows]

    @app.get(
        "/v1/review",
        summary="Answers to look at",
        responses=errors(422, 429, 500, 503, guarded=bool(guarded)),
        **guarded,
    )
    async def review(
        days: Annotated[int, Query(ge=1, le=31, description="Back from now.")] = 7,
        unsure: Annotated[int, Query(ge=0, le=200, description="Answers of the lowest probability.")] = 20,
        blind: Annotated[int, Query(ge=0, le=200, description="Answers picked blindly.")] = 5,
    ) -> ReviewQueue:
        async with one_by_one:
            try:
                return ReviewQueue(rows=await asyncio.to_thread(look, days, unsure, blind))
            except (DataError, StorageError) as error:
                raise HTTPException(503, "The prediction log cannot be read now.", {"Retry-After": "30"}) from error


def _row(row: dict[str, Any], taxonomy: Taxonomy) -> ReviewRow:
    language = row["language"] if row["language"] in taxonomy.languages else "en"
    top = [
        ReviewCandidate(
            code=item["code"],
            title=taxonomy.title(item["code"], language) if item["code"] in taxonomy.occupations else item["code"],
            probability=min(1.0, max(0.0, item["probability"])),
        )
        for item in row["top"]
    ]
    return ReviewRow(
        id=row["id"],
        time=row["time"].isoformat(timespec="seconds"),
        language=row["language"],
        text=row["text"],
        label=row["label"],
        probability=min(1.0, max(0.0, row["probability"])),
        top=top,
        chosen=row["chosen"],
    )
