"""Whatever is sent, by whomever: the registry refuses it in its own words and never fails.

Requests are made of the routes themselves: every operation of the API and every page, with dates, cursors, hosts and
forms at and beyond their edges, by every role and by strangers.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from werkzeug.routing import Map
from werkzeug.test import Client, EnvironBuilder, TestResponse, run_wsgi_app

from perdura.accounts.principals import Role
from perdura.api.resources import OPERATIONS
from perdura.web import access, pages
from tests.contract.test_api.world import TOKEN, World, bearer

EXAMPLES = 100
CALLERS = [*(role.value for role in Role), "without a role", "stranger"]


def _routes(routes: Map) -> list[tuple[str, str]]:
    pairs = [(method, rule.rule) for rule in routes.iter_rules() for method in rule.methods or ()]
    return sorted(pair for pair in pairs if pair[0] not in {"HEAD", "OPTIONS"})


REGISTRY = [*((operation.method, operation.rule) for operation in OPERATIONS), *_routes(pages.routes())]
READER = _routes(access.routes())
QUERIES = {
    name: sorted(operation.query.model_fields)
    for operation in OPERATIONS
    if operation.query is not None
    for name in (operation.rule, operation.rule.removeprefix("/api/v1"))
}
"""What may be asked of an address; a page takes what the operation of the same path takes."""


def _cursor(*parts: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


def _encoded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


ID = "01900000-0000-7000-8000-000000000000"
MOMENTS = [
    *("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59.999999-14:00", "9999-12-31T23:59:59+00:00", "2026-01-01"),
    *("0001-01-01", "9999-12-31", "0000-00-00", "2026-02-30", "2026-01-01T00:00:00", "-4713-11-24", "1e400", ""),
]
NUMBERS = ["-1", "0", "200", "9223372036854775807", "9223372036854775808", "1" * 5000, "1e5", "\u0663", "NaN"]
TEXTS = [
    *("http://[", "//[", "/\\x", "//evil.test", "http://[::1", "/%5B", "! !", "\x00", "a\x00b", "\ud800", "%", "\\"),
    *(
        "'; --",
        "{{7*7}}",
        "\u202e",
        "x" * 5000,
        "\u2003",
        "../..",
        "file:///etc/passwd",
        "s3://perdura-incoming/deposits",
    ),
]
CURSORS = [
    *(
        _encoded("[" * 3000),
        _encoded('{"a":' * 3000),
        _encoded("1" * 5000),
        _encoded("null"),
        _encoded("[[],[]]"),
        "=",
        "é",
    ),
    *(
        _cursor(),
        _cursor("1"),
        _cursor("-1"),
        _cursor("9" * 18),
        _cursor("9" * 19),
        _cursor("\ud800"),
        _cursor("\x00", ID),
    ),
    *(_cursor(moment, key) for moment in MOMENTS for key in (ID, "", "\x00")),
    *(_cursor("oai_dc", moment, moment, "", moment, ID) for moment in MOMENTS),
]
VALUES = st.sampled_from([*MOMENTS, *NUMBERS, *TEXTS, *CURSORS, ID]) | st.text(max_size=20) | st.dates().map(str)
HOSTS = [
    "registry.test",
    "x..y",
    "a" * 64,
    "a" * 300,
    "[",
    "[::1",
    "é.test",
    "x:y",
    "x:99999999",
    ".",
    "x y",
    "",
    "xn--a",
]
HEADERS = {
    "Host": HOSTS,
    "Origin": ["http://[", "null", "https://evil.test", "http://registry.test"],
    "Cookie": ["perdura_session=", "perdura_session=x.y", f"perdura_session={ID}.x", "=;;=", 'perdura_session="\\400"'],
    "If-Match": ['"x"', "*", "W/", '"'],
    "If-None-Match": ["*", '"', "x" * 5000],
    "Range": ["bytes=-", "bytes=9-1", "bytes=" + "1" * 5000 + "-", "items=0-1", "bytes=0-0,5-6"],
    "Accept-Language": ["de;q=x", "*;q=1e999", "-" * 500, "xx-yy"],
    "Accept": ["text/html;q=nan", "*/*;q=9", ";", "application/json"],
    "X-Forwarded-For": ["x", "1.2.3.4,::1", "," * 500],
    "HX-Request": ["true"],
    "Idempotency-Key": ["", "x" * 300, "k"],
    "Content-Length": ["-1", "x", "99999999999"],
    "Authorization": ["Bearer", "Bearer a.b.c", "Basic =", "Bearer " + "x" * 9000, "\xff"],
}


def _parts(count: int, boundary: str = "x") -> bytes:
    part = f'--{boundary}\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n'
    return (part * count + f"--{boundary}--\r\n").encode()


BODIES: list[tuple[str, bytes]] = [
    ("multipart/form-data; boundary=x", _parts(1001)),
    ("multipart/form-data; boundary=x", _parts(3)[:-9]),
    ("multipart/form-data; boundary=x", b"--x\r\n" + b"A" * 70_000),
    ("multipart/form-data", _parts(1)),
    ("multipart/form-data; boundary=" + "y" * 300, _parts(1, "y" * 300)),
    ("multipart/form-data; boundary=\xe9", b"--\xe9\r\n"),
    ("application/x-www-form-urlencoded", b"a=1&" * 5000),
    ("application/x-www-form-urlencoded", b"token=%ff%00&next=http%3A%2F%2F%5B&csrf=%ED%A0%80"),
    ("application/x-www-form-urlencoded; charset=utf-7", b"a=+AGE-"),
    ("application/json", b"[" * 3000),
    ("application/json", b'{"a":' * 3000),
    ("application/json; charset=utf-16", b"{}"),
    ("application/json", b"\xff"),
    ("text/plain", b"x"),
]


@st.composite
def requests(draw: st.DrawFn, routes: list[tuple[str, str]]) -> dict[str, Any]:
    """A request to one of the routes, as `EnvironBuilder` takes it."""
    method, rule = draw(st.sampled_from(routes))
    path = re.sub(r"<(?:(\w+)(?:\([^)]*\))?:)?\w+>", lambda found: draw(_variable(found[0])), rule)
    names = st.sampled_from(
        QUERIES.get(rule, ["next", "q", "cursor", "state", "verb", "resumptionToken", "from", "pass"])
    )
    asked = draw(st.lists(st.tuples(names, VALUES), max_size=3))
    sent: dict[str, Any] = {"path": path, "method": method, "query_string": _quoted(asked)}
    headers = draw(st.lists(st.sampled_from(sorted(HEADERS)), max_size=2, unique=True))
    sent["headers"] = {name: draw(st.sampled_from(HEADERS[name])) for name in headers}
    if method not in {"GET", "DELETE"}:
        fields = st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=4)
        form = fields.map(lambda given: ("application/x-www-form-urlencoded", _quoted(list(given.items())).encode()))
        asjson = fields.map(lambda given: ("application/json", json.dumps(given).encode()))
        sent["content_type"], sent["data"] = draw(st.sampled_from(BODIES) | form | asjson)
    return sent


FIELDS = sorted(
    {"token", "next", "csrf", "url", "until", "steps", "name", "reason", "address", "kinds", "cursor"}
    | {name for operation in OPERATIONS if operation.body is not None for name in operation.body.model_fields}
)


def _variable(variable: str) -> st.SearchStrategy[str]:
    if variable.startswith("<uuid:"):
        return st.sampled_from([ID, "x", "01900000-0000-7000-8000-00000000000G"])
    if variable.startswith("<any("):
        return st.sampled_from([*variable[5:].partition(")")[0].split(","), "x"])
    return st.sampled_from(["a", "a/b", "..", "%00", "%ff", "%5B", "a" * 3000, "%2e%2e%2f"])


def _quoted(pairs: list[tuple[str, str]]) -> str:
    return "&".join(f"{name}={''.join(f'%{byte:02x}' for byte in _bytes(value))}" for name, value in pairs)


def _bytes(value: str) -> bytes:
    return value.encode("utf-8", "surrogatepass")


def _send(application: Any, sent: Mapping[str, Any], header: Mapping[str, str]) -> None:
    """Send it with headers as they are, which no client would send; what is answered is no failure."""
    headers = dict(sent["headers"])
    host, length = headers.pop("Host", None), headers.pop("Content-Length", None)
    builder = EnvironBuilder(**{**sent, "headers": {**header, **headers}}, base_url="http://registry.test")
    environ = builder.get_environ()
    builder.close()
    if host is not None:
        environ["HTTP_HOST"] = host.encode().decode("latin-1")
    if length is not None:
        environ["CONTENT_LENGTH"] = length
    body, status, _ = run_wsgi_app(application, environ, buffered=True)
    said = b"".join(body)
    assert int(status.partition(" ")[0]) < 500, said[:2000]
    assert b"Traceback" not in said


def _check(answer: TestResponse) -> None:
    with answer:
        assert answer.status_code < 500, answer.get_data()[:2000]


@pytest.fixture
def filled(world: World) -> World:
    """An installation with something in it, so that conditions are evaluated."""
    archive = world.published(title="Titel")
    world.step(archive, "ingest", 0, "completed")
    world.collection(archive)
    world.premis(archive, "ingestion")
    return world


FUZZED = settings(max_examples=EXAMPLES, derandomize=True, database=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("caller", CALLERS)
def test_the_registry_fails_at_nothing_that_is_sent_to_it(filled: World, caller: str) -> None:
    roles = [caller] if caller in set(Role) else []
    header = {} if caller == "stranger" else filled.bearer(*roles)
    application = filled.registry().application

    @FUZZED
    @given(requests(REGISTRY))
    def send(sent: dict[str, Any]) -> None:
        _send(application, sent, header)

    send()


def test_the_access_pages_fail_at_nothing_that_is_sent_to_them(filled: World) -> None:
    application = filled.reader().application

    @FUZZED
    @given(requests(READER))
    def send(sent: dict[str, Any]) -> None:
        _send(application, sent, {})

    send()


LISTS = [operation.rule for operation in OPERATIONS if operation.query and "cursor" in operation.query.model_fields]


@pytest.mark.parametrize("rule", LISTS)
def test_no_cursor_of_somebody_elses_making_is_more_than_refused(filled: World, registry: Client, rule: str) -> None:
    with filled.engine.connect() as connection:
        archive = connection.exec_driver_sql("SELECT id FROM archive").scalar_one()
    address = rule.replace("<uuid:archive_id>", str(archive)).replace("<uuid:job_id>", ID)
    for cursor in CURSORS:
        answer = registry.get(address, query_string=_quoted([("cursor", cursor)]), headers=bearer(TOKEN))
        assert answer.status_code in {200, 404, 422}, (cursor, answer.text)


@pytest.mark.parametrize("name", ["created_from", "created_to", "since", "until"])
def test_no_day_is_too_early_or_too_late(filled: World, registry: Client, name: str) -> None:
    for address in (
        "/api/v1/archives",
        "/api/v1/archives/facets",
        "/api/v1/archives/export",
        "/api/v1/events",
        "/archives",
    ):
        for value in MOMENTS:
            _check(registry.get(address, query_string={name: value}, headers=bearer(TOKEN)))
    for value in MOMENTS:
        _check(registry.get("/api/v1/audit", query_string={name: value}, headers=bearer(TOKEN)))


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("path", ["/sign-in", "/api/v1/health", "/archives", "/"])
def test_no_host_keeps_a_page_from_being_found(filled: World, host: str, path: str) -> None:
    sent = {"path": path, "method": "GET", "headers": {"Host": host}}
    for client in (filled.registry(), filled.reader()):
        _send(client.application, sent, {})


@pytest.mark.parametrize(("content_type", "data"), BODIES)
def test_a_form_that_is_none_is_refused_to_strangers_too(world: World, content_type: str, data: bytes) -> None:
    sent = {"path": "/sign-in", "method": "POST", "headers": {}, "content_type": content_type, "data": data}
    _send(world.registry().application, sent, {})


def test_an_address_to_go_on_to_that_is_none_leads_home(registry: Client) -> None:
    page = registry.get("/sign-in", query_string={"next": "http://["})
    assert page.status_code == 200
    assert "http://[" not in page.text
