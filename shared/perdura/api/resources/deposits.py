"""Deposits: announce, upload straight to the store, say that it is there."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from uuid import UUID

from perdura.accounts.principals import Permission
from perdura.accounts.rights import Thing, visible
from perdura.api import cursors, links
from perdura.api.models.deposits import (
    Accepted,
    DepositAnswer,
    DepositCreated,
    DepositPage,
    DepositQuery,
    DepositRequest,
    PartAnswer,
    PartsAnswer,
    PartsQuery,
    UploadAnswer,
)
from perdura.api.operations import Call, Section
from perdura.api.problems import Problem, not_found
from perdura.api.queries import deposits
from perdura.api.queries.rows import AnyRow
from perdura.errors import NotStored
from perdura.registry import archives as registry_archives
from perdura.registry import deposits as registry
from perdura.registry.deposits import Arrival
from perdura.registry.preservation import note_wish
from perdura.registry.transitions import ArchiveState
from perdura.storage.parts import part_size
from perdura.storage.uploads import Upload

section = Section("Deposits")

UPLOAD_SECONDS = 24 * 3600
"""How long a presigned upload may begin."""

LARGEST_PUT = 5 * 2**30
"""Bytes that S3 takes in one request."""


@section.post("/deposits", permission=Permission.DEPOSIT, status=201)
def create_deposit(call: Call, body: DepositRequest) -> DepositCreated:
    """Announce a package and get the address to send it to.

    Send the bytes as one `PUT` to `upload.url` with exactly the headers of `upload.headers`, or in parts (see
    `links.parts`), then complete the deposit. A `sha256` given here is compared with what arrives; a file of that
    digest that was accepted before is not wanted again: `existing` is true then, and `archive` is the one that has it.
    """
    settings = call.services.settings
    if body.sha256 is not None and settings.duplicate_deposits == "answer":
        earlier = deposits.of_the_same_file(call.connection, call.principal, body.sha256, body.size)
        if earlier is not None:
            return DepositCreated(
                id=earlier.id, archive=earlier.archive_id, existing=True, upload=None,
                links=_links(earlier.id, earlier.archive_id),
            )  # fmt: skip
    announced = registry.announce(
        call.connection,
        bucket=settings.bucket_incoming,
        filename=body.filename,
        size=body.size,
        sha256=body.sha256,
        title=body.title,
        account=call.principal.account,
    )
    call.made(announced.archive)
    note_wish(call.connection, announced.archive, body.preserve.wish() if body.preserve else {})
    addresses = _links(announced.id, announced.archive)
    addresses["complete"] = f"{links.deposit(announced.id)}/complete"
    upload = None
    if body.parts or body.size > LARGEST_PUT:
        begun = call.services.store.uploads.begin(announced.bucket, announced.key)
        registry.expect_parts(call.connection, announced.id, begun.id, part_size(body.size))
        addresses["parts"] = f"{links.deposit(announced.id)}/parts"
    else:
        url = call.services.store.presigned_put(announced.bucket, announced.key, UPLOAD_SECONDS, public=True)
        upload = UploadAnswer(url=url, headers={}, expires=_expiry())
    return DepositCreated(id=announced.id, archive=announced.archive, upload=upload, links=addresses)


@section.get("/deposits", permission=Permission.DEPOSIT)
def list_deposits(call: Call, query: DepositQuery) -> DepositPage:
    """List deposits, newest first: one's own, or all for who may operate."""
    after = cursors.place(query.cursor)
    rows = deposits.page(call.connection, call.principal, waiting=query.waiting, limit=query.limit + 1, after=after)
    shown, following = cursors.cut(rows, query.limit)
    named = {(Thing.ARCHIVE, UUID(row.duplicate_of)) for row in shown if row.duplicate_of}
    seen = {archive for _, archive in visible(call.connection, call.principal, named)}
    return DepositPage(items=[_answer(row, seen) for row in shown], next=following)


@section.get("/deposits/<uuid:deposit_id>/parts", permission=Permission.DEPOSIT, conflicts=True)
def list_deposit_parts(call: Call, deposit_id: UUID, query: PartsQuery) -> PartsAnswer:
    """The parts of one's own deposit that is sent in parts: those that have arrived, and where to send the others.

    An upload that broke off is resumed by asking again. What was not completed within seven days is forgotten. 409 for
    a deposit that is not sent in parts, or whose upload is over.
    """
    row = _mine(call, deposit_id)
    if row.upload_id is None:
        raise Problem(409, "This deposit is sent by one request, not in parts.", "not-in-parts")
    uploads, upload = call.services.store.uploads, Upload(row.bucket, row.key, row.upload_id)
    try:
        arrived = {part.number: part for part in uploads.parts(upload)}
    except NotStored:
        raise Problem(409, "The upload is over: it was completed or given up.", "upload-over") from None
    count = -(-row.size // row.part_size)
    last = min(query.first + query.limit - 1, count)
    items = []
    for number in range(query.first, last + 1):
        offset = (number - 1) * row.part_size
        size = min(row.part_size, row.size - offset)
        received = number in arrived and arrived[number].size == size
        url = None if received else uploads.presigned(upload, number, UPLOAD_SECONDS)
        items.append(PartAnswer(number=number, offset=offset, size=size, received=received, url=url))
    return PartsAnswer(
        count=count,
        part_size=row.part_size,
        received=len(arrived),
        items=items,
        next=last + 1 if last < count else None,
        expires=_expiry(),
    )


@section.get("/deposits/<uuid:deposit_id>", permission=Permission.READ)
def get_deposit(call: Call, deposit_id: UUID) -> DepositAnswer:
    """A deposit and the state of the Archive it became."""
    return _shown(call, _found(call, deposit_id))


def _shown(call: Call, row: AnyRow) -> DepositAnswer:
    named = [(Thing.ARCHIVE, UUID(row.duplicate_of))] if row.duplicate_of else []
    return _answer(row, {archive for _, archive in visible(call.connection, call.principal, named)})


def _answer(row: AnyRow, seen: Collection[UUID]) -> DepositAnswer:
    """A deposit as it is sent; `seen` are the Archives that may be named beside its own."""
    duplicate = UUID(row.duplicate_of) if row.duplicate_of and UUID(row.duplicate_of) in seen else None
    waits = row.received_at is None and row.cancelled_at is None
    return DepositAnswer(
        id=row.id,
        archive=row.archive_id,
        filename=row.filename,
        size=row.size,
        sha256=row.sha256,
        created=row.created_at,
        received=row.received_at,
        state=ArchiveState(row.state),
        duplicate_of=duplicate,
        links={
            **_links(row.id, row.archive_id),
            **({"duplicate": links.archive(duplicate)} if duplicate else {}),
            **({"complete": f"{links.deposit(row.id)}/complete"} if waits else {}),
            **({"parts": f"{links.deposit(row.id)}/parts"} if waits and row.upload_id else {}),
        },
    )


@section.post("/deposits/<uuid:deposit_id>/complete", permission=Permission.DEPOSIT, status=202)
def complete_deposit(call: Call, deposit_id: UUID) -> Accepted:
    """Say that the bytes of one's own deposit are there, so that the ingest begins. Saying it twice changes nothing."""
    row = _mine(call, deposit_id)
    if row.cancelled_at is not None:
        raise Problem(409, "The deposit was cancelled. Announce it anew.", "deposit-cancelled")
    if row.upload_id is not None:
        _join_parts(call, row)
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


@section.post("/deposits/<uuid:deposit_id>/cancel", permission=Permission.DEPOSIT)
def cancel_deposit(call: Call, deposit_id: UUID) -> DepositAnswer:
    """Give up a deposit whose bytes have not been completed; parts that have arrived are dropped.

    One's own; whoever may operate cancels any. 409 when it was received, or cancelled before. What arrives for it later
    is not ingested.
    """
    row = _mine(call, deposit_id)
    registry.cancel(call.connection, deposit_id)
    if row.upload_id is not None:
        call.services.store.uploads.abort(Upload(row.bucket, row.key, row.upload_id))
    return _shown(call, _found(call, deposit_id))


def _join_parts(call: Call, row: AnyRow) -> None:
    """Have the store make one object of the parts; one that was made already is left to the look at the object.

    Two may complete a deposit at the same time, or again because no answer came.
    """
    uploads, upload = call.services.store.uploads, Upload(row.bucket, row.key, row.upload_id)
    try:
        arrived = uploads.parts(upload)
    except NotStored:
        return
    count = -(-row.size // row.part_size)
    sizes = {part.number: part.size for part in arrived}
    missing = [
        number
        for number in range(1, count + 1)
        if sizes.get(number) != min(row.part_size, row.size - (number - 1) * row.part_size)
    ]
    if missing:
        listed = ", ".join(str(number) for number in missing[:10])
        detail = f"{len(missing)} of {count} parts have not arrived or are incomplete: {listed}."
        raise Problem(409, detail, "parts-missing")
    with suppress(NotStored):
        uploads.complete(upload, [part for part in arrived if part.number <= count])


def _found(call: Call, deposit_id: UUID) -> AnyRow:
    row = deposits.find(call.connection, call.principal, deposit_id)
    if row is None:
        raise not_found("deposit")
    return row


def _mine(call: Call, deposit_id: UUID) -> AnyRow:
    """A deposit that the caller announced, or any for whoever may operate; raises a 403 or 404."""
    row = _found(call, deposit_id)
    own = call.principal.account is not None and row.account_id == call.principal.account
    if not own and not call.principal.may(Permission.OPERATE):
        raise Problem(403, "Only whoever announced a deposit may send, complete or cancel it.", "forbidden")
    return row


def _links(deposit: UUID, archive: UUID) -> dict[str, str]:
    return {"self": links.deposit(deposit), "archive": links.archive(archive)}


def _expiry() -> datetime:
    return datetime.now(UTC) + timedelta(seconds=UPLOAD_SECONDS)
