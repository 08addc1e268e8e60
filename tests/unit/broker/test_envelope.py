"""Events as the broker takes, keeps and hands them on."""

from __future__ import annotations

import json

import pytest

from perdura.cloudevents.attributes import NotACloudEvent
from perdura.local.broker.envelope import Envelope, binary, dump, is_reply, load, parse, structured

HEADERS = {"ce-specversion": "1.0", "ce-id": "1", "ce-type": "t", "ce-source": "/s"}
STRUCTURED = {"content-type": "application/cloudevents+json"}
MEMBERS = {"specversion": "1.0", "id": "1", "type": "t", "source": "/s"}


def from_json(text: str) -> Envelope:
    return parse(STRUCTURED, text.encode())


def test_data_keeps_its_bytes() -> None:
    assert parse(HEADERS, b"\xff{").body == b"\xff{"
    text = '{"specversion":"1.0","id":"1","type":"t","source":"/s", "data" : {"a" :\n 1, "a": 2} }'
    assert from_json(text).body == b'{"a" :\n 1, "a": 2}'


def test_data_that_is_no_json() -> None:
    member = json.dumps(MEMBERS | {"datacontenttype": "text/plain", "data": "é\n"})
    assert from_json(member).body == "é\n".encode()
    assert from_json(json.dumps(MEMBERS | {"data_base64": "AAEC"})).body == b"\0\1\2"
    assert from_json(json.dumps(MEMBERS | {"data": None})).body == b""


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
        ("2026-01-01T00:00:00.120000Z", "2026-01-01T00:00:00.12Z"),
        ("2026-01-01T00:00:00.123456789Z", "2026-01-01T00:00:00.123456789Z"),
        ("2026-01-01T01:00:00.5+01:00", "2026-01-01T00:00:00.5Z"),
    ],
)
def test_times_are_in_utc(time: str, expected: str) -> None:
    assert parse(HEADERS | {"ce-time": time}, b"").attributes["time"] == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"a" 1}',
        '{"a":1,}',
        '{"a":1 "b":2}',
        "{a:1}",
        json.dumps(MEMBERS) + "x",
        json.dumps(MEMBERS | {"ext": [1]}),
        json.dumps(MEMBERS | {"ext": "a\r\nx: y"}),
        json.dumps(MEMBERS | {"ext": "\ud800"}),
        json.dumps(MEMBERS | {"data_base64": "!"}),
        json.dumps(MEMBERS | {"data_base64": 1}),
        '{"data":' + "[" * 100_000,
    ],
)
def test_what_is_no_event(text: str) -> None:
    with pytest.raises(NotACloudEvent):
        from_json(text)


def test_headers_that_are_handed_on() -> None:
    passed = {"x-request-id": "1", "knative-a": "2", "x-b3-sampled": "3", "retry-after": "4"}
    event = parse(HEADERS | passed | {"authorization": "Bearer x", "cookie": "y"}, b"")
    assert event.headers == passed


def test_replies_are_told_from_other_answers() -> None:
    assert is_reply(HEADERS)
    assert is_reply(STRUCTURED)
    assert not is_reply({"content-type": "application/cloudevents-batch+json"})
    assert not is_reply({"content-type": "text/html"})


@pytest.mark.parametrize("body", [b"", b"{}", "é\0".encode(), b"\xff\0"])
def test_events_are_stored_whole(body: bytes) -> None:
    event = Envelope({"id": "é\u0000", "type": "t"}, body, frozenset({"n"}), {"knative-x": "1"})
    assert load(dump(event)) == event
    assert dump(event).isascii()


def test_modes() -> None:
    event = parse(HEADERS | {"content-type": "application/json"}, b'{"a":1}')
    assert dict(binary(event)) == HEADERS | {"content-type": "application/json"}
    headers, body = structured(event)
    assert headers == [("content-type", "application/cloudevents+json")]
    assert json.loads(body) == MEMBERS | {"datacontenttype": "application/json", "data": {"a": 1}}
    assert json.loads(structured(parse(HEADERS, b"\xff"))[1])["data_base64"] == "/w=="
