"""What some steps need to know beside the Archive itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import Engine

from perdura.outcome import ArchiveView
from perdura.premis import log
from perdura.registry import credentials, preservation
from perdura.runtime.budget import registry_budget
from perdura.runtime.environment import Environment
from perdura.settings import Settings


def of_preserve(environment: Environment, archive: ArchiveView) -> Mapping[str, Any]:
    """How an Archive is to be preserved, and its PREMIS events so far, oldest first: an AIP carries its history."""
    with environment.engine.connect() as connection:
        stored = log.events_of(connection, archive_id=archive.id, limit=1000)
        wish = preservation.wish(connection, archive.id)
    return {"earlier_events": [each.event for each in stored], "wish": wish}


def harvesting(environment: Environment, archive: ArchiveView) -> Mapping[str, Any]:
    """What a harvest needs beside the Archive: the requester's `credential` of a source, and its `rate_budget`."""
    requester = archive.step.input.get("requested_by")

    def credential(source: str) -> str | None:
        if not isinstance(requester, str):
            return None
        return credential_of(environment.engine, environment.settings, UUID(requester), source)

    return {"credential": credential, "rate_budget": lambda profile: registry_budget(environment.engine, profile)}


def credential_of(engine: Engine, settings: Settings, owner: UUID | None, source: str) -> str | None:
    """The credential that an account keeps for a source, if it does."""
    if owner is None:
        return None
    with engine.begin() as connection:
        return credentials.use(connection, settings, owner, source)
