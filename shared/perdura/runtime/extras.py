"""What some steps need to know beside the Archive itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import Engine

from perdura.accounts import arrivals, directory
from perdura.errors import Rejected
from perdura.outcome import ArchiveView, File
from perdura.premis import agents, log
from perdura.premis.model import Agent, Event
from perdura.registry import credentials, package_files, preservation
from perdura.registry.deposits import Arrival
from perdura.runtime.budget import registry_budget
from perdura.runtime.environment import Environment
from perdura.settings import Settings
from perdura.sources.profile import of_protocol
from perdura.steps.verify_bag import FILES
from perdura.storage.store import ObjectInfo, Store

_PAGE = 500
_LOOKING = 8
"""Objects that are looked at at the same time."""


def of_preserve(environment: Environment, archive: ArchiveView) -> Mapping[str, Any]:
    """How an Archive is to be preserved, its PREMIS events so far, oldest first, and the agents that the log knows."""
    with environment.engine.connect() as connection:
        wish = preservation.wish(connection, archive.id)
    engine = environment.engine
    return {
        "earlier_events": LoggedEvents(engine, archive.id),
        "known_agents": partial(logged_agents, engine),
        "wish": wish,
    }


def logged_agents(engine: Engine, identifiers: Sequence[str]) -> list[Agent]:
    """Those of the agents that are registered in the log, as they are there."""
    with engine.connect() as connection:
        return [each.agent for each in agents.among(connection, identifiers)]


class LoggedEvents(Iterable[Event]):
    """All events of an Archive in the log, read page by page as they are asked for: there may be any number."""

    def __init__(self, engine: Engine, archive: UUID) -> None:
        self._engine, self._archive = engine, archive

    def __iter__(self) -> Iterator[Event]:
        after: int | None = None
        while True:
            with self._engine.connect() as connection:
                page = log.events_of(connection, archive_id=self._archive, limit=_PAGE, after=after)
            yield from (each.event for each in page)
            if len(page) < _PAGE:
                return
            after = page[-1].sequence


def of_verify(environment: Environment, archive: ArchiveView) -> Mapping[str, Any]:
    """The files that the registry knows of a package, in the order of their paths, read page by page."""
    del archive
    return {FILES: partial(_files, environment.engine)}


def _files(engine: Engine, package: UUID) -> Iterator[File]:
    after = ""
    while True:
        with engine.connect() as connection:
            page = package_files.page(connection, package, after=after, limit=_PAGE)
        yield from page
        if len(page) < _PAGE:
            return
        after = page[-1].path


def harvesting(environment: Environment, archive: ArchiveView) -> Mapping[str, Any]:
    """What a harvest needs beside the Archive.

    The requester's `credential` of a source, its `rate_budget`, and whether objects are `withheld` from the requester.
    """
    told = archive.step.input.get("requested_by")
    requester, scopes = UUID(told) if isinstance(told, str) else None, archive.step.input.get("scopes")

    def withheld(found: Sequence[ObjectInfo]) -> bool:
        named = list(as_they_arrived(environment.store, found))
        with environment.engine.connect() as connection:
            asking = directory.asking(connection, environment.settings, requester, scopes)
            return bool(arrivals.withheld(connection, asking, named, of_protocol("prefix", environment.settings)))

    return {
        "credential": lambda source: credential_of(environment.engine, environment.settings, requester, source),
        "rate_budget": lambda profile: registry_budget(environment.engine, profile),
        "withheld": withheld,
    }


def as_they_arrived(store: Store, found: Sequence[ObjectInfo]) -> Iterator[Arrival]:
    """The objects as they were looked at when they arrived: where a bucket keeps versions, no listing names them."""
    if store.head(found[0].ref.bucket, found[0].ref.key).ref.version_id is None:
        yield from map(_arrival, found)
        return
    with ThreadPoolExecutor(_LOOKING, thread_name_prefix="look") as pool:
        yield from pool.map(lambda listed: _arrival(store.head(listed.ref.bucket, listed.ref.key)), found)


def _arrival(info: ObjectInfo) -> Arrival:
    return Arrival(info.ref.bucket, info.ref.key, info.ref.version_id, info.ref.etag, info.size)


def credential_of(engine: Engine, settings: Settings, owner: UUID | None, source: str) -> str | None:
    """The credential that an account keeps for a source, if it does. Raises Rejected where the account is shut."""
    if owner is None:
        return None
    with engine.begin() as connection:
        secret = credentials.use(connection, settings, owner, source)
        if secret is not None and directory.is_shut(connection, owner):
            raise Rejected(
                f"The account that asked for it is shut; its credential for {source} is not used any more: "
                "have it harvested anew.",
                code="account-shut",
            )
    return secret
