"""A CloudEvent as a broker sees it: attributes as text, data as untouched bytes.

Brokers are laxer than our functions (serverless.md §1.4): version 0.3 passes, names are lower-cased, data is not
looked at, percent-encoding stays as it is (§2.2). What `parse` refuses, the real ingress answered with 400.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from perdura.cloudevents.attributes import NotACloudEvent, parse_time
from perdura.cloudevents.codec import is_json

TTL = "knativebrokerttl"
ARRIVAL = "knativearrivaltime"

_VERSIONS = ("1.0", "0.3")
_NAME = re.compile(r"[A-Za-z0-9]{1,100}\Z")
_UNPRINTABLE = re.compile("[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")
_FRACTION = re.compile(r"\.(\d+)")
_PASSED_ON = ("x-request-id", "retry-after")
_PASSED_ON_PREFIXES = ("knative-", "x-b3-")


@dataclass(frozen=True, slots=True)
class Envelope:
    """One event in a broker. `typed` names the extensions that were no strings in structured mode; `headers`
    are the HTTP headers a Knative broker hands on with the event (serverless.md §1.6)."""

    attributes: Mapping[str, str]
    body: bytes
    typed: frozenset[str] = frozenset()
    headers: Mapping[str, str] | None = None

    def with_attributes(self, **changes: str | None) -> Envelope:
        """The same event with other attributes; None removes one."""
        merged = {**self.attributes, **changes}
        return replace(self, attributes={name: value for name, value in merged.items() if value is not None})


def parse(headers: Mapping[str, str], body: bytes) -> Envelope:
    """The one event of an HTTP request or response, in binary or structured mode; header names in lower case.

    Raises NotACloudEvent for anything else, batches included.
    """
    content_type = headers.get("content-type", "")
    if content_type.startswith("application/cloudevents-batch"):
        raise NotACloudEvent("batches are not accepted")
    passed_on = {name: value for name, value in headers.items() if _is_passed_on(name)}
    if content_type.startswith("application/cloudevents"):
        return replace(_structured(body), headers=passed_on or None)
    attributes = {
        _name(header[3:]): value
        for header, value in headers.items()
        if header.startswith("ce-") and header != "ce-datacontenttype"
    }
    if content_type:
        attributes["datacontenttype"] = content_type
    return Envelope(_checked(attributes), body, headers=passed_on or None)


def is_reply(headers: Mapping[str, str]) -> bool:
    """Whether an HTTP response claims to be a single CloudEvent."""
    content_type = headers.get("content-type", "")
    if content_type.startswith("application/cloudevents"):
        return not content_type.startswith("application/cloudevents-batch")
    return "ce-specversion" in headers


def binary(envelope: Envelope) -> list[tuple[str, str]]:
    """The HTTP headers of the event in binary mode; its body goes as it is."""
    headers = [(f"ce-{name}", value) for name, value in envelope.attributes.items() if name != "datacontenttype"]
    content_type = envelope.attributes.get("datacontenttype")
    if content_type is not None:
        headers.append(("content-type", content_type))
    return headers


def structured(envelope: Envelope) -> tuple[list[tuple[str, str]], bytes]:
    """HTTP headers and body of the event in structured mode (`format: json` of a delivery)."""
    member: dict[str, Any] = dict(envelope.attributes)
    if envelope.body:
        content_type = envelope.attributes.get("datacontenttype")
        try:
            text = envelope.body.decode("utf-8")
            member["data"] = json.loads(text) if is_json(content_type) else text
        except ValueError:
            member["data_base64"] = base64.b64encode(envelope.body).decode("ascii")
    return [("content-type", "application/cloudevents+json")], json.dumps(member).encode("ascii")


def dump(envelope: Envelope) -> str:
    """The event as ASCII text for a database column."""
    stored: dict[str, Any] = {"attributes": envelope.attributes}
    try:
        stored["text"] = envelope.body.decode("utf-8")
    except UnicodeDecodeError:
        stored["base64"] = base64.b64encode(envelope.body).decode("ascii")
    if envelope.typed:
        stored["typed"] = sorted(envelope.typed)
    if envelope.headers:
        stored["headers"] = envelope.headers
    return json.dumps(stored, separators=(",", ":"))


def load(text: str) -> Envelope:
    """The event that `dump` wrote."""
    stored = json.loads(text)
    body = stored["text"].encode("utf-8") if "text" in stored else base64.b64decode(stored["base64"])
    return Envelope(stored["attributes"], body, frozenset(stored.get("typed", ())), stored.get("headers"))


def now() -> str:
    """The present as RFC 3339 in UTC."""
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def _structured(body: bytes) -> Envelope:
    attributes: dict[str, str] = {}
    typed = set()
    data: tuple[Any, str] | None = None
    encoded = None
    try:
        for name, value, raw in _members(body.decode("utf-8")):
            if name == "data":
                data = (value, raw)
            elif name == "data_base64":
                encoded = base64.b64decode(value or "", validate=True)
            elif value is not None:
                attributes[_name(name)] = _text(name, value)
                if not isinstance(value, str):
                    typed.add(name.lower())
    except (ValueError, RecursionError, TypeError, binascii.Error) as error:
        raise NotACloudEvent("not a CloudEvent in JSON") from error
    checked = _checked(attributes)
    content = encoded or b""
    if encoded is None and data is not None and data[0] is not None:
        as_text = isinstance(data[0], str) and not is_json(checked.get("datacontenttype"))
        content = (data[0] if as_text else data[1]).encode("utf-8")
    return Envelope(checked, content, frozenset(typed))


def _members(text: str) -> Iterator[tuple[str, Any, str]]:
    """Name, value and raw text of each member of a JSON object: `data` travels on with its own white space."""
    decoder = json.JSONDecoder()
    at = _skip(text, 0)
    if text[at : at + 1] != "{":
        raise ValueError("not a JSON object")
    at = _skip(text, at + 1)
    while text[at : at + 1] != "}":
        if text[at : at + 1] != '"':
            raise ValueError("no member name")
        name, at = decoder.raw_decode(text, at)
        at = _skip(text, at)
        if text[at : at + 1] != ":":
            raise ValueError("no value")
        start = _skip(text, at + 1)
        value, at = decoder.raw_decode(text, start)
        yield name, value, text[start:at]
        at = _skip(text, at)
        if text[at : at + 1] == ",":
            at = _skip(text, at + 1)
            if text[at : at + 1] != '"':
                raise ValueError("no member after a comma")
        elif text[at : at + 1] != "}":
            raise ValueError("no end of object")
    if _skip(text, at + 1) != len(text):
        raise ValueError("text after the object")


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at


def _text(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return str(value)
    raise NotACloudEvent(f"{name[:40]} has a value of a wrong type")


def _name(name: str) -> str:
    if not _NAME.match(name):
        raise NotACloudEvent(f"{name[:40]!r} is no attribute name")
    return name.lower()


def _checked(attributes: dict[str, str]) -> dict[str, str]:
    if attributes.get("specversion") not in _VERSIONS:
        raise NotACloudEvent("specversion is neither 1.0 nor 0.3")
    for name in ("id", "source", "type"):
        if not attributes.get(name):
            raise NotACloudEvent(f"{name} is missing or empty")
    if any(_UNPRINTABLE.search(value) for value in attributes.values()):
        raise NotACloudEvent("an attribute contains a control character")
    if "time" in attributes:
        attributes["time"] = _utc(attributes["time"])
    if attributes.get("subject") == "":
        del attributes["subject"]
    return attributes


def _utc(time: str) -> str:
    """RFC 3339 in UTC, fraction without trailing zeros, as the Go SDK writes it."""
    seconds = parse_time(time).astimezone(UTC).replace(microsecond=0).isoformat().removesuffix("+00:00")
    fraction = _FRACTION.search(time)
    digits = fraction.group(1)[:9].rstrip("0") if fraction else ""
    return f"{seconds}.{digits}Z" if digits else f"{seconds}Z"


def _is_passed_on(header: str) -> bool:
    return header in _PASSED_ON or header.startswith(_PASSED_ON_PREFIXES)
