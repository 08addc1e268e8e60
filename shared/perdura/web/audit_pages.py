"""The audit log for people."""

from __future__ import annotations

from typing import Any

from flask import Response

from perdura.accounts.principals import Permission
from perdura.api.models.accounts import AuditQuery
from perdura.api.resources.audit import list_audit
from perdura.web import days, paging
from perdura.web.query_string import checked
from perdura.web.visit import Visit

FILTERS = ("user", "action", "outcome", "object", "since", "until")


def listing(visit: Visit) -> Response:
    """What was done and what was denied, newest first; every filter is in the address."""
    visit.require(Permission.AUDIT)
    sent: dict[str, Any] = {
        name: value for name in (*FILTERS, "cursor") if (value := visit.request.args.get(name, "").strip())
    }
    start, end = (days.named(name, sent.get(name, "")) for name in ("since", "until"))
    asked = {**sent, "since": start.start if start else None, "until": end.end if end else None}
    page = list_audit(visit, checked(AuditQuery, asked, "query"))
    return visit.page(
        "audit.html",
        entries=page.items,
        wanted={name: sent.get(name, "") for name in FILTERS},
        following=paging.following("/audit", page.next, **{name: sent.get(name) for name in FILTERS}),
    )
