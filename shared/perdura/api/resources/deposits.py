"""Deposits: announce, upload straight to the store, say that it is there."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from perdura.accounts.principals import Permission
from perdura.api import links
from perdura.api.models.deposits import Accepted, DepositAnswer, DepositCreated, DepositRequest, UploadAnswer
from perdura.api.operations import Call, Section
from perdura.api.problems import Problem, not_found
from perdura.api.queries import deposits
from perdura.errors import NotStored
from perdura.registry import archives as registry_archives
from perdura.registry import deposits as registry
from perdura.registry.deposits import Arrival
from perdura.registry.transitions import ArchiveState

section = Section("Deposits")

UPLOAD_SECONDS = 24 * 3600
"""How long a presigned upload may begin."""


@section.post("/deposits", permission=Permission.DEPOSIT, status=201)
def create_deposit(call: Call, body: DepositRequest) -> DepositCreated:
    """Announce a package and get the address to send it to.

    Send the bytes as one `PUT` to `upload.url` with exactly the headers of `upload.headers`, then complete the
    deposit. A `sha256` given here is compared with what arrives.
    """
    announced = registry.announce(
        call.connection,
        bucket=call.services.settings.bucket_incoming,
        filename=body.filename,
        size=body.size,
        sha256=body.sha256,
        title=body.title,
    )
    call.made(announced.archive)
    url = call.services.store.presigned_put(announced.bucket, announced.key, UPLOAD_SECONDS, public=True)
    return DepositCreated(
        id=announced.id,
        archive=announced.archive,
        upload=UploadAnswer(
            url=url,
            headers={},
            expires=datetime.now(UTC) + timedelta(seconds=UPLOAD_SECONDS),
        ),
        links={
            "self": links.deposit(announced.id),
            "complete": f"{links.deposit(announced.id)}/complete",
            "archive": links.archive(announced.archive),
        },
    )


@section.get("/deposits/<uuid:deposit_id>", permission=Permission.READ)
def get_deposit(call: Call, deposit_id: UUID) -> DepositAnswer:
    """A deposit and the state of the Archive it became."""
    row = deposits.find(call.connection, call.principal, deposit_id)
    if row is None:
        raise not_found("deposit")
    return DepositAnswer(
        id=row.id,
        archive=row.archive_id,
        filename=row.filename,
        size=row.size,
        sha256=row.sha256,
        created=row.created_at,
        received=row.received_at,
        state=ArchiveState(row.state),
        links={"self": links.deposit(row.id), "archive": links.archive(row.archive_id)},
    )


@section.post("/deposits/<uuid:deposit_id>/complete", permission=Permission.DEPOSIT, status=202)
def complete_deposit(call: Call, deposit_id: UUID) -> Accepted:
    """Say that the bytes are there, so that the ingest begins. Saying it twice changes nothing."""
    row = deposits.find(call.connection, call.principal, deposit_id)
    if row is None:
        raise not_found("deposit")
    try:
        stored = call.services.store.head(row.bucket, row.key)
    except NotStored:
        raise Problem(409, "Nothing has arrived yet. Send the bytes to `upload.url` first.", "not-uploaded") from None
    if row.size is not None and stored.size != row.size:
        raise Problem(
            409, f"{stored.size} bytes have arrived, {row.size} were announced. Send them again.", "size-differs"
        )
    begun = registry.receive(
        call.connection,
        Arrival(row.bucket, row.key, stored.ref.version_id, stored.ref.etag, stored.size),
        source=registry_archives.SOURCE,
    )
    call.emit(begun.events)
    return Accepted(archive=begun.archive, links=links.archive_links(begun.archive))
