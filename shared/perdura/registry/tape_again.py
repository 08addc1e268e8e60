"""Archiving again: a copy on tape that was found lost or damaged is made once more, from the good copy in the store.

Only a person asks for it. The new copy gets a place of its own on tape: nothing there is ever overwritten.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Protocol
from uuid import UUID

from sqlalchemy import Connection, Row, text

from perdura.errors import Conflict, NotFound
from perdura.ids import new_id
from perdura.outcome import STOPPABLE, CopyState, PackageKind
from perdura.registry.archives import Begun, errand, lock
from perdura.registry.checks import STORE, TAPE


class NotedCopy(Protocol):
    """What is noted of a copy of a package."""

    @property
    def package_id(self) -> UUID:
        """Its package."""
        ...

    @property
    def location(self) -> str:
        """Where it lies."""
        ...

    @property
    def state(self) -> str:
        """How it is."""
        ...


def replaceable(
    packages: Iterable[Row[Any]],
    copies: Iterable[Row[Any] | NotedCopy],
    steps: Iterable[Row[Any]],
    package: UUID | None = None,
) -> UUID | None:
    """The AIP whose copy on tape may be made again: `package`, or that in use, or the newest; None without one.

    Its copy on tape is known to be lost or damaged, that in the store is not, and nothing is on its way to tape: a
    blocked step may have a job that still brings a copy there.
    """
    if any(step.name == "archive" and step.state in STOPPABLE for step in steps):
        return None
    states = {(copy.package_id, copy.location): copy.state for copy in copies}
    found = [
        each
        for each in packages
        if each.kind == PackageKind.AIP
        and package in (None, each.id)
        and states.get((each.id, TAPE), CopyState.HELD) != CopyState.HELD
        and states.get((each.id, STORE), CopyState.HELD) == CopyState.HELD
    ]
    return max(found, key=lambda each: (each.accepted, each.created_at, each.id)).id if found else None


_PACKAGES = text("SELECT id, kind, accepted, created_at FROM package WHERE archive_id = :archive")
_COPIES = text("""
    SELECT package_id, location, copy.state FROM copy JOIN package ON package.id = package_id
    WHERE archive_id = :archive
""")
_STEPS = text("SELECT name, state, input FROM step WHERE archive_id = :archive AND name = 'archive'")


def archive_again(connection: Connection, archive: UUID, *, package: UUID | None = None) -> Begun:
    """Ask for the copy of an AIP on tape to be made again, beside the pipeline.

    `package` is a version of the AIP; without it that in use is meant, or the newest whose copy is lost. Raises
    NotFound, or Conflict when `replaceable` names none.
    """
    if not lock(connection, archive):
        raise NotFound("There is no such Archive.")
    told = {"archive": archive}
    steps = connection.execute(_STEPS, told).all()
    aip = replaceable(
        connection.execute(_PACKAGES, told).all(), connection.execute(_COPIES, told).all(), steps, package
    )
    if aip is None:
        raise Conflict(
            "An AIP can be archived again once its copy on tape was found lost or damaged, while its copy in the store "
            "is good and nothing of this Archive is on its way to tape.",
            code="nothing-to-archive-again",
        )
    number = 1 + max((step.input.get("copy", 1) for step in steps), default=1)
    return errand(connection, archive, "archive", json.dumps({"package": str(aip), "copy": number}), new_id())
