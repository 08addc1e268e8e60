"""How the fake InvenioRDM answers and refuses, and what it reads out of a request."""

from __future__ import annotations

import json
from typing import Any

import httpx

from tests.contract.test_inveniordm.rules import Errors

CRATE = "application/ld+json"


class Refused(Exception):
    """A refusal with its status."""

    def __init__(
        self, status: int, message: str, errors: Errors | None = None, more: dict[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.errors, self.more = status, message, errors, more


def bearer(request: httpx.Request) -> str:
    return request.headers.get("Authorization", "").removeprefix("Bearer ")


def json_of(request: httpx.Request) -> Any:
    if not request.content:
        return {}
    if request.headers.get("Content-Type") not in ("application/json", None):
        raise Refused(415, "Invalid 'Content-Type' header. Expected one of: application/json")
    try:
        return json.loads(request.content)
    except ValueError as error:
        raise Refused(400, "Unable to decode JSON data in request body.") from error


def crate_of(request: httpx.Request) -> dict[str, Any]:
    """The body of a record out of an RO-Crate; a licence without a name is refused (inveniordm.md 1.1)."""
    graph = {entry["@id"]: entry for entry in json.loads(request.content)["@graph"]}
    root = graph["./"]
    licence = graph.get((root.get("license") or {}).get("@id"), {})
    if licence and "name" not in licence:
        wrong = [{"field": "license.name", "messages": ["Missing data for required field."]}]
        raise Refused(400, "A validation error occurred.", wrong)
    return {"metadata": {"title": root.get("name"), "publication_date": str(root.get("datePublished", ""))[:10]}}


def answer(status: int, value: Any, headers: dict[str, str] | None = None) -> httpx.Response:
    return httpx.Response(status, json=value, headers=headers)


def refusal(
    status: int, message: str, errors: Errors | None = None, more: dict[str, Any] | None = None
) -> httpx.Response:
    value = {"status": status, "message": message} | ({"errors": errors} if errors else {}) | (more or {})
    return answer(status, value)
