"""Prometheus metrics of a function: what there is, and their port (`METRICS_PORT`), which clients never reach.

Without that port nothing is counted and no client library is imported: a cold start does not wait for it. With it every
counter whose labels are known begins at 0 before anything happens: Prometheus sees no increase in one that begins at 1.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import product
from typing import Any

from perdura.cloudevents.catalogue import CATALOGUE, HarvestRequested, IngestRequested, StepRequested
from perdura.outcome import PackageKind, StepState

PORT = "METRICS_PORT"
MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""What `exposition` writes."""
_BUCKETS = (0.005, 0.02, 0.1, 0.5, 1, 2.5, 10, 30, 60, 180, 600)
"""Seconds: from a duplicate that is waved through to the longest invocation."""


OTHER = "other"
"""What stands for every type that is not in the catalogue: labels are not for strangers to choose."""

_TYPES = (*CATALOGUE, OTHER)
_ASKING = (StepRequested, HarvestRequested, IngestRequested)
_STEPS = sorted(
    name.split(".")[2]
    for name, kind in CATALOGUE.items()
    if issubclass(kind.data, _ASKING) and name.split(".")[3] == "requested"
)


class Kind(StrEnum):
    """What a metric does."""

    COUNTER = "counter"
    HISTOGRAM = "histogram"
    GAUGE = "gauge"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric; every one has the label `function` as well."""

    name: str
    kind: Kind
    says: str
    labels: tuple[str, ...] = ()
    known: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """The values of the labels, where they are known before anything happens."""

    def beginnings(self) -> Iterator[dict[str, str]]:
        """Every set of labels with which a counter begins; none where a label may say anything."""
        if self.kind is Kind.COUNTER and set(self.known) == set(self.labels):
            for values in product(*(self.known[label] for label in self.labels)):
                yield dict(zip(self.labels, values, strict=True))


EVENTS = Metric(
    "perdura_cloudevents_total",
    Kind.COUNTER,
    "CloudEvents by type and answer: 204 done, 409 worked on elsewhere, 429 and 503 to be sent again.",
    ("type", "answer"),
    {"type": _TYPES, "answer": ("204", "409", "429", "500", "503")},
)
EVENT_SECONDS = Metric(
    "perdura_cloudevent_seconds", Kind.HISTOGRAM, "Seconds from a CloudEvent to its answer.", ("type",)
)
STEPS = Metric(
    "perdura_steps_total",
    Kind.COUNTER,
    "Recorded outcomes of steps, of deliveries and of looks; a look that found nothing new is none.",
    ("step", "state"),
    {"step": _STEPS, "state": [state for state in StepState if state is not StepState.RUNNING]},
)
RETRIES = Metric("perdura_retries_total", Kind.COUNTER, "Steps left to another try, by the reason.", ("step", "code"))
CLAIMS = Metric(
    "perdura_inbox_claims_total",
    Kind.COUNTER,
    "CloudEvents by whose turn it was: ours, busy (worked on elsewhere: a conflict), finished (a duplicate), no-room.",
    ("claim",),
    {"claim": ("ours", "busy", "finished", "no-room")},
)
DEAD_LETTERS = Metric(
    "perdura_dead_letters_total",
    Kind.COUNTER,
    "CloudEvents that the broker gave up, as `premis-log` got them.",
    ("type",),
    {"type": _TYPES},
)
STORED_BYTES = Metric(
    "perdura_stored_bytes_total",
    Kind.COUNTER,
    "Bytes of recorded packages.",
    ("kind",),
    {"kind": list(PackageKind)},
)
EMISSIONS = Metric(
    "perdura_emissions_total",
    Kind.COUNTER,
    "CloudEvents posted to the broker: taken, or left to the relay.",
    ("result",),
    {"result": ("taken", "left")},
)
OUTBOX_PENDING = Metric("perdura_outbox_pending", Kind.GAUGE, "CloudEvents that the broker has not taken yet.")
OUTBOX_AGE = Metric("perdura_outbox_oldest_seconds", Kind.GAUGE, "Age of the oldest of them, in seconds.")
STEPS_OPEN = Metric(
    "perdura_steps_open",
    Kind.GAUGE,
    "Steps that are not finished; those that wait for their turn (turn) or for a person (blocked) apart.",
    ("step", "state"),
)
STEPS_AGE = Metric(
    "perdura_steps_oldest_seconds",
    Kind.GAUGE,
    "Seconds since the step that has waited longest for progress last made any; tries and requests are none.",
    ("step", "state"),
)
TAPE_RESIDENCY = Metric(
    "perdura_tape_residency",
    Kind.GAUGE,
    "AIPs that are not safe on tape yet, by what they wait for there.",
    ("waiting_for",),
)
COPIES_BROKEN = Metric(
    "perdura_copies_broken", Kind.GAUGE, "Copies of AIPs that were found lost or damaged.", ("location", "state")
)
UNSEALED_AGE = Metric(
    "perdura_log_unsealed_oldest_seconds", Kind.GAUGE, "Age of the oldest event of the log that is not sealed yet."
)
CERTIFICATE_DAYS = Metric(
    "perdura_tape_certificate_days", Kind.GAUGE, "Days until the certificate for FTS and the tape endpoint expires."
)

METRICS = (
    EVENTS,
    EVENT_SECONDS,
    STEPS,
    RETRIES,
    CLAIMS,
    DEAD_LETTERS,
    STORED_BYTES,
    EMISSIONS,
    OUTBOX_PENDING,
    OUTBOX_AGE,
    STEPS_OPEN,
    STEPS_AGE,
    TAPE_RESIDENCY,
    COPIES_BROKEN,
    UNSEALED_AGE,
    CERTIFICATE_DAYS,
)

Sample = tuple[Metric, dict[str, str], float]
_exposed: dict[str, Any] = {}
_function = os.environ.get("FUNCTION", "perdura")


def add(metric: Metric, amount: float = 1, **labels: str) -> None:
    """Count `amount` more."""
    if metric.name in _exposed:
        _exposed[metric.name].labels(function=_function, **labels).inc(amount)


def observe(metric: Metric, seconds: float, **labels: str) -> None:
    """Note one duration."""
    if metric.name in _exposed:
        _exposed[metric.name].labels(function=_function, **labels).observe(seconds)


def serve(host: str, port: int, gauges: Callable[[], Iterable[Sample]] | None = None) -> int:
    """Expose the metrics at `http://host:port/metrics` from a thread; gives back the port, chosen when 0.

    `gauges` is asked at each scrape for what is read rather than counted.
    """
    from prometheus_client import CollectorRegistry, Counter, Histogram, start_http_server

    registry = CollectorRegistry()
    for metric in METRICS:
        labels = ("function", *metric.labels)
        if metric.kind is Kind.COUNTER:
            _exposed[metric.name] = Counter(metric.name, metric.says, labels, registry=registry)
            for known in metric.beginnings():
                add(metric, 0, **known)
        elif metric.kind is Kind.HISTOGRAM:
            _exposed[metric.name] = Histogram(metric.name, metric.says, labels, registry=registry, buckets=_BUCKETS)
    if gauges is not None:
        registry.register(_Gauges(gauges))
    server, _ = start_http_server(port, addr=host, registry=registry)
    return int(server.server_port)


def exposition(samples: Iterable[Sample]) -> str:
    """Samples in the text format of Prometheus (version 0.0.4); those of one metric have to follow one another."""
    lines: list[str] = []
    told: Metric | None = None
    for metric, labels, value in samples:
        if metric is not told:
            told = metric
            lines += [f"# HELP {metric.name} {metric.says}", f"# TYPE {metric.name} {metric.kind}"]
        named = ",".join(f'{name}="{_escaped(labels[name])}"' for name in metric.labels)
        lines.append(f"{metric.name}{{{named}}} {_number(value)}" if named else f"{metric.name} {_number(value)}")
    return "".join(f"{line}\n" for line in lines)


def _number(value: float) -> str:
    """All of its digits: a counter of bytes that is rounded stands still."""
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def _escaped(label: str) -> str:
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


class _Gauges:
    """What is read anew at each scrape, in the form that the client library collects."""

    def __init__(self, read: Callable[[], Iterable[Sample]]) -> None:
        self._read = read

    def describe(self) -> Iterable[Any]:
        """Nothing: asking the database for names at start would make every start wait for it."""
        return ()

    def collect(self) -> Iterable[Any]:
        """One family per metric."""
        from prometheus_client.core import GaugeMetricFamily

        families: dict[str, Any] = {}
        for metric, labels, value in self._read():
            names = ("function", *metric.labels)
            family = families.setdefault(metric.name, GaugeMetricFamily(metric.name, metric.says, labels=names))
            family.add_metric([_function, *(labels[name] for name in metric.labels)], value)
        return families.values()
