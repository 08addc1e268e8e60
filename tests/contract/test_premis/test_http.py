"""The interface of the PREMIS Event Service, line by line of premis.md 1."""

# ruff: noqa: E501 - bodies of requests are easier to read in one line

from __future__ import annotations

import gzip
import json
import threading
import time
import uuid
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from lxml import etree
from pydantic import SecretStr
from sqlalchemy import create_engine
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy.engine import Engine
from werkzeug.test import Client, TestResponse
from werkzeug.wrappers import Request

from perdura.database import standing_alone
from perdura.premis import service
from perdura.premis.service import find
from perdura.settings import Settings
from tests.contract.test_premis.xsd import assert_valid
from tests.shared_data import reference_data

ATOM = "{http://www.w3.org/2005/Atom}"
V2 = "{info:lc/xmlns/premis-v2}"
V3 = "{http://www.loc.gov/premis/v3}"
UNT = "http://purl.org/net/untl/vocabularies/"
OPEN = Settings(premis_open_writes=True, premis_hosts="pes.example.org")  # type: ignore[call-arg]


def service_application(engine: Engine, settings: Settings = OPEN) -> Any:
    def application(environ: dict[str, object], start: object) -> object:
        return service.respond(Request(environ), engine, settings)(environ, start)  # type: ignore[arg-type]

    return application


def client_of(engine: Engine, settings: Settings = OPEN) -> Client:
    return Client(service_application(engine, settings))


@pytest.fixture(scope="module")
def client(engine: Engine) -> Client:
    return client_of(engine)


def entry(
    identifier: str | None = None,
    *,
    date: str | None = "2024-03-05T16:39:49Z",
    event_type: str | None = UNT + "preservationEvents/#fixityCheck",
    outcome: str | None = UNT + "eventOutcomes/#success",
    objects: tuple[str, ...] = ("ark:/67531/coda1",),
    namespace: str = "info:lc/xmlns/premis-v2",
    inner: str = "",
) -> bytes:
    parts = []
    if identifier is not None:
        parts.append(f"<p:eventIdentifier><p:eventIdentifierType>UUID</p:eventIdentifierType><p:eventIdentifierValue>"
                     f"{identifier}</p:eventIdentifierValue></p:eventIdentifier>")  # fmt: skip
    if event_type is not None:
        parts.append(f"<p:eventType>{event_type}</p:eventType>")
    if date is not None:
        parts.append(f"<p:eventDateTime>{date}</p:eventDateTime>")
    if outcome is not None:
        parts.append(
            f"<p:eventOutcomeInformation><p:eventOutcome>{outcome}</p:eventOutcome></p:eventOutcomeInformation>"
        )
    parts.append(inner)
    parts += [
        f"<p:linkingObjectIdentifier><p:linkingObjectIdentifierType>ARK</p:linkingObjectIdentifierType>"
        f"<p:linkingObjectIdentifierValue>{each}</p:linkingObjectIdentifierValue></p:linkingObjectIdentifier>"
        for each in objects
    ]
    return (
        '<?xml version="1.0"?><entry xmlns="http://www.w3.org/2005/Atom"><title>t</title><id>i</id>'
        f'<content type="application/xml"><p:event xmlns:p="{namespace}">{"".join(parts)}</p:event></content></entry>'
    ).encode()


def root(response: TestResponse) -> etree._Element:
    return etree.fromstring(response.data)


def held(response: TestResponse) -> etree._Element:
    (content,) = root(response).findall(f"{ATOM}content")
    (event,) = content
    assert_valid(event)
    return event


def new(client: Client, **options: object) -> str:
    identifier = uuid.uuid4().hex
    answer = client.post("/APP/event/", data=entry(identifier, **options))  # type: ignore[arg-type]
    assert answer.status_code == 201, answer.text
    return identifier


# --- 1.1 and 1.2


def test_service_document(client: Client) -> None:
    answer = client.get("/APP/")
    assert answer.status_code == 200
    assert answer.content_type.startswith("application/atomsvc+xml")
    found = root(answer).findall(".//{http://www.w3.org/2007/app}collection")
    assert [each.get("href") for each in found] == ["http://localhost/APP/event/", "http://localhost/APP/agent/"]
    assert [each.findtext(f"{ATOM}title") for each in found] == ["event", "agent"]
    for each in found:
        assert client.get(urlsplit(each.get("href")).path).status_code == 200


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/APP/", {"GET", "HEAD", "OPTIONS"}),
        ("/APP/event/", {"GET", "HEAD", "POST", "OPTIONS"}),
        ("/APP/event/x/", {"GET", "HEAD", "PUT", "DELETE", "OPTIONS"}),
        ("/APP/agent/", {"GET", "HEAD", "POST", "OPTIONS"}),
        ("/APP/agent/x/", {"GET", "HEAD", "PUT", "DELETE", "OPTIONS"}),
        ("/event/", {"GET", "HEAD", "OPTIONS"}),
        ("/event/search.json", {"GET", "HEAD", "OPTIONS"}),
        ("/log/checkpoint", {"GET", "HEAD", "OPTIONS"}),
    ],
)
def test_methods(client: Client, path: str, allowed: set[str]) -> None:
    options = client.open(path, method="OPTIONS")
    assert options.status_code == 204
    assert set(options.headers["Allow"].split(", ")) == allowed
    for method in {"GET", "POST", "PUT", "DELETE", "PATCH", "TRACE"} - allowed:
        refused = client.open(path, method=method)
        assert refused.status_code == 405
        assert set(refused.headers["Allow"].split(", ")) == allowed
        assert refused.text.count("\n") == 0


@pytest.mark.parametrize(
    "path", ["/APP", "/APP/event?type=a%20b", "/APP/agent", "/event", "/event/search?page=1", "/agent"]
)
def test_a_missing_slash_is_a_redirect_that_keeps_the_query(client: Client, path: str) -> None:
    answer = client.get(path)
    bare, _, query = path.partition("?")
    assert answer.status_code == 301
    assert answer.headers["Location"] == f"http://localhost{bare}/" + (f"?{query}" if query else "")


def test_a_post_without_the_slash_is_served(client: Client) -> None:
    assert client.post("/APP/event", data=entry(uuid.uuid4().hex)).status_code == 201


@pytest.mark.parametrize(
    "path", ["/APP/node/", "/APP/bag/", "/APP/queue/", "/admin/", "/event/search.json/", "/nothing"]
)
def test_what_is_not_there(client: Client, path: str) -> None:
    assert client.get(path).status_code == 404


def test_head_is_get_without_a_body(client: Client) -> None:
    identifier = new(client)
    for path in (f"/APP/event/{identifier}/", f"/event/{identifier}/", "/event/search.json", "/agent/"):
        answer = client.head(path)
        assert (answer.status_code, answer.data) == (200, b"")
    assert client.head(f"/APP/event/{uuid.uuid4().hex}/").status_code == 404
    assert client.head("/APP/agent/nobody/").status_code == 404


def test_head_of_the_collection_asks_the_database_nothing(engine: Engine, client: Client) -> None:
    seen: list[str] = []
    sqlalchemy_event.listen(engine, "before_cursor_execute", lambda *arguments: seen.append(arguments[2]))
    assert client.head("/APP/event/").status_code == 200
    assert seen == []


def test_links_use_the_host_only_if_it_is_ours(client: Client) -> None:
    assert b"http://pes.example.org/APP/event/" in client.get("/APP/", headers={"Host": "pes.example.org"}).data
    assert b"evil" not in client.get("/APP/", headers={"Host": "evil.example"}).data


def test_errors_can_be_problem_documents(client: Client) -> None:
    answer = client.get("/APP/event/?page=0", headers={"Accept": "application/problem+json"})
    assert answer.content_type == "application/problem+json"
    assert answer.get_json()["status"] == 400


def test_validators_and_conditional_get(client: Client) -> None:
    path = f"/APP/event/{new(client)}/"
    first = client.get(path)
    assert client.get(path, headers={"If-None-Match": first.headers["ETag"]}).status_code == 304
    assert client.get(path, headers={"If-Modified-Since": first.headers["Last-Modified"]}).status_code == 304
    feed = client.get("/APP/event/?link_object_id=nothing")
    assert (
        client.get("/APP/event/?link_object_id=nothing", headers={"If-None-Match": feed.headers["ETag"]}).status_code
        == 304
    )


def _dated(client: Client, path: str) -> tuple[int, str]:
    answer = client.get(path)
    date = answer.headers["Last-Modified"]
    return client.get(path, headers={"If-Modified-Since": date}).status_code, date


def test_a_feed_is_modified_by_whatever_leaves_it(client: Client) -> None:
    name = uuid.uuid4().hex
    first, _ = new(client, objects=(name,)), new(client, objects=(name,))
    path = f"/APP/event/?link_object_id={name}"
    unchanged, date = _dated(client, path)
    assert unchanged == 304
    time.sleep(1.1)
    assert client.delete(f"/APP/event/{first}/").status_code == 200
    answer = client.get(path, headers={"If-Modified-Since": date})
    assert answer.status_code == 200
    assert len(root(answer).findall(f"{ATOM}entry")) == 1
    assert _dated(client, "/APP/event/?type=fixity")[0] == 304


def test_gzip_on_request(client: Client) -> None:
    path = f"/APP/event/{new(client)}/"
    packed = client.get(path, headers={"Accept-Encoding": "gzip"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.data) == client.get(path).data
    assert (
        client.get(path, headers={"Accept-Encoding": "gzip", "If-None-Match": packed.headers["ETag"]}).status_code
        == 304
    )


def test_no_reflection_of_markup(client: Client) -> None:
    answer = client.get("/APP/event/" + quote("<img src=x onerror=alert(1)>") + "/")
    assert answer.status_code == 404
    assert answer.content_type == "text/plain; charset=utf-8"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


# --- 1.3: POST


def test_post(client: Client) -> None:
    identifier = uuid.uuid4().hex
    answer = client.post("/APP/event/", data=entry(identifier), content_type="application/x-www-form-urlencoded")
    assert answer.status_code == 201
    assert answer.content_type.startswith("application/atom+xml")
    assert answer.headers["Location"] == f"http://localhost/APP/event/{identifier}/"
    document = root(answer)
    assert document.findtext(f"{ATOM}title") == identifier
    assert document.findtext(f"{ATOM}id") == answer.headers["Location"]
    assert held(answer).findtext(f"{V2}eventDateTime") == "2024-03-05T16:39:49Z"
    assert client.get(answer.headers["Location"]).status_code == 200


def test_a_post_is_one_statement(engine: Engine) -> None:
    seen: list[str] = []
    alone = standing_alone(engine, OPEN)
    sqlalchemy_event.listen(alone, "before_cursor_execute", lambda *arguments: seen.append(arguments[2]))
    new(client_of(engine))
    assert len(seen) == 1


@pytest.mark.parametrize(
    "body",
    [
        b" \r\n\t" + entry(),
        entry().decode().replace('<?xml version="1.0"?>', "").encode("utf-16"),
        b"\xef\xbb\xbf" + entry(),
        ('<?xml version="1.0" encoding="iso-8859-1"?>' + entry(inner="").decode().partition("?>")[2]).encode("latin-1"),
        entry().replace(b' xmlns="http://www.w3.org/2005/Atom"', b""),
        b"<event xmlns='info:lc/xmlns/premis-v2'><eventDateTime> 2024-03-05 </eventDateTime></event>",
        entry(namespace="http://www.loc.gov/standards/premis/v1"),
        entry(namespace="http://www.loc.gov/standards/premis"),
        entry(namespace="http://www.loc.gov/premis/v2"),
        entry(namespace="http://www.loc.gov/premis/v3"),
        entry(event_type=None),
        entry(event_type=""),
        entry(outcome=""),
        entry(inner="<!-- c --><?pi?><p:eventDetail/>"),
        entry(inner="<p:eventOutcomeInformation><p:eventOutcomeDetail>plain</p:eventOutcomeDetail></p:eventOutcomeInformation>"),
        entry(uuid.uuid4().hex).replace(b"<p:eventIdentifier>", b"<p:eventIdentifier LinkObjectXmlID='o'>"),
        entry().replace(b"<p:linkingObjectIdentifier>", b"<p:linkingObjectIdentifier LinkAgentXmlID='o' simpleLink='%'>"),
        entry(inner="<p:linkingAgentIdentifier><p:linkingAgentIdentifierValue>a</p:linkingAgentIdentifierValue>"
                    "<p:linkingAgentRole/></p:linkingAgentIdentifier>"),
    ],
)  # fmt: skip
def test_what_is_taken(client: Client, body: bytes) -> None:
    answer = client.post("/APP/event/", data=body, content_type="text/plain")
    assert answer.status_code == 201, answer.text
    held(answer)
    for version in ("2.3", "3.0"):
        held(client.get(answer.headers["Location"] + f"?version={version}"))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "empty"),
        (b"text", "not well-formed"),
        (b"<entry xmlns='http://www.w3.org/2005/Atom'/>", "content is missing"),
        (b"<entry xmlns='http://www.w3.org/2005/Atom'><content/></entry>", "found none"),
        (b"<html/>", "expected an Atom entry"),
        (entry(namespace="http://example.org/other"), "info:lc/xmlns/premis-v2"),
        (entry(date=None), "eventDateTime"),
        (entry(date=""), "eventDateTime"),
        (entry(date="last spring"), "last spring"),
        (entry(date="2011-04-31"), "2011-04-31"),
        (entry(date="-0044-03-15"), "-0044"),
        (entry(date="9999-12-31T23:59:59-05:00"), "9999"),
        (entry(date="0001-01-01T00:00:00+05:00"), "0001"),
        (entry(objects=("",)), "linkingObjectIdentifierValue"),
        (entry(inner="<p:linkingAgentIdentifier/>"), "linkingAgentIdentifierValue"),
        (b"<!DOCTYPE a [<!ENTITY b 'c'>]>" + entry().partition(b"?>")[2], "DTDs are not accepted"),
        (entry().replace(b"t</title>", b"\0</title>"), "not well-formed"),
        (entry().replace(b"t</title>", b"\xff</title>"), "not well-formed"),
        (b"<?xml version='1.0' encoding='nonsense'?><a/>", ""),
        (entry(inner="<p:eventDetail>" + "<a>" * 300 + "</a>" * 300 + "</p:eventDetail>"), "not well-formed"),
        (
            entry().replace(b"</content>", entry().partition(b'xml">')[2].partition(b"</content>")[0] + b"</content>"),
            "exactly one",
        ),
    ],
)
def test_what_is_refused_leaves_nothing(client: Client, body: bytes, message: str) -> None:
    identifier = uuid.uuid4().hex
    answer = client.post("/APP/event/", data=body.replace(b"<p:eventType>", _identifier(identifier) + b"<p:eventType>"))
    assert answer.status_code == 400
    assert message in answer.text
    assert client.get(f"/APP/event/{identifier}/").status_code == 404
    assert client.post("/APP/event/", data=entry(identifier)).status_code == 201


def _identifier(value: str) -> bytes:
    return f"<p:eventIdentifier><p:eventIdentifierValue>{value}</p:eventIdentifierValue></p:eventIdentifier>".encode()


def test_an_external_entity_is_never_read(client: Client) -> None:
    body = b'<!DOCTYPE e [<!ENTITY x SYSTEM "file:///etc/hostname">]>' + entry(inner="<p:eventDetail>&x;</p:eventDetail>").partition(b"?>")[2]  # fmt: skip
    assert client.post("/APP/event/", data=body).status_code == 400


def test_bodies_over_the_limit_and_wrong_codings(engine: Engine) -> None:
    small = client_of(engine, OPEN.model_copy(update={"body_limit": 2**16, "premis_batch_limit": 2**20}))
    assert (
        small.post("/APP/event/", data=entry(inner="<p:eventDetail>" + "x" * 2**17 + "</p:eventDetail>")).status_code
        == 413
    )
    assert small.post("/APP/event/", data=b"x" * 2**21).status_code == 413
    assert small.post("/APP/event/", data=b"x", headers={"Content-Encoding": "gzip"}).status_code == 415
    assert small.post("/APP/event/", data=b"x", content_type="image/png").status_code == 415


def test_nothing_is_lost(client: Client) -> None:
    note = "é 🎉 & < > \" ' " + "n" * 1_000_000
    inner = (
        "<p:eventOutcomeInformation><p:eventOutcome>second</p:eventOutcome><p:eventOutcomeDetail><p:eventOutcomeDetailNote>"
        + note.replace("&", "&amp;").replace("<", "&lt;")
        + "</p:eventOutcomeDetailNote><p:eventOutcomeDetailExtension><x xmlns='urn:x' a='1'>y</x></p:eventOutcomeDetailExtension>"
        "</p:eventOutcomeDetail></p:eventOutcomeInformation>"
        + "".join(
            f"<p:linkingAgentIdentifier><p:linkingAgentIdentifierType>T{n}</p:linkingAgentIdentifierType>"
            f"<p:linkingAgentIdentifierValue>agent {n}</p:linkingAgentIdentifierValue><p:linkingAgentRole>r{n}</p:linkingAgentRole>"
            f"<p:linkingAgentRole>s{n}</p:linkingAgentRole></p:linkingAgentIdentifier>"
            for n in range(3)
        )
    )
    identifier = uuid.uuid4().hex
    answer = client.post("/APP/event/", data=entry(identifier, inner=inner, objects=("o", "o", "p" * 5000)))
    assert answer.status_code == 201
    event = held(client.get(f"/APP/event/{identifier}/"))
    assert event.findtext(f".//{V2}eventOutcomeDetailNote") == note
    assert [each.text for each in event.iter(f"{V2}linkingAgentRole")] == ["r0", "s0", "r1", "s1", "r2", "s2"]
    assert [each.text for each in event.iter(f"{V2}linkingObjectIdentifierValue")] == ["o", "o", "p" * 5000]
    assert len(event.findall(f".//{V2}eventOutcomeDetailExtension/{{urn:x}}x")) == 1
    assert len(event.findall(f"{V2}eventOutcomeInformation")) == 2
    for name in ("o", "p" * 5000):
        entries = root(client.get("/APP/event/", query_string={"link_object_id": name})).findall(f"{ATOM}entry")
        assert [each.findtext(f"{ATOM}title") for each in entries] == [identifier]


def test_roles_belong_to_the_event(client: Client) -> None:
    name = uuid.uuid4().hex
    link = ("<p:linkingObjectIdentifier><p:linkingObjectIdentifierType>{}</p:linkingObjectIdentifierType><p:linkingObjectIdentifierValue>"
            + name + "</p:linkingObjectIdentifierValue><p:linkingObjectRole>{}</p:linkingObjectRole></p:linkingObjectIdentifier>")  # fmt: skip
    first = new(client, objects=(), inner=link.format("A", "source"))
    second = new(client, objects=(), inner=link.format("B", "target"))
    for identifier, role in ((first, "source"), (second, "target")):
        event = held(client.get(f"/APP/event/{identifier}/"))
        assert [each.text for each in event.iter(f"{V2}linkingObjectRole")] == [role]


def test_duplicates(client: Client) -> None:
    identifier = new(client)
    before = client.get(f"/APP/event/{identifier}/").data
    for spelling in (identifier, identifier.upper(), str(uuid.UUID(identifier)), f"urn:uuid:{identifier}"):
        answer = client.post("/APP/event/", data=entry(spelling, outcome="other"))
        assert answer.status_code == 409
        assert answer.text == f"An event with id='{spelling}' exists."
        assert answer.content_type == "text/plain; charset=utf-8"
    assert client.get(f"/APP/event/{identifier}/").data == before


@pytest.mark.parametrize(
    "spelling", [str.upper, lambda i: str(uuid.UUID(i)), lambda i: f"urn:uuid:{i}", lambda i: f"{{{i}}}"]
)
def test_a_spelling_is_kept_and_every_spelling_finds_it(client: Client, spelling: object) -> None:
    identifier = uuid.uuid4().hex
    sent = spelling(identifier)  # type: ignore[operator]
    answer = client.post("/APP/event/", data=entry(f"\n  {sent}\n "))
    assert answer.headers["Location"] == f"http://localhost/APP/event/{quote(sent, safe='')}/"
    assert root(answer).findtext(f"{ATOM}title") == sent
    for other in (sent, identifier, identifier.upper()):
        found = client.get(f"/APP/event/{quote(other, safe='')}/", follow_redirects=True)
        assert root(found).findtext(f"{ATOM}title") == sent


@pytest.mark.parametrize("sent", ["TEMP", "", "no uuid", None])
def test_other_identifiers_are_replaced(client: Client, sent: str | None) -> None:
    answer = client.post("/APP/event/", data=entry(sent))
    event = held(answer)
    value = event.findtext(f".//{V2}eventIdentifierValue") or ""
    assert uuid.UUID(value).hex == value
    assert event.findtext(f".//{V2}eventIdentifierType") == UNT + "identifier-qualifiers/#UUID"


def test_racing_posts_of_one_identifier(client: Client) -> None:
    identifier, codes = uuid.uuid4().hex, []
    gate = threading.Barrier(6)

    def post() -> None:
        gate.wait()
        codes.append(client.post("/APP/event/", data=entry(identifier, event_type=f"new {identifier}")).status_code)

    threads = [threading.Thread(target=post) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == [201] + [409] * 5


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("2024-03-05T16:39:49.982448", "2024-03-05T16:39:49.982448Z"),
        ("2011-01-25 16:39:49", "2011-01-25T16:39:49Z"),
        ("2011-01-25T16:39-0500", "2011-01-25T16:39:00-05:00"),
        ("2011-01-25T16:39:49+01", "2011-01-25T16:39:49+01:00"),
        ("2011-01-25T24:00:00", "2011-01-25T24:00:00Z"),
        ("2019-11-03T07:15:00Z", "2019-11-03T07:15:00Z"),
        ("2011-01-25Z", "2011-01-25Z"),
        *((text, text) for text in ("2011", "2011-01", "201?", "20??", "2011-01~", "20110125", "20110125T163949")),
        *((text, text) for text in ("2011/2012", "2011-01/OPEN", "UNKNOWN/2011-01", "OPEN", "UNKNOWN/OPEN")),
        ("2011-01-25T16:39:49Z/2011-01-26T16:39:49Z", "2011-01-25T16:39:49Z/2011-01-26T16:39:49Z"),
    ],
)
def test_dates_are_shown_as_sent_and_always_valid(client: Client, sent: str, shown: str) -> None:
    identifier = new(client, date=sent)
    for version, namespace in (("2.3", V2), ("3.0", V3)):
        event = held(client.get(f"/APP/event/{identifier}/?version={version}"))
        assert event.findtext(f"{namespace}eventDateTime") == shown


# --- 1.6, 1.7


def test_the_entry(client: Client) -> None:
    identifier = new(client)
    document = root(client.get(f"/APP/event/{identifier}/"))
    alternates = [each for each in document.findall(f"{ATOM}link") if each.get("rel") == "alternate"]
    assert alternates[0].get("type") == "text/html"
    assert alternates[0].get("href") == f"http://localhost/event/{identifier}/"
    for each in alternates:
        parts = urlsplit(each.get("href"))
        assert client.get(f"{parts.path}?{parts.query}").status_code == 200
    assert document.findtext(f"{ATOM}author/{ATOM}name")
    updated = datetime.fromisoformat(document.findtext(f"{ATOM}updated") or "")
    assert updated.tzinfo is not None
    missing = client.get("/APP/event/unknown/")
    assert (missing.status_code, missing.text) == (404, "There is no event for identifier unknown.")
    assert client.get(f"/APP/event/{identifier}/?version=1").status_code == 400


def test_put(client: Client) -> None:
    identifier = new(client, objects=("before",), inner="<p:eventDetail>old</p:eventDetail>")
    path = f"/APP/event/{identifier}/"
    answer = client.put(
        path, data=entry(str(uuid.UUID(identifier)), date=None, event_type=None, outcome="new", objects=("after",))
    )
    assert answer.status_code == 200, answer.text
    event = held(client.get(path))
    assert event.findtext(f"{V2}eventDateTime") == "2024-03-05T16:39:49Z"
    assert event.findtext(f"{V2}eventDetail") == "old"
    assert event.findtext(f".//{V2}eventOutcome") == "new"
    for name, number in (("before", 0), ("after", 1)):
        entries = root(client.get(f"/APP/event/?link_object_id={name}")).findall(f"{ATOM}entry")
        assert len([each for each in entries if each.findtext(f"{ATOM}title") == identifier]) == number
    history = client.get(f"/event/{identifier}.history.json").get_json()
    assert [each["kind"] for each in history] == ["created", "replaced"]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "Invalid request XML."),
        (b"<a", "Invalid request XML."),
        (b"<a/>", "Event element missing in request body."),
        (b"<entry xmlns='http://www.w3.org/2005/Atom'><content/></entry>", "Event element missing in request body."),
    ],
)
def test_put_of_what_is_no_event(client: Client, body: bytes, text: str) -> None:
    answer = client.put(f"/APP/event/{new(client)}/", data=body)
    assert (answer.status_code, answer.text) == (400, text)


def test_put_of_another_event(client: Client) -> None:
    identifier, other = new(client), uuid.uuid4().hex
    answer = client.put(f"/APP/event/{identifier}/", data=entry(other))
    assert (answer.status_code, answer.text) == (400, f'URI-identifier mismatch ("{other}" != "{identifier}")')
    answer = client.put(f"/APP/event/{other}/", data=entry(other))
    assert (answer.status_code, answer.text) == (404, "Event not found")


def test_put_with_a_stale_tag(client: Client) -> None:
    path = f"/APP/event/{new(client)}/"
    tag = client.get(path).headers["ETag"]
    assert client.put(path, data=entry(outcome="a"), headers={"If-Match": tag}).status_code == 200
    assert client.put(path, data=entry(outcome="b"), headers={"If-Match": tag}).status_code == 412
    assert client.delete(path, headers={"If-Match": tag}).status_code == 412


RICH_3 = """<p:event xmlns:p="http://www.loc.gov/premis/v3"><p:eventIdentifier><p:eventIdentifierType>UUID</p:eventIdentifierType>
<p:eventIdentifierValue>{}</p:eventIdentifierValue></p:eventIdentifier><p:eventType>ingestion</p:eventType>
<p:eventDateTime>2024-03-05</p:eventDateTime><p:eventDetailInformation><p:eventDetail>one</p:eventDetail>
<p:eventDetailExtension><x xmlns="urn:x">kept</x></p:eventDetailExtension></p:eventDetailInformation><p:eventDetailInformation>
<p:eventDetail>two</p:eventDetail></p:eventDetailInformation></p:event>"""


def test_a_change_in_an_older_version_loses_nothing_of_what_it_does_not_name(client: Client) -> None:
    identifier = uuid.uuid4().hex
    assert client.post("/APP/event/", data=RICH_3.format(identifier)).status_code == 201
    path = f"/APP/event/{identifier}/"
    assert (
        client.put(path, data=entry(None, date=None, event_type=None, outcome="checked", objects=())).status_code == 200
    )
    event = held(client.get(f"{path}?version=3.0"))
    assert [each.text for each in event.iter(f"{V3}eventDetail")] == ["one", "two"]
    assert event.findtext(f".//{V3}eventDetailExtension/{{urn:x}}x") == "kept"
    assert event.findtext(f".//{V3}eventOutcome") == "checked"
    assert client.put(path, data=entry(identifier, inner="<p:eventDetail>only</p:eventDetail>")).status_code == 200
    assert held(client.get(path)).findtext(f"{V2}eventDetail") == "only"


def test_an_event_is_changed_by_json_as_by_xml(client: Client) -> None:
    identifier = new(client, objects=("before",), inner="<p:eventDetail>old</p:eventDetail>")
    path = f"/APP/event/{identifier}/"
    answer = client.put(path, json={"outcomes": ["new"], "objects": [{"type": "ARK", "value": "after"}]})
    assert answer.status_code == 200, answer.text
    assert answer.get_json() == {"id": f"http://localhost{path}", "identifier": identifier}
    event = held(client.get(path))
    assert (event.findtext(f"{V2}eventDetail"), event.findtext(f".//{V2}eventOutcome")) == ("old", "new")
    assert [each.text for each in event.iter(f"{V2}linkingObjectIdentifierValue")] == ["after"]
    whole = client.get(f"/event/{identifier}.json").get_json()
    assert client.put(path, json=whole | {"type": "other"}).status_code == 200
    assert held(client.get(path)).findtext(f"{V2}eventType") == "other"
    for wrong in (
        {"identifier": uuid.uuid4().hex}, {"identifier": 1}, {"identifier": "\ud800"}, {"identifier": {"value": "TEMP"}}, {"date": "soon"}, {"more": 1},
        [], "x",
    ):  # fmt: skip
        assert client.put(path, json=wrong).status_code == 400, wrong
    assert client.put(path, data=b"x", content_type="image/png").status_code == 415
    assert held(client.get(path)).findtext(f"{V2}eventType") == "other"


def test_delete(client: Client) -> None:
    identifier = new(client, objects=("deleted",))
    path = f"/APP/event/{identifier}/"
    answer = client.delete(path)
    assert answer.status_code == 200
    assert root(answer).findtext(f"{ATOM}title") == identifier
    for gone in (path, f"/event/{identifier}/", f"/event/{identifier}.json"):
        assert client.get(gone).status_code == 404
    assert root(client.get("/APP/event/?link_object_id=deleted")).findall(f"{ATOM}entry") == []
    again = client.delete(path)
    assert (again.status_code, again.text) == (404, f"Unable to Delete. There is no event for identifier {identifier}.")
    assert [each["kind"] for each in client.get(f"/event/{identifier}.history.json").get_json()] == [
        "created",
        "deleted",
    ]
    assert client.post("/APP/event/", data=entry(identifier)).status_code == 201


def test_changes_can_be_switched_off(engine: Engine) -> None:
    client = client_of(engine, OPEN.model_copy(update={"premis_changes": False}))
    identifier = new(client)
    assert client.delete(f"/APP/event/{identifier}/").status_code == 403
    assert client.put(f"/APP/event/{identifier}/", data=entry()).status_code == 403


# --- authentication


def test_writing_needs_a_token(engine: Engine) -> None:
    client = client_of(engine, Settings(admin_token=SecretStr("secret")))  # type: ignore[call-arg]
    refused = client.post("/APP/event/", data=entry())
    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"].startswith("Bearer")
    assert refused.headers["WWW-Authenticate"].count("error=") == 0
    for wrong in ("Bearer wrong", "Bearer ", "Basic c2VjcmV0", "\u00ff"):
        refused = client.post("/APP/event/", data=entry(), headers={"Authorization": wrong})
        assert refused.status_code == 401
        assert refused.headers["WWW-Authenticate"] == 'Bearer realm="PREMIS log", error="invalid_token"'
    assert client.post("/APP/event/", data=entry(), headers={"Authorization": "Bearer secret"}).status_code == 201
    assert client.get("/APP/event/").status_code == 200
    assert client.delete("/APP/agent/x/").status_code == 401


def test_reading_can_be_closed(engine: Engine) -> None:
    closed = Settings(admin_token=SecretStr("secret"), premis_open_reads=False)  # type: ignore[call-arg]
    client = client_of(engine, closed)
    assert client.get("/event/").status_code == 401
    assert client.get("/event/", headers={"Authorization": "Bearer secret"}).status_code == 200


def test_strict_mode(engine: Engine) -> None:
    client = client_of(engine, OPEN.model_copy(update={"premis_strict": True}))
    assert client.post("/APP/event/", data=entry(event_type="made up")).status_code == 422
    assert client.post("/APP/event/", data=entry()).status_code == 201
    known, made_up = {"type": "fixity check", "date": "2024"}, {"type": "made up", "date": "2024"}
    refused = client.post("/APP/event/", json=[known, made_up])
    assert (refused.status_code, refused.text[:9]) == (422, "entry 2: ")
    lenient = client.post("/APP/event/", json=[known, made_up], headers={"Prefer": "handling=lenient"})
    assert lenient.headers["Preference-Applied"] == "handling=lenient"
    assert [each["status"] for each in lenient.get_json()["entries"]] == [201, 422]
    feed = b"<feed xmlns='http://www.w3.org/2005/Atom'>" + entry(event_type="made up").partition(b"?>")[2] + b"</feed>"
    assert client.post("/APP/event/", data=feed).status_code == 422
    assert client.post("/APP/agent/", data=agent("x", kind="made up")).status_code == 422
    form = {"identifier": "x", "name": "x", "type": "made up", "editing": "no"}
    assert client.post("/agent/", data=form).status_code == 422


def test_a_database_that_is_down_is_503() -> None:
    client = client_of(create_engine("postgresql+pg8000://nobody@127.0.0.1:9/none"))
    for answer in (client.get("/APP/event/"), client.post("/APP/event/", data=entry()), client.get("/event/")):
        assert answer.status_code == 503
        assert answer.headers["Retry-After"]
        assert "127.0.0.1" not in answer.text


# --- 1.8, 1.9: feed and search


@pytest.fixture(scope="module")
def many(client: Client) -> list[str]:
    """450 events of one object in one batch; the identifiers in the order of their dates."""
    start = datetime(2022, 1, 1, tzinfo=UTC)
    events = [
        {
            "identifier": uuid.uuid4().hex,
            "type": "many/#a" if number % 3 else "many/#b",
            "date": (start + timedelta(hours=number)).isoformat(),
            "outcomes": [{"outcome": "many/success" if number % 50 else "many/failure"}],
            "objects": [{"type": "ARK", "value": "ark:/99999/many"}],
        }
        for number in range(450)
    ]
    answer = client.post("/APP/event/", json=events)
    assert answer.get_json() == {"created": 450}
    return [str(each["identifier"]) for each in events]


def _walk(client: Client, url: str) -> tuple[list[str], int]:
    titles, pages = [], 0
    following: str | None = url
    while following is not None:
        document = root(client.get(following))
        titles += [each.findtext(f"{ATOM}title") or "" for each in document.findall(f"{ATOM}entry")]
        pages += 1
        links = {each.get("rel"): each.get("href") for each in document.findall(f"{ATOM}link")}
        parts = urlsplit(links.get("next", ""))
        following = f"{parts.path}?{parts.query}" if "next" in links else None
    return titles, pages


@pytest.mark.parametrize(
    "query", ["", "&orderby=event_date_time", "&count=200&page=1", "&count=150", "&start=1&count=200"]
)
def test_following_next_visits_everything_once(client: Client, many: list[str], query: str) -> None:
    titles, pages = _walk(client, f"/APP/event/?link_object_id=ark:/99999/many{query}")
    assert titles == many
    assert pages == 3


@pytest.mark.parametrize(
    "query", ["orderdir=descending", "orderby=-event_date_time", "orderby=event_date_time&orderdir=descending"]
)
def test_descending(client: Client, many: list[str], query: str) -> None:
    assert _walk(client, f"/APP/event/?type=many/&{query}")[0] == many[::-1]


@pytest.mark.parametrize("order", ["event_identifier", "event_type", "event_outcome", "event_added", "nonsense"])
@pytest.mark.parametrize("direction", ["", "&orderdir=descending"])
def test_other_orders_are_total(client: Client, many: list[str], order: str, direction: str) -> None:
    titles, _ = _walk(client, f"/APP/event/?type=many/&orderby={order}{direction}")
    assert sorted(titles) == sorted(many)
    if order == "event_identifier":
        assert titles == sorted(titles, reverse=bool(direction))


def test_feed_links(client: Client, many: list[str]) -> None:
    document = root(client.get("/APP/event/?type=many/&unknown=x&page=2"))
    links = {each.get("rel"): each.get("href") for each in document.findall(f"{ATOM}link")}
    assert set(links) == {"self", "first", "previous", "next", "last"}
    assert links["self"] == "http://localhost/APP/event/?type=many%2F&page=2"
    assert links["first"].endswith("type=many%2F&page=1")
    assert links["last"].endswith("page=3")
    assert "page=1" in links["previous"]
    assert "page=3" in links["next"]
    search = "{http://a9.com/-/spec/opensearch/1.1/}"
    assert document.findtext(f"{search}totalResults") == "450"
    assert document.findtext(f"{search}startIndex") == "201"
    empty = root(client.get("/APP/event/?type=nothing at all"))
    assert empty.findall(f"{ATOM}entry") == []
    assert {each.get("rel") for each in empty.findall(f"{ATOM}link")} == {"self", "first", "last"}


def test_behind_the_end_previous_leads_to_the_last_events(client: Client, many: list[str]) -> None:
    for start in (451, 460, 10**17):
        document = root(client.get(f"/APP/event/?link_object_id=ark:/99999/many&start={start}&count=50"))
        links = {each.get("rel"): urlsplit(each.get("href") or "") for each in document.findall(f"{ATOM}link")}
        assert "next" not in links
        found = root(client.get(f"{links['previous'].path}?{links['previous'].query}")).findall(f"{ATOM}entry")
        assert found[-1].findtext(f"{ATOM}title") == many[-1]
    nothing = root(client.get("/APP/event/?link_object_id=nothing&start=7"))
    assert {each.get("rel") for each in nothing.findall(f"{ATOM}link")} == {"self", "first", "last"}
    assert not (nothing.findtext(f"{ATOM}updated") or "").startswith("1970")


@pytest.mark.parametrize("orderby", ["", "event_date_time", "event_type"])
def test_filters_by_agent_and_objects_combine(client: Client, orderby: str) -> None:
    stem = uuid.uuid4().hex[:10]
    agent_name, named = f"agent {stem}", [f"ark:/67531/{stem}a", f"ark:/67531/{stem}b", f"ark:/12345/{stem}a"]
    acting = (
        f"<p:linkingAgentIdentifier><p:linkingAgentIdentifierValue>{agent_name}</p:linkingAgentIdentifierValue>"
        "</p:linkingAgentIdentifier>"
    )
    both, one = new(client, inner=acting, objects=tuple(named)), new(client, inner=acting, objects=(named[0],))
    other, alone = new(client, inner=acting, objects=(named[1],)), new(client, objects=tuple(named))
    for query, found in (
        ({"agent": agent_name}, {both, one, other}),
        ({"linked_object_id": f"{stem}a"}, {both, one, alone}),
        ({"agent": agent_name, "linked_object_id": f"{stem}a"}, {both, one}),
        ({"agent": agent_name, "linked_object_id": named[1]}, {both, other}),
        ({"agent": agent_name, "link_object_id": named[2], "linked_object_id": f"{stem}b"}, {both}),
        ({"link_object_id": named[0], "linked_object_id": f"{stem}b"}, {both, alone}),
        ({"link_object_id": named[0], "linked_object_id": f"{stem}a"}, {both, one, alone}),
        ({"link_object_id": f"{stem}a", "linked_object_id": f"{stem}a"}, set()),
    ):
        feed = client.get("/event/search.json", query_string={**query, "orderby": orderby}).get_json()["feed"]
        assert sorted(each["identifier"] for each in feed["entry"]) == sorted(found), query
        assert feed["opensearch:totalResults"] == len(found)


@pytest.mark.parametrize("page", ["0", "-1", "abc", "1e3", "99", "999999999999999999999"])
def test_pages_that_are_not_there(client: Client, many: list[str], page: str) -> None:
    for path in ("/APP/event/?type=many/&", "/event/search.json?type=many/&"):
        answer = client.get(f"{path}page={page}")
        assert (answer.status_code, answer.text) == (400, "That page does not exist.\n")


@pytest.mark.parametrize(
    ("query", "number"),
    [
        ("type=many/", 450),
        ("type=many/%23b", 150),
        ("event_type=many/%23b", 150),
        ("event_type=many/", 0),
        ("outcome=many/fail", 9),
        ("outcome=many/fail&type=%23b", 3),
        ("link_object_id=ark:/99999/many", 450),
        ("link_object_id=ark:/99999/man", 0),
        ("type=many%25", 0),
        ("type=many/&start_date=01/02/2022&end_date=01/02/2022", 24),
        ("type=many/&start_date=2022-01-02&end_date=2022-01-03", 48),
        ("type=many/&start_date=2022&end_date=2022-01", 450),
        ("type=many/&start_date=Jan 3 2022&end_date=January 3, 2022", 24),
        ("type=many/&start_date=2022-01-02T10:00:00 00:00&end_date=2022-01-02T12:00:00%2B00:00", 3),
        ("type=many/&start_date=2022-01-02T10:30:00Z", 415),
        ("type=many/&start_date=2023&end_date=2022", 0),
        ("type=many/&start=450", 1),
        ("type=many/&start=451", 0),
        ("type=many/&count=7", 7),
        ("type=many/&start=3&count=5", 5),
        ("type=many/&start=449&count=99999", 2),
        ("type=&outcome=&type=many/%23b", 150),
    ],
)
def test_filters(client: Client, many: list[str], query: str, number: int) -> None:
    document = root(client.get(f"/APP/event/?{query}"))
    assert len(document.findall(f"{ATOM}entry")) == min(number, 200)
    if "count" not in query and "start=" not in query:
        assert document.findtext("{http://a9.com/-/spec/opensearch/1.1/}totalResults") == str(number)


@pytest.mark.parametrize(
    "query",
    ["start_date=soon", "end_date=02/31/2024", "start_date=2024-13", "start=0", "start=x", "count=0", "count=-1", "version=4",
     "type=%00", "x=%00"],
)  # fmt: skip
def test_bad_parameters(client: Client, query: str) -> None:
    assert client.get(f"/APP/event/?{query}").status_code == 400


def test_a_forged_cursor_does_no_harm(client: Client, many: list[str]) -> None:
    for cursor in ("x", "W10", "bnVsbA", "WyJldmVudF9kYXRlX3RpbWUiLDAsMCwieCIsMV0", "A" * 5000):
        assert client.get(f"/APP/event/?type=many/&page=2&cursor={cursor}").status_code == 200


def test_feed_entries_are_valid_in_any_version(client: Client, many: list[str]) -> None:
    for version in ("", "?version=2.3", "?version=3"):
        for content in root(client.get(f"/APP/event/{version}")).iter(f"{ATOM}content"):
            assert_valid(content[0])


def test_search_json(client: Client, many: list[str]) -> None:
    titles, url, totals = [], "/event/search.json?linked_object_id=many&start_date=01/01/2022&end_date=12/31/2022", []
    while url:
        feed = client.get(url).get_json()["feed"]
        titles += [each["identifier"] for each in feed["entry"]]
        totals.append((feed["opensearch:totalResults"], feed["opensearch:startIndex"]))
        links = {each["rel"]: each["href"] for each in feed["link"]}
        parts = urlsplit(links.get("next", ""))
        url = f"{parts.path}?{parts.query}" if "next" in links else ""
        assert all("page=" in href for href in links.values())
    assert titles == many[::-1]
    assert totals == [(450, "1"), (450, "201"), (450, "401")]
    first = client.get("/event/search.json?linked_object_id=many&start_date=01/01/2022").get_json()["feed"]
    assert first["opensearch:Query"] == {"linked_object_id": "many", "start_date": "01/01/2022"}
    assert "start_date=2022-01-01&end_date=2022-12-31" in links["self"]
    assert feed["entry"][0]["date"].endswith("Z")
    assert set(feed["entry"][0]) >= {"date", "event_type", "identifier", "linked_objects", "outcome"}


@pytest.mark.parametrize("zone", ["America/Chicago", "Asia/Kolkata", "UTC"])
@pytest.mark.parametrize(
    "dates",
    [
        "start_date=01/02/2022&end_date=01/02/2022",
        "start_date=2022-01&end_date=2022-01",
        "start_date=2022-01-02T10:30&end_date=2022-01-02T15:00",
        "start_date=2022-01-02T10:00:00Z&end_date=2022-01-02T23:59",
        "start_date=0002&end_date=9999",
    ],
)
def test_the_links_of_a_search_mean_the_same_period_in_any_zone(
    engine: Engine, many: list[str], zone: str, dates: str
) -> None:
    client = client_of(engine, OPEN.model_copy(update={"premis_zone": zone}))
    feed = client.get(f"/event/search.json?type=many/&{dates}").get_json()["feed"]
    assert feed["opensearch:totalResults"] > 0
    for each in feed["link"]:
        parts = urlsplit(each["href"])
        again = client.get(f"{parts.path}?{parts.query}").get_json()["feed"]
        assert again["opensearch:totalResults"] == feed["opensearch:totalResults"], each
        if each["rel"] == "self":
            assert again["link"] == feed["link"]
    if "01/02" in dates:
        assert "start_date=2022-01-02&end_date=2022-01-02" in feed["link"][0]["href"]


def test_search_json_matches_the_target(engine: Engine) -> None:
    target = json.loads(reference_data("premis", "samples", "target", "search.json").read_text())["feed"]
    feed = client_of(engine).get("/event/search.json?linked_object_id=nothing").get_json()["feed"]
    assert set(feed) == set(target)
    assert feed["entry"] == []


def test_an_invalid_search(client: Client) -> None:
    answer = client.get(
        "/event/search.json",
        query_string={
            "event_type": "http://example.org/type/unknown",
            "start_date": "soon",
            "linked_object_id": "a" * 70,
        },
    )
    assert answer.status_code == 400
    assert answer.text == (
        "Invalid parameters.\nevent_type:\n\tinvalid_choice: Select a valid choice. http://example.org/type/unknown is not "
        "one of the available choices.\nstart_date:\n\tinvalid: Enter a valid date.\nlinked_object_id:\n\tmax_length: "
        "Ensure this value has at most 64 characters (it has 70).\n"
    )
    page = client.get("/event/search/?start_date=soon")
    assert page.status_code == 200
    assert "Enter a valid date." in page.text
    assert "events found" not in page.text


# --- 1.10, 1.11


def test_pages(client: Client, many: list[str]) -> None:
    identifier = new(
        client, date="2999-01-01", inner="<p:eventDetail>&lt;script&gt;alert(1)&lt;/script&gt;</p:eventDetail>"
    )
    recent = client.get("/event/").text
    assert "total events" in recent
    assert "most recent" in recent
    assert recent.index(identifier) < recent.index("</tr>", recent.index("<tbody>"))
    page = client.get(f"/event/{identifier}/")
    assert "<script>" not in page.text
    assert f"/APP/event/{identifier}/" in page.text
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")
    search = client.get("/event/search/?linked_object_id=many&page=2").text
    for name in ("event_outcome", "event_type", "start_date", "end_date", "linked_object_id"):
        assert f'name="{name}"' in search
    assert search.count("<tr>") == 201
    for number in (1, 2, 3):
        assert f"page={number}" in search
    assert client.get("/event/search/?page=99999").status_code == 404
    assert client.get("/event/search/?page=x").status_code == 404
    assert client.get("/event/unknown/").status_code == 404
    assert "450" in client.get("/event/search/?type=many/").text
    assert client.get("/event/statistics/").status_code == 200
    assert client.get("/event/statistics.json").get_json()["type"]["many/#b"] == 150


def test_find(client: Client) -> None:
    stem = uuid.uuid4().hex[:8]
    arks = {name: f"ark:/67531/{name}" for name in (f"{stem}1", f"{stem}10")}
    older = new(client, objects=(arks[f"{stem}1"],), date="2024-01-01", event_type="http://purl.org/x/#fixityCheck")
    newer = new(client, objects=(arks[f"{stem}1"],), date="2024-01-02", event_type="http://purl.org/x/#replication")
    other = new(client, objects=(arks[f"{stem}10"],), date="2025-01-02")
    for path, expected in (
        (f"{stem}1//", newer),
        (f"{stem}1/", newer),
        (f"{stem}1", newer),
        (f"{stem}1/fixity/", older),
        (f"{stem}1/http://purl.org/x/%23replication/", newer),
        (f"{stem}1/http%3A%2F%2Fpurl.org%2Fx%2F%23fixityCheck/", older),
        (f"ark:/67531/{stem}1/fixity/", older),
        (f"ark:/67531/{stem}1//", newer),
        (f"ark%3A%2F67531%2F{stem}1/fixity/", older),
        (f"{stem}10//", other),
        (f"{stem}//", other),
    ):
        answer = client.get(f"/event/find/{path}")
        assert answer.status_code == 200, path
        assert root(answer).findtext(f"{ATOM}title") == expected, path
    missing = client.get(f"/event/find/{stem}1/nothing/")
    assert (missing.status_code, missing.text) == (404, "There is no event for matching those parameters")


@pytest.mark.parametrize("bound", ["_MOST_NAMES", "_MOST_OBJECTS"])
def test_find_by_a_part_says_so_when_there_is_too_much_to_look_through(
    client: Client, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    stem = uuid.uuid4().hex[:8]
    for number in range(3):
        whole = f"ark:/67531/{stem}{number}"
        new(client, objects=(whole,))
    assert client.get(f"/event/find/{stem}//").status_code == 200
    monkeypatch.setattr(find, bound, 2)
    answer = client.get(f"/event/find/{stem}//")
    assert answer.status_code == 400
    assert answer.text.startswith(f"object {stem!r}: a part of an identifier is looked for among at most")
    assert client.get(f"/event/find/{stem}2//").status_code == 200
    assert client.get(f"/event/find/{quote(whole, safe='')}/").status_code == 200


# --- batches


def test_a_feed_is_a_batch(client: Client) -> None:
    identifiers = [uuid.uuid4().hex for _ in range(5)]
    body = b"<feed xmlns='http://www.w3.org/2005/Atom'>" + b"".join(
        entry(each).partition(b"?>")[2] for each in identifiers
    ) + b"</feed>"  # fmt: skip
    assert client.post("/APP/event/", data=body).get_json() == {"created": 5}
    again = client.post("/APP/event/", data=body.replace(identifiers[0].encode(), uuid.uuid4().hex.encode()))
    assert again.status_code == 409
    lenient = client.post("/APP/event/", data=body, headers={"Prefer": "handling=lenient"}).get_json()
    assert [each["status"] for each in lenient["entries"]] == [409] * 5
    bomb = b"<!DOCTYPE feed [<!ENTITY a 'b'>]>" + body
    assert client.post("/APP/event/", data=bomb).status_code == 400


@pytest.fixture
def ten_thousand() -> list[str]:
    """Identifiers of 10,000 events."""
    return [uuid.uuid4().hex for _ in range(10_000)]


def _feed_of(identifiers: Sequence[str], wrong: int | None = None) -> bytes:
    entries = (
        entry(each, date="last spring" if number == wrong else "2024-03-05T16:39:49Z").partition(b"?>")[2]
        for number, each in enumerate(identifiers)
    )
    return b"<feed xmlns='http://www.w3.org/2005/Atom'>" + b"".join(entries) + b"</feed>"


def _stored(another: Engine) -> int:
    return int(client_of(another).get("/event/statistics.json").get_json()["total"])


def test_ten_thousand_events_in_one_request_are_all_stored(another: Engine, ten_thousand: list[str]) -> None:
    answer = client_of(another).post("/APP/event/", data=_feed_of(ten_thousand))
    assert (answer.status_code, answer.get_json()) == (201, {"created": 10_000})
    assert _stored(another) == 10_000
    found = client_of(another).get("/APP/event/?orderby=event_identifier&page=50")
    identifiers = sorted(ten_thousand)
    assert [each.findtext(f"{ATOM}title") for each in root(found).iter(f"{ATOM}entry")] == identifiers[-200:]


@pytest.mark.parametrize("fault", ["a bad date", "a known identifier"])
def test_of_ten_thousand_events_one_wrong_at_the_end_stores_none(
    another: Engine, ten_thousand: list[str], fault: str
) -> None:
    client = client_of(another)
    if fault == "a known identifier":
        assert client.post("/APP/event/", data=entry(ten_thousand[9_999])).status_code == 201
        answer = client.post("/APP/event/", data=_feed_of(ten_thousand))
        assert (answer.status_code, _stored(another)) == (409, 1)
        assert ten_thousand[9_999] in answer.text
    else:
        answer = client.post("/APP/event/", data=_feed_of(ten_thousand, wrong=9_999))
        assert (answer.status_code, _stored(another)) == (400, 0)
        assert answer.text.startswith("entry 10000: eventDateTime 'last spring'")


def test_of_ten_thousand_events_each_is_reported_where_the_client_asks_for_it(
    another: Engine, ten_thousand: list[str]
) -> None:
    client = client_of(another)
    assert client.post("/APP/event/", data=entry(ten_thousand[7])).status_code == 201
    header = {"Prefer": "handling=lenient"}
    report = client.post("/APP/event/", data=_feed_of(ten_thousand, wrong=5_000), headers=header).get_json()
    assert report["created"] == 9_998
    assert [each["entry"] for each in report["entries"]] == list(range(1, 10_001))
    refused = {each["entry"]: each["status"] for each in report["entries"] if each["status"] != 201}
    assert refused == {8: 409, 5_001: 400}
    assert _stored(another) == 9_999


def _lines(events: Iterable[dict[str, str]]) -> bytes:
    return b"\n".join(json.dumps(each).encode() for each in events)


def test_the_new_events_of_a_large_batch_are_told_of_once_and_in_few_statements(engine: Engine) -> None:
    told: list[list[uuid.UUID]] = []
    telling = service.Telling(lambda _: "", lambda _, events: told.append([each.id for each in events]))

    def application(environ: dict[str, object], start: object) -> object:
        return service.respond(Request(environ), engine, OPEN, telling=telling)(environ, start)  # type: ignore[arg-type]

    events = [{"identifier": uuid.uuid4().hex, "date": "2024"} for _ in range(2_300)]
    sent = {"data": _lines(events), "content_type": "application/x-ndjson", "headers": {"Prefer": "handling=lenient"}}
    assert Client(application).post("/APP/event/", **{**sent, "data": _lines(events[:40])}).status_code == 201
    told.clear()
    assert Client(application).post("/APP/event/", **sent).get_json()["created"] == 2_260
    assert [each.hex for of in told for each in of] == [each["identifier"] for each in events[40:]]
    assert len(told) <= 3


@pytest.mark.parametrize(("first", "second"), [(3, 2_000), (260, 261), (900, 1_100), (1_600, 1_601)])
def test_the_first_entry_that_is_wrong_is_named_and_nothing_of_a_large_batch_is_stored(
    client: Client, first: int, second: int
) -> None:
    events = [{"identifier": uuid.uuid4().hex, "date": "2024"} for _ in range(2_100)]
    events[first - 1]["date"] = events[second - 1]["date"] = "soon"
    refused = client.post("/APP/event/", data=_lines(events), content_type="application/x-ndjson")
    assert refused.status_code == 400
    assert refused.text.startswith(f"entry {first}: ")
    assert client.get(f"/APP/event/{events[0]['identifier']}/").status_code == 404
    assert client.get(f"/APP/event/{events[-1]['identifier']}/").status_code == 404


def test_a_batch_is_all_or_nothing_unless_lenient(client: Client) -> None:
    good, bad = {"identifier": uuid.uuid4().hex, "date": "2024"}, {"date": "soon"}
    lines = b"\n".join(json.dumps(each).encode() for each in (good, bad))
    strict = client.post("/APP/event/", data=lines, content_type="application/x-ndjson")
    assert strict.status_code == 400
    assert strict.text.startswith("entry 2: ")
    assert client.get(f"/APP/event/{good['identifier']}/").status_code == 404
    lenient = client.post(
        "/APP/event/", data=lines, content_type="application/x-ndjson", headers={"Prefer": "handling=lenient"}
    )
    assert lenient.status_code == 201
    assert [each["status"] for each in lenient.get_json()["entries"]] == [201, 400]
    assert client.get(f"/APP/event/{good['identifier']}/").status_code == 200


@pytest.mark.parametrize(
    "body",
    [b"", b"[", b"[]", b"{}", b"1", b'{"date": "2024", "more": 1}', b'{"date": "2024", "type": "\\u0000"}',
     b'{"date": "2024", "type": "\\ud800"}', b'{"date": "2024", "objects": [{"value": ""}]}',
     b'{"date": "2024", "details": [{"text": "", "extensions": ["<a"]}]}', b'{"xml": "<a/>"}', b"[" * 100_000],
)  # fmt: skip
def test_bad_json(client: Client, body: bytes) -> None:
    assert client.post("/APP/event/", data=body, content_type="application/json").status_code == 400


def test_json_round_trip(client: Client) -> None:
    made = client.post("/APP/event/", data=reference_data("premis", "samples", "target", "event-3.0.xml").read_bytes())
    identifier = root(made).findtext(f"{ATOM}title")
    shown = client.get(f"/event/{identifier}.json").get_json()
    before = etree.tostring(held(client.get(f"/APP/event/{identifier}/")), method="c14n")
    client.delete(f"/APP/event/{identifier}/")
    for name in ("id", "recorded", "changed", "revision"):
        del shown[name]
    answer = client.post("/APP/event/", json=shown)
    assert answer.status_code == 201, answer.text
    assert etree.tostring(held(client.get(f"/APP/event/{identifier}/")), method="c14n") == before


_LONG = "x" * 16_385
_DEEP = "<a>" * 252


@pytest.mark.parametrize(
    "value",
    [
        {"objects": [{"value": " \n"}]}, {"agents": [{"value": "\t"}]}, {"type": _LONG}, {"type": {"value": _LONG}}, {"outcomes": [_LONG]}, {"outcomes": [{"outcome": _LONG}]},
        {"objects": [{"type": _LONG, "value": "o"}]}, {"agents": [{"value": "a", "roles": [_LONG]}]},
        {"identifier": {"value": uuid.uuid4().hex, "type": _LONG}},
        {"details": [{"extensions": [f"{_DEEP}<a/>{'</a>' * 252}"]}]},
        {"details": ["x" * 10_000_001]}, {"details": ["x" * 5_000_000, {"text": "x" * 5_000_001}]},
        {"outcomes": [{"outcome": "a", "notes": ["é" * 5_000_001]}]},
    ],
)  # fmt: skip
def test_json_that_could_not_be_read_again_is_refused(engine: Engine, value: dict[str, object]) -> None:
    client = client_of(engine, OPEN.model_copy(update={"body_limit": 2**27}))
    assert client.post("/APP/event/", json={"date": "2024"} | value).status_code == 400


def test_what_is_white_space_elsewhere_is_kept_by_json_as_by_xml(client: Client) -> None:
    made = client.post("/APP/event/", json={"date": "2024", "type": " a\u2028 ", "objects": [{"value": "\u00a0"}]})
    event = held(client.get(urlsplit(made.headers["Location"]).path))
    assert event.findtext(f"{V3}eventType") == "a\u2028"
    assert event.findtext(f".//{V3}linkingObjectIdentifierValue") == "\u00a0"


def test_a_date_without_an_offset_keeps_its_instant_through_changes(engine: Engine) -> None:
    client = client_of(engine, OPEN.model_copy(update={"premis_zone": "America/Chicago"}))
    for date in ("2024-03-05", "2024-03-05T10:00:00", "2024"):
        identifier = uuid.uuid4().hex
        assert client.post("/APP/event/", data=entry(identifier, date=date, objects=(identifier,))).status_code == 201
        path = f"/event/search.json?linked_object_id={identifier}"
        (before,) = client.get(path).get_json()["feed"]["entry"]
        change = entry(identifier, date=None, event_type=None, outcome="other", objects=())
        assert client.put(f"/APP/event/{identifier}/", data=change).status_code == 200
        assert client.put(f"/APP/event/{identifier}/", json={"type": "changed"}).status_code == 200
        (after,) = client.get(path).get_json()["feed"]["entry"]
        assert (before["date"], after["event_type"]) == (after["date"], "changed")


@pytest.mark.parametrize("depth", range(248, 258))
def test_an_extension_of_premis_1_is_refused_or_read_again(client: Client, depth: int) -> None:
    inner = f"<p:eventOutcomeDetail>{'<x>' * (depth - 3)}{'</x>' * (depth - 3)}</p:eventOutcomeDetail>"
    event = entry(namespace="http://www.loc.gov/standards/premis/v1", outcome=None, inner=f"<p:eventOutcomeInformation>{inner}</p:eventOutcomeInformation>")  # fmt: skip
    bare = event.partition(b'xml">')[2].partition(b"</content>")[0]
    answer = client.post("/APP/event/", data=bare)
    assert answer.status_code in (201, 400)
    if answer.status_code == 201:
        assert client.get(answer.headers["Location"] + "?version=3.0").status_code == 200


def test_what_the_log_gives_as_json_it_takes_back(client: Client, another: Engine) -> None:
    identifier = new(client, inner="<p:eventDetail>detail</p:eventDetail>")
    one = client.get(f"/event/{identifier}.json").get_json()
    lines = client.get("/event/export.ndjson").data
    elsewhere = client_of(another)
    assert elsewhere.post("/APP/event/", json=one).status_code == 201
    sent = {"content_type": "application/x-ndjson", "headers": {"Prefer": "handling=lenient"}}
    report = elsewhere.post("/APP/event/", data=lines, **sent).get_json()
    assert {each["status"] for each in report["entries"]} == {201, 409}
    assert report["created"] == lines.count(b"\n") - 1
    first, second = (etree.tostring(held(each.get(f"/APP/event/{identifier}/"))) for each in (client, elsewhere))
    assert first == second


@pytest.mark.parametrize("listed", [False, True])
def test_xml_in_json_is_kept_as_it_was_sent(client: Client, listed: bool) -> None:
    identifier = uuid.uuid4().hex
    xml = RICH_3.format(identifier).replace("<p:eventType>", "<!-- why --><p:eventType>")
    sent: object = [{"xml": xml}] if listed else {"xml": xml}
    assert client.post("/APP/event/", json=sent).status_code == 201
    assert "<!-- why -->" in client.get(f"/event/{identifier}.history.json").get_json()[0]["xml"]


# --- 1.12: agents


def agent(identifier: str, name: str = "Agent", kind: str = "Software", extra: str = "") -> bytes:
    return (
        '<a:agent xmlns:a="info:lc/xmlns/premis-v2"><a:agentIdentifier><a:agentIdentifierValue>'
        f"{identifier}</a:agentIdentifierValue></a:agentIdentifier><a:agentName>{name}</a:agentName>"
        f"<a:agentType>{kind}</a:agentType>{extra}</a:agent>"
    ).encode()


def test_agents(client: Client) -> None:
    identifier = "http://example.org/agent/" + uuid.uuid4().hex
    encoded = quote(identifier, safe="")
    made = client.post(
        "/APP/agent/", data=agent(identifier, "Näme", "made up", "<a:agentNote>runs nightly</a:agentNote>")
    )
    assert made.status_code == 201
    assert made.headers["Location"] == f"http://localhost/APP/agent/{encoded}/"
    assert root(made).findtext(f"{ATOM}title") == "Näme"
    assert held(made).findtext(f".//{V2}agentIdentifierType") == "PES:Agent"
    assert held(made).findtext(f"{V2}agentNote") == "runs nightly"
    again = client.post("/APP/agent/", data=agent(identifier))
    assert (again.status_code, again.text) == (409, "Conflict with already-existing resource.")
    changed = client.put(f"/APP/agent/{encoded}/", data=agent(identifier, "Other"))
    assert root(changed).findtext(f"{ATOM}title") == "Other"
    assert held(changed).findtext(f"{V2}agentNote") == "runs nightly"
    assert client.put(f"/APP/agent/{encoded}/", data=agent("another")).status_code == 400
    assert client.get("/APP/agent/another/").status_code == 404
    assert client.get(f"/agent/{encoded}.json").get_json() == {
        "id": f"http://localhost/agent/{encoded}/",
        "name": "Other",
        "note": "runs nightly",
        "type": "Software",
    }
    assert root(client.get(f"/agent/{encoded}.xml")).findtext(f"{ATOM}title") == identifier
    bare = root(client.get(f"/agent/{encoded}.premis.xml"))
    assert_valid(bare)
    assert bare.findtext(f".//{V2}agentIdentifierValue") == f"http://localhost/agent/{encoded}/"
    assert "Other" in client.get(f"/agent/{encoded}/").text
    assert "total agents" in client.get("/agent/").text
    assert client.get(f"/agent/{encoded}/edit/").status_code == 200
    gone = client.delete(f"/APP/agent/{encoded}/")
    assert (gone.status_code, gone.text) == (200, f"Deleted {identifier}.")
    assert client.delete(f"/APP/agent/{encoded}/").status_code == 404
    assert client.get("/APP/agent/nobody/").text == "There is no agent for identifier 'nobody'."
    assert client.get("/agent/nobody/").text == "Agent not found."
    assert client.get("/agent/nobody.json").text == "There is no agent with the identifier nobody"


RICH_AGENT = """<p:agent xmlns:p="http://www.loc.gov/premis/v3"><p:agentIdentifier><p:agentIdentifierType>T</p:agentIdentifierType>
<p:agentIdentifierValue>{0}</p:agentIdentifierValue></p:agentIdentifier><p:agentIdentifier><p:agentIdentifierType>U</p:agentIdentifierType>
<p:agentIdentifierValue>also {0}</p:agentIdentifierValue></p:agentIdentifier><p:agentName authority="names">One</p:agentName>
<p:agentType>software</p:agentType><p:agentVersion>1.2</p:agentVersion><p:agentNote>first</p:agentNote><p:agentNote>second</p:agentNote>
<p:agentExtension><x xmlns="urn:x">kept</x></p:agentExtension></p:agent>"""


def test_an_agent_keeps_what_a_change_does_not_name(engine: Engine) -> None:
    client, name = client_of(engine), uuid.uuid4().hex
    path = f"/APP/agent/{name}/"
    assert client.post("/APP/agent/", data=RICH_AGENT.format(name)).status_code == 201
    before = etree.tostring(held(client.get(path)))
    form = {"identifier": name, "name": "Two", "type": "software", "note": "first\r\nsecond", "editing": "yes"}
    assert client.post("/agent/", data=form).status_code == 303
    assert etree.tostring(held(client.get(path))) == before.replace(b' authority="names">One', b">Two")
    assert client.put(path, data=agent(name, "Three", "software")).status_code == 200
    changed = held(client.get(f"{path}?version=3.0"))
    assert changed.findtext(f"{V3}agentVersion") == "1.2"
    assert [each.text for each in changed.iter(f"{V3}agentNote")] == ["first", "second"]
    assert changed.findtext(f".//{V3}agentExtension/{{urn:x}}x") == "kept"
    assert client.post("/agent/", data=form | {"note": "third\r\nline"}).status_code == 303
    assert [each.text for each in held(client.get(path)).iter(f"{V3}agentNote")] == ["third\nline"]


def test_an_agent_is_not_changed_under_a_stale_tag(client: Client) -> None:
    name = uuid.uuid4().hex
    path = f"/APP/agent/{name}/"
    client.post("/APP/agent/", data=agent(name))
    tag = client.get(path).headers["ETag"]
    assert client.get(path, headers={"If-None-Match": tag}).status_code == 304
    assert client.put(path, data=agent(name, "Other"), headers={"If-Match": tag}).status_code == 200
    assert client.put(path, data=agent(name, "Late"), headers={"If-Match": tag}).status_code == 412
    assert client.delete(path, headers={"If-Match": tag}).status_code == 412
    assert client.put(path, data=b"x", content_type="image/png").status_code == 415
    assert client.delete(path, headers={"If-Match": "*"}).status_code == 200


def test_agent_feed(client: Client) -> None:
    for number in range(45):
        assert client.post("/APP/agent/", data=agent(f"feed{number:02}", f"name {number % 4}")).status_code == 201
    titles, pages = _walk(client, "/APP/agent/?x=y")
    assert pages == 3
    assert titles == sorted(titles)
    for page in ("0", "abc", "99"):
        answer = client.get(f"/APP/agent/?page={page}")
        assert (answer.status_code, answer.text) == (400, "That page doesn't exist.\n")
    assert client.put("/APP/agent/", data=b"x").text == "Invalid method for this URL."


@pytest.mark.parametrize(
    ("body", "missing"),
    [
        (b"", "empty"),
        (agent(""), "agentIdentifierValue"),
        (agent("x", name=""), "agentName"),
        (agent("x", kind=""), "agentType"),
        (b"<agent xmlns='info:lc/xmlns/premis-v2'/>", "agentName"),
        (entry(), "agent"),
    ],
)
def test_bad_agents(client: Client, body: bytes, missing: str) -> None:
    answer = client.post("/APP/agent/", data=body)
    assert answer.status_code == 400
    assert missing in answer.text


def test_agents_by_form(engine: Engine) -> None:
    client = client_of(engine, Settings(admin_token=SecretStr("secret")))  # type: ignore[call-arg]
    form = {"identifier": uuid.uuid4().hex, "name": "By form", "type": "Software", "note": "n", "editing": "no"}
    assert client.post("/agent/", data=form).status_code == 401
    wrong = client.post("/agent/", data=form | {"token": "guess"})
    assert wrong.status_code == 401
    assert "guess" not in wrong.text
    assert client.post("/agent/", data=form | {"token": "secret"}).status_code == 303
    assert client.post("/agent/", data=form | {"token": "secret"}).status_code == 409
    for name in ("name", "type", "identifier"):
        assert client.post("/agent/", data=form | {"token": "secret", name: "x" * 16_385}).status_code == 400
    edited = form | {"token": "secret", "editing": "yes", "name": "Changed"}
    assert client.post("/agent/", data=edited).status_code == 303
    assert "Changed" in client.get(f"/agent/{form['identifier']}/").text
