"""What the built-in engine settles before it reads the first byte of a SIP."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from perdura.errors import Broken, Rejected
from perdura.outcome import ArchiveView, Package, PackageKind
from perdura.packages import aip_eark
from perdura.packages.aip import PLAIN, Layout
from perdura.ports import Ports
from perdura.premis.model import Identifier
from perdura.steps.preserve_additions import Addition, additions_of
from perdura.steps.preserve_events import SOFTWARE, Provenance
from perdura.steps.preserve_retention import retain_until
from perdura.steps.preserve_scanning import Scanning, scanning_of
from perdura.steps.stored_package import sip_of

PERDURA, EARK = "perdura", "eark"
"""Profiles of an AIP: our own layout, or an E-ARK package within the bag; the step's input may name one."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is settled before the first byte is read."""

    archive: ArchiveView
    ports: Ports
    sip: Package
    aip: UUID
    key: str
    created: datetime
    scanning: Scanning
    provenance: Provenance
    profile: str
    predecessor: Package | None = None
    reason: str = ""
    additions: tuple[Addition, ...] = ()

    @property
    def layout(self) -> Layout:
        """Where the files of the SIP go."""
        return aip_eark.layout(str(self.aip)) if self.profile == EARK else PLAIN

    @property
    def about_sip(self) -> Provenance:
        """Makes events about the SIP, for when there is no AIP."""
        about = (Identifier("UUID", str(self.sip.id)), Identifier("UUID", str(self.archive.id)))
        return Provenance(self.ports.derived, self.created, about, self.ports.settings.organisation)

    @property
    def retain_until(self) -> datetime | None:
        """Until when the store is to refuse to delete the AIP; None where no retention is wanted."""
        return retain_until(self.created, self.ports)


def plan_of(archive: ArchiveView, ports: Ports) -> Plan:
    """The plan; raises Rejected without an accepted SIP, or for an unknown profile."""
    sip = sip_of(archive)
    profile = archive.step.input.get("profile") or ports.settings.preserve_profile
    if profile not in (PERDURA, EARK):
        raise Rejected(f"there is no AIP profile {str(profile)[:80]!r}; there are perdura and eark", code="no-profile")
    created = archive.step.created_at or archive.created_at
    if created is None:
        raise Broken("neither the Archive nor the step has a time of creation", code="no-creation-time")
    aip = ports.derived("aip")
    about = (Identifier("UUID", str(aip), ("outcome",)), Identifier("UUID", str(archive.id)))
    created = created.astimezone(UTC)
    predecessor = archive.package(PackageKind.AIP)
    return Plan(
        archive=archive,
        ports=ports,
        sip=sip,
        aip=aip,
        key=f"{archive.id}/{archive.id if predecessor is None else aip}.tar",
        created=created,
        scanning=scanning_of(ports),
        provenance=Provenance(ports.derived, created, about, ports.settings.organisation),
        profile=profile,
        predecessor=predecessor,
        reason=str(archive.step.input.get("reason") or "")[:500],
        additions=additions_of(archive.step.input),
    )


def bag_info_of(plan: Plan) -> list[tuple[str, str]]:
    """What `bag-info.txt` of the AIP says of it (RFC 8493 2.2.2)."""
    archive = plan.archive
    fields = [
        ("Source-Organization", plan.ports.settings.organisation),
        ("Bagging-Date", plan.created.date().isoformat()),
        ("External-Identifier", f"urn:uuid:{plan.aip}"),
        ("Internal-Sender-Identifier", str(archive.id)),
        ("Bag-Software-Agent", SOFTWARE),
    ]
    if archive.title:
        fields.append(("External-Description", archive.title))
    return fields
