"""Records of an Archive on an InvenioRDM that the registry does not know: it was restored from an older state, or the
worker that made them died before it noted them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from perdura.clients.destinations import Destination
from perdura.clients.inveniordm.model import Record
from perdura.clients.inveniordm.records import Records, phrase
from perdura.clients.inveniordm.wire import Wire
from perdura.outcome import ArchiveView, PackageKind
from perdura.ports import HeldPlacements, Placed
from perdura.steps.publish_body import package_id
from perdura.steps.publish_result import placed

MOST = 50
"""AIPs of one Archive that are asked for, the newest."""


def known_or_found(archive: ArchiveView, destination: Destination, wire: Wire, held: HeldPlacements) -> Placed | None:
    """What is noted of the Archive there; where nothing is, all its records are looked up by its AIPs and noted.

    None where there are none either. Raises what the server's answers mean (`clients.inveniordm.wire`).
    """
    known = held.known(destination.id, archive.id)
    if known is not None:
        return known
    for record in _found(archive, destination, Records(wire)):
        held.note(destination.id, archive.id, placed(record, record.review))
    return held.known(destination.id, archive.id)


def _found(archive: ArchiveView, destination: Destination, records: Records) -> Iterable[Record]:
    """Drafts and records of any AIP of the Archive, the oldest version first; those of other accounts as well, for an
    administrator's own are not the ones that were published here.
    """
    packages = [package_id(each) for each in archive.packages if each.kind is PackageKind.AIP][-MOST:]
    if not packages:
        return ()
    query = _query(packages, in_custom_fields=destination.naming == "custom-fields")
    hits = [*records.find(query), *records.find(query, own=False)]
    ours = {hit.id: hit for hit in hits if any(hit.identifies(package) for package in packages)}
    return sorted(ours.values(), key=lambda hit: (hit.index, hit.published))


def _query(packages: Collection[str], *, in_custom_fields: bool) -> str:
    name = "custom_fields.oais\\:aip_id" if in_custom_fields else "metadata.identifiers.identifier"
    return " OR ".join(f"{name}:{phrase(package)}" for package in packages)
