"""Ports of a step in memory, with records on access systems kept as the registry keeps them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from perdura.ids import derived_id, new_id
from perdura.outcome import ArchiveView, Package, PackageKind, StepView
from perdura.packages.aip_index import Header
from perdura.packages.aip_index import encode as encode_index
from perdura.ports import Offer, Placed, Ports, Standing
from perdura.settings import Settings
from perdura.storage.memory import MemoryStore
from tests.unit.tape.fakes import FakeIntents

AT = datetime(2026, 11, 24, 12, tzinfo=UTC)


@dataclass
class MemoryPlacements:
    """`Placements` in memory."""

    known_by: dict[tuple[str, UUID], Placed] = field(default_factory=dict)
    named: Sequence[str] = ()
    offered: dict[UUID, Offer] = field(default_factory=dict)
    remembered: dict[tuple[str, UUID], list[str]] = field(default_factory=dict)
    standings: dict[UUID, Standing] = field(default_factory=dict)

    @contextmanager
    def hold(self, destination: str, resource: str) -> Iterator[MemoryPlacements]:
        yield self

    def confirm(self) -> None:
        """Nobody else is there."""

    def known(self, destination: str, archive: UUID) -> Placed | None:
        return self.known_by.get((destination, archive))

    def everywhere(self, archive: UUID) -> Mapping[str, Placed]:
        return {name: placed for (name, each), placed in self.known_by.items() if each == archive}

    def records(self, destination: str, archive: UUID) -> Sequence[str]:
        return self.remembered.get((destination, archive), [])

    def siblings(self, destinations: Collection[str], archive: UUID) -> Sequence[str]:
        return ()

    def successors(self, destinations: Collection[str], archive: UUID) -> Sequence[str]:
        return ()

    def standing(self, archive: UUID) -> Standing | None:
        return self.standings.get(archive)

    def note(self, destination: str, archive: UUID, placed: Placed) -> None:
        made = self.remembered.setdefault((destination, archive), [])
        made += [placed.record] if placed.record not in made else []
        known = self.known(destination, archive)
        if known is None or known.state != "withdrawn" or placed.state == "withdrawn":
            self.known_by[destination, archive] = placed

    def take_off(self, destination: str, archive: UUID, placed: Placed) -> None:
        self.known_by[destination, archive] = placed

    def offer(self, destination: str, archive: UUID, offer: Offer, over: Placed | None = None) -> bool:
        known = self.known(destination, archive)
        if known is not None and known.state == "withdrawn" and known != over:
            return False
        self.offered[archive] = offer
        self.known_by[destination, archive] = Placed(str(archive), "published")
        return True

    def collections(self, archive: UUID) -> Sequence[str]:
        return self.named

    def withdrawn_before(self, destinations: Collection[str], archive: UUID) -> bool:
        return False


class FixedClock:
    def now(self) -> datetime:
        return AT


@dataclass
class Budget:
    """A time budget that is used up at the `asks`-th time it is asked for; None: never."""

    asks: int | None = None

    def near(self) -> bool:
        if self.asks is not None:
            self.asks -= 1
        return self.asks is not None and self.asks <= 0


def ports_for(
    store: MemoryStore, access: Path | None = None, placements: Any = None, step: UUID | None = None, **settings: Any
) -> Ports:
    """Ports of one invocation; `access` is the file that describes the access systems."""
    identity = step or new_id()
    return Ports(
        settings=Settings(access=str(access) if access else None, access_url="https://access.test", **settings),
        store=store,
        clock=FixedClock(),
        deadline=Budget(),
        intents=FakeIntents(),
        progress=lambda what, done, total: None,
        derived=lambda name: derived_id(identity, name),
        placements=placements or MemoryPlacements(),
    )


def preserved(store: MemoryStore, files: Mapping[str, bytes], mets: bytes = b"<mets/>", **values: Any) -> ArchiveView:
    """An Archive with an AIP (a tar in the store, its index beside it) of these payload files."""
    from tests.contract.test_inveniordm.tar import tar_of

    archive, aip = new_id(), new_id()
    whole, entries, checksums = tar_of(str(archive), files, mets)
    written = store.put("perdura-aips", f"{archive}/{archive}.tar", whole)
    header = Header(str(aip), str(archive), str(archive), len(whole), checksums, len(entries))
    store.put("perdura-aips", f"{archive}/{archive}.index.jsonl", b"".join(encode_index(header, entries)))
    ref = written.info.ref
    package = Package(
        aip, PackageKind.AIP, ref.bucket, ref.key, "tar", len(whole), ref.version_id, ref.etag, checksums,
        index_key=f"{archive}/{archive}.index.jsonl",
    )  # fmt: skip
    view = ArchiveView(
        id=archive,
        step=StepView(new_id(), "publish", 1, created_at=AT),
        title="A preserved record",
        source="cds",
        recid=str(archive)[-8:],
        metadata={"url": "https://repository.example.org/records/1", "revision": "3/2026-11-24T11:00:00+00:00"},
        packages=(package,),
        created_at=AT,
    )
    return replace(view, **values)
