"""What went wrong, grouped by cause, with a retry for a whole group."""

from __future__ import annotations

from flask import Response
from pydantic import ValidationError

from perdura.accounts.principals import Permission
from perdura.api.models.failures import CauseRequest
from perdura.api.problems import not_found
from perdura.api.queries import failures
from perdura.api.resources.failures import RETRIABLE, retry_all
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
        retriable=RETRIABLE,
    )


def retry_group(visit: Visit) -> Response:
    """Retry all Archives that one cause has stopped, in the background."""
    visit.require(Permission.OPERATE)
    try:
        cause = CauseRequest.model_validate(visit.form(("step", "code", "state")))
    except ValidationError:
        raise not_found("cause") from None
    return see_other(f"/jobs/{retry_all(visit, cause)}")
