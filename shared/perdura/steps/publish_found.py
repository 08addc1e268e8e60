"""What an InvenioRDM has of a package and of its Resource, looked up before anything is made (inveniordm.md 4)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from perdura.clients.inveniordm.model import Record
from perdura.clients.inveniordm.records import Records, phrase
from perdura.clients.inveniordm.wire import RdmGone


@dataclass(frozen=True, slots=True)
class Sought:
    """By what a record is recognised: `package` is an identifier it carries, `resource` one that all versions carry.

    `in_custom_fields` says where they stand.
    """

    package: str
    resource: str
    in_custom_fields: bool = False
    siblings: Sequence[str] = ()
    """Records noted of other packages of the Resource; a search shows a record some time after it was published."""
    successors: Sequence[str] = ()
    """Those of them that are of later versions."""
    own: Sequence[str] = ()
    """Records noted of other AIPs of the Archive."""


@dataclass(frozen=True, slots=True)
class Found:
    """The record or draft of the very package, and the newest published version of the Resource."""

    record: Record | None = None
    newest: Record | None = None
    taken: frozenset[str | None] = frozenset()
    """DOIs of earlier versions of the record."""

    @property
    def nothing(self) -> bool:
        """Whether there is neither."""
        return self.record is None and self.newest is None


class Superseded(Exception):
    """There is a record of a later version of the Resource: nothing can be published before it."""

    def __init__(self, record: Record) -> None:
        super().__init__(record.id)
        self.record = record


def look(records: Records, sought: Sought, known: str | None = None) -> Found:
    """What is there: noted by us (`known`), or found at the server.

    A noted record that is published and carries another package is that of an earlier AIP: the next is its version.
    So is what follows one that a later AIP of the Archive has, when a person chose the package again. Versions of a
    record are in the order in which they were made, so nothing is made after a later one: raises Superseded where
    there is one and no record of the package. Raises what the server's answers mean (`clients.inveniordm.wire`).
    """
    found = _noted(records, sought, known)
    if found.record is None:
        for later in _published_ones(records, sought.successors):
            raise Superseded(later)
    return found


def _noted(records: Records, sought: Sought, known: str | None) -> Found:
    """What is found by the record that was noted, or else by a search."""
    earlier = records.record(known) if known is not None else None
    if earlier is not None and earlier.identifies(sought.package):
        return Found(earlier)
    if known is not None and earlier is None and (draft := records.draft(known)) is not None:
        return _in_its_family(records, draft, _family(records, sought, _search(records, sought)))
    hits = _search(records, sought)
    ours = [hit for hit in hits if hit.identifies(sought.package)]
    published = max((hit for hit in ours if hit.published), key=lambda hit: hit.index, default=None)
    if published is not None and not _is_behind(published, (*hits, *([earlier] if earlier else ())), sought.own):
        return Found(published)
    family = _family(records, sought, hits)
    if earlier is not None:
        family = replace(family, taken=family.taken | {earlier.doi})
    drafts = [hit for hit in ours if not hit.published]
    if drafts:
        return _in_its_family(records, drafts[0], family)
    return replace(family, newest=family.newest or earlier)


def _is_behind(record: Record, found: Sequence[Record], own: Sequence[str]) -> bool:
    """Whether another AIP of the Archive was published after a record, in its family."""
    others = [hit for hit in found if hit.published and hit.id in own and hit.parent == record.parent]
    return any(hit.index > record.index for hit in others)


def _in_its_family(records: Records, draft: Record, family: Found) -> Found:
    """With the draft, unless the Resource was published meanwhile in another family: then it is thrown away."""
    if family.newest is None or family.newest.parent == draft.parent:
        return Found(draft, family.newest, family.taken)
    records.discard(draft.id)
    return family


def _family(records: Records, sought: Sought, hits: Sequence[Record]) -> Found:
    """The newest published version of the Resource at this destination, and the DOIs of all of them."""
    versions = [hit for hit in hits if hit.published and hit.identifies(sought.resource)]
    shown = {hit.id for hit in versions}
    versions += _published_ones(records, (name for name in sought.siblings if name not in shown))
    newest = max(versions, key=lambda hit: hit.index, default=None)
    return Found(newest=newest, taken=frozenset(hit.doi for hit in versions))


def _published_ones(records: Records, names: Iterable[str]) -> Iterator[Record]:
    for name in names:
        with suppress(RdmGone):
            record = records.record(name)
            if record is not None:
                yield record


def _search(records: Records, sought: Sought) -> Sequence[Record]:
    """Own drafts and records of the package and of its Resource, versions included."""
    package, resource = phrase(sought.package), phrase(sought.resource)
    if sought.in_custom_fields:
        return records.find(f"custom_fields.oais\\:aip_id:{package} OR custom_fields.oais\\:source_id:{resource}")
    return records.find(f"metadata.identifiers.identifier:{package} OR metadata.identifiers.identifier:{resource}")
