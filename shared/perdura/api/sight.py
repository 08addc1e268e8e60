"""One rule for whoever asks for an Archive by its id: one that they may not see does not exist for them.

And one for whoever wants its bytes: an embargo holds for all to whom the Archive would be hidden were it restricted.
"""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from perdura.accounts.rights import Thing, visible
from perdura.api import presentation
from perdura.api.models.archives import StepAnswer
from perdura.api.operations import Call
from perdura.api.problems import embargoed, not_found
from perdura.api.queries import archives
from perdura.api.queries.rows import AnyRow

DUPLICATE = "duplicate_of"
"""Member of an ingest's output: the Archive that has the same content."""


def seen(call: Call, archive_id: UUID) -> AnyRow:
    """The row of the Archive (`archives.find`); raises the same 404 for a hidden as for a missing one."""
    archive = archives.find(call.connection, call.principal, archive_id)
    if archive is None:
        raise not_found("Archive")
    return archive


def steps(call: Call, rows: Iterable[AnyRow]) -> list[StepAnswer]:
    """Attempts of steps as they are shown: which Archive a duplicate is one of is told to who may see that one."""
    shown = [presentation.step(row) for row in rows]
    named = [(Thing.ARCHIVE, UUID(step.output[DUPLICATE])) for step in shown if DUPLICATE in step.output]
    if not named:
        return shown
    open_ones = {str(archive) for _, archive in visible(call.connection, call.principal, named)}
    return [step if step.output.get(DUPLICATE) in {None, *open_ones} else _without_duplicate(step) for step in shown]


def _without_duplicate(step: StepAnswer) -> StepAnswer:
    return step.model_copy(update={"output": {name: told for name, told in step.output.items() if name != DUPLICATE}})


def readable(call: Call, archive_id: UUID) -> AnyRow:
    """The row of the Archive, for whoever wants bytes of any of its packages.

    Raises a 404 as `seen` does, a 403 under an embargo.
    """
    archive = seen(call, archive_id)
    until = archives.shut_until(archive)
    if until is not None:
        raise embargoed(until)
    return archive
