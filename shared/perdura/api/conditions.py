"""Conditional changes: If-Match (RFC 9110 §13.1.1), so that nobody overwrites what they have not seen."""

from __future__ import annotations

from collections.abc import Callable

from flask import Request
from sqlalchemy import text

from perdura.api.operations import Call
from perdura.api.problems import Problem

CHANGING = frozenset({"PUT", "PATCH", "DELETE"})


def check_match(call: Call, request: Request, current: Callable[[], str | None]) -> None:
    """Raise a 412 unless what is there has one of the entity tags of If-Match.

    Those who change the same thing under a condition take turns: the second sees the tag that the first has made.
    """
    if request.method not in CHANGING or "If-Match" not in request.headers:
        return
    call.connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:path, 0))"), {"path": request.path})
    tag = current()
    if tag is None or not (request.if_match.star_tag or request.if_match.contains(tag)):
        headers = {} if tag is None else {"ETag": f'"{tag}"'}
        raise Problem(412, "It has changed since you saw it. Read it again.", "changed-since", headers=headers)
