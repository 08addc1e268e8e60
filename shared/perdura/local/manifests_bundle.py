"""Mistakes between documents that Kubernetes takes without a word (serverless.md §3.6): what names what is not there,
events that go where nobody does anything with them, or round and round."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from perdura.cloudevents.catalogue import CATALOGUE
from perdura.cloudevents.routes import FUNCTIONS, TICKED, goes_round, takes
from perdura.errors import PerduraError
from perdura.local.broker.delivery import parse_duration
from perdura.local.broker.envelope import Envelope
from perdura.local.broker.filters import compile_filter
from perdura.local.manifests_findings import Finding, lint
from perdura.local.manifests_kustomize import Document
from perdura.local.manifests_lint import Values, kind_of, pod_template

_Bundle = Mapping[tuple[str, str], Mapping[str, Document]]
"""The documents of a bundle by group and kind, and by `<namespace>/<name>`."""


def lint_bundle(documents: Sequence[Document]) -> Iterator[tuple[Document, Finding]]:
    """Mistakes between documents, each with the document that shows it."""
    by_kind: dict[tuple[str, str], dict[str, Document]] = {}
    for document in documents:
        by_kind.setdefault(kind_of(document), {})[_place(document)] = document
    brokers = by_kind.get(("eventing.knative.dev", "Broker"), {})
    triggers = by_kind.get(("eventing.knative.dev", "Trigger"), {})
    for trigger in triggers.values():
        for finding in _trigger_in_bundle(trigger, by_kind):
            yield trigger, finding
        for finding in _wrongly_sent(trigger, by_kind):
            yield trigger, finding
    for kind in ("PingSource", "SinkBinding"):
        for source in by_kind.get(("sources.knative.dev", kind), {}).values():
            for finding in _unknown_sink(source, source["spec"].get("sink"), "spec.sink", by_kind):
                yield source, finding
            function = _function(_receiver(source, source["spec"].get("sink"), by_kind))
            if kind == "PingSource" and function is not None and function not in TICKED:
                yield source, lint("spec.sink", f"{function} does nothing at a tick")
    for name, broker in brokers.items():
        routed = [trigger for trigger in triggers.values() if _broker_of(trigger) == name]
        if any("org.perdura." in str(trigger["spec"].get("filters")) for trigger in routed):
            declared = _declared(by_kind.get(("eventing.knative.dev", "EventType"), {}).values())
            for finding in _catalogue(routed, declared):
                yield broker, finding


def _trigger_in_bundle(trigger: Document, by_kind: _Bundle) -> Iterator[Finding]:
    spec = trigger["spec"]
    broker = by_kind.get(("eventing.knative.dev", "Broker"), {}).get(_broker_of(trigger))
    if broker is None:
        yield lint("spec.broker", f"there is no Broker {spec.get('broker')} here")
    yield from _unknown_sink(trigger, spec.get("subscriber"), "spec.subscriber", by_kind)
    delivery = spec.get("delivery") or ((broker or {}).get("spec") or {}).get("delivery") or {}
    sink = delivery.get("deadLetterSink")
    if sink is None:
        yield lint("spec.delivery.deadLetterSink", "undeliverable events are lost")
    else:
        yield from _unknown_sink(trigger, sink, "spec.delivery.deadLetterSink", by_kind)
    if delivery.get("retry") and not (delivery.get("backoffPolicy") and delivery.get("backoffDelay")):
        yield lint("spec.delivery.backoffDelay", "without back-off all retries come at once")
    service = _receiver(trigger, spec.get("subscriber"), by_kind)
    if service is not None and kind_of(service)[0] == "serving.knative.dev" and delivery.get("timeout"):
        limit = service["spec"].get("template", {}).get("spec", {}).get("timeoutSeconds", 300)
        if _seconds(delivery["timeout"]) > limit:
            yield lint("spec.delivery.timeout", f"longer than the {limit} s that the Service may take")


def _unknown_sink(document: Document, destination: Values | None, path: str, by_kind: _Bundle) -> Iterator[Finding]:
    reference = (destination or {}).get("ref")
    if reference and (target := _referred(document, reference)) not in by_kind.get(kind_of(reference), {}):
        yield lint(f"{path}.ref.name", f"there is no {reference.get('kind')} {target} here")


def _wrongly_sent(trigger: Document, by_kind: _Bundle) -> Iterator[Finding]:
    """Types that a function of ours is sent and does nothing with, or that it emits itself without an end to it."""
    function = _function(_receiver(trigger, trigger["spec"].get("subscriber"), by_kind))
    if function is None:
        return
    for event_type in (name for name in CATALOGUE if _wants(trigger, name)):
        if not takes(function, event_type):
            yield lint("spec.subscriber", f"{function} does nothing with {event_type}")
        elif goes_round(function, event_type):
            yield lint("spec.filters", f"{function} emits {event_type} itself: a loop")


def _catalogue(triggers: Sequence[Document], declared: set[str]) -> Iterator[Finding]:
    """The types of our catalogue against the Triggers and EventTypes of a Broker."""
    for event_type, entry in CATALOGUE.items():
        if entry.request and not any(_wants(trigger, event_type) for trigger in triggers):
            yield lint("spec", f"{event_type} is routed nowhere")
        if event_type not in declared:
            yield lint("spec", f"{event_type} has no EventType")
    for event_type in {name for trigger in triggers for name in _exact_types(trigger["spec"].get("filters") or ())}:
        if event_type not in CATALOGUE and event_type not in declared:
            yield lint("spec", f"a Trigger waits for {event_type}, which nobody declares")


def _exact_types(value: Any) -> Iterator[str]:
    """Every type that an `exact` filter names, however deep."""
    if isinstance(value, Mapping):
        exact = value.get("exact")
        if isinstance(exact, Mapping) and "type" in exact:
            yield exact["type"]
        for member in value.values():
            yield from _exact_types(member)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for member in value:
            yield from _exact_types(member)


def _declared(event_types: Iterable[Document]) -> set[str]:
    return {
        attribute.get("value", "")
        for document in event_types
        for attribute in (document.get("spec") or {}).get("attributes") or ()
        if attribute.get("name") == "type"
    }


def _wants(trigger: Document, event_type: str) -> bool:
    attributes = {"specversion": "1.0", "id": "1", "source": "/", "type": event_type}
    try:
        return compile_filter(trigger["spec"])(Envelope(attributes, b""))
    except PerduraError:
        return False


def _receiver(document: Document, destination: Values | None, by_kind: _Bundle) -> Document | None:
    """The document that a destination names, if it is here."""
    reference = (destination or {}).get("ref") or {}
    return by_kind.get(kind_of(reference), {}).get(_referred(document, reference))


def _function(document: Document | None) -> str | None:
    """The function of ours that a Service or JobSink runs: a variable selects it in the image. None for others."""
    _, template = pod_template(document or {})
    for container in template["spec"].get("containers") or () if template else ():
        for variable in container.get("env") or ():
            if variable.get("name") == "FUNCTION" and variable.get("value") in FUNCTIONS:
                return str(variable["value"])
    return None


def _referred(document: Document, reference: Values) -> str:
    return f"{reference.get('namespace') or _namespace(document)}/{reference.get('name')}"


def _broker_of(trigger: Document) -> str:
    return f"{_namespace(trigger)}/{trigger['spec'].get('broker')}"


def _namespace(document: Document) -> str:
    return str((document.get("metadata") or {}).get("namespace", "default"))


def _place(document: Document) -> str:
    return f"{_namespace(document)}/{(document.get('metadata') or {}).get('name')}"


def _seconds(text: Any) -> float:
    try:
        return parse_duration(str(text))
    except ValueError:
        return 0.0
