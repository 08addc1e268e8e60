"""Mistakes that Kubernetes takes without a word in one document (serverless.md §2.5, §3.6)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

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
    match kind_of(document):
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


def kind_of(document: Document) -> tuple[str, str]:
    """Its API group and its kind."""
    return str(document.get("apiVersion", "")).partition("/")[0], str(document.get("kind", ""))


def pod_template(document: Document) -> tuple[str, Values | None]:
    """The template of the pods that a document makes, None if it makes none, and the path to it."""
    path = "spec.job.spec.template" if document.get("kind") == "JobSink" else "spec.template"
    template: Any = document
    for name in path.split("."):
        template = template.get(name) if isinstance(template, Mapping) else None
    if not isinstance(template, Mapping) or not isinstance(template.get("spec"), Mapping):
        return path, None
    return path, template


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
    path, template = pod_template(document)
    if template is None:
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


def _quantity(text: Any) -> float:
    match = _QUANTITY.match(str(text))
    return float(match.group(1)) * _UNITS.get(match.group(2), 1.0) if match else 0.0
