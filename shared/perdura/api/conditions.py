"""Conditional changes: If-Match (RFC 9110 §13.1.1), so that nobody overwrites what they have not seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flask import Request
from sqlalchemy import select, text
from sqlalchemy.orm import InstrumentedAttribute

from perdura.accounts.tables import Account
from perdura.api.operations import Call
from perdura.api.problems import Problem
from perdura.registry.harvest_tables import Schedule
from perdura.registry.subscriptions import Subscription
from perdura.registry.tables import Archive, Collection

CHANGING = frozenset({"PUT", "PATCH", "DELETE"})


ROWS: Mapping[str, InstrumentedAttribute[Any]] = {
    "archive_id": Archive.id,
    "collection_id": Collection.id,
    "schedule_id": Schedule.id,
    "subscription_id": Subscription.id,
    "user_id": Account.id,
}
"""Variable of a path → what the row of its thing is found by."""


def check_match(call: Call, request: Request, variables: Mapping[str, Any], current: Callable[[], str | None]) -> None:
    """Raise a 412 unless what is there has one of the entity tags of If-Match.

    Whoever else changes it at this path, under a condition or not, waits; and so does a page that changes the same
    thing: its row is locked before its tag is made.
    """
    if request.method not in CHANGING:
        return
    call.connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:path, 0))"), {"path": request.path})
    if "If-Match" not in request.headers:
        return
    for name, value in variables.items():
        if name in ROWS:
            call.connection.execute(select(ROWS[name]).where(ROWS[name] == value).with_for_update())
    tag = current()
    if tag is None or not (request.if_match.star_tag or request.if_match.contains(tag)):
        headers = {} if tag is None else {"ETag": f'"{tag}"'}
        raise Problem(412, "It has changed since you saw it. Read it again.", "changed-since", headers=headers)
