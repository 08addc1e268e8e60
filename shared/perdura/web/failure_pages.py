"""What went wrong, grouped by cause, with a retry for a whole group."""

from __future__ import annotations

from flask import Response

from perdura.accounts.principals import Permission
from perdura.api.queries import failures
from perdura.registry import archives as registry
from perdura.registry.transitions import ArchiveState
from perdura.web.visit import Visit, see_other

GROUP_AT_ONCE = 50
"""Archives of a group that one press of the button retries: what is left keeps its button."""


def listing(visit: Visit) -> Response:
    """Causes of failure, the most frequent first; one of them opened to its Archives."""
    visit.require(Permission.READ)
    causes = failures.causes(visit.connection, visit.principal)
    wanted = {name: visit.request.args.get(name, "") for name in ("step", "code", "state")}
    opened = (
        failures.archives(visit.connection, visit.principal, **wanted, limit=GROUP_AT_ONCE)
        if wanted["step"] and wanted["state"] in failures.STOPPED
        else []
    )
    return visit.page(
        "failures.html",
        causes=causes,
        opened=opened,
        wanted=wanted,
        retriable=(ArchiveState.FAILED, ArchiveState.BLOCKED),
    )


def retry_group(visit: Visit) -> Response:
    """Retry the Archives that one cause has stopped, the latest first."""
    visit.require(Permission.OPERATE)
    fields = visit.form(("step", "code", "state"))
    rows = failures.archives(visit.connection, visit.principal, **fields, limit=GROUP_AT_ONCE)
    for row in rows:
        visit.emit(registry.retry(visit.connection, row.id).events)
    return see_other("/failures")
