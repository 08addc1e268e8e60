"""The codec against the specification's own conformance data and against hostile input."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import jsonschema
import pytest
import yaml

from perdura.cloudevents.codec import (
    NotACloudEvent,
    decode,
    encode_batch,
    encode_binary,
    encode_structured,
)
from perdura.cloudevents.message import CloudEvent
from perdura.errors import Broken, Rejected
from tests.shared_data import reference_data

BINARY = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/s", "ce-type": "t"}
STRUCTURED = {"content-type": "application/cloudevents+json"}
MINIMAL = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t"}
EVENT = CloudEvent(
    id="0198c7a5",
    source="/perdura/ingest",
    type="org.perdura.sip.accepted.v1",
    subject="archive/7",
    time=datetime(2026, 11, 24, 12, 0, 0, 250000, tzinfo=UTC),
    dataschema="https://example.org/schema.json",
    data={"key": "a/é.zip", "size": 7},
    extensions={"correlationid": "c-1", "partitionkey": "7"},
)


def structured(**members: Any) -> CloudEvent:
    [event] = decode(STRUCTURED, json.dumps(MINIMAL | members).encode())
    return event


def binary(body: bytes = b"{}", **headers: str) -> CloudEvent:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    [event] = decode(BINARY | {"content-type": "application/json"} | named, body)
    return event


def feature_examples() -> list[tuple[str, str, dict[str, str], str]]:
    """(name, request text, expected attributes, expected JSON) of each example of the Gherkin feature."""
    text = reference_data("cloudevents", "conformance", "http-protocol-binding.feature").read_text()
    examples = []
    for scenario in text.split("Scenario Outline:")[1:]:
        request, expected = re.findall(r'"""\n(.*?)"""', scenario, re.DOTALL)
        table, examples_table = scenario.split("Examples:")
        attributes = dict(re.findall(r"^ *\| +(\S+) +\| (.+?) +\|$", table, re.MULTILINE))
        del attributes["key"]
        for content_type in re.findall(r"\| (\S.*?) +\|", examples_table)[1:]:
            fill = content_type.join
            filled = {key: fill(value.split("<contentType>")) for key, value in attributes.items()}
            examples.append((content_type, fill(request.split("<contentType>")), filled, expected))
    return examples


def test_http_binding_feature() -> None:
    examples = feature_examples()
    assert len(examples) == 4
    for _, request, expected, data in examples:
        lines = [line.strip() for line in request.strip().splitlines()]
        blank = lines.index("")
        headers = dict(line.split(": ", 1) for line in lines[1:blank])
        [event] = decode(headers, "\n".join(lines[blank + 1 :]).encode())
        assert event.id == expected["id"]
        assert event.type == expected["type"]
        assert event.source == expected["source"]
        assert event.datacontenttype == expected["datacontenttype"]
        assert event.time == datetime.fromisoformat(expected["time"])
        assert event.data == json.loads(data)


@pytest.mark.parametrize("name", ["v1.yaml", "v1_minimum.yaml"])
def test_conformance_events_in_every_mode(name: str) -> None:
    path = reference_data("cloudevents", "conformance", name)
    for document in yaml.load_all(path.read_text(), Loader=yaml.BaseLoader):
        context = dict(document["ContextAttributes"])
        # The block scalar ends in a line feed, which no attribute value may contain (CloudEvents 3.2).
        extensions = {key: value.strip() for key, value in context.pop("Extensions", {}).items()}
        content_type = context.pop("datacontenttype", "application/json")
        body = document["Data"].encode()
        headers = {f"CE-{key}": value for key, value in (context | extensions).items()}
        [event] = decode(headers | {"Content-Type": content_type}, body)
        assert event.id == context["id"]
        assert event.extensions == extensions
        is_json = content_type.startswith("application/json")
        assert event.data == (json.loads(body) if is_json else body)
        data = {"data": json.loads(body) if is_json else body.decode()}
        member = context | extensions | {"datacontenttype": content_type} | data
        assert decode(STRUCTURED, json.dumps(member).encode()) == [event]
        assert decode(*encode_binary(event)) == [event]
        assert decode(*encode_structured(event)) == [event]
        assert decode(*encode_batch([event, event])) == [event, event]


@pytest.mark.parametrize(
    "event",
    [
        EVENT,
        replace(EVENT, data=None),
        replace(EVENT, data=[1, "é", None], time=None, dataschema=None, subject=None, extensions={}),
        replace(EVENT, data=b"<a/>", datacontenttype="application/xml"),
        replace(EVENT, subject='dir/x "y"+é%2F🌎.zip'),
    ],
)
def test_structured_events_satisfy_the_schema(event: CloudEvent) -> None:
    schema = json.loads(reference_data("cloudevents", "schema", "cloudevents-1.0.2.json").read_text())
    _, body = encode_structured(event)
    jsonschema.validate(json.loads(body), schema, format_checker=jsonschema.Draft7Validator.FORMAT_CHECKER)
    assert body.isascii()
    assert decode(STRUCTURED, body) == [event]
    headers, body = encode_binary(event)
    assert decode(headers, body) == [event]
    assert all(re.fullmatch(r"[!-~]*", value) for value in headers.values())


def test_binary_headers_are_readable_and_complete() -> None:
    headers, body = encode_binary(EVENT)
    assert headers == {
        "ce-specversion": "1.0",
        "ce-id": "0198c7a5",
        "ce-source": "/perdura/ingest",
        "ce-type": "org.perdura.sip.accepted.v1",
        "ce-subject": "archive/7",
        "ce-time": "2026-11-24T12:00:00.250000Z",
        "ce-dataschema": "https://example.org/schema.json",
        "ce-correlationid": "c-1",
        "ce-partitionkey": "7",
        "content-type": "application/json",
    }
    assert body == '{"key":"a/é.zip","size":7}'.encode()


@pytest.mark.parametrize(
    ("data", "content_type"),
    [(None, "application/json"), (b"x", "application/octet-stream"), (1, "application/json")],
)
def test_a_content_type_is_always_sent(data: Any, content_type: str) -> None:
    event = replace(EVENT, data=data, datacontenttype=None)
    assert encode_binary(event)[0]["content-type"] == content_type
    assert json.loads(encode_structured(event)[1])["datacontenttype"] == content_type


@pytest.mark.parametrize(
    "event",
    [
        replace(EVENT, id=""),
        replace(EVENT, source="/has blank"),
        replace(EVENT, subject="a\r\nx-evil: 1"),
        replace(EVENT, extensions={"Upper": "1"}),
        replace(EVENT, extensions={"id": "1"}),
        replace(EVENT, extensions={"data": "1"}),
        replace(EVENT, data="text", datacontenttype="text/plain"),
    ],
)
def test_what_is_no_event_is_not_sent(event: CloudEvent) -> None:
    for encode in (encode_binary, encode_structured):
        with pytest.raises(Broken):
            encode(event)


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
        ('"quoted \\"text\\" %41"', 'quoted "text" A'),
        ('"', '"'),
        ("100%", "100%"),
        ("%zz", "%zz"),
        ("a+b", "a+b"),
        ("caf\u00c3\u00a9", "café"),
        (" padded\t", "padded"),
        ("\u20ac", "€"),
    ],
)
def test_header_values_are_decoded(header: str, value: str) -> None:
    assert binary(ce_subject=header).subject == value


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2018-04-05T03:56:24Z", datetime(2018, 4, 5, 3, 56, 24, tzinfo=UTC)),
        ("2018-04-05t03:56:24z", datetime(2018, 4, 5, 3, 56, 24, tzinfo=UTC)),
        ("2018-04-05T05:56:24.1234567+02:00", datetime(2018, 4, 5, 3, 56, 24, 123456, tzinfo=UTC)),
        ("2016-12-31T23:59:60Z", datetime(2016, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)),
    ],
)
def test_times(text: str, moment: datetime) -> None:
    assert binary(ce_time=text).time == moment


@pytest.mark.parametrize("name", ["id", "source", "type", "specversion"])
@pytest.mark.parametrize("value", [None, ""])
def test_required_attributes(name: str, value: str | None) -> None:
    headers = {key: text for key, text in BINARY.items() if key != f"ce-{name}"}
    member = {key: text for key, text in MINIMAL.items() if key != name}
    if value is not None:
        headers[f"ce-{name}"] = value
        member[name] = value
    with pytest.raises(NotACloudEvent):
        decode(headers, b"{}")
    with pytest.raises(NotACloudEvent):
        decode(STRUCTURED, json.dumps(member).encode())


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({}, b""),
        ({"content-type": "application/json"}, b'{"EventName":"s3:ObjectCreated:Put"}'),
        (BINARY | {"ce-specversion": "0.3"}, b"{}"),
        (BINARY | {"ce-specversion": "19.0"}, b"{}"),
        (BINARY | {"ce-time": "yesterday"}, b"{}"),
        (BINARY | {"ce-time": "2018-02-30T00:00:00Z"}, b"{}"),
        (BINARY | {"ce-time": "2018-02-03T00:00:00"}, b"{}"),
        (BINARY | {"ce-time": "2018-02-03T00:00:00+25:00"}, b"{}"),
        (BINARY | {"ce-subject": ""}, b"{}"),
        (BINARY | {"ce-subject": "%ff"}, b"{}"),
        (BINARY | {"ce-subject": "\u00e9"}, b"{}"),
        (BINARY | {"ce-subject": "a%00b"}, b"{}"),
        (BINARY | {"ce-source": "two words"}, b"{}"),
        (BINARY | {"ce-dataschema": "relative"}, b"{}"),
        (BINARY | {"ce-bad_ext": "1"}, b"{}"),
        (BINARY | {"ce-" + "x" * 21: "1"}, b"{}"),
        (BINARY | {"ce-": "1"}, b"{}"),
        (BINARY | {"ce-datacontenttype": "application/json"}, b"{}"),
        (BINARY | {"ce-data": "1"}, b"{}"),
        (BINARY | {"content-type": "not a type"}, b"{}"),
        (BINARY | {"content-type": "application/json"}, b"{"),
        (BINARY, b"not json"),
        (BINARY, b'{"a":1,"a":2}'),
        (BINARY, b"NaN"),
        (BINARY, b'"\\ud800"'),
        (BINARY, b"\xff"),
        (BINARY, b"[" * 200_000),
        (BINARY, b"1" * 10_000),
        (STRUCTURED, b"[]"),
        (STRUCTURED, b'{"specversion":"1.0",'),
        ({"content-type": "application/cloudevents+xml"}, b"<event/>"),
        ({"content-type": "application/cloudevents"}, json.dumps(MINIMAL).encode()),
        ({"content-type": "application/cloudevents+json; charset=utf-16"}, json.dumps(MINIMAL).encode("utf-16")),
        ({"content-type": "application/cloudevents-batch+json"}, json.dumps(MINIMAL).encode()),
        ({"content-type": "application/cloudevents-batch+json"}, json.dumps([MINIMAL, {}]).encode()),
        ({"content-type": "application/cloudevents-batch+avro"}, b"[]"),
    ],
)
def test_what_is_no_event_is_refused(headers: dict[str, str], body: bytes) -> None:
    with pytest.raises(NotACloudEvent) as caught:
        decode(headers, body)
    assert isinstance(caught.value, Rejected)
    assert len(caught.value.message) < 200


@pytest.mark.parametrize(
    "members",
    [
        {"specversion": 1.0},
        {"id": 1},
        {"time": 0},
        {"subject": ""},
        {"myExt": "x"},
        {"ext": {"x": 1}},
        {"ext": 1.5},
        {"ext": 2**31},
        {"ext": "a\u0000b"},
        {"ext": "\ud800"},
        {"data": 1, "data_base64": "AA=="},
        {"data_base64": "A"},
        {"data_base64": "é"},
        {"data_base64": 1},
        {"datacontenttype": "text/plain", "data": {"a": 1}},
        {"datacontenttype": "application/json", "data_base64": "/w=="},
    ],
)
def test_wrong_members_are_refused(members: dict[str, Any]) -> None:
    with pytest.raises(NotACloudEvent):
        structured(**members)


def test_structured_values() -> None:
    event = structured(count=5, flag=True, text="x", subject=None, nothing=None, data={"a": 1})
    assert event.extensions == {"count": "5", "flag": "true", "text": "x"}
    assert event.subject is None
    assert event.data == {"a": 1}
    assert structured().data is None
    assert structured(data_base64="AAEC").data == b"\0\1\2"
    assert structured(datacontenttype="application/json", data_base64="eyJhIjoxfQ==").data == {"a": 1}
    assert structured(datacontenttype="text/plain", data="é").data == "é".encode()


def test_an_empty_extension_is_kept() -> None:
    assert binary(ce_knativeerrordata="").extensions == {"knativeerrordata": ""}


def test_data_without_content_type_is_json() -> None:
    [event] = decode(BINARY, b'{"a":1}')
    assert event.data == {"a": 1}
    assert event.datacontenttype is None
    assert decode(BINARY, b"")[0].data is None


def test_malformed_data_is_kept_on_demand() -> None:
    [event] = decode(BINARY | {"content-type": "application/json"}, b"{", keep_malformed_data=True)
    assert event.data == b"{"


def test_batches() -> None:
    headers = {"Content-Type": "application/cloudevents-batch+json; charset=UTF-8"}
    assert decode(headers, b"[]") == []
    body = json.dumps([MINIMAL, MINIMAL | {"id": "2"}]).encode()
    assert [event.id for event in decode(headers, body)] == ["1", "2"]


def test_the_size_limit() -> None:
    with pytest.raises(NotACloudEvent) as caught:
        decode(BINARY, b"1234", limit=3)
    assert caught.value.code == "too-large"
    assert decode(BINARY, b"123", limit=3)[0].data == 123
