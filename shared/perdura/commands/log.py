"""`perdura log import`, `crawl` and `seal`: events from files and from a PREMIS Event Service; sealing on demand."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import click
from lxml import etree
from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError

from perdura.clients.http import HttpClient, Limits
from perdura.clients.reach import Reach
from perdura.commands.stack_settings import stack_settings
from perdura.database import connecting
from perdura.errors import PerduraError, Rejected, UpstreamUnavailable
from perdura.packages.mets_read import MetsAgent, MetsEvent, read_mets
from perdura.premis import agents, seal, whole
from perdura.premis.cli import log
from perdura.premis.crawl import Crawl, noted, resumed
from perdura.premis.importing import Foreign, Imported, from_element, from_lines, record, record_agents
from perdura.premis.model import Identifier
from perdura.premis.xml import agent_from, events_in, parse, sent_identifier
from perdura.premis.xml.names import ATOM
from perdura.settings import Settings, settings

_PAGE = 64 * 1024 * 1024
_PIECE = 1 << 20
_PATIENCE = 60
"""Seconds that another one who seals is waited for."""


@log.command("import")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--zone", default="UTC", show_default=True, help="Time zone of dates without an offset.")
@click.option("--object", "objects", multiple=True, help="An identifier of what all the events are about.")
@click.pass_obj
def import_files(url: str, files: tuple[Path, ...], zone: str, objects: tuple[str, ...]) -> None:
    """Record the events of FILES: METS (as Archivematica writes it), PREMIS XML, Atom feeds, NDJSON.

    What is in the log already is not recorded again.
    """
    also = [Identifier("local", value) for value in objects]
    done = Imported()
    with _log_at(url) as engine:
        for path in files:
            if (lines := _whole(path)) is not None:
                done += _replayed(engine, lines, f"import:{path.name}")
                continue
            done += record(engine, _events(engine, path, ZoneInfo(zone), also), actor=f"import:{path.name}")
    _say(done)


@log.command()
@click.argument("service")
@click.option("--zone", required=True, help="Time zone of the service: what its dates without an offset are in.")
@click.option("--from", "first", type=click.DateTime(["%Y-%m-%d"]), help="First day; default: that of its first event.")
@click.option("--to", "last", type=click.DateTime(["%Y-%m-%d"]), help="Last day; default: that of its last event.")
@click.option("--note", type=click.Path(dir_okay=False, path_type=Path), help="File that says how far it is imported.")
@click.option("--private", is_flag=True, help="The service may have an address of a private network or this machine.")
@click.pass_obj
def crawl(
    url: str,
    service: str,
    zone: str,
    first: datetime | None,
    last: datetime | None,
    note: Path | None,
    private: bool,
) -> None:
    """Take over the events and agents of a PREMIS Event Service at the URL SERVICE, by its feed.

    Doing it again records what is new; with --note it carries on where it stopped. The note is removed at the end:
    events may be added later that are dated on days already walked.
    """
    host = urlsplit(service).hostname or ""
    reach = Reach(frozenset({host}), allow_loopback=private, allow_private=private)
    limits = Limits(body_bytes=_PAGE)
    with _log_at(url) as engine, HttpClient(reach, user_agent="perdura", limits=limits) as client:
        walk = Crawl(engine, lambda page: _read(client, page), service, ZoneInfo(zone), f"import:{host}")
        days = _days(walk, first, last, note)
        for day in walk.run(*days) if days else ():
            if note is not None:
                note.write_text(noted(service, day), "utf-8")
        added = walk.agents()
        if note is not None:
            note.unlink(missing_ok=True)
    click.echo(f"{added} agents registered")
    for each in walk.lacking:
        click.echo(f"not all found on {each}", err=True)
    _say(walk.done)
    if walk.lacking:
        raise click.exceptions.Exit(1)


@log.command("seal")
@click.pass_context
def seal_now(context: click.Context) -> None:
    """Seal the log now, as the relay does every 30 seconds, and print the signed checkpoint.

    Keep what it prints elsewhere: `perdura log verify --checkpoint FILE` then finds a rewritten history.
    """
    root = context.find_root().obj
    own = stack_settings(root) if isinstance(root, Path) else settings()
    if own.log_signing_keys is None:
        raise click.ClickException("PERDURA_LOG_SIGNING_KEYS is not set: there is no key to sign with.")
    with _log_at(context.obj) as engine:
        note = _sealed(engine, own)
    click.echo(note, nl=False)


@contextmanager
def _log_at(url: str) -> Iterator[Engine]:
    """The log in that database; what goes wrong with it is said in a line."""
    engine = connecting(url)
    try:
        yield engine
    except PerduraError as error:
        raise click.ClickException(error.message) from error
    except SQLAlchemyError as error:
        raise click.ClickException(f"the log cannot be written: {type(error).__name__}") from error
    finally:
        engine.dispose()


def _sealed(engine: Engine, own: Settings) -> str:
    """The checkpoint over all that is recorded; another who is sealing is waited for. Raises Rejected."""
    from perdura.storage.s3 import S3Store  # no other command of the log pays for importing it

    store = S3Store(own)
    for _ in range(_PATIENCE):
        done = seal.tick(engine, store, own)
        with engine.connect() as connection:
            note, size = seal.newest_note(connection), seal.tree_size(connection)
        if done.size and note is not None:
            return note
        if not size:
            raise Rejected("Nothing is recorded yet.")
        time.sleep(1)
    raise Rejected("The log is being sealed elsewhere.")


def _whole(path: Path) -> Iterator[Any] | None:
    """The lines of a whole log, None if the file is something else."""

    def lines() -> Iterator[Any]:
        with path.open("rb") as file:
            for line in filter(bytes.strip, file):
                try:
                    yield json.loads(line)
                except (ValueError, RecursionError):
                    yield None

    first = next(lines(), None)
    return lines() if whole.is_line(first) else None


def _replayed(engine: Engine, lines: Iterator[Any], actor: str) -> Imported:
    done = Imported()

    def good() -> Iterator[dict[str, Any]]:
        for number, line in enumerate(lines, start=1):
            if whole.is_line(line):
                yield line
            else:
                done.refused.append(f"line {number}: no line of a log")

    for new, problem in whole.replay(engine, good(), actor=actor):
        if problem is not None:
            done.refused.append(problem)
        else:
            done += Imported(1, int(new))
    return done


def _events(engine: Engine, path: Path, zone: ZoneInfo, also: list[Identifier]) -> Iterator[Foreign | str]:
    with path.open("rb") as file:
        head = file.read(4096).lstrip(b"\xef\xbb\xbf \t\r\n")
        file.seek(0)
        if not head.startswith(b"<"):
            yield from from_lines(file, origin=path.name, zone=zone)
        elif b"http://www.loc.gov/METS/" in head:
            yield from _of_mets(engine, iter(lambda: file.read(_PIECE), b""), zone, also)
        else:
            yield from _of_xml(engine, parse(file.read()), path.name, zone, also)


def _of_xml(
    engine: Engine, root: etree._Element, origin: str, zone: ZoneInfo, also: list[Identifier]
) -> Iterator[Foreign | str]:
    """Events of a premis document, a feed, an entry or an event; the agents of a document are registered."""
    if etree.QName(root).localname == "premis":
        record_agents(engine, root)
    parts = list(root.iterchildren(f"{{{ATOM}}}entry")) if root.tag == f"{{{ATOM}}}feed" else [root]
    number = 0
    for part in parts:
        try:
            elements = events_in(part)
        except Rejected as error:
            number += 1
            yield f"event {number}: {error.message}"
            continue
        for element in elements:
            number += 1
            try:
                yield from_element(element, origin=origin, zone=zone, also=also)
            except Rejected as error:
                yield f"event {sent_identifier(element)[:200] or number}: {error.message}"


def _of_mets(
    engine: Engine, pieces: Iterator[bytes], zone: ZoneInfo, also: list[Identifier]
) -> Iterator[Foreign | str]:
    """Events of a METS, each with the object in whose section it stands; agents are registered as they come."""
    for part in read_mets(pieces):
        if isinstance(part, MetsAgent):
            _register(engine, part)
        elif isinstance(part, MetsEvent):
            about = [Identifier(kind, value) for kind, value in (part.about.identifiers if part.about else ())]
            try:
                yield from_element(part.element, origin="METS", zone=zone, also=[*about, *also])
            except Rejected as error:
                yield f"{part.section}: {error.message}"


def _register(engine: Engine, part: MetsAgent) -> None:
    try:
        agent = agent_from(part.element)
    except Rejected:
        return
    with engine.begin() as connection:
        if agents.find(connection, agent.identifier.value) is None:
            agents.create(connection, agent)


def _days(walk: Crawl, first: datetime | None, last: datetime | None, note: Path | None) -> tuple[date, date] | None:
    found = walk.days()
    if found is None:
        return None
    begin = first.date() if first else found[0]
    if note is not None and note.exists():
        begin = resumed(note.read_text("utf-8"), walk.url) or begin
    return begin, last.date() if last else found[1]


def _read(client: HttpClient, url: str) -> bytes:
    answer = client.get(url)
    if answer.status != 200:
        raise UpstreamUnavailable(f"{url[:200]} answered {answer.status}.")
    return answer.body


def _say(done: Imported) -> None:
    for each in done.refused:
        click.echo(f"not read: {each}", err=True)
    click.echo(f"{done.read} events read, {done.new} recorded, {done.read - done.new} known before")
