"""Taking one record off an InvenioRDM, however far it got: published, a draft, or waiting for its curators."""

from __future__ import annotations

from contextlib import suppress

from perdura.clients.inveniordm.model import Record
from perdura.clients.inveniordm.records import Records
from perdura.clients.inveniordm.wire import RdmForbidden, RdmGone, RdmRefused, RdmUnknown, Wire
from perdura.errors import Broken
from perdura.ports import Hold
from perdura.steps.publish_access import SHUT, settle


class NotDeleted(Broken):
    """The server does not let us delete the published `record`, which was shut instead: nobody else sees it."""

    code = "shut-not-deleted"

    def __init__(self, message: str, record: str) -> None:
        super().__init__(message)
        self.record = record


def take_back(wire: Wire, record: str, request: str | None, reason: str, note: str, hold: Hold) -> bool:
    """Delete a published record with a tombstone, throw a draft away after its `request` for review was cancelled.

    Whether a published record was deleted; one that was gone before is as good. Raises NotDeleted for one that could
    only be shut (deleting is for the administrators of an InvenioRDM), else what the server's refusals mean
    (`clients.inveniordm.wire`).
    """
    records = Records(wire)
    try:
        if records.record(record) is None:
            draft = records.draft(record)
            if draft is None:
                return False
            throw_away(records, draft, request)
            if records.record(record) is None:
                return False
        try:
            records.delete(record, reason, note)
        except (RdmForbidden, RdmRefused) as refused:
            found = records.record(record)
            if found is None:
                raise
            settle(records, found, SHUT, None, hold)
            raise NotDeleted(f"The record {record} is shut, not deleted: {refused.message}", record) from refused
    except RdmGone:
        return True
    return True


def throw_away(records: Records, draft: Record, request: str | None) -> None:
    """Throw an unpublished draft away; its open request is cancelled first, lest a curator publish it.

    Where a curator was faster the record is left, and RdmUnknown raised while it is being made.
    """
    decided = _cancelled(records, draft.review or request)
    if records.record(draft.id) is not None:
        return
    if decided == "accepted":
        raise RdmUnknown(f"The draft {draft.id} was accepted and is not published yet.", retry_after=5)
    records.discard(draft.id)


def _cancelled(records: Records, request: str | None) -> str | None:
    """Cancel a request for review if it is open; what became of it, None for one that cannot be asked about."""
    if request is None:
        return None
    with suppress(RdmRefused):
        if (status := records.request_status(request)) != "submitted":
            return status
        with suppress(RdmRefused):
            records.cancel_request(request)
        return records.request_status(request)
    return None
