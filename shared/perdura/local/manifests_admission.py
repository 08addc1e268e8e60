"""What the admission webhooks of Knative refuse, as a table of small functions (serverless.md §1.5, §1.9, §3.6).

Each rule takes the value at a path and yields errors with the paths the webhooks themselves write.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from perdura.local.broker.cron import Schedule
from perdura.local.manifests_cesql import BadExpression, check_syntax
from perdura.local.manifests_findings import Finding, error
from perdura.local.manifests_kustomize import Document
from perdura.local.manifests_service import check_service

_DURATION = re.compile(
    r"P(?=.)(?:\d+(?:\.\d+)?Y)?(?:\d+(?:\.\d+)?M)?(?:\d+(?:\.\d+)?W)?(?:\d+(?:\.\d+)?D)?"
    r"(?:T(?=.)(?:\d+(?:\.\d+)?H)?(?:\d+(?:\.\d+)?M)?(?:\d+(?:\.\d+)?S)?)?\Z"
)
_NONZERO = re.compile(r"[1-9]")
_ATTRIBUTE = re.compile(r"[a-z][a-z0-9]*\Z")
_EXTENSION = re.compile(r"[A-Za-z0-9]+\Z")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\Z")
_COMPARING = ("exact", "prefix", "suffix")
_LISTS = ("all", "any")
_DIALECTS = (*_COMPARING, *_LISTS, "not", "cesql")

Rule = Callable[[Mapping[str, Any], Mapping[str, Any]], Iterator[Finding]]
"""Takes a document and its `spec`."""


def check_admission(document: Document) -> Iterator[Finding]:
    """Everything for which the API server or Knative's webhooks would refuse the document."""
    for field in ("apiVersion", "kind"):
        if not isinstance(document.get(field), str) or not document[field]:
            yield error(field, "missing field")
    metadata = document.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    if not isinstance(name, str) or len(name) > 253 or not _SUBDOMAIN.match(name):
        yield error("metadata.name", f"not a DNS-1123 subdomain: {name!r}")
    group = str(document.get("apiVersion", "")).partition("/")[0]
    rule = RULES.get((group, str(document.get("kind"))))
    if rule is None:
        return
    spec = document.get("spec") or {}
    if not isinstance(spec, Mapping):
        yield error("spec", "not an object")
        return
    try:
        yield from rule(document, spec)
    except (TypeError, AttributeError, ValueError, KeyError, IndexError, RecursionError):
        yield error("spec", "a field has a value of a wrong type")


def check_delivery(spec: Any, path: str) -> Iterator[Finding]:
    """`spec.delivery` of a Broker, Trigger or channel."""
    if spec is None:
        return
    retry = spec.get("retry")
    if retry is not None and (not isinstance(retry, int) or isinstance(retry, bool) or retry < 0):
        yield error(f"{path}.retry", f"invalid value: {retry}")
    policy = spec.get("backoffPolicy")
    if policy is not None and policy not in ("linear", "exponential"):
        yield error(f"{path}.backoffPolicy", f"invalid value: {policy}")
    for name in ("backoffDelay", "timeout"):
        value = spec.get(name)
        if (value is not None and not _DURATION.match(str(value))) or (
            name == "timeout" and value is not None and not _NONZERO.search(str(value))
        ):
            yield error(f"{path}.{name}", f"invalid value: {value}")
    if "retryAfterMax" in spec:
        yield error(f"{path}.retryAfterMax", "must not set the field: its feature is off by default")
    if spec.get("format") not in (None, "json", "binary"):
        yield error(f"{path}.format", f"invalid value: {spec['format']}")
    if spec.get("deadLetterSink") is not None:
        yield from check_destination(spec["deadLetterSink"], f"{path}.deadLetterSink")


def check_destination(destination: Any, path: str) -> Iterator[Finding]:
    """Where events are sent: `ref`, an absolute `uri`, or `ref` with a relative `uri`."""
    reference = destination.get("ref") if destination else None
    uri = destination.get("uri") if destination else None
    if reference is None and not uri:
        yield error(f"{path}.ref, {path}.uri", "expected at least one, got none")
        return
    if reference is not None:
        for name in ("kind", "name"):
            if not reference.get(name):
                yield error(f"{path}.ref.{name}", "missing field")
        if not reference.get("apiVersion") and not reference.get("group"):
            yield error(f"{path}.ref.apiVersion", "missing field")
    elif not (urlsplit(str(uri)).scheme and urlsplit(str(uri)).netloc):
        yield error(f"{path}.uri", f"a relative URI needs a ref: {uri}")


def _broker(_: Mapping[str, Any], spec: Mapping[str, Any]) -> Iterator[Finding]:
    config = spec.get("config")
    if config is not None:
        for name in ("apiVersion", "kind", "name"):
            if not config.get(name):
                yield error(f"spec.config.{name}", "missing field")
    yield from check_delivery(spec.get("delivery"), "spec.delivery")


def _trigger(_: Mapping[str, Any], spec: Mapping[str, Any]) -> Iterator[Finding]:
    if not spec.get("broker") and not spec.get("brokerRef"):
        yield error("spec.broker", "missing field")
    for name in (spec.get("filter") or {}).get("attributes") or {}:
        yield from _attribute_name(name, f"spec.filter.attributes[{name}]")
    for index, expression in enumerate(spec.get("filters") or ()):
        yield from _filter(expression, f"spec.filters[{index}]")
    yield from check_destination(spec.get("subscriber"), "spec.subscriber")
    yield from check_delivery(spec.get("delivery"), "spec.delivery")


def _filter(expression: Mapping[str, Any], path: str) -> Iterator[Finding]:
    present = [name for name, operand in expression.items() if operand]
    if len(present) > 1:
        yield error(path, "multiple dialects found, filters can have only one dialect set")
        return
    for dialect, operand in expression.items():
        if dialect not in _DIALECTS:
            yield error(f"{path}.{dialect}", "unknown dialect")
        elif dialect in _COMPARING:
            for name in operand or {}:
                yield from _attribute_name(name, f"{path}.{dialect}[{name}]")
        elif dialect in _LISTS:
            for index, member in enumerate(operand or ()):
                yield from _filter(member, f"{path}.{dialect}[{index}]")
        elif dialect == "not":
            yield from _filter(operand or {}, f"{path}.not")
        elif operand:
            try:
                check_syntax(operand)
            except BadExpression as bad:
                yield error(f"{path}.cesql", f"invalid value: {operand}: {bad}")


def _attribute_name(name: str, path: str) -> Iterator[Finding]:
    if not _ATTRIBUTE.match(name):
        yield error(path, f"invalid key name {name!r}: a lower-case letter, then lower-case letters and digits")


def _ping_source(_: Mapping[str, Any], spec: Mapping[str, Any]) -> Iterator[Finding]:
    try:
        Schedule.parse(str(spec.get("schedule", "")), spec.get("timezone"))
    except ValueError as bad:
        yield error("spec.schedule", f"invalid value: {bad}")
    data, encoded = spec.get("data"), spec.get("dataBase64")
    if data and encoded:
        yield error("spec.data, spec.dataBase64", "expected exactly one, got both")
    path, text = "spec.data", str(data or "")
    if encoded:
        path = "spec.dataBase64"
        try:
            text = base64.b64decode(encoded, validate=True).decode("utf-8", "replace")
        except (binascii.Error, ValueError):
            yield error(path, "invalid value: not base64")
            text = ""
    if text and spec.get("contentType") == "application/json" and not _is_json_object(text):
        yield error(path, "invalid value: not a JSON object")
    yield from _source(spec)


def _is_json_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _source(spec: Mapping[str, Any]) -> Iterator[Finding]:
    """What all sources have: a sink, and extensions laid over their events."""
    yield from check_destination(spec.get("sink"), "spec.sink")
    for name in (spec.get("ceOverrides") or {}).get("extensions") or {}:
        if not _EXTENSION.match(str(name)):
            yield error("spec.ceOverrides.extensions", f"invalid key name {name!r}: must be alphanumeric")


def _sink_binding(_: Mapping[str, Any], spec: Mapping[str, Any]) -> Iterator[Finding]:
    subject = spec.get("subject") or {}
    for name in ("apiVersion", "kind"):
        if not subject.get(name):
            yield error(f"spec.subject.{name}", "missing field")
    given = [name for name in ("name", "selector") if subject.get(name)]
    if len(given) != 1:
        found = "both" if given else "neither"
        yield error("spec.subject.name, spec.subject.selector", f"expected exactly one, got {found}")
    yield from _source(spec)


def _job_sink(_: Mapping[str, Any], spec: Mapping[str, Any]) -> Iterator[Finding]:
    if not spec.get("job"):
        yield error("spec.job", "expected exactly one, got neither")


def _sequence(_: Mapping[str, Any], spec: Mapping[str, Any]) -> Iterator[Finding]:
    steps: Sequence[Mapping[str, Any]] = spec.get("steps") or ()
    if not steps:
        yield error("spec.steps", "missing field")
    for index, step in enumerate(steps):
        yield from check_destination(step, f"spec.steps[{index}]")
        yield from check_delivery(step.get("delivery"), f"spec.steps[{index}].delivery")
    for name in ("apiVersion", "kind"):
        if not (spec.get("channelTemplate") or {}).get(name):
            yield error(f"spec.channelTemplate.{name}", "missing field")
    if spec.get("reply") is not None:
        yield from check_destination(spec["reply"], "spec.reply")


RULES: Mapping[tuple[str, str], Rule] = {
    ("eventing.knative.dev", "Broker"): _broker,
    ("eventing.knative.dev", "Trigger"): _trigger,
    ("sources.knative.dev", "PingSource"): _ping_source,
    ("sources.knative.dev", "SinkBinding"): _sink_binding,
    ("sinks.knative.dev", "JobSink"): _job_sink,
    ("flows.knative.dev", "Sequence"): _sequence,
    ("serving.knative.dev", "Service"): check_service,
}
"""The rule of each kind, by API group and kind."""
