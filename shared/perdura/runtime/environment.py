"""The adapters of one process, made once from its settings when first needed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, cached_property, partial
from typing import Any

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from perdura.database import engine
from perdura.fleet import Fleet
from perdura.ids import derived_id
from perdura.outcome import ArchiveView
from perdura.ports import Characteriser, FormatIdentifier, Placements, Ports, Progress, TapeSystem, VirusScanner
from perdura.premis import log
from perdura.premis.model import Event
from perdura.registry import units, work
from perdura.registry.contents import RegistryContents
from perdura.registry.intents import RegistryIntents
from perdura.registry.placements import RegistryPlacements
from perdura.registry.tape_jobs import RegistryTapeJobs
from perdura.runtime.emitter import Emitter
from perdura.runtime.room import Room
from perdura.runtime.statements import count_on
from perdura.settings import Settings, settings
from perdura.storage.store import Store


class SystemClock:
    """The clock of this machine."""

    def now(self) -> datetime:
        """The present instant, in UTC."""
        return datetime.now(UTC)


class TimeBudget:
    """The time budget of one invocation: near its end after nine tenths of it."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + 0.9 * seconds

    def near(self) -> bool:
        """True when progress should be committed and the rest left to a continuation."""
        return time.monotonic() >= self._end


@dataclass(frozen=True)
class Environment:
    """What a process works with. Connections are opened when first used."""

    settings: Settings

    @cached_property
    def engine(self) -> Engine:
        """The database."""
        return count_on(engine(self.settings))

    @cached_property
    def room(self) -> Room:
        """Places for steps, whose claims hold at most half of the connections."""
        return Room(self.settings.database_pool_size // 2)

    @cached_property
    def store(self) -> Store:
        """The object store."""
        from perdura.storage.s3 import S3Store

        return S3Store(self.settings)

    @cached_property
    def emitter(self) -> Emitter:
        """The way to the broker."""
        return Emitter(self.engine, self.settings)

    @cached_property
    def identifier(self) -> FormatIdentifier:
        """PRONOM identification."""
        from perdura.clients.pronom import PronomIdentifier

        return PronomIdentifier()

    @cached_property
    def scanner(self) -> VirusScanner | None:
        """clamd, where one is configured."""
        from perdura.clients.clamd import scanner

        return scanner(self.settings)

    @cached_property
    def characterisers(self) -> Sequence[Characteriser]:
        """The tools that describe files, where they are installed."""
        from perdura.clients.characterise import characterisers

        return characterisers(self.settings)

    @cached_property
    def tape_of_now(self) -> Callable[[], TapeSystem | None]:
        """Gives the tape system with the credentials that are in their files now."""
        from perdura.clients.tape_renewal import RenewedTape

        return RenewedTape(self.settings)

    @property
    def tape(self) -> TapeSystem | None:
        """FTS and the tape endpoint, where they are configured; to be asked for once in an invocation."""
        return self.tape_of_now()

    @cached_property
    def fleet(self) -> Fleet:
        """The Archivematicas that are configured, and the book of what was sent to them."""
        from perdura.clients.archivematica.connect import ConnectedArchivematica
        from perdura.clients.archivematica.instances import read_instances
        from perdura.registry.archivematica import SubmissionBook

        settings = self.settings
        book = SubmissionBook(
            self.engine, limit=settings.archivematica_failures, pause=settings.archivematica_pause_seconds
        )
        found = read_instances(settings.archivematica)
        return Fleet({each.name: ConnectedArchivematica(each) for each in found}, book)

    def _record(self, function: str, events: Sequence[Event]) -> None:
        """Add events to the log in a transaction of their own; known ones stay as they are."""
        with self.engine.begin() as connection:
            log.append_free(connection, events, actor=function)

    @cached_property
    def placements(self) -> Placements:
        """Records on access systems."""
        return RegistryPlacements(self.engine)

    def ports(
        self, archive: ArchiveView, function: str, needs: frozenset[str], extras: Mapping[str, Any] | None = None
    ) -> Ports:
        """The ports of one invocation of a function for one Archive; only the adapters that it needs are made."""
        step = archive.step
        return Ports(
            settings=self.settings,
            store=self.store,
            clock=SystemClock(),
            deadline=TimeBudget(self.settings.invocation_seconds),
            intents=RegistryIntents(self.engine, step.id),
            contents=RegistryContents(self.engine, archive.id),
            progress=self._progress(archive),
            derived=lambda name: derived_id(step.id, step.attempt, name),
            identifier=self.identifier if "identifier" in needs else None,
            scanner=self.scanner if "scanner" in needs else None,
            characterisers=self.characterisers if "scanner" in needs else (),
            tape=self.tape if "tape" in needs else None,
            tape_jobs=RegistryTapeJobs(self.engine) if "tape" in needs else None,
            fleet=self.fleet if "fleet" in needs else None,
            record=partial(self._record, function),
            placements=self.placements if "placements" in needs else None,
            extras=extras,
        )

    def _progress(self, archive: ArchiveView) -> Progress:
        step = archive.step.id
        return _seldom(self.engine, lambda c, what, done, total: work.note_progress(c, step, what, done, total))

    def unit_progress(self, archive: ArchiveView, unit: str) -> Progress:
        """Notes how far one work unit is, and with that its step."""
        step = archive.step.id
        return _seldom(self.engine, lambda c, what, done, total: units.note_progress(c, step, unit, what, done, total))


def _seldom(database: Engine, write: Callable[[Connection, str, int, int | None], None]) -> Progress:
    """Writes progress at most once a second, and never during the first: short steps cost no statement."""
    last = time.monotonic()

    def note(what: str, done: int, total: int | None) -> None:
        nonlocal last
        if time.monotonic() - last < 1:
            return
        last = time.monotonic()
        try:
            with database.begin() as connection:
                write(connection, what, done, total)
        except SQLAlchemyError:
            return  # Progress is a courtesy; the closing transaction will tell of a database that is gone.

    return note


@cache
def environment() -> Environment:
    """The environment of this process."""
    return Environment(settings())
