"""The door to content on the access pages: whoever wants bytes of an Archive comes through here, whatever their form.

What is published and not restricted may be known; of its content may be had what was offered by the policy of the
access pages, when no embargo lies on it. A pass (`passes`) opens content that is not for everybody, and shows nothing
else; what was withdrawn it does not open. In the registry `sight.readable` decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from perdura.api.problems import Problem, copy_damaged, embargoed, not_found
from perdura.api.queries import files, offers, published
from perdura.api.queries.rows import AnyRow
from perdura.registry import embargo
from perdura.web import passes
from perdura.web.description import Description
from perdura.web.reading import Reading


def known(reading: Reading, archive_id: UUID) -> tuple[AnyRow, Description]:
    """A published Archive; raises a 404 for any other, a 410 for one that was withdrawn."""
    row = published.find(reading.connection, archive_id)
    if row is not None:
        return row, reading.describe(row)
    withdrawn = published.withdrawn(reading.connection, archive_id)
    if withdrawn is None:
        raise not_found("Archive")
    reason = " ".join(str(withdrawn.details.get(name) or "") for name in ("reason", "note")).strip()
    raise Problem(410, f"This Archive was withdrawn from access. {reason}".strip(), "withdrawn")


@dataclass(frozen=True, slots=True)
class Opened:
    """An Archive whose content may be had: what its destination's policy offers, or `everything` in its AIP.

    `by_pass` when a link opened it that expires.
    """

    description: Description
    package: AnyRow
    everything: bool
    by_pass: bool = False


def content(reading: Reading, archive_id: UUID, thing: str) -> Opened:
    """The same for whoever wants bytes of it (`aip`, `files.zip`, `files/<path>`); raises a 403 under an embargo.

    410 for what was withdrawn, with a pass as well. 404 for what the policy of the access pages does not offer, 503
    while the stored AIP is known to be damaged.
    """
    request = reading.request
    now = datetime.now(UTC)
    given = request.args.get("pass")
    if given is not None and passes.holds(
        reading.settings, archive_id, thing, request.args.get("until", ""), given, now
    ):
        if published.is_withdrawn(reading.connection, archive_id):
            raise Problem(410, "This Archive was withdrawn from access.", "withdrawn")
        row = published.any_archive(reading.connection, archive_id)
        package = published.aip(reading.connection, archive_id)
        if row is not None and package is not None:
            return _undamaged(reading, Opened(reading.describe(row), package, everything=True, by_pass=True))
    row, description = known(reading, archive_id)
    until = embargo.ends(row.metadata, now)
    if until is not None:
        raise embargoed(until)
    offer = offers.find(reading.connection, archive_id)
    if offer is None or offer.content == "metadata" or (thing == "aip" and offer.content != "aip"):
        raise not_found("content")
    return _undamaged(reading, Opened(description, offer, everything=offer.content == "aip"))


def _undamaged(reading: Reading, opened: Opened) -> Opened:
    if published.is_damaged(reading.connection, opened.package.id):
        raise copy_damaged()
    return opened


def file(reading: Reading, archive_id: UUID, path: str) -> tuple[Opened, AnyRow]:
    """One file by its path in the AIP; raises as `content` does."""
    opened = content(reading, archive_id, f"files/{path}")
    if opened.everything:
        row = files.one(reading.connection, opened.package.id, path)
    else:
        row = offers.one(reading.connection, archive_id, path)
    if row is None:
        raise not_found("file")
    return opened, row
