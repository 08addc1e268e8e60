"""Events from elsewhere: METS of Archivematica, NDJSON, a running PREMIS Event Service; each recorded once."""

from __future__ import annotations

import json
import re
import uuid
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

import pytest
from click.testing import CliRunner
from sqlalchemy.engine import Engine
from werkzeug.test import Client

from perdura.commands import log as commands
from perdura.commands.log import log as command
from perdura.errors import UpstreamUnavailable
from perdura.premis import agents, log, query
from perdura.premis.crawl import Crawl, ServiceChanged, noted, resumed
from perdura.premis.model import Agent, Event, Identifier, Outcome
from perdura.premis.verify_stored import verify_database
from tests.contract.test_premis.test_http import client_of, entry
from tests.shared_data import reference_data

START = datetime(2023, 3, 1, tzinfo=UTC)


def _run(engine: Engine, *arguments: str) -> str:
    url = engine.url.render_as_string(hide_password=False)
    result = CliRunner().invoke(command, ["--database-url", url, *arguments])
    assert result.exit_code == 0, result.output
    return result.output


def _fill(engine: Engine, number: int) -> list[Event]:
    events = [
        Event(
            id=uuid.uuid4(),
            type="fixity check",
            at=START + timedelta(hours=5 * n),
            outcomes=(Outcome("success", (f"note {n} <&> é",)),),
            agents=(Identifier("URL", "http://example.org/agent", ("executing program",)),),
            objects=(Identifier("ARK", f"ark:/67531/coda{n % 7}", ("source",)),),
        )
        for n in range(number)
    ]
    with engine.begin() as connection:
        log.append(connection, events, actor="test")
        agents.create(connection, Agent(Identifier("local", "someone"), "Someone", "Personal", ("a note",)))
    return events


def _all(engine: Engine) -> list[query.pages.Listed]:
    with engine.connect() as connection:
        return query.page(connection, query.Filter(), order=query.Order.DATE, limit=10_000).events


def test_events_of_an_archivematica_aip_are_recorded_once_with_what_they_are_about(another: Engine) -> None:
    mets = reference_data("archivematica/samples/METS.e342835e-b3ba-4d07-a70d-4bb727ad1a91.xml")
    events = len(re.findall(rb"<premis:event ", mets.read_bytes()))
    assert _run(another, "import", str(mets)) == f"{events} events read, {events} recorded, 0 known before\n"
    assert _run(another, "import", str(mets)) == f"{events} events read, 0 recorded, {events} known before\n"
    found = _all(another)
    assert len(found) == events
    assert all(each.event.objects for each in found)
    assert all(each.event.agents for each in found)
    with another.connect() as connection:
        assert "Archivematica" in {each.name.partition(" ")[0] for each in agents.listed(connection)}


def test_an_export_as_ndjson_is_a_whole_import(engine: Engine, another: Engine, tmp_path: Path) -> None:
    events = _fill(engine, 30)
    client_of(engine).post("/APP/event/", data=entry(uuid.uuid4().hex))
    exported = tmp_path / "export.ndjson"
    exported.write_bytes(client_of(engine).get("/event/export.ndjson").data)
    assert _run(another, "import", str(exported)) == f"{len(events) + 1} events read, 31 recorded, 0 known before\n"
    assert [(each.identifier, each.type, each.at) for each in _all(another)] == [
        (each.identifier, each.type, each.at) for each in _all(engine)
    ]
    assert [each.event.objects for each in _all(another)] == [each.event.objects for each in _all(engine)]


def test_the_whole_log_as_ndjson_makes_the_same_log_again(engine: Engine, another: Engine, tmp_path: Path) -> None:
    client, first = client_of(engine), uuid.uuid4().hex
    for identifier in (first, "TEMP", uuid.uuid4().hex):
        made = client.post("/APP/event/", data=entry(identifier, outcome="first"))
    assert client.put(f"/APP/event/{first}/", data=entry(first, outcome="second")).status_code == 200
    assert client.delete(made.headers["Location"]).status_code == 200
    again = made.headers["Location"].rstrip("/").rpartition("/")[2]
    assert client.post("/APP/event/", data=entry(again, outcome="third")).status_code == 201
    with engine.begin() as connection:
        log.append(connection, [Event(id=uuid.uuid4(), type="of our own", at=START)], actor="test")
        agents.create(connection, Agent(Identifier("x", "agent of all"), "All", "software"))
    exported = tmp_path / "log.ndjson"
    exported.write_bytes(client.get("/log/export.ndjson").data)
    lines = exported.read_bytes().count(b"\n")
    assert _run(another, "import", str(exported)) == f"{lines} events read, {lines} recorded, 0 known before\n"
    assert _run(another, "import", str(exported)) == f"{lines} events read, 0 recorded, {lines} known before\n"
    once_more = client_of(another).get("/log/export.ndjson").data.splitlines()
    assert list(map(_apart, once_more)) == list(map(_apart, exported.read_bytes().splitlines()))
    for path in ("/APP/event/?orderby=event_identifier", "/APP/agent/"):
        same = [re.sub(r"<(published|updated)>[^<]*", "", client_of(each).get(path).text) for each in (engine, another)]
        assert same[0] == same[1]


def test_a_line_that_does_not_follow_what_the_log_has_is_named(engine: Engine, another: Engine, tmp_path: Path) -> None:
    client, identifier = client_of(engine), uuid.uuid4().hex
    client.post("/APP/event/", data=entry(identifier))
    client.put(f"/APP/event/{identifier}/", data=entry(identifier, outcome="second"))
    lines = [each for each in client.get("/log/export.ndjson").data.splitlines() if identifier.encode() in each]
    file = tmp_path / "part.ndjson"
    file.write_bytes(b"\n".join([lines[1], b"nonsense", lines[0].replace(b">2024-03-05", b">last spring")]))
    output = _run(another, "import", str(file))
    assert "replaced: row 2 of" in output
    assert "line 2: no line of a log" in output
    assert "eventDateTime" in output
    assert "0 events read, 0 recorded" in output


def _apart(line: bytes) -> dict[str, str]:
    """A line without who recorded it and when, which another log says of itself."""
    return {name: value for name, value in json.loads(line).items() if name not in ("recorded", "actor")}


def test_lines_that_are_no_events_are_named_and_the_others_recorded(another: Engine, tmp_path: Path) -> None:
    file = tmp_path / "some.ndjson"
    file.write_text('{"type": "x", "date": "2024-01-01"}\nnonsense\n{"type": "y", "date": "last spring"}\n')
    output = _run(another, "import", str(file))
    assert "line 2: no JSON" in output
    assert "line 3: " in output
    assert "1 events read, 1 recorded" in output
    assert "0 recorded, 1 known" in _run(another, "import", str(file))


def test_a_premis_document_and_an_atom_feed_are_imported(engine: Engine, another: Engine, tmp_path: Path) -> None:
    feed = tmp_path / "feed.xml"
    feed.write_bytes(client_of(engine).get("/APP/event/?count=5").data)
    assert "5 events read, 5 recorded" in _run(another, "import", str(feed), "--object", "urn:box:7")
    assert all(each.event.objects[-1].value == "urn:box:7" for each in _all(another))


def test_one_event_of_a_document_that_cannot_be_read_is_named_and_the_others_recorded(
    another: Engine, tmp_path: Path
) -> None:
    good, bad = (entry(uuid.uuid4().hex, date=date).partition(b"?>")[2] for date in ("2024", "last spring"))
    feed = tmp_path / "feed.xml"
    none = b"<entry><title>no event</title><content/></entry>"
    feed.write_bytes(b"<feed xmlns='http://www.w3.org/2005/Atom'>" + none + bad + good + b"</feed>")
    output = _run(another, "import", str(feed))
    assert "event 1: content: expected a PREMIS event element, found none." in output
    assert "eventDateTime 'last spring'" in output
    assert "1 events read, 1 recorded" in output


def test_two_events_under_two_spellings_of_one_identifier_are_both_imported(another: Engine, tmp_path: Path) -> None:
    identifier = uuid.uuid4()
    sent = [
        entry(identifier.hex, outcome="first"),
        entry(str(identifier), outcome="second"),
        entry(identifier.hex.upper(), outcome="first"),
        entry(identifier.urn, outcome="third"),
    ]
    feed = tmp_path / "feed.xml"
    entries = b"".join(each.partition(b"?>")[2] for each in sent)
    feed.write_bytes(b"<feed xmlns='http://www.w3.org/2005/Atom'>" + entries + b"</feed>")
    assert "4 events read, 3 recorded, 1 known" in _run(another, "import", str(feed))
    assert "4 events read, 0 recorded, 4 known" in _run(another, "import", str(feed))
    assert sorted(each.outcome for each in _all(another)) == ["first", "second", "third"]
    client = client_of(another)
    for each in _all(another):
        assert client.get(f"/APP/event/{each.identifier}/").status_code == 200
        history = client.get(f"/event/{each.identifier}.history.json").get_json()
        assert f"Value>{identifier}<" in history[0]["xml"] or each.outcome != "second"
    with another.connect() as connection:
        assert verify_database(connection).findings == []


def test_the_agents_of_a_premis_document_are_registered(another: Engine, tmp_path: Path) -> None:
    who = (
        "<agentIdentifier><agentIdentifierType>x</agentIdentifierType>"
        "<agentIdentifierValue>me</agentIdentifierValue></agentIdentifier>"
    )
    what = "<eventType>a</eventType><eventDateTime>2024</eventDateTime>"
    document = tmp_path / "premis.xml"
    document.write_text(
        f"<premis xmlns='http://www.loc.gov/premis/v3'><event>{what}</event>"
        f"<agent>{who}<agentName>Me</agentName><agentType>person</agentType></agent></premis>"
    )
    for new in (1, 0):
        assert f"1 events read, {new} recorded" in _run(another, "import", str(document))
    with another.connect() as connection:
        assert [each.name for each in agents.listed(connection)] == ["Me"]


@pytest.mark.parametrize(
    "change",
    [
        {"place": "1"}, {"place": 0}, {"place": None}, {"event": "x"}, {"identifier": 5}, {"recorded": "soon"},
        {"xml": "<premis xmlns='http://www.loc.gov/premis/v3'/>"}, {"xml": "\ud800"}, {"xml": "<a"},
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["created", "replaced"])
def test_lines_of_a_log_that_are_broken_are_named(
    engine: Engine, another: Engine, tmp_path: Path, kind: str, change: dict[str, object]
) -> None:
    client_of(engine).post("/APP/event/", data=entry(uuid.uuid4().hex))
    line = json.loads(client_of(engine).get("/log/export.ndjson").data.splitlines()[0]) | {"kind": kind} | change
    file = tmp_path / "log.ndjson"
    file.write_text(json.dumps(line))
    assert "not read: " in _run(another, "import", str(file))


class Service:
    """The log as a service that is crawled; `forgets` events of periods longer than a day, as unordered pages do."""

    def __init__(self, engine: Engine, *, forgets: bool = False) -> None:
        self._client: Client = client_of(engine)
        self._forgets = forgets
        self.asked: list[str] = []

    def fetch(self, url: str) -> bytes:
        self.asked.append(url)
        assert url.startswith("http://pes.example.org/")
        answer = self._client.get(url, base_url="http://pes.example.org/")
        assert answer.status_code == 200, answer.text
        sent = parse_qs(urlsplit(url).query)
        body = answer.data
        if self._forgets and "start_date" in sent and "/APP/event/" in url and _days(sent) > 1:
            body = re.sub(rb"<entry>.*?</entry>", b"", body, count=1, flags=re.DOTALL)
        return body


def _days(sent: dict[str, list[str]]) -> int:
    first, last = (datetime.strptime(sent[name][0], "%m/%d/%Y") for name in ("start_date", "end_date"))
    return (last - first).days


def _crawl(engine: Engine, service: Service) -> Crawl:
    return Crawl(engine, service.fetch, "http://pes.example.org/", UTC, "import:pes.example.org")


@pytest.mark.parametrize("forgets", [False, True])
def test_a_running_service_is_taken_over_whole_even_where_its_pages_lose_events(
    engine: Engine, another: Engine, forgets: bool
) -> None:
    assert _all(engine)
    service = Service(engine, forgets=forgets)
    crawl = _crawl(another, service)
    days = crawl.days()
    assert days is not None
    assert list(crawl.run(*days))[-1] == days[1]
    with engine.connect() as connection:
        assert crawl.agents() == agents.count(connection)
    assert not crawl.lacking
    assert [each.identifier for each in _all(another)] == [each.identifier for each in _all(engine)]
    again = _crawl(another, Service(engine))
    list(again.run(*days))
    assert again.done.new == 0


def test_a_crawl_carries_on_where_it_stopped(engine: Engine, another: Engine) -> None:
    crawl = _crawl(another, Service(engine))
    days = crawl.days()
    assert days is not None
    reached = next(crawl.run(*days))
    begin = resumed(noted("http://pes.example.org/", reached), "http://pes.example.org/")
    assert begin == reached + timedelta(days=1)
    assert resumed(noted("http://other.example.org/", reached), "http://pes.example.org/") is None
    list(_crawl(another, Service(engine)).run(begin, days[1]))
    assert len(_all(another)) == len(_all(engine))


def test_a_broken_crawl_goes_on_by_its_note_and_a_later_one_finds_what_was_added(
    engine: Engine, another: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, note, left = Service(engine), tmp_path / "note", [3]

    def read(_: object, url: str) -> bytes:
        left[0] -= "/APP/event/?start_date" in url
        if left[0] < 0:
            raise UpstreamUnavailable("gone")
        return service.fetch(url)

    monkeypatch.setattr(commands, "_read", read)
    arguments = ["crawl", "http://pes.example.org/", "--zone", "UTC", "--note", str(note)]
    url = another.url.render_as_string(hide_password=False)
    assert CliRunner().invoke(command, ["--database-url", url, *arguments]).exit_code == 1
    stopped = json.loads(note.read_text())["imported_up_to"]
    left[0], service.asked = 10**6, []
    _run(another, *arguments)
    periods = [each for each in service.asked if "/APP/event/?start_date" in each]
    assert parse_qs(urlsplit(periods[0]).query)["start_date"] == [
        f"{date.fromisoformat(stopped) + timedelta(days=1):%m/%d/%Y}"
    ]
    assert len(_all(another)) == len(_all(engine))
    identifier = uuid.uuid4().hex
    assert client_of(engine).post("/APP/event/", data=entry(identifier, date="2023-03-02")).status_code == 201
    assert " 1 recorded" in _run(another, *arguments)


def test_something_that_is_no_event_service_is_refused(another: Engine) -> None:
    crawl = Crawl(another, lambda _: b"<html/>", "http://example.org/", UTC, "import")
    with pytest.raises(ServiceChanged):
        list(crawl.run(date(2024, 1, 1), date(2024, 1, 2)))


def _recorded(name: str) -> bytes:
    """The body that the PREMIS Event Service 4.0.0 answered with (recorded from the service itself)."""
    said = reference_data(f"premis/samples/peer/{name}.http").read_bytes()
    return said.partition(b"--------------------\n")[2].lstrip().partition(b"\n\n")[2]


def test_what_the_seed_service_itself_answered_is_taken_over_with_the_right_instants(another: Engine) -> None:
    """Its answers are read as they are: pretty-printed, in its own zone, without ids that are its agents'."""
    answers = {
        "/APP/event/": _recorded("07-event-feed"),
        "/APP/agent/": _recorded("17-agent-feed"),
        "/event/search.json": _recorded("11-search-json"),
    }
    crawl = Crawl(
        another,
        lambda url: answers[urlsplit(url).path],
        "http://pes.example.org/",
        ZoneInfo("America/Chicago"),
        "import",
    )
    days = crawl.days()
    assert days is not None
    list(crawl.run(*days))
    assert crawl.agents() == answers["/APP/agent/"].count(b"<entry>")
    assert (crawl.done.new, crawl.done.refused, crawl.lacking) == (2, [], [])
    found = {each.identifier: each for each in _all(another)}
    assert found["9e42cbd3cc3b4dfc888522036bbc4491"].at == datetime(2024, 3, 5, 16, 39, 49, tzinfo=UTC)
    moved = found["3c79d9fddb694b7680e738967894ec1a"]
    assert [each.value for each in moved.event.objects] == ["ark:/67531/coda1", "ark:/67531/coda2"]
    assert moved.type.endswith("#replication")
