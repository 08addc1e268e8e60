"""The pointer file that a Storage Service keeps of a compressed AIP (archivematica.md 7.2)."""

from __future__ import annotations

from dataclasses import dataclass

from lxml import etree

from perdura.packages.mets_read import BadMets, MetsAgent, MetsEvent, MetsObject, MetsTooLarge, read_mets

LARGEST = 4 * 2**20


@dataclass(frozen=True, slots=True)
class Pointer:
    """What it says of the package: digests by algorithm, size in bytes, format, and its events and agents as XML."""

    digests: dict[str, str]
    size: int | None
    format_name: str | None
    format_key: str | None
    events: tuple[bytes, ...]
    agents: tuple[bytes, ...]


def read_pointer(text: bytes) -> Pointer:
    """Read a pointer file; raises BadMets, MetsTooLarge beyond a limit."""
    if len(text) > LARGEST:
        raise MetsTooLarge(f"The pointer file is larger than {LARGEST} bytes.")
    package: MetsObject | None = None
    events, agents = [], []
    for part in read_mets([text]):
        if isinstance(part, MetsObject) and part.kind == "file" and package is None:
            package = part
        elif isinstance(part, MetsEvent):
            events.append(etree.tostring(part.element))
        elif isinstance(part, MetsAgent):
            agents.append(etree.tostring(part.element))
    if package is None:
        raise BadMets("The pointer file describes no package.")
    return Pointer(package.digests, package.size, package.format_name, package.format_key, tuple(events), tuple(agents))
