"""CloudEvents to and from HTTP requests: binary, structured and batched, strictly (serverless.md §1.1, §2.2).

No SDK is strict enough to be our contract: they invent ids, accept empty ones and pass malformed JSON on. What
`decode` accepts is exactly CloudEvents 1.0.2 in its HTTP binding with the JSON format; all else is
`NotACloudEvent`, which a function answers with 400 and an empty body.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from perdura.cloudevents.attributes import (
    OPTIONAL,
    REQUIRED,
    SPECVERSION,
    NotACloudEvent,
    check_name,
    check_required,
    check_value,
    format_time,
    from_header,
    parse_time,
    to_header,
)
from perdura.cloudevents.message import CloudEvent
from perdura.errors import Broken

__all__ = [
    "BODY_LIMIT",
    "NotACloudEvent",
    "decode",
    "encode_batch",
    "encode_binary",
    "encode_structured",
    "is_json",
]

BODY_LIMIT = 10 * 2**20
"""Default of the largest body in bytes that is looked at."""

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"

_MODELLED = frozenset((*REQUIRED, *OPTIONAL, "specversion"))
_INT32 = range(-(2**31), 2**31)


def decode(
    headers: Mapping[str, str], body: bytes, *, limit: int = BODY_LIMIT, keep_malformed_data: bool = False
) -> list[CloudEvent]:
    """The CloudEvents in an HTTP request: one in binary and structured mode, any number in a batch.

    `headers` may be in any case. `limit` is the largest body in bytes. With `keep_malformed_data`, data that
    claims to be JSON and is not is handed out as bytes: for the dead letter sink, which must lose nothing.
    Raises NotACloudEvent.
    """
    if len(body) > limit:
        raise NotACloudEvent(f"body of more than {limit} bytes", code="too-large")
    lower = {name.lower(): value for name, value in headers.items()}
    content_type = lower.get("content-type", "").strip()
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type.startswith("application/cloudevents-batch"):
        return _decode_batch(media_type, content_type, body)
    if media_type.startswith("application/cloudevents"):
        _check_format(media_type, STRUCTURED, content_type)
        return [_from_json(_parse_json(body, "event"))]
    return [_from_headers(lower, content_type, body, keep_malformed_data)]


def encode_binary(event: CloudEvent) -> tuple[dict[str, str], bytes]:
    """The event in binary mode: headers (values in printable ASCII, content type always set) and body."""
    attributes = _attributes(event)
    headers = {f"ce-{name}": to_header(value) for name, value in attributes.items() if name != "datacontenttype"}
    headers["content-type"] = attributes["datacontenttype"]
    return headers, _data_bytes(event)


def encode_structured(event: CloudEvent) -> tuple[dict[str, str], bytes]:
    """The event in structured mode: headers and a JSON body in ASCII."""
    return {"content-type": STRUCTURED}, _dump(_to_json(event))


def encode_batch(events: Sequence[CloudEvent]) -> tuple[dict[str, str], bytes]:
    """The events as one batch; send it only to who has asked for batches (HTTP binding §3.3)."""
    return {"content-type": BATCH}, _dump([_to_json(event) for event in events])


def is_json(content_type: str | None) -> bool:
    """Whether data of that content type is a JSON value; an absent content type means JSON."""
    if not content_type:
        return True
    subtype = content_type.partition(";")[0].strip().lower().partition("/")[2]
    return subtype == "json" or subtype.endswith("+json")


def _decode_batch(media_type: str, content_type: str, body: bytes) -> list[CloudEvent]:
    _check_format(media_type, BATCH, content_type)
    members = _parse_json(body, "batch")
    if not isinstance(members, list):
        raise NotACloudEvent("a batch is not a JSON array")
    return [_from_json(member) for member in members]


def _check_format(media_type: str, expected: str, content_type: str) -> None:
    if media_type != expected:
        raise NotACloudEvent("an event format other than JSON", code="unknown-format")
    for parameter in content_type.split(";")[1:]:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset" and value.strip().strip('"').lower() not in ("utf-8", "us-ascii"):
            raise NotACloudEvent("JSON in another charset than UTF-8")


def _from_headers(headers: Mapping[str, str], content_type: str, body: bytes, keep_malformed_data: bool) -> CloudEvent:
    attributes: dict[str, str] = {}
    for header, value in headers.items():
        if header.startswith("ce-"):
            name = check_name(header[3:])
            if name in ("datacontenttype", "data"):
                raise NotACloudEvent(f"a ce-{name} header must not be present")
            attributes[name] = from_header(name, value)
    check_required(attributes)
    if content_type:
        attributes["datacontenttype"] = content_type
    return _event(attributes, _data(content_type or None, body, keep_malformed_data))


def _from_json(member: Any) -> CloudEvent:
    if not isinstance(member, dict):
        raise NotACloudEvent("an event is not a JSON object")
    encoded = member.pop("data_base64", None)
    data = member.pop("data", None)
    attributes = {check_name(name): _text(name, value) for name, value in member.items() if value is not None}
    check_required(attributes)
    content_type = attributes.get("datacontenttype")
    if encoded is None:
        if data is not None and not is_json(content_type):
            if not isinstance(data, str):
                raise NotACloudEvent("data of a content type other than JSON is not a string")
            data = data.encode("utf-8")
        return _event(attributes, data)
    if data is not None:
        raise NotACloudEvent("both data and data_base64 are present")
    if not isinstance(encoded, str):
        raise NotACloudEvent("data_base64 is not a string")
    try:
        raw = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise NotACloudEvent("data_base64 is not base64") from error
    if content_type is None:
        return _event(attributes, raw)
    return _event(attributes, _data(content_type, raw, False))


def _event(attributes: Mapping[str, str], data: Any) -> CloudEvent:
    for name, value in attributes.items():
        check_value(name, value)
    time = attributes.get("time")
    return CloudEvent(
        id=attributes["id"],
        source=attributes["source"],
        type=attributes["type"],
        subject=attributes.get("subject"),
        time=None if time is None else parse_time(time),
        datacontenttype=attributes.get("datacontenttype"),
        dataschema=attributes.get("dataschema"),
        data=data,
        extensions={name: value for name, value in attributes.items() if name not in _MODELLED},
    )


def _text(name: str, value: Any) -> str:
    """The canonical text of a JSON attribute value (JSON event format §2.2, CloudEvents §3.2)."""
    if isinstance(value, str):
        return value
    if name not in _MODELLED:
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, int) and value in _INT32:
            return str(value)
    raise NotACloudEvent(f"{name} has a value of a wrong type")


def _data(content_type: str | None, body: bytes, keep_malformed: bool) -> Any:
    if not body:
        return None
    if not is_json(content_type):
        return body
    try:
        return _parse_json(body, "data")
    except NotACloudEvent:
        if keep_malformed:
            return body
        raise


def _parse_json(body: bytes, what: str) -> Any:
    """The JSON value of a text in UTF-8 without duplicate member names, NaN or lone surrogates."""
    try:
        text = body.decode("utf-8")
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_no_constant)
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except RecursionError as error:
        raise NotACloudEvent(f"{what} is nested too deeply") from error
    except ValueError as error:
        raise NotACloudEvent(f"{what} is not JSON in UTF-8") from error
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("duplicate member name")
    return members


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _attributes(event: CloudEvent) -> dict[str, str]:
    """All attributes of an event of ours as checked text; `datacontenttype` is always among them."""
    attributes = {"specversion": SPECVERSION, "id": event.id, "source": event.source, "type": event.type}
    if event.subject is not None:
        attributes["subject"] = event.subject
    if event.time is not None:
        attributes["time"] = format_time(event.time)
    attributes["datacontenttype"] = event.datacontenttype or (
        "application/octet-stream" if isinstance(event.data, bytes) else "application/json"
    )
    if event.dataschema is not None:
        attributes["dataschema"] = event.dataschema
    try:
        for name in event.extensions:
            if name in attributes or name in _MODELLED or name == "data":
                raise NotACloudEvent(f"{name} is no extension")
        attributes.update(event.extensions)
        for name, value in attributes.items():
            check_value(check_name(name), value)
        check_required(attributes)
    except NotACloudEvent as error:
        raise Broken(f"cannot emit an invalid CloudEvent: {error.message}", code="invalid-cloudevent") from error
    return attributes


def _data_bytes(event: CloudEvent) -> bytes:
    if event.data is None:
        return b""
    if isinstance(event.data, bytes):
        return event.data
    if not is_json(event.datacontenttype):
        raise Broken("data of a content type other than JSON must be bytes", code="invalid-cloudevent")
    return json.dumps(event.data, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode("utf-8")


def _to_json(event: CloudEvent) -> dict[str, Any]:
    member: dict[str, Any] = dict(_attributes(event))
    if isinstance(event.data, bytes):
        member["data_base64"] = base64.b64encode(event.data).decode("ascii")
    elif event.data is not None:
        if not is_json(event.datacontenttype):
            raise Broken("data of a content type other than JSON must be bytes", code="invalid-cloudevent")
        member["data"] = event.data
    return member


def _dump(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii")
