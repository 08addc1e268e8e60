"""Takes a package from a plain form: the file goes to the object store while it arrives, whatever its size.

Browsers with JavaScript send the bytes to the store themselves; this is for those without.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO

from flask import Response
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.sansio.multipart import Data, Epilogue, Event, Field, File, MultipartDecoder, NeedData

from perdura.accounts import rights
from perdura.accounts.principals import Permission
from perdura.api.models.deposits import LARGEST_DEPOSIT, DepositRequest
from perdura.api.problems import FieldError, Problem
from perdura.api.sessions import CSRF_FIELD
from perdura.registry import archives as registry_archives
from perdura.registry import deposits as registry
from perdura.registry.deposits import Announced, Arrival
from perdura.storage.store import Written
from perdura.web.query_string import checked
from perdura.web.visit import Visit, see_other

_CHUNK = 1 << 18
_BUFFER = 4 * _CHUNK
_FIELD_LIMIT = 8192
_PARTS = 20


@dataclass
class _Form:
    """What has been read of a form so far."""

    fields: dict[str, bytes] = field(default_factory=dict)
    deposit: Announced | None = None
    written: Written | None = None


def receive(visit: Visit) -> Response:
    """Store the file of the form and begin its ingest. Fields are expected before the file."""
    visit.require(Permission.DEPOSIT)
    form = _Form()
    events = _events(visit)
    for event in events:
        match event:
            case Field(name=name):
                form.fields[name] = _small(events)
            case File(filename=filename) if form.deposit is None and filename:
                _store(visit, form, filename, events)
    if form.deposit is None or form.written is None:
        raise _no_file()
    stored = form.written.info
    begun = registry.receive(
        visit.connection,
        Arrival(form.deposit.bucket, form.deposit.key, stored.ref.version_id, stored.ref.etag, stored.size),
        source=registry_archives.SOURCE,
    )
    visit.objects.append(begun.archive)
    visit.emit(begun.events)
    return see_other(f"/archives/{begun.archive}")


def _events(visit: Visit) -> Iterator[Event]:
    """The parts of the body as they arrive."""
    boundary = visit.request.mimetype_params.get("boundary", "")
    if visit.request.mimetype != "multipart/form-data" or not boundary:
        raise Problem(415, "Send the form as multipart/form-data.", "media-type")
    stream: IO[bytes] = visit.request.stream
    decoder = MultipartDecoder(boundary.encode("latin-1", "replace"), _BUFFER, max_parts=_PARTS)
    while True:
        try:
            event = decoder.next_event()
            if isinstance(event, NeedData):
                decoder.receive_data(stream.read(_CHUNK) or None)
                continue
        except (ValueError, RequestEntityTooLarge):
            raise Problem(400, "The form cannot be read.", "not-multipart") from None
        if isinstance(event, Epilogue):
            return
        else:
            yield event


def _small(events: Iterator[Event]) -> bytes:
    """The value of a field."""
    value = b""
    for event in events:
        if not isinstance(event, Data):
            break
        value += event.data
        if len(value) > _FIELD_LIMIT:
            raise Problem(413, "A field of the form is too large.", "too-large")
        if not event.more_data:
            break
    return value


def _store(visit: Visit, form: _Form, filename: str, events: Iterator[Event]) -> None:
    """Announce the deposit and write its bytes; nothing is begun before all of them are there."""
    visit.check_csrf(form.fields.get(CSRF_FIELD, b"").decode("utf-8", "replace"))
    settings = visit.services.settings
    name = filename.replace("\\", "/").rpartition("/")[2]
    title = form.fields.get("title", b"").decode("utf-8", "replace").strip()
    wanted = checked(DepositRequest, {"filename": name, "size": 1, "title": title or None})
    with visit.services.engine.begin() as connection:
        deposit = registry.announce(
            connection,
            bucket=settings.bucket_incoming,
            filename=wanted.filename,
            title=wanted.title,
            account=visit.principal.account,
        )
        rights.own(connection, visit.principal, deposit.archive)
    try:
        form.written = _written(visit, deposit, events)
    except BaseException:
        with visit.services.engine.begin() as connection:
            registry.cancel(connection, deposit.id)
        raise
    form.deposit = deposit


def _written(visit: Visit, deposit: Announced, events: Iterator[Event]) -> Written:
    """What of the form's file was stored; raises Problem for one that is empty, too large or breaks off."""
    with visit.services.store.writer(deposit.bucket, deposit.key) as writer:
        for event in events:
            if not isinstance(event, Data):
                break
            writer.write(event.data)
            if writer.position > LARGEST_DEPOSIT:
                raise Problem(413, "The file is too large.", "too-large")
            if not event.more_data:
                break
        if writer.position == 0:
            raise _no_file()
        return writer.finish()


def _no_file() -> Problem:
    return Problem(422, "Choose a file first.", "no-file", (FieldError("form.file", "nothing was sent"),))
