"""What object stores tell about new objects, in every dialect, as one value (serverless.md §1.11, §3.2).

A notification is a wake-up call, never the record: only bucket and key are to be trusted, and only as a place to
look at. `normalise` gives the objects that were created; removals, test messages and a store's own bookkeeping
give nothing.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote_plus

from perdura.cloudevents.attributes import parse_time
from perdura.errors import Rejected

RECORD_LIMIT = 1000
KEY_LIMIT = 1024

_CARRIERS = (
    "com.amazonaws.",
    "dev.knative.kafka.event",
    "dev.knative.connector.event.aws-",
)
"""Prefixes of the CloudEvent types that carry a store's notification; another type is never taken for one."""

_MAJOR_VERSION = "2"
_RAW_KEYS = ("ceph:s3",)
"""Event sources whose records carry the key as it is; all others form-url-encode it (embedded-services.md §5.1)."""

_BUCKETS = "/buckets/"
_VERSIONS = ".versions"


class MalformedNotification(Rejected):
    """What looks like a storage notification lacks what makes it one."""

    code = "malformed-notification"


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object that a store says was created. All but `bucket` and `key` is hearsay.

    `kind` is the S3 event name without producer prefixes, such as `ObjectCreated:Put`; `size` is in bytes;
    `etag` has no quotes; `sequencer` orders notifications of the same key, and of no others.
    """

    bucket: str
    key: str
    version_id: str | None
    etag: str | None
    size: int | None
    sequencer: str | None
    kind: str
    time: datetime | None

    @property
    def identity(self) -> tuple[str, ...]:
        """What two notifications of the same upload share, whatever carried them (serverless.md §3.2)."""
        if self.version_id:
            return (self.bucket, self.key, self.version_id)
        return (self.bucket, self.key, self.etag or "", self.sequencer or "")


def is_notification(headers: Mapping[str, str], body_json: Any) -> bool:
    """Whether a request, or the CloudEvent in it, is a storage notification of a known dialect."""
    return _dialect_records(headers, body_json) is not None


def normalise(headers: Mapping[str, str], body_json: Any) -> list[StoredObject]:
    """The objects whose creation a notification tells, in its order; none if it tells of something else.

    `body_json` is the parsed body of the request: a bare notification, or a CloudEvent in structured mode.
    Raises MalformedNotification.
    """
    records = _dialect_records(headers, body_json)
    if records is None:
        raise MalformedNotification("not a storage notification of a known dialect")
    if len(records) > RECORD_LIMIT:
        raise MalformedNotification(f"more than {RECORD_LIMIT} records in one notification")
    return [stored for read, record in records if (stored := read(record)) is not None]


_Reader = Callable[[Mapping[str, Any]], StoredObject | None]


def _dialect_records(headers: Mapping[str, str], body: Any) -> list[tuple[_Reader, Mapping[str, Any]]] | None:
    """Each record with the function that reads its dialect; None for what is no notification."""
    carrier = next((value for name, value in headers.items() if name.lower() == "ce-type"), None)
    if isinstance(body, Mapping) and "specversion" in body and "type" in body:
        carrier = body["type"]
        body = _event_data(body)
    if carrier is not None and not str(carrier).startswith(_CARRIERS):
        return None
    return _find(body, depth=4)


def _event_data(event: Mapping[str, Any]) -> Any:
    encoded = event.get("data_base64")
    if isinstance(encoded, str):
        return _parsed(_base64(encoded))
    return event.get("data")


def _find(body: Any, depth: int) -> list[tuple[_Reader, Mapping[str, Any]]] | None:
    """Recognise a dialect, looking through the envelopes of SQS and SNS."""
    # Bytes: what carries the messages of a queue need not know that they are JSON.
    if isinstance(body, str | bytes):
        body = _parsed(body)
    if not isinstance(body, Mapping) or depth == 0:
        return None
    if body.get("Event") == "s3:TestEvent":
        return []
    if isinstance(body.get("Message"), str) and "TopicArn" in body:
        return _find(body["Message"], depth - 1)
    if isinstance(body.get("detail"), Mapping) and body.get("source") == "aws.s3":
        return [(_event_bridge, body)]
    if isinstance(body.get("message"), Mapping) and "event_type" in body:
        return [(_seaweedfs, body)]
    if isinstance(body.get("s3"), Mapping):
        return [(_s3_record, body)]
    members = body.get("Records")
    if not isinstance(members, list):
        return None
    found = []
    for member in members:
        wrapped = isinstance(member, Mapping) and member.get("eventSource") == "aws:sqs"
        records = _find(member["body"] if wrapped and "body" in member else member, depth - 1)
        if records is None:
            return None
        found += records
    return found


def _s3_record(record: Mapping[str, Any]) -> StoredObject | None:
    """One record of AWS, MinIO or Ceph; they differ in the encoding of the key and the type of the size."""
    kind = str(record.get("eventName", ""))
    for prefix in ("com.amazonaws.", "s3:", "s3."):
        if kind.lower().startswith(prefix):
            kind = kind[len(prefix) :]
    if not _is_creation(kind):
        return None
    version = str(record.get("eventVersion", ""))
    if version.partition(".")[0] != _MAJOR_VERSION:
        raise MalformedNotification(f"eventVersion {version[:20]!r} is not understood")
    described = _mapping(record, "s3")
    entry = _mapping(described, "object")
    key = _string(entry, "key")
    return _stored(
        bucket=_string(_mapping(described, "bucket"), "name"),
        key=key if record.get("eventSource") in _RAW_KEYS else _form_decoded(key),
        version_id=entry.get("versionId"),
        etag=entry.get("eTag"),
        size=entry.get("size"),
        sequencer=entry.get("sequencer"),
        kind=kind,
        time=_time(record.get("eventTime")),
    )


def _event_bridge(event: Mapping[str, Any]) -> StoredObject | None:
    """AWS EventBridge: the key is not encoded, the names are in lower case."""
    if event.get("detail-type") != "Object Created":
        return None
    detail = _mapping(event, "detail")
    entry = _mapping(detail, "object")
    return _stored(
        bucket=_string(_mapping(detail, "bucket"), "name"),
        key=_string(entry, "key"),
        version_id=entry.get("version-id"),
        etag=entry.get("etag"),
        size=entry.get("size"),
        sequencer=entry.get("sequencer"),
        kind=f"ObjectCreated:{str(detail.get('reason', '')).removesuffix('Object') or 'Put'}",
        time=_time(event.get("time")),
    )


def _seaweedfs(notification: Mapping[str, Any]) -> StoredObject | None:
    """SeaweedFS tells of entries of its file tree; which of them are uploads is for us (embedded-services §5.3).

    A version of key K in a versioned bucket is the entry `K.versions/v_<id>`; a later update of it, and all
    events of the directory `K.versions`, are bookkeeping.
    """
    entry = notification["message"].get("new_entry")
    event_type = notification.get("event_type")
    path = notification.get("key")
    if event_type not in ("create", "update") or not isinstance(entry, Mapping) or not isinstance(path, str):
        return None
    bucket, _, key = path.removeprefix(_BUCKETS).partition("/")
    if entry.get("is_directory") or not path.startswith(_BUCKETS) or bucket.startswith(".") or not key:
        return None
    if key.startswith(".uploads/"):
        return None
    extended = entry.get("extended")
    marks = extended if isinstance(extended, Mapping) else {}
    directory, _, name = key.rpartition("/")
    if directory.endswith(_VERSIONS) and name.startswith("v_"):
        is_version = event_type == "create" and "Seaweed-X-Amz-Version-Id" in marks
        if not is_version or {"Seaweed-X-Amz-Delete-Marker", "Seaweed-X-Amz-Noncurrent-Since-Ns"} & marks.keys():
            return None
        key = directory.removesuffix(_VERSIONS)
    attributes = entry.get("attributes")
    facts = attributes if isinstance(attributes, Mapping) else {}
    etag = marks.get("Seaweed-X-Amz-ETag")
    md5 = facts.get("md5")
    return _stored(
        bucket=bucket,
        key=key,
        version_id=_mark(marks.get("Seaweed-X-Amz-Version-Id")),
        etag=_base64(md5).hex() if etag is None and isinstance(md5, str) else _mark(etag),
        size=facts.get("file_size"),
        sequencer=_written_ns(entry, facts),
        kind="ObjectCreated:Put",
        time=_unix_time(facts.get("mtime")),
    )


def _written_ns(entry: Mapping[str, Any], facts: Mapping[str, Any]) -> str | None:
    """When the newest chunk was written, in nanoseconds; for an empty object when the entry was, in seconds."""
    chunks = entry.get("chunks")
    times = [
        chunk["modified_ts_ns"]
        for chunk in (chunks if isinstance(chunks, list) else [])
        if isinstance(chunk, Mapping) and isinstance(chunk.get("modified_ts_ns"), int)
    ]
    if times:
        return str(max(times))
    return str(facts["mtime"]) if isinstance(facts.get("mtime"), int) else None


def _stored(
    *,
    bucket: str,
    key: str,
    version_id: Any,
    etag: Any,
    size: Any,
    sequencer: Any,
    kind: str,
    time: datetime | None,
) -> StoredObject:
    """The value, its place checked: what follows comes from outside and goes into a registry."""
    try:
        length = len(key.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise MalformedNotification("the key is not Unicode text") from error
    if not bucket or len(bucket) > 255 or not 0 < length <= KEY_LIMIT or "\0" in bucket + key:
        raise MalformedNotification("bucket or key is empty, too long or contains NUL")
    return StoredObject(
        bucket=bucket,
        key=key,
        version_id=_short(version_id),
        etag=(_short(etag) or "").strip('"') or None,
        size=_size(size),
        sequencer=_short(sequencer),
        kind=kind,
        time=time,
    )


def _is_creation(kind: str) -> bool:
    return kind.lower().startswith("objectcreated:")


def _mapping(parent: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = parent.get(name)
    if not isinstance(value, Mapping):
        raise MalformedNotification(f"{name} is missing or no object")
    return value


def _string(parent: Mapping[str, Any], name: str) -> str:
    value = parent.get(name)
    if not isinstance(value, str):
        raise MalformedNotification(f"{name} is missing or no string")
    return value


def _form_decoded(key: str) -> str:
    try:
        return unquote_plus(key, errors="strict")
    except UnicodeDecodeError as error:
        raise MalformedNotification("the key is not UTF-8") from error


def _short(value: Any) -> str | None:
    """A short text, or None for what is absent, empty or something else."""
    if isinstance(value, str) and 0 < len(value) <= KEY_LIMIT and value.isprintable():
        return value
    return None


def _size(value: Any) -> int | None:
    """Bytes; Ceph sends them as text, MinIO and SeaweedFS leave out zero."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    return None


def _time(value: Any) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        return parse_time(value)
    except Rejected:
        return None


def _unix_time(value: Any) -> datetime | None:
    if isinstance(value, int) and 0 < value < 2**35:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=value)
    return None


def _mark(value: Any) -> str | None:
    """The text of an extended attribute of SeaweedFS, which is in base64."""
    return _base64(value).decode("utf-8", "replace") if isinstance(value, str) else None


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedNotification("a value is not base64") from error


def _parsed(text: str | bytes) -> Any:
    """The JSON value of a text inside an envelope; None for anything else."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
