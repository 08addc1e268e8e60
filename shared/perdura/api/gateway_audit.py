"""The audit of the AIP gateway: every request in the operator's log, every handing out of bytes in the PREMIS log."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import Engine

from perdura import __version__
from perdura.api.gateway import Access, note
from perdura.cloudevents.message import CloudEvent
from perdura.ids import new_id
from perdura.premis import log
from perdura.premis.model import Event, Identifier, Outcome
from perdura.runtime.recording import tell

NAME = "aip-gateway"
SOFTWARE = Identifier("software", f"perdura/{__version__} {NAME}", ("executing program",))


class Audit:
    """Audits one request; `told` are the CloudEvents to be emitted once it is answered.

    Raises SQLAlchemyError when the log cannot be written: the gateway then gives nothing away.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.told: list[CloudEvent] = []

    def __call__(self, access: Access) -> None:
        """Note one answered request."""
        note(access)
        if access.bytes == 0 or access.held is None:
            return
        event = premis_event(access, datetime.now(UTC))
        with self._engine.begin() as connection:
            log.append(connection, [event], actor=NAME)
            self.told += tell(connection, [event])


def premis_event(access: Access, at: datetime) -> Event:
    """That somebody was given bytes of an AIP: who, which, how many, and how."""
    assert access.held is not None
    how = "redirected to the object store" if access.status == 307 else "streamed through the gateway"
    return Event(
        id=new_id(),
        type="transfer",
        at=at,
        details=(f"{access.method} {access.path}: {access.bytes} bytes for {access.who}, {how}",),
        outcomes=(Outcome(),),
        agents=(SOFTWARE,),
        objects=tuple(
            Identifier("UUID", str(each), roles)
            for each, roles in ((access.held.package, ("source",)), (access.held.archive, ()))
            if each is not None
        ),
    )
