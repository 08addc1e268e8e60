"""What went wrong, grouped by cause, with a retry for a whole group."""

from __future__ import annotations

from flask import Response

from perdura.accounts.principals import Permission
from perdura.api.problems import not_found
from perdura.api.queries import failures
from perdura.registry import jobs
from perdura.registry.steering import Act
from perdura.registry.transitions import ArchiveState
from perdura.web.visit import Visit, see_other

SHOWN = 50
"""Archives of an opened group that are shown."""


def listing(visit: Visit) -> Response:
    """Causes of failure, the most frequent first; one of them opened to its Archives."""
    visit.require(Permission.READ)
    causes = failures.causes(visit.connection, visit.principal)
    wanted = {name: visit.request.args.get(name, "") for name in ("step", "code", "state")}
    opened = (
        failures.archives(visit.connection, visit.principal, **wanted, limit=SHOWN)
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
    """Retry all Archives that one cause has stopped, in the background."""
    visit.require(Permission.OPERATE)
    fields = visit.form(("step", "code", "state"))
    if fields["state"] not in failures.STOPPED:
        raise not_found("cause")
    stopped = failures.every(visit.connection, visit.principal, **fields, limit=jobs.LARGEST)
    if not stopped:
        return see_other("/failures")
    job = jobs.make(
        visit.connection,
        Act.RETRY,
        ({"archive": archive} for archive in stopped),
        by=visit.principal.name,
        account=visit.principal.account,
        step_input=fields,
    )
    return see_other(f"/jobs/{job}")
