"""Health of the registry."""

from __future__ import annotations

from sqlalchemy import text

from perdura.api.models.health import HealthAnswer
from perdura.api.operations import Call, Section

section = Section("Health")


@section.get("/health", permission=None)
def get_health(call: Call) -> HealthAnswer:
    """Whether the registry can do its work; 503 while the database does not answer."""
    call.connection.execute(text("SELECT 1"))
    return HealthAnswer(status="ok", database="ok")
