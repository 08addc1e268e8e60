"""Brokers, Triggers and PingSources as the manifests describe them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from perdura.errors import Broken, Retryable
from perdura.local.broker.cron import Schedule
from perdura.local.broker.delivery import DEFAULT_DELIVERY, Delivery, parse_delivery
from perdura.local.broker.filters import Filter, compile_filter
from perdura.local.manifests_kustomize import BadManifest, Document, render

LOCAL_SCHEDULE = "perdura.org/local-schedule"
"""Annotation of a PingSource: the schedule on a single machine, where a minute is too long to wait."""


@dataclass(frozen=True, slots=True)
class Trigger:
    """Who gets which events of a broker, and how. `name` is `<namespace>/<name>`."""

    name: str
    broker: str
    wants: Filter
    subscriber: Mapping[str, Any]
    delivery: Delivery


@dataclass(frozen=True, slots=True)
class Ping:
    """A PingSource: the event it sends, when and where to."""

    name: str
    source: str
    schedule: Schedule
    sink: Mapping[str, Any]
    content_type: str | None
    data: bytes
    extensions: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Topology:
    """Everything the broker must know. `triggers` is by broker, brokers are `<namespace>/<name>`."""

    brokers: frozenset[str]
    triggers: Mapping[str, tuple[Trigger, ...]]
    pings: tuple[Ping, ...]


def read_topology(path: Path) -> Topology:
    """What the manifests under `path` describe. Raises BadManifest and UnsupportedFilter."""
    return build_topology(render(path))


def build_topology(documents: Iterable[Document]) -> Topology:
    """What these documents describe; kinds that a broker has no business with are passed over."""
    brokers: dict[str, Delivery] = {}
    triggers: list[Document] = []
    pings: list[Ping] = []
    by_broker: dict[str, list[Trigger]] = {}
    kind = ("", "")
    try:
        for document in documents:
            kind = (str(document.get("apiVersion", "")).partition("/")[0], str(document.get("kind")))
            if kind == ("eventing.knative.dev", "Broker"):
                delivery = (document.get("spec") or {}).get("delivery")
                brokers[_name(document)] = parse_delivery(delivery) if delivery else DEFAULT_DELIVERY
            elif kind == ("eventing.knative.dev", "Trigger"):
                triggers.append(document)
            elif kind == ("sources.knative.dev", "PingSource"):
                pings.append(_ping(document))
        by_broker = {name: [] for name in brokers}
        for document in triggers:
            kind = ("", "Trigger")
            trigger = _trigger(document, brokers)
            by_broker[trigger.broker].append(trigger)
    except (KeyError, TypeError, AttributeError) as error:
        raise BadManifest(f"{kind[1]} lacks {error}") from error
    return Topology(frozenset(brokers), {name: tuple(group) for name, group in by_broker.items()}, tuple(pings))


def _trigger(document: Document, brokers: Mapping[str, Delivery]) -> Trigger:
    spec = document["spec"]
    broker = f"{_namespace(document)}/{spec['broker']}"
    if broker not in brokers:
        raise BadManifest(f"Trigger {_name(document)} belongs to no known Broker: {broker}")
    delivery = spec.get("delivery")
    return Trigger(
        name=_name(document),
        broker=broker,
        wants=compile_filter(spec),
        subscriber=spec["subscriber"],
        delivery=parse_delivery(delivery) if delivery else brokers[broker],
    )


class Addresses:
    """Where Services are: a JSON file of name and URL, read again when it changes; absolute URIs as they are."""

    def __init__(self, services: Path | None) -> None:
        self._file = services
        self._read_at: int | None = None
        self._urls: dict[str, str] = {}

    def resolve(self, destination: Mapping[str, Any]) -> str:
        """The URL of a destination (`ref`, `uri`, or both). Raises NoAddress."""
        uri = destination.get("uri")
        reference = destination.get("ref")
        if reference is None:
            if urlsplit(uri or "").scheme != "http":
                raise NoAddress(f"not an http address: {uri}")
            return str(uri)
        url = self._services().get(reference["name"])
        if url is None:
            raise NoAddress(f"no address of {reference.get('kind')} {reference['name']} is known")
        return urljoin(url, uri) if uri else url

    def _services(self) -> dict[str, str]:
        if self._file is None:
            return self._urls
        try:
            changed = self._file.stat().st_mtime_ns
            if changed != self._read_at:
                self._urls = {str(name): str(url) for name, url in json.loads(self._file.read_bytes()).items()}
                self._read_at = changed
        except (OSError, ValueError, AttributeError):
            return self._urls
        return self._urls


class NoAddress(Retryable):
    """The address of a subscriber is not known (yet)."""

    code = "no-address"


def _ping(document: Document) -> Ping:
    spec = document["spec"]
    metadata = document["metadata"]
    local = (metadata.get("annotations") or {}).get(LOCAL_SCHEDULE)
    try:
        schedule = Schedule.parse(local or spec["schedule"], spec.get("timezone"))
    except ValueError as error:
        raise BadManifest(f"PingSource {_name(document)}: {error}") from error
    if "dataBase64" in spec:
        raise Broken(f"PingSource {_name(document)}: dataBase64 is not supported", code="bad-manifest")
    return Ping(
        name=_name(document),
        source=f"/apis/v1/namespaces/{_namespace(document)}/pingsources/{metadata['name']}",
        schedule=schedule,
        sink=spec["sink"],
        content_type=spec.get("contentType"),
        data=str(spec.get("data", "")).encode("utf-8"),
        extensions=(spec.get("ceOverrides") or {}).get("extensions") or {},
    )


def _namespace(document: Document) -> str:
    return str(document["metadata"].get("namespace", "default"))


def _name(document: Document) -> str:
    return f"{_namespace(document)}/{document['metadata']['name']}"
