"""Health of the registry."""

from __future__ import annotations

from sqlalchemy import text

from perdura.api.models.health import HealthAnswer
from perdura.api.operations import Call, Section
from perdura.packages import resumable
from perdura.registry import store_capabilities

section = Section("Health")


@section.get("/health", permission=None)
def get_health(call: Call) -> HealthAnswer:
    """Whether the registry can do its work; 503 while the database does not answer."""
    call.connection.execute(text("SELECT 1"))
    found = store_capabilities.recorded(call.connection, call.services.settings.s3_endpoint)
    return HealthAnswer(
        status="ok",
        database="ok",
        store=dict(found) if found is not None else None,
        resumable_digests=[name for name in resumable.ALGORITHMS if resumable.available(name)],
    )
