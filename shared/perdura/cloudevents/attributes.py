"""Context attributes as text: which names and values are valid, and how they travel in HTTP headers.

CloudEvents 1.0.2 §3 (types, attributes) and HTTP protocol binding §3.1.3 (header values); serverless.md §1.1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from urllib.parse import quote, unquote_to_bytes

from perdura.errors import Rejected

SPECVERSION = "1.0"
REQUIRED = ("id", "source", "type")
OPTIONAL = ("subject", "time", "datacontenttype", "dataschema")

_NAME = re.compile(r"[a-z0-9]{1,20}\Z")
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d):(\d\d)(?:\.(\d+))?(?:[Zz]|([+-])(\d\d):(\d\d))\Z", re.ASCII)
_URI = re.compile(r"[!#-;=?-\[\]_a-z~]+\Z")
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_MEDIA_TYPE = re.compile(
    r"[!#$%&'*+.^_`|~0-9A-Za-z-]+/[!#$%&'*+.^_`|~0-9A-Za-z-]+"
    r"(?:[ \t]*;[ \t]*(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+=(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+|\"(?:[^\"\\]|\\.)*\"))?)*\Z"
)
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
_QUOTED_PAIR = re.compile(r"\\(.)", re.DOTALL)
_UNCHANGED = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')


class NotACloudEvent(Rejected):
    """What was received is no CloudEvent 1.0 that can be understood; its sender must change it."""

    code = "not-a-cloudevent"


def check_name(name: str) -> str:
    """The name itself if it is a valid attribute name, `[a-z0-9]{1,20}` (CloudEvents §3.1)."""
    if not _NAME.match(name):
        raise NotACloudEvent(f"attribute name is not 1 to 20 lower-case letters and digits: {name[:40]!r}")
    return name


def check_value(name: str, value: str) -> str:
    """The value itself if it is a valid value of that attribute.

    Extensions may be empty: Knative's dead letters carry an empty `knativeerrordata` (serverless.md §1.7).
    """
    if _FORBIDDEN.search(value):
        raise NotACloudEvent(f"{name} contains a control character, a surrogate or a noncharacter")
    if not value and (name in REQUIRED or name in OPTIONAL):
        raise NotACloudEvent(f"{name} is empty")
    if name in ("source", "dataschema") and not _URI.match(value):
        raise NotACloudEvent(f"{name} is not a URI reference")
    if name == "dataschema" and not _ABSOLUTE.match(value):
        raise NotACloudEvent("dataschema is not an absolute URI")
    if name == "datacontenttype" and not _MEDIA_TYPE.match(value):
        raise NotACloudEvent("datacontenttype is not a media type")
    return value


def check_required(attributes: Mapping[str, object]) -> None:
    """Refuse attributes that are not of version 1.0 or lack a required one."""
    if attributes.get("specversion") != SPECVERSION:
        raise NotACloudEvent("specversion is not 1.0")
    for name in REQUIRED:
        if not attributes.get(name):
            raise NotACloudEvent(f"{name} is missing or empty")


def parse_time(text: str) -> datetime:
    """The instant that an RFC 3339 date-time names; fractions beyond microseconds are cut off.

    A leap second (`:60`) is taken as the last microsecond before it, since Python has none.
    """
    match = _TIME.match(text)
    if match is None:
        raise NotACloudEvent("time is not an RFC 3339 date-time")
    day, clock, second, fraction, sign, hours, minutes = match.groups()
    micros = (fraction or "")[:6].ljust(6, "0")
    if second == "60":
        second, micros = "59", "999999"
    try:
        zone = UTC
        if sign is not None:
            if int(minutes) > 59:
                raise ValueError(minutes)
            offset = timedelta(hours=int(hours), minutes=int(minutes))
            zone = timezone(-offset if sign == "-" else offset)
        return datetime.fromisoformat(f"{day}T{clock}:{second}.{micros}").replace(tzinfo=zone)
    except ValueError as error:
        raise NotACloudEvent("time is not an RFC 3339 date-time") from error


def format_time(moment: datetime) -> str:
    """An aware instant as RFC 3339 in UTC."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def from_header(name: str, value: str) -> str:
    """The attribute value that a `ce-` header carries (HTTP binding §3.1.3.2).

    Double-quoted values are unescaped, percent-encoding is decoded, what is not UTF-8 is refused. `value` is as
    HTTP servers hand it out, each character one byte; a `%` that begins no encoding stays, since many senders
    encode nothing (serverless.md §2.2).
    """
    value = value.strip(" \t")
    if len(value) >= 2 and value[0] == value[-1] == '"':
        value = _QUOTED_PAIR.sub(r"\1", value[1:-1])
    try:
        raw = value.encode("latin-1")
    except UnicodeEncodeError:
        raw = value.encode("utf-8", "surrogatepass")
    try:
        return unquote_to_bytes(raw).decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotACloudEvent(f"{name} is not UTF-8") from error


def to_header(value: str) -> str:
    """The value as printable ASCII: everything outside 0x21-0x7E, `"` and `%` percent-encoded."""
    return quote(value, safe=_UNCHANGED)
