"""The audit log: every act that changed something, and every one that was denied."""

from __future__ import annotations

from perdura.accounts import audit
from perdura.accounts.principals import Permission
from perdura.api import cursors
from perdura.api.models.accounts import AuditAnswer, AuditPage, AuditQuery
from perdura.api.operations import Call, Section
from perdura.database import AnyRow

section = Section("Audit log")


@section.get("/audit", permission=Permission.AUDIT)
def list_audit(call: Call, query: AuditQuery) -> AuditPage:
    """The audit log, newest entry first: changing acts that were done, and acts that were denied."""
    criteria = audit.Criteria(
        account=query.user,
        action=query.action,
        outcome=query.outcome,
        object=query.object,
        since=query.since,
        until=query.until,
    )
    before = cursors.decode_sequence(query.cursor) if query.cursor else None
    rows = audit.page(call.connection, criteria, limit=query.limit + 1, before=before)
    shown = rows[: query.limit]
    more = len(rows) > query.limit
    return AuditPage(
        items=[audit_answer(row) for row in shown],
        next=cursors.encode_sequence(shown[-1].sequence) if more else None,
    )


def audit_answer(row: AnyRow) -> AuditAnswer:
    """An entry as it is sent."""
    return AuditAnswer(
        sequence=row.sequence,
        at=row.at,
        user=row.account_id,
        actor=row.actor,
        means=row.means,
        action=row.action,
        outcome=row.outcome,
        method=row.method,
        path=row.path,
        status=row.status,
        objects=row.objects,
        detail=row.detail,
        address=row.address,
    )
