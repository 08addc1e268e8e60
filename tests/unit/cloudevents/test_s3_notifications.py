"""Every dialect of storage notification gives the same kind of value."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from perdura.cloudevents.codec import decode
from perdura.cloudevents.s3_notifications import (
    MalformedNotification,
    StoredObject,
    is_notification,
    normalise,
)
from tests.shared_data import reference_data

RECORDED = Path(__file__).resolve().parents[2] / "events"


def sample(name: str) -> Any:
    return json.loads(reference_data("s3-events", name).read_text())


def request(name: str) -> tuple[dict[str, str], Any]:
    """The headers and the parsed body of the request that a sample stands for."""
    described = sample(name)
    if "attributes" in described:
        reference, _, inside = described["data_ref"].partition("#")
        data = sample(reference)
        if inside:
            data = json.loads(data["Records"][0]["body"])
        return {"content-type": "application/cloudevents+json"}, described["attributes"] | {"data": data}
    if "headers" in described:
        return described["headers"], described.get("body") or sample(described["body_ref"])
    return {"content-type": "application/json"}, described


AWS = StoredObject(
    bucket="lambda-artifacts-deafc19498e3f2df",
    key="b21b84d653bb07b05b1e6b33684dc11b",
    version_id=None,
    etag="b21b84d653bb07b05b1e6b33684dc11b",
    size=1305107,
    sequencer="0C0F6F405D6ED209E1",
    kind="ObjectCreated:Put",
    time=datetime(2019, 9, 3, 19, 37, 27, 192000, tzinfo=UTC),
)
SQS = StoredObject(
    bucket="xxx",
    key="test.pdf",
    version_id="yd3d4HaWOT2zguDLvIQLU6ptDTwKBnQV",
    etag="2e3ad1e983318bbd8e73b080e2997980",
    size=104681,
    sequencer="00643717F9F8B85354",
    kind="ObjectCreated:Put",
    time=datetime(2023, 4, 12, 20, 43, 38, 21000, tzinfo=UTC),
)
CEPH = StoredObject(
    bucket="mybucket1",
    key="myimage1.jpg",
    version_id=None,
    etag="37b51d194a7513e45b56f6524f2d51f2",
    size=1024,
    sequencer="F7E6D75DC742D108",
    kind="ObjectCreated:Put",
    time=datetime(2019, 11, 22, 13, 47, 35, 124724, tzinfo=UTC),
)
MINIO = StoredObject(
    bucket="mnist",
    key="0.png",
    version_id=None,
    etag="ebed21f6f77b0a64673a3c96b0c623ba",
    size=324,
    sequencer="1754D5802CCFEDA0",
    kind="ObjectCreated:Put",
    time=datetime(2023, 4, 11, 8, 55, 7, 400000, tzinfo=UTC),
)
SAMPLES: dict[str, list[StoredObject]] = {
    "aws-s3-2.1-put.json": [AWS],
    "aws-s3-testevent.json": [],
    "aws-eventbridge-object-created.json": [
        StoredObject(
            bucket="example-bucket",
            key="IMG_m7fzo3.jpg",
            version_id=None,
            etag="4e68adba0abe2dc8653dc3354e14c01d",
            size=184662,
            sequencer="006408CAD69598B05E",
            kind="ObjectCreated:Put",
            time=datetime(2023, 3, 8, 17, 50, 14, tzinfo=UTC),
        )
    ],
    "aws-sqs-wrapped-s3.json": [SQS],
    "knative-integrationsource-sqs.json": [SQS],
    "cloudevents-spec-adapter-s3.json": [AWS],
    "ceph-rgw-put.json": [CEPH],
    "ceph-rgw-cloudevents-binary.json": [CEPH],
    "knative-cephsource-binary.json": [
        StoredObject(
            bucket="fishbucket",
            key="fish9.jpg",
            version_id=None,
            etag="37b51d194a7513e45b56f6524f2d51f2",
            size=1024,
            sequencer="F7E6D75DC742D108",
            kind="ObjectCreated:Put",
            time=datetime(2019, 11, 22, 13, 47, 35, 124724, tzinfo=UTC),
        )
    ],
    "minio-webhook-put.json": [MINIO],
    "knative-kafkasource-minio.json": [MINIO],
    "minio-empty-object-no-size.json": [
        StoredObject(
            bucket="upload",
            key="empty.csv",
            version_id=None,
            etag="d41d8cd98f00b204e9800998ecf8427e",
            size=None,
            sequencer="1800000000000002",
            kind="ObjectCreated:Put",
            time=datetime(2026, 1, 15, 10, 0, tzinfo=UTC),
        )
    ],
}


@pytest.mark.parametrize("name", SAMPLES)
def test_sample(name: str) -> None:
    headers, body = request(name)
    assert is_notification(headers, body)
    assert normalise(headers, body) == SAMPLES[name]


def test_every_sample_is_covered() -> None:
    assert {path.name for path in reference_data("s3-events").glob("*.json")} == set(SAMPLES)


def recorded(name: str) -> list[tuple[str, list[StoredObject]]]:
    """(step, created objects) of each recorded request, in order of arrival."""
    items = json.loads((RECORDED / f"{name}.json").read_text())
    for item in items:
        assert is_notification(item["headers"], item["body"])
    return [(item["step"], normalise(item["headers"], item["body"])) for item in items]


def places(name: str) -> list[tuple[str, str, str | None, str | None, int | None]]:
    return [
        (stored.bucket, stored.key, stored.version_id, stored.etag, stored.size)
        for _, created in recorded(name)
        for stored in created
    ]


def test_seaweedfs() -> None:
    multipart = "d316408c159ea701ab954894bd3a92c2-2"
    assert places("seaweedfs-4.48-webhook") == [
        ("sips", "in/x y+é.zip", None, "0bf9edfe605a79ba7a8bea72b894729f", 5000),
        ("sips", "in/x y+é.zip", None, "d2d5866448ce1a713ead94dc139868d7", 5001),
        ("sips", "in/empty", None, "d41d8cd98f00b204e9800998ecf8427e", None),
        ("sips", "in/mp.zip", None, multipart, 10485760),
        ("sips", "in/cp.zip", None, multipart, 10485760),
        ("sips", "in/v.zip", "6715cf9e5feb6c0b13c98533906eaceb", "6654c734ccab8f440ff0825eb443dc7f", 2),
        ("sips", "in/v.zip", "6715cf9e5fc0fda74e20cd5249ff5a0e", "1b267619c4812cc46ee281747884ca50", 2),
    ]


def test_seaweedfs_tells_uploads_apart() -> None:
    created = [stored for _, found in recorded("seaweedfs-4.48-webhook") for stored in found]
    assert len({stored.identity for stored in created}) == len(created)
    assert all(stored.time for stored in created)


def test_ceph() -> None:
    multipart = "d316408c159ea701ab954894bd3a92c2-2"
    single = [
        ("sips", "in/x y+é%2F.zip", None, "0bf9edfe605a79ba7a8bea72b894729f", 5000),
        ("sips", "in/empty.zip", None, "d41d8cd98f00b204e9800998ecf8427e", 0),
    ]
    outside_the_prefix = ("sips", "other/y.bin", None, "c4ca4238a0b923820dcc509a6f75849b", 1)
    large = [("sips", "in/mp.zip", None, multipart, 10485760), ("sips", "in/cp.zip", None, multipart, 10485760)]
    version = ("sipsv", "v.zip", "5DjVGzT7qKg0neYe-26DxNL8bKO3I6W", "c4ca4238a0b923820dcc509a6f75849b", 1)
    unfiltered = [*single, outside_the_prefix, *large, version]
    assert places("ceph-rgw-16.2.15-notifications") == [*unfiltered, *single, *large]


def test_minio_dialect_of_juicefs() -> None:
    assert places("juicefs-gateway-1.4.2-notifications") == [
        ("evj8044", "sips/a.zip", None, "283260c404749b6abe47ea9c0be54c4c", 100),
        ("evj8044", "sips/a.zip", None, "283260c404749b6abe47ea9c0be54c4c", 100),
    ]


def record(**changes: Any) -> dict[str, Any]:
    entry = {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "eventName": "ObjectCreated:Put",
        "s3": {"bucket": {"name": "b"}, "object": {"key": "k"}},
    }
    return entry | changes


def keyed(key: Any, source: str = "aws:s3") -> dict[str, Any]:
    return {"Records": [record(eventSource=source, s3={"bucket": {"name": "b"}, "object": {"key": key}})]}


@pytest.mark.parametrize(
    ("source", "key"), [("aws:s3", "a b/+é"), ("minio:s3", "a b/+é"), ("ceph:s3", "a+b%2F%2B%C3%A9")]
)
def test_keys_are_decoded_by_their_producer(source: str, key: str) -> None:
    assert normalise({}, keyed("a+b%2F%2B%C3%A9", source))[0].key == key


@pytest.mark.parametrize(
    "name",
    ["s3:ObjectRemoved:Delete", "ObjectRemoved:DeleteMarkerCreated", "ObjectTagging:Put", "s3:TestEvent", ""],
)
def test_other_events_give_nothing(name: str) -> None:
    assert normalise({}, {"Records": [record(eventName=name)]}) == []


@pytest.mark.parametrize("name", ["ObjectCreated:Copy", "s3:ObjectCreated:Copy", "com.amazonaws.s3:ObjectCreated:Copy"])
def test_kinds(name: str) -> None:
    assert normalise({}, {"Records": [record(eventName=name)]})[0].kind == "ObjectCreated:Copy"


def test_all_records_of_a_request_are_read() -> None:
    removed = record(eventName="ObjectRemoved:Delete")
    assert len(normalise({}, {"Records": [record(), removed, record()]})) == 2


def test_envelopes_are_looked_through() -> None:
    inner = json.dumps({"Records": [record()]})
    sns = {"Type": "Notification", "TopicArn": "arn", "Message": inner}
    sqs = {"Records": [{"eventSource": "aws:sqs", "body": json.dumps(sns)}]}
    encoded = base64.b64encode(json.dumps(sqs).encode()).decode()
    event = {"specversion": "1.0", "type": "dev.knative.kafka.event", "data_base64": encoded}
    assert [stored.key for stored in normalise({}, event)] == ["k"]


@pytest.mark.parametrize("content_type", ["application/octet-stream", "text/plain", "application/json"])
def test_a_queue_need_not_know_that_what_it_carries_is_json(content_type: str) -> None:
    body = json.dumps({"Records": [record()]}).encode()
    headers = {
        "ce-specversion": "1.0", "ce-id": "1", "ce-source": "/kafka", "ce-type": "dev.knative.kafka.event",
        "content-type": content_type,
    }  # fmt: skip
    (event,) = decode(headers, body)
    assert is_notification({"ce-type": event.type}, event.data)
    assert [stored.key for stored in normalise({"ce-type": event.type}, event.data)] == ["k"]


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({}, None),
        ({}, []),
        ({}, {}),
        ({}, {"Records": [{}]}),
        ({}, {"Records": "x"}),
        ({}, {"Records": [{"eventSource": "aws:sqs", "body": "hello"}]}),
        ({}, {"source": "aws.s3", "detail": 1}),
        ({"Ce-Type": "org.perdura.ingest.requested.v1"}, {"Records": [record()]}),
        ({}, {"specversion": "1.0", "type": "org.perdura.ingest.requested.v1", "data": {"Records": [record()]}}),
        ({}, json.dumps([[[[]]]])),
        ({"ce-type": "dev.knative.kafka.event"}, b"\xff\xfe"),
    ],
)
def test_what_is_no_notification(headers: dict[str, str], body: Any) -> None:
    assert not is_notification(headers, body)
    with pytest.raises(MalformedNotification):
        normalise(headers, body)


@pytest.mark.parametrize(
    "body",
    [
        {"Records": [record(eventVersion="3.0")]},
        {"Records": [record(s3={})]},
        {"Records": [record(s3={"bucket": {"name": "b"}, "object": {}})]},
        keyed(7),
        keyed(""),
        keyed("a%00b"),
        keyed("%ff"),
        keyed("x" * 1025),
        keyed("\ud800", "ceph:s3"),
        {"Records": [record()] * 1001},
    ],
)
def test_malformed_notifications_are_refused(body: Any) -> None:
    assert is_notification({}, body)
    with pytest.raises(MalformedNotification):
        normalise({}, body)


def test_hearsay_is_dropped_when_absurd() -> None:
    entry = {"key": "k", "size": "-1", "eTag": '"e"', "versionId": "", "sequencer": 7}
    [stored] = normalise({}, {"Records": [record(eventTime="?", s3={"bucket": {"name": "b"}, "object": entry})]})
    assert stored == StoredObject("b", "k", None, "e", None, None, "ObjectCreated:Put", None)


def test_identity_survives_the_transport() -> None:
    assert normalise(*request("aws-s3-2.1-put.json"))[0].identity == AWS.identity
    assert SQS.identity == ("xxx", "test.pdf", "yd3d4HaWOT2zguDLvIQLU6ptDTwKBnQV")
