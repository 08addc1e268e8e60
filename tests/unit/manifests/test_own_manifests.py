"""Our own manifests: without a finding, complete, and saying what the architecture says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from perdura.cloudevents.catalogue import CATALOGUE
from perdura.local.broker.envelope import Envelope
from perdura.local.broker.topology import build_topology
from perdura.local.manifests_check import check
from perdura.local.manifests_kustomize import Document, render
from perdura.local.manifests_schema import read_schemas
from tests.shared_data import SHARED, reference_data

REPOSITORY = Path(__file__).resolve().parents[3]
KNATIVE = REPOSITORY / "infra" / "knative"
BUNDLES = [KNATIVE / "base", *sorted(path for path in (KNATIVE / "overlays").glob("*") if path.is_dir())]


def names(documents: list[Document], kind: str) -> set[str]:
    return {document["metadata"]["name"] for document in documents if document["kind"] == kind}


@pytest.fixture(scope="module")
def base() -> list[Document]:
    return render(KNATIVE / "base")


@pytest.mark.parametrize("bundle", BUNDLES, ids=lambda bundle: bundle.name)
def test_no_findings(bundle: Path) -> None:
    schemas = read_schemas(reference_data("crds")) if SHARED else None
    found = [
        f"{checked.kind}/{checked.name}: {finding.path}: {finding.message}"
        for checked in check(render(bundle), schemas)
        for finding in checked.findings
    ]
    assert found == []


@pytest.mark.parametrize("bundle", BUNDLES, ids=lambda bundle: bundle.name)
def test_every_file_belongs_to_a_kustomization(bundle: Path) -> None:
    text = "".join(file.read_text() for file in KNATIVE.rglob("kustomization.yaml"))
    for file in bundle.rglob("*.yaml"):
        assert file.name == "kustomization.yaml" or file.relative_to(bundle).as_posix() in text, file


def test_one_service_and_account_per_function(base: list[Document]) -> None:
    functions = {folder.name for folder in (REPOSITORY / "functions").iterdir() if (folder / "main.py").is_file()}
    services = [document for document in base if document["kind"] == "Service" and "serving" in document["apiVersion"]]
    assert {service["metadata"]["name"] for service in services} >= functions
    assert names(base, "ServiceAccount") >= functions
    for service in services:
        pod = service["spec"]["template"]["spec"]
        [container] = pod["containers"]
        environment = {variable["name"]: variable["value"] for variable in container["env"]}
        assert environment["FUNCTION"] == pod["serviceAccountName"] == service["metadata"]["name"]
        assert environment["THREADS"] == str(pod["containerConcurrency"])


ROUTES = {
    "harvest.requested": "harvest",
    "ingest.requested": "ingest",
    "preserve.requested": "preserve",
    "archive.requested": "archive-cta",
    "recall.requested": "archive-cta",
    "publish.requested": "publish",
    "notify.requested": "publish",
    "premis.record.requested": "premis-log",
    "fixity.requested": "premis-log",
    "ingset.requested": "premis-log",
}


def subscribers(base: list[Document], event_type: str) -> list[Any]:
    topology = build_topology(base)
    event = Envelope({"specversion": "1.0", "id": "1", "source": "/s", "type": event_type}, b"")
    wanting = [trigger for trigger in topology.triggers["perdura/default"] if trigger.wants(event)]
    return [trigger.subscriber["ref"]["name"] for trigger in wanting]


@pytest.mark.parametrize("thing", ROUTES)
def test_routing(base: list[Document], thing: str) -> None:
    assert subscribers(base, f"org.perdura.{thing}.v1") == [ROUTES[thing]]


def test_facts_are_not_routed_and_not_reported(base: list[Document]) -> None:
    for event_type, entry in CATALOGUE.items():
        if not entry.request:
            assert subscribers(base, event_type) == []


def test_ticks_come_every_second_on_one_machine(base: list[Document]) -> None:
    pings = build_topology(base).pings
    assert {ping.sink["ref"]["name"] for ping in pings} == {"relay", "archive-cta"}
    for ping in pings:
        assert ping.schedule.fields[0] == frozenset(range(60))
