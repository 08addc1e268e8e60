"""The notifications of MinIO and Ceph, as files for their own APIs: they fit those, the manifests and the settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import botocore.session
import pytest
from botocore.validate import ParamValidator

from perdura.local.manifests_kustomize import render
from perdura.settings import Settings

REPOSITORY = Path(__file__).resolve().parents[3]
STORE = REPOSITORY / "infra" / "store"
BUCKET = str(Settings.model_fields["bucket_incoming"].default)


def webhook() -> dict[str, str]:
    lines = (STORE / "minio" / "webhook.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def document(name: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((STORE / name).read_text())
    return read


def assert_fits(service: str, operation: str, parameters: dict[str, Any]) -> None:
    shape = botocore.session.get_session().get_service_model(service).operation_model(operation).input_shape
    report = ParamValidator().validate(parameters, shape)
    assert not report.has_errors(), report.generate_report()


@pytest.mark.parametrize("store", ["minio", "ceph"])
def test_the_bucket_tells_of_everything_created_and_of_nothing_else(store: str) -> None:
    configuration = document(f"{store}/notification.json")
    wanted = {"Bucket": BUCKET, "NotificationConfiguration": configuration}
    assert_fits("s3", "PutBucketNotificationConfiguration", wanted)
    [[target]] = configuration.values()
    assert target["Events"] == ["s3:ObjectCreated:*"]


def test_minio_has_the_target_that_the_bucket_names_and_a_queue_for_when_nobody_answers() -> None:
    [target] = document("minio/notification.json")["QueueConfigurations"]
    name = target["QueueArn"].split(":")[4]
    assert target["QueueArn"] == f"arn:minio:sqs::{name}:webhook"
    settings = webhook()
    assert {key.rpartition("_")[2] for key in settings} == {name}
    assert settings[f"MINIO_NOTIFY_WEBHOOK_ENABLE_{name}"] == "on"
    assert settings[f"MINIO_NOTIFY_WEBHOOK_QUEUE_DIR_{name}"].startswith("/")
    assert not any("TOKEN" in key for key in settings), "a secret is in no file"


def test_ceph_has_the_topic_that_the_bucket_names_and_keeps_what_nobody_answered() -> None:
    topic = document("ceph/topic.json")
    assert_fits("sns", "CreateTopic", {"Name": BUCKET, "Attributes": topic})
    [target] = document("ceph/notification.json")["TopicConfigurations"]
    assert target["TopicArn"] == f"arn:aws:sns:default::{BUCKET}"
    assert (topic["persistent"], topic["cloudevents"]) == ("true", "true")


@pytest.mark.parametrize("store", ["minio", "ceph"])
def test_the_address_is_that_of_a_function_of_the_manifests(store: str) -> None:
    told = {
        "minio": (webhook()["MINIO_NOTIFY_WEBHOOK_ENDPOINT_PERDURA"], "/s3"),
        "ceph": (document("ceph/topic.json")["push-endpoint"], "/"),
    }
    address, path = told[store]
    parts = urlsplit(address)
    services = {
        f"{found['metadata']['name']}.{found['metadata']['namespace']}.svc.cluster.local"
        for found in render(REPOSITORY / "infra" / "knative" / "base")
        if found["kind"] == "Service" and found["apiVersion"].startswith("serving.knative.dev/")
    }
    assert (parts.scheme, parts.path) == ("http", path)
    assert parts.hostname in services
    assert str(parts.hostname).startswith("ingest.")
