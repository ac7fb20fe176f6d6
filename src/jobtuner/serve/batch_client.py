"""Questions of a batch to a gateway over HTTP."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from jobtuner.completions import CompletionsClient, RefusedError
from jobtuner.serve.batch import Ask
from jobtuner.serve.batch_files import Row, Task

__all__ = ["endpoint_ask", "endpoint_model", "occupation_answer"]


def endpoint_model(client: CompletionsClient) -> str:
    """Name of the model behind the endpoint: a batch that is taken up again must meet the same one.

    Raises:
        DeployError: the endpoint does not answer, or not as a gateway.
    """
    answer = client.request("GET", "/models")
    try:
        return str(answer["data"][0]["id"])
    except (KeyError, TypeError, IndexError) as error:
        raise client.wrong("its list of models is empty") from error


def endpoint_ask(
    client: CompletionsClient,
    task: Task,
    *,
    top_k: int = 5,
    title_language: str | None = None,
    applicant: Mapping[str, Any] | None = None,
) -> Ask:
    """Ask about occupations or skills, or for letters.

    Args:
        client: the gateway's; may be used by several threads.
        task: which of them.
        top_k: codes an ad, for occupations.
        title_language: of the titles, for occupations; None: each ad's own.
        applicant: who writes the letters of rows that name nobody.
    """
    if task == "cover-letters":
        return lambda rows: [_letter(client, row, applicant or {}) for row in rows]

    def ask(rows: Sequence[Row]) -> list[dict[str, Any]]:
        body: dict[str, Any] = {"ads": [_ad(row) for row in rows]}
        if task == "occupations":
            body |= {"top_k": top_k} | ({} if title_language is None else {"title_language": title_language})
        try:
            answer = client.request("POST", f"/{task}", body)
        except RefusedError as error:
            raise RefusedError(_reason(str(error))) from error
        try:
            results = answer["results"]
            if task == "skills":
                found = [
                    {"skills": item["skills"], "orders": item["orders"], "model": answer["model"]} for item in results
                ]
            else:
                found = [occupation_answer(item, answer["model_version"]) for item in results]
        except (KeyError, TypeError) as error:
            raise client.wrong(f"its answer about {task} has another form") from error
        if len(found) != len(rows):
            raise client.wrong(f"{len(found)} answers for {len(rows)} ads")
        return found

    return ask


def _letter(client: CompletionsClient, row: Row, applicant: Mapping[str, Any]) -> dict[str, Any]:
    body = {"ad": _ad(row), "applicant": dict(row.applicant or applicant), "stream": False}
    try:
        answer = client.request("POST", "/cover-letters", body)
    except RefusedError as error:
        raise RefusedError(_reason(str(error))) from error
    try:
        return {name: answer[name] for name in ("letter", "claims", "invented", "orders", "model")}
    except (KeyError, TypeError) as error:
        raise client.wrong("its answer about a letter has another form") from error


def occupation_answer(result: dict[str, Any], model: str) -> dict[str, Any]:
    """A result of `/v1/occupations` as a row of the output."""
    top = [{key: item[key] for key in ("code", "title", "probability")} for item in result["top"]]
    names = ("code", "title", "probability", "answered_by", "abstain", "orders")
    return {**{name: result[name] for name in names}, "top": top, "model": model}


def _ad(row: Row) -> dict[str, str]:
    return {"text": row.text, "id": row.id} | ({} if row.language is None else {"language": row.language})


def _reason(message: str) -> str:
    """The gateway's own words, without the JSON around them."""
    start = message.find("{")
    try:
        return str(json.loads(message[start:])["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return message
