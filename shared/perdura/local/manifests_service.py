"""What Knative Serving's webhook refuses in a Service under default flags (serverless.md §1.9)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from perdura.local.manifests_findings import Finding, error

_LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?\Z")
_PREFIX = "autoscaling.knative.dev/"
_SECONDS = ("timeoutSeconds", "responseStartTimeoutSeconds", "idleTimeoutSeconds")
_POD_FIELDS = frozenset(
    (
        "containers", "volumes", "serviceAccountName", "imagePullSecrets", "enableServiceLinks",
        "automountServiceAccountToken", "containerConcurrency", *_SECONDS,
    )
)  # fmt: skip
_CONTAINER_FIELDS = frozenset(
    (
        "name", "image", "imagePullPolicy", "command", "args", "workingDir", "env", "envFrom", "ports",
        "livenessProbe", "readinessProbe", "startupProbe", "resources", "securityContext", "volumeMounts",
        "terminationMessagePath", "terminationMessagePolicy",
    )
)  # fmt: skip
_SECURITY_FIELDS = frozenset(
    (
        "runAsUser", "runAsGroup", "runAsNonRoot", "readOnlyRootFilesystem", "allowPrivilegeEscalation",
        "capabilities", "seccompProfile",
    )
)  # fmt: skip
_VOLUME_FIELDS = frozenset(("name", "secret", "configMap", "projected", "emptyDir"))
_ENV_SOURCES = frozenset(("secretKeyRef", "configMapKeyRef"))
_RESERVED_ENV = frozenset(("PORT", "K_SERVICE", "K_CONFIGURATION", "K_REVISION"))
_PORT_NAMES = ("", "http1", "h2c")
_METRICS = ("concurrency", "rps")
_GO_DURATION = re.compile(r"(\d+(?:\.\d+)?)(h|m(?!s)|s|ms)")
_UNIT_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_MAX_INT32 = 2**31 - 1

Values = Mapping[str, Any]


def check_service(document: Values, spec: Values) -> Iterator[Finding]:
    """Everything for which the webhook refuses a Service."""
    metadata = document.get("metadata") or {}
    name = metadata.get("name")
    if isinstance(name, str) and (len(name) > 63 or not _LABEL.match(name)):
        yield error("metadata.name", f"not a DNS 1035 label: {name}")
    for annotation in metadata.get("annotations") or {}:
        if annotation.startswith(_PREFIX):
            yield error("metadata.annotations", f"{annotation} must be put under spec.template.metadata.annotations")
    template = spec.get("template") or {}
    yield from _autoscaling((template.get("metadata") or {}).get("annotations") or {})
    yield from _pod(template.get("spec") or {}, "spec.template.spec")
    yield from _traffic(spec.get("traffic") or ())


def _autoscaling(annotations: Values) -> Iterator[Finding]:
    path = f"spec.template.metadata.annotations.{_PREFIX}"
    scales: dict[str, int] = {}
    for name in ("min-scale", "max-scale"):
        text = annotations.get(_PREFIX + name)
        if text is None:
            continue
        try:
            scales[name] = int(text)
        except ValueError:
            yield error(path + name, f"invalid value: {text}")
            continue
        if not 0 <= scales[name] <= _MAX_INT32:
            yield error(path + name, f"expected 0 <= {text} <= {_MAX_INT32}")
    least, most = scales.get("min-scale", 0), scales.get("max-scale", 0)
    if most and most < least:
        yield error(f"{path}max-scale, {path}min-scale", f"max-scale={most} is less than min-scale={least}")
    window = annotations.get(f"{_PREFIX}window")
    if window is not None and not 6 <= (_go_seconds(window) or -1) <= 3600:
        yield error(f"{path}window", f"expected 6s <= {window} <= 1h0m0s")
    metric = annotations.get(f"{_PREFIX}metric")
    if metric is not None and f"{_PREFIX}class" not in annotations and metric not in _METRICS:
        yield error(f"{path}metric", f"invalid value: {metric}")
    target = annotations.get(f"{_PREFIX}target")
    if target is not None and not _is_positive(target):
        yield error(f"{path}target", f"invalid value: {target}")


def _go_seconds(text: str) -> float | None:
    parts = _GO_DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    return sum(float(number) * _UNIT_SECONDS[unit] for number, unit in parts)


def _is_positive(text: str) -> bool:
    try:
        return float(text) >= 0.01
    except ValueError:
        return False


def _pod(pod: Values, path: str) -> Iterator[Finding]:
    yield from _only(pod, _POD_FIELDS, path)
    yield from _only(pod.get("securityContext") or {}, frozenset(), f"{path}.securityContext")
    yield from _within(pod, "containerConcurrency", 1000, path)
    for name in _SECONDS:
        yield from _within(pod, name, 600, path)
    containers = pod.get("containers") or ()
    if not containers:
        yield error(f"{path}.containers", "missing field")
    ports = [len(container.get("ports") or ()) for container in containers]
    if len(containers) > 1 and sum(ports) > 1:
        yield error(f"{path}.containers[*].ports", "more than one container port is set")
    if len(containers) > 1 and not sum(ports):
        yield error(f"{path}.containers[*].ports", "missing field: one container must have a port")
    mounted = set()
    declared = {volume.get("name") for volume in pod.get("volumes") or ()}
    for index, container in enumerate(containers):
        place = f"{path}.containers[{index}]"
        yield from _container(container, place, only=len(containers) == 1)
        for number, mount in enumerate(container.get("volumeMounts") or ()):
            mounted.add(mount.get("name"))
            if mount.get("name") not in declared:
                yield error(f"{place}.volumeMounts[{number}].name", f"volume {mount.get('name')} is not declared")
            if not str(mount.get("mountPath", "")).startswith("/"):
                yield error(f"{place}.volumeMounts[{number}].mountPath", "not an absolute path")
    for index, volume in enumerate(pod.get("volumes") or ()):
        place = f"{path}.volumes[{index}]"
        yield from _only(volume, _VOLUME_FIELDS, place)
        if volume.get("name") not in mounted:
            yield error(f"{place}.name", f"volume {volume.get('name')} is not mounted")


def _container(container: Values, path: str, *, only: bool) -> Iterator[Finding]:
    yield from _only(container, _CONTAINER_FIELDS, path)
    if not container.get("image"):
        yield error(f"{path}.image", "missing field")
    ports = container.get("ports") or ()
    if only and len(ports) > 1:
        yield error(f"{path}.ports", "more than one container port is set")
    for index, port in enumerate(ports):
        if port.get("name", "") not in _PORT_NAMES:
            yield error(f"{path}.ports[{index}].name", f"port name {port['name']} is not allowed")
        if not 1 <= port.get("containerPort", 8080) <= 65535:
            yield error(f"{path}.ports[{index}].containerPort", f"invalid value: {port['containerPort']}")
    for index, variable in enumerate(container.get("env") or ()):
        place = f"{path}.env[{index}]"
        if not variable.get("name"):
            yield error(f"{place}.name", "missing field")
        if variable.get("name") in _RESERVED_ENV:
            yield error(f"{place}.name", f"{variable['name']} is a reserved environment variable")
        yield from _only(variable.get("valueFrom") or {}, _ENV_SOURCES, f"{place}.valueFrom")
    security = container.get("securityContext") or {}
    yield from _only(security, _SECURITY_FIELDS, f"{path}.securityContext")
    if (security.get("capabilities") or {}).get("add"):
        yield error(f"{path}.securityContext.capabilities.add", "must not set the field")


def _only(values: Values, allowed: frozenset[str], path: str) -> Iterator[Finding]:
    for name in values:
        if name not in allowed:
            yield error(f"{path}.{name}", "must not set the field")


def _within(values: Values, name: str, most: int, path: str) -> Iterator[Finding]:
    value = values.get(name)
    if value is not None and not 0 <= value <= most:
        yield error(f"{path}.{name}", f"expected 0 <= {value} <= {most}")


def _traffic(targets: Any) -> Iterator[Finding]:
    if targets:
        total = sum(target.get("percent") or 0 for target in targets)
        if total != 100:
            yield error("spec.traffic", f"Traffic targets sum to {total}, want 100")
