"""Taking one record off an InvenioRDM, however far it got: published, a draft, or waiting for its curators."""

from __future__ import annotations

from contextlib import suppress

from perdura.clients.inveniordm.model import Record
from perdura.clients.inveniordm.records import Records
from perdura.clients.inveniordm.wire import RdmGone, RdmRefused, Wire


def take_back(wire: Wire, record: str, request: str | None, reason: str, note: str) -> None:
    """Delete a published record with a tombstone, throw a draft away after its `request` for review was cancelled.

    One that is gone is as good. Raises what the server's refusals mean (`clients.inveniordm.wire`).
    """
    records = Records(wire)
    with suppress(RdmGone):
        if records.record(record) is None:
            draft = records.draft(record)
            if draft is None:
                return
            throw_away(records, draft, request)
            if records.record(record) is None:
                return
        records.delete(record, reason, note)


def throw_away(records: Records, draft: Record, request: str | None) -> None:
    """Throw an unpublished draft away; its open request is cancelled first, lest a curator publish it."""
    open_request = draft.review or request
    if open_request is not None:
        with suppress(RdmRefused):
            if records.request_status(open_request) == "submitted":
                records.cancel_request(open_request)
    if records.record(draft.id) is None:
        records.discard(draft.id)
