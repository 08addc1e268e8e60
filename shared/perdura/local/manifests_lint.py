"""Mistakes that Kubernetes takes without a word (serverless.md §2.5, §3.6): in one document, and across a bundle."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from perdura.cloudevents.catalogue import CATALOGUE
from perdura.errors import PerduraError
from perdura.local.broker.delivery import parse_duration
from perdura.local.broker.envelope import Envelope
from perdura.local.broker.filters import compile_filter
from perdura.local.manifests_findings import Finding, lint
from perdura.local.manifests_kustomize import Document

_AUTOSCALING = "autoscaling.knative.dev/"
_KNOWN_AUTOSCALING = frozenset(
    (
        "class", "metric", "target", "target-utilization-percentage", "target-burst-capacity", "min-scale",
        "max-scale", "initial-scale", "scale-down-delay", "window", "panic-window-percentage",
        "panic-threshold-percentage", "scale-to-zero-pod-retention-period", "activation-scale",
        "metric-aggregation-algorithm",
    )
)  # fmt: skip
_METADATA = frozenset(
    (
        "name", "generateName", "namespace", "labels", "annotations", "finalizers", "ownerReferences", "uid",
        "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds",
        "managedFields", "selfLink",
    )
)  # fmt: skip
"""Fields of ObjectMeta; a cluster drops any other without a word, or refuses it where it is told to be strict."""
_DIGEST = re.compile(r"@sha256:[0-9a-f]{64}\Z")
_NO_DIGEST = "@sha256:" + 64 * "0"
PLACEHOLDER = "the digest is a placeholder: name your own image"
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)([a-zA-Z]*)\Z")
_UNITS = {
    "": 1.0, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12,
    "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40,
}  # fmt: skip
_CHOOSING = frozenset({"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"})
_Bundle = Mapping[tuple[str, str], Mapping[str, Document]]
"""The documents of a bundle by group and kind, and by `<namespace>/<name>`."""

_EMITS = "perdura.org/emits"
"""Annotation of a Service: the types it emits, separated by blanks."""

Values = Mapping[str, Any]


def lint_document(document: Document) -> Iterator[Finding]:
    """Mistakes that can be seen in one document."""
    for name in document.get("metadata") or {}:
        if name not in _METADATA:
            yield lint(f"metadata.{name}", "there is no such field; does it belong into data or labels?")
    spec = document.get("spec")
    if not isinstance(spec, Mapping):
        return
    yield from _pod(document)
    match _kind(document):
        case ("serving.knative.dev", "Service"):
            yield from _service(spec)
        case ("eventing.knative.dev", "Trigger"):
            yield from _trigger(document, spec)
        case ("sources.knative.dev", "PingSource" | "SinkBinding"):
            for name in (spec.get("ceOverrides") or {}).get("extensions") or {}:
                if name != name.lower():
                    yield lint("spec.ceOverrides.extensions", f"{name}: CloudEvents attribute names are lower case")


def lint_image(image: object, path: str) -> Iterator[Finding]:
    """An image is named by its digest, so that what was checked is what runs; ours have none until one is built."""
    if not _DIGEST.search(str(image or "")):
        yield lint(path, "not pinned by a sha256 digest")
    elif str(image).endswith(_NO_DIGEST):
        yield lint(path, PLACEHOLDER)


def lint_bundle(documents: Sequence[Document]) -> Iterator[tuple[Document, Finding]]:
    """Mistakes between documents, each with the document that shows it."""
    by_kind: dict[tuple[str, str], dict[str, Document]] = {}
    for document in documents:
        by_kind.setdefault(_kind(document), {})[_place(document)] = document
    services = by_kind.get(("serving.knative.dev", "Service"), {})
    brokers = by_kind.get(("eventing.knative.dev", "Broker"), {})
    triggers = by_kind.get(("eventing.knative.dev", "Trigger"), {})
    for trigger in triggers.values():
        for finding in _trigger_in_bundle(trigger, by_kind):
            yield trigger, finding
        yield from _own_emissions(trigger, services)
    for kind in ("PingSource", "SinkBinding"):
        for source in by_kind.get(("sources.knative.dev", kind), {}).values():
            for finding in _unknown_sink(source, source["spec"].get("sink"), "spec.sink", by_kind):
                yield source, finding
    for name, broker in brokers.items():
        routed = [trigger for trigger in triggers.values() if _broker_of(trigger) == name]
        if any("org.perdura." in str(trigger["spec"].get("filters")) for trigger in routed):
            declared = _declared(by_kind.get(("eventing.knative.dev", "EventType"), {}).values())
            for finding in _catalogue(routed, declared):
                yield broker, finding


def _service(spec: Values) -> Iterator[Finding]:
    template = spec.get("template") or {}
    annotations = (template.get("metadata") or {}).get("annotations") or {}
    for name in annotations:
        if name.startswith(_AUTOSCALING) and name.removeprefix(_AUTOSCALING) not in _KNOWN_AUTOSCALING:
            yield lint(f"spec.template.metadata.annotations.{name}", "unknown autoscaling annotation")
    if annotations.get(f"{_AUTOSCALING}max-scale") in (None, "0"):
        yield lint(f"spec.template.metadata.annotations.{_AUTOSCALING}max-scale", "the number of replicas is unlimited")
    pod = template.get("spec") or {}
    if pod.get("responseStartTimeoutSeconds", 0) > pod.get("timeoutSeconds", 300):
        yield lint("spec.template.spec.responseStartTimeoutSeconds", "longer than timeoutSeconds")


def _pod(document: Document) -> Iterator[Finding]:
    """What is wrong with the pods that a document makes, whatever its kind."""
    path = "spec.job.spec.template" if document.get("kind") == "JobSink" else "spec.template"
    template: Any = document
    for name in path.split("."):
        template = template.get(name) if isinstance(template, Mapping) else None
    if not isinstance(template, Mapping) or not isinstance(template.get("spec"), Mapping):
        return
    pod = template["spec"]
    path = f"{path}.spec"
    chosen = (
        ((document["spec"].get("selector") or {}).get("matchLabels") or {}) if document["kind"] in _CHOOSING else {}
    )
    labels = (template.get("metadata") or {}).get("labels") or {}
    if not chosen.items() <= labels.items():
        yield lint("spec.selector.matchLabels", "its own pods do not have these labels")
    secrets = {volume.get("name") for volume in pod.get("volumes") or () if "secret" in volume}
    for index, container in enumerate(pod.get("containers") or ()):
        yield from _container(container, f"{path}.containers[{index}]", secrets)


def _container(container: Values, path: str, secrets: set[Any]) -> Iterator[Finding]:
    yield from lint_image(container.get("image"), f"{path}.image")
    resources = container.get("resources") or {}
    limits = resources.get("limits") or {}
    for name, requested in (resources.get("requests") or {}).items():
        if name in limits and _quantity(requested) > _quantity(limits[name]):
            yield lint(f"{path}.resources.requests.{name}", "above its limit")
    ports = {port.get("containerPort", 8080) for port in container.get("ports") or ()} or {8080}
    for probe in ("readinessProbe", "livenessProbe", "startupProbe"):
        port = ((container.get(probe) or {}).get("httpGet") or {}).get("port")
        if port not in (None, 0) and port not in ports:
            yield lint(f"{path}.{probe}.httpGet.port", "not the port of the container")
    for index, mount in enumerate(container.get("volumeMounts") or ()):
        if mount.get("name") in secrets and not mount.get("readOnly"):
            yield lint(f"{path}.volumeMounts[{index}].readOnly", "a secret is mounted writable")
    security = container.get("securityContext") or {}
    wanted = {
        "allowPrivilegeEscalation": security.get("allowPrivilegeEscalation") is False,
        "capabilities.drop": "ALL" in ((security.get("capabilities") or {}).get("drop") or ()),
        "runAsNonRoot": security.get("runAsNonRoot") is True,
        "seccompProfile": bool(security.get("seccompProfile")),
        "readOnlyRootFilesystem": security.get("readOnlyRootFilesystem") is True,
    }
    for name, given in wanted.items():
        if not given:
            yield lint(f"{path}.securityContext.{name}", "the container is not restricted")


def _trigger(document: Document, spec: Values) -> Iterator[Finding]:
    expressions = spec.get("filters") or ()
    attributes = (spec.get("filter") or {}).get("attributes") or {}
    if not expressions and not attributes:
        yield lint("spec.filters", "passes every event")
    for index, expression in enumerate(expressions):
        yield from _passes_everything(expression, f"spec.filters[{index}]")
    namespace = ((spec.get("subscriber") or {}).get("ref") or {}).get("namespace")
    if namespace not in (None, document["metadata"].get("namespace")):
        yield lint("spec.subscriber.ref.namespace", "another namespace")


def _passes_everything(expression: Values, path: str) -> Iterator[Finding]:
    if not expression:
        yield lint(path, "an empty filter passes everything")
    for dialect, operand in expression.items():
        if dialect == "cesql":
            yield lint(f"{path}.cesql", "the local broker does not evaluate CESQL")
        elif not operand:
            yield lint(f"{path}.{dialect}", "an empty filter passes everything")
        elif dialect in ("exact", "prefix", "suffix"):
            for name, value in operand.items():
                if not value:
                    yield lint(f"{path}.{dialect}[{name}]", "an empty value passes everything")
        elif dialect == "not":
            yield from _passes_everything(operand, f"{path}.not")
        else:
            for index, member in enumerate(operand):
                yield from _passes_everything(member, f"{path}.{dialect}[{index}]")


def _trigger_in_bundle(trigger: Document, by_kind: _Bundle) -> Iterator[Finding]:
    spec = trigger["spec"]
    services = by_kind.get(("serving.knative.dev", "Service"), {})
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
    service = services.get(_target(trigger, spec.get("subscriber")) or "")
    if service is not None and delivery.get("timeout"):
        limit = service["spec"].get("template", {}).get("spec", {}).get("timeoutSeconds", 300)
        if _seconds(delivery["timeout"]) > limit:
            yield lint("spec.delivery.timeout", f"longer than the {limit} s that the Service may take")


def _unknown_sink(document: Document, destination: Values | None, path: str, by_kind: _Bundle) -> Iterator[Finding]:
    reference = (destination or {}).get("ref")
    if reference and (target := _referred(document, reference)) not in by_kind.get(_kind(reference), {}):
        yield lint(f"{path}.ref.name", f"there is no {reference.get('kind')} {target} here")


def _own_emissions(trigger: Document, services: Mapping[str, Document]) -> Iterator[tuple[Document, Finding]]:
    service = services.get(_target(trigger, trigger["spec"].get("subscriber")) or "")
    if service is None:
        return
    emitted = (service["metadata"].get("annotations") or {}).get(_EMITS, "").split()
    for event_type in emitted:
        if _wants(trigger, event_type):
            yield trigger, lint("spec.filters", f"its subscriber emits {event_type} itself: a loop")


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


def _target(document: Document, destination: Values | None) -> str | None:
    """The Knative Service that a destination names, as `<namespace>/<name>`."""
    reference = (destination or {}).get("ref")
    if not reference or not str(reference.get("apiVersion", "")).startswith("serving.knative.dev/"):
        return None
    return _referred(document, reference)


def _referred(document: Document, reference: Values) -> str:
    return f"{reference.get('namespace') or _namespace(document)}/{reference.get('name')}"


def _broker_of(trigger: Document) -> str:
    return f"{_namespace(trigger)}/{trigger['spec'].get('broker')}"


def _kind(document: Document) -> tuple[str, str]:
    return str(document.get("apiVersion", "")).partition("/")[0], str(document.get("kind", ""))


def _namespace(document: Document) -> str:
    return str((document.get("metadata") or {}).get("namespace", "default"))


def _place(document: Document) -> str:
    return f"{_namespace(document)}/{(document.get('metadata') or {}).get('name')}"


def _quantity(text: Any) -> float:
    match = _QUANTITY.match(str(text))
    return float(match.group(1)) * _UNITS.get(match.group(2), 1.0) if match else 0.0


def _seconds(text: Any) -> float:
    try:
        return parse_duration(str(text))
    except ValueError:
        return 0.0
