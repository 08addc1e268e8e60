"""One record on an InvenioRDM for one package, however often it is asked for (inveniordm.md 4).

The caller holds the lock on (destination, resource), and has looked up what the death of an earlier worker left behind
(`publish_found`). A good status is never believed: files are compared by MD5 and size after their commit, and the
record is read back after it was published.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from perdura.clients.inveniordm.files import Files
from perdura.clients.inveniordm.model import Record
from perdura.clients.inveniordm.records import Records
from perdura.clients.inveniordm.wire import RdmChanged, RdmRefused, RdmUnknown, Wire
from perdura.errors import Broken, Rejected
from perdura.ports import Hold
from perdura.steps.publish_compared import await_server, differences
from perdura.steps.publish_found import Found, Sought
from perdura.steps.publish_transfer import place_files
from perdura.steps.publish_wanted import Sending, Wanted

NOTED = 3
"""Tries of the final update while somebody else changes the draft."""

REVIEW_DECLINED = "review-declined"
"""Code of what its curators did not want, or did not decide in time."""

_SET_WITH_THE_DRAFT = ("Bucket quota exceeded", "Maximum file size exceeded")
"""Refusals that a larger quota of the instance does not mend for a draft that is there already (measured on v14)."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be published: the whole body of the record, its files, and by what it is recognised.

    The body carries the identifiers that are `sought`. An empty `files` means a record of metadata only.
    """

    sought: Sought
    body: Mapping[str, Any]
    files: Sequence[Wanted]
    sending: Sending
    community: str | None = None
    review: bool = False
    register_doi: bool = False
    """Whether the instance has to make a DOI for it."""


@dataclass(frozen=True, slots=True)
class Done:
    """A published record that was read back, or (`in_review`) one that waits for its curators."""

    record: Record
    request: str | None = None

    @property
    def in_review(self) -> bool:
        """Whether somebody has to accept it first."""
        return self.request is not None


class Publisher:
    """Publishes one order. `note` is told of the record as soon as there is one; `hold` confirms the lock."""

    def __init__(self, wire: Wire, order: Order, note: Callable[[Record, str | None], None], hold: Hold) -> None:
        self._records, self._files, self._host = Records(wire), Files(wire), wire.host
        self._order, self._note, self._hold = order, note, hold

    def publish(self, found: Found, known: str | None = None, request: str | None = None) -> Done:
        """Bring the order to its end, from what was `found` there under the lock that still holds.

        `known` is the record noted before, `request` its request for review. Raises what the server's answers mean
        (`clients.inveniordm.wire`), Rejected for what cannot be published, Broken when the published record does not
        hold what was sent, OutOfTime when the next invocation has to go on, AtWork when a later one has to.
        """
        record = found.record or self._begun(found)
        if record.published:
            if record.id != known:
                self._note(record, None)
            return self._proven(record)
        if request is not None and record.id == known:
            waiting = self._reviewed(record, request)
            if waiting is not None:
                return waiting
        self._note(record, None)
        _refuse(record)
        self._fill(record, fresh=found.nothing)
        if self._order.register_doi and record.doi is None:
            record = self._records.reserve_doi(record.id)
        record = self._described(record, found.taken)
        if self._order.community:
            request = self._review(record)
            if request is not None:
                return self._handed_in(record, request)
        return self._proven(self._published(record))

    def _begun(self, found: Found) -> Record:
        """A new draft that carries our ids from its first moment, or the draft of the next version."""
        self._hold()
        if found.newest is not None:
            return self._records.new_version(found.newest.id)
        try:
            return self._records.create(self._order.body)
        except RdmUnknown as error:
            if self._order.body.get("pids") and "500" in error.message:
                raise Broken(
                    f"{error.message} With an external DOI this means that the instance does not register DOIs.",
                    code="external-doi-refused",
                ) from error
            raise

    def _fill(self, draft: Record, *, fresh: bool) -> None:
        """Bring the files into the draft. One that is too small is thrown away: its quota was set when it was made."""
        try:
            place_files(self._files, draft.id, self._order.files, self._order.sending, empty=fresh)
        except RdmRefused as error:
            if any(words in error.message for words in _SET_WITH_THE_DRAFT):
                self._records.discard(draft.id)
            raise

    def _described(self, record: Record, taken: Collection[str | None]) -> Record:
        """The draft with the whole body. What a person added meanwhile, and we do not set, stays."""
        body = self._with_a_free_doi(taken)
        for attempt in range(1, NOTED + 1):
            try:
                updated = self._records.update(record.id, body, record.revision)
            except RdmChanged:
                current = self._records.draft(record.id)
                if attempt == NOTED or current is None:
                    raise
                record = current
                body = {**body, "metadata": {**current.metadata, **body["metadata"]}}
            else:
                _refuse(updated)
                return updated
        raise AssertionError("unreachable")

    def _with_a_free_doi(self, taken: Collection[str | None]) -> Mapping[str, Any]:
        """The body of the record. A server takes a DOI once: one that an earlier version has identifies this one too,
        and is not its own.
        """
        body = self._order.body
        own = body.get("pids", {}).get("doi", {}).get("identifier")
        if own is None or own not in taken:
            return body
        named = [*body["metadata"].get("identifiers", ()), {"scheme": "doi", "identifier": own}]
        return {
            **{name: value for name, value in body.items() if name != "pids"},
            "metadata": {**body["metadata"], "identifiers": named},
        }

    def _published(self, draft: Record) -> Record:
        self._hold()
        record = self._records.publish(draft.id) or self._records.record(draft.id)
        if record is None or not record.published:
            raise RdmUnknown(f"{self._host}: the draft {draft.id} is gone and no record took its place.", retry_after=5)
        self._note(record, None)
        return record

    def _include(self, record: Record) -> None:
        """Ask for the record to be included in the community, unless it is; an open request is as good."""
        community = self._records.community(self._order.community or "")
        if community in record.communities:
            return
        try:
            self._records.add_to_community(record.id, community)
        except RdmRefused as error:
            if "already" not in error.message.lower():
                raise

    def _review(self, draft: Record) -> str | None:
        """The request for review of a draft; None for one that needs none.

        One can be asked for with first versions only. Later ones lie in the community already; where an instance wants
        them reviewed all the same it made the request with the draft.
        """
        if draft.index > 1:
            return self._records.review(draft.id)
        if not self._order.review:
            return None
        return self._records.put_review(draft.id, self._records.community(self._order.community or ""))

    def _handed_in(self, draft: Record, request: str) -> Done:
        self._note(draft, request)
        self._hold()
        self._records.submit_review(draft.id, f"Preserved package {self._order.sought.package}.")
        return Done(draft, request)

    def _reviewed(self, draft: Record, request: str) -> Done | None:
        """How the review of a draft stands; None when it was never handed in, so that it has to be done again."""
        match self._records.request_status(request):
            case "submitted":
                return Done(draft, request)
            case "accepted":
                raise RdmUnknown(f"{self._host}: {draft.id} was accepted and is not published yet.", retry_after=5)
            case "declined" | "cancelled" | "expired" as status:
                raise Rejected(f"{self._host}: the request for review {request} was {status}.", code=REVIEW_DECLINED)
            case _:
                return None

    def _proven(self, record: Record) -> Done:
        """The record as it can be read by everybody; raises Broken when it is not what was sent."""
        current = self._records.record(record.id)
        if current is None or not current.identifies(self._order.sought.package):
            raise Broken(
                f"{self._host}: the record {record.id} does not carry {self._order.sought.package}.",
                code="not-our-record",
            )
        if self._order.register_doi and current.doi is None:
            raise Broken(f"{self._host}: {record.id} was published without a DOI.", code="no-doi")
        wrong = self._differing(current)
        if wrong:
            raise Broken(f"{self._host}: {record.id} was published with {'; '.join(wrong[:5])}.", code="wrong-bytes")
        if self._order.community and (current.index > 1 or not self._order.review):
            self._include(current)
        return Done(current)

    def _differing(self, record: Record) -> Sequence[str]:
        """What of the files is not as it was sent; raises AtWork while the server cannot tell.

        The record just read tells MD5 and size of its files. Where it tells of too few, or of others, their own list
        decides.
        """
        order = self._order
        if not order.files:
            return ()
        wrong, untold = differences(record.files, order.files, order.sending)
        if wrong or untold:
            wrong, untold = differences(self._files.list(record.id, draft=False), order.files, order.sending)
        if untold and not wrong:
            raise await_server(untold, order.sending)
        return wrong


def _refuse(record: Record) -> None:
    """What a server names in `errors` is not in the draft, however good its status: never go on without it."""
    if record.errors:
        raise RdmRefused(f"The draft {record.id} was taken with errors: {' '.join(record.errors)}", 201)
