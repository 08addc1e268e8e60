"""Trigger filters (serverless.md §1.8): `filters` overrides `filter`, all of them must pass.

Knative lets empty values, empty objects and empty lists pass everything; so does this, and the manifest checker
warns of them. CESQL is refused when manifests are read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from perdura.errors import Broken
from perdura.local.broker.envelope import TTL, Envelope

Filter = Callable[[Envelope], bool]
"""Whether a Trigger wants an event."""

_ZERO_TIME = "0001-01-01T00:00:00Z"
_COMPARISONS: dict[str, Callable[[str, str], bool]] = {
    "exact": str.__eq__,
    "prefix": str.startswith,
    "suffix": str.endswith,
}


class UnsupportedFilter(Broken):
    """A Trigger uses a filter that this broker does not evaluate."""

    code = "unsupported-filter"


def compile_filter(trigger_spec: Mapping[str, Any]) -> Filter:
    """The filter of a Trigger's `spec`. Raises UnsupportedFilter."""
    expressions = trigger_spec.get("filters")
    if expressions:
        return _all([_expression(expression) for expression in expressions])
    attributes = (trigger_spec.get("filter") or {}).get("attributes") or {}
    return _all([_attribute(name, value) for name, value in attributes.items()])


def _expression(expression: Mapping[str, Any]) -> Filter:
    if not expression:
        return _everything
    if len(expression) > 1:
        raise UnsupportedFilter(f"a filter has several dialects: {', '.join(sorted(expression))}")
    [(dialect, operand)] = expression.items()
    if dialect in _COMPARISONS:
        compare = _COMPARISONS[dialect]
        return _all([_comparison(compare, name, value) for name, value in operand.items() if value])
    if dialect == "not":
        negated = _expression(operand)
        return lambda event: not negated(event)
    if dialect == "all":
        return _all([_expression(member) for member in operand])
    if dialect == "any":
        members = [_expression(member) for member in operand]
        return (lambda event: any(member(event) for member in members)) if members else _everything
    raise UnsupportedFilter(f"filter dialect {dialect} is not evaluated by the local broker")


def _comparison(compare: Callable[[str, str], bool], name: str, expected: str) -> Filter:
    def passes(event: Envelope) -> bool:
        value = _value(event, name)
        return value is not None and compare(value, expected)

    return passes


def _attribute(name: str, expected: str) -> Filter:
    """The older `filter.attributes`: an empty value means any; typed extensions equal no text."""

    def passes(event: Envelope) -> bool:
        value = _value(event, name)
        if not expected:
            return bool(value)
        return value == expected and name not in event.typed

    return passes


def _value(event: Envelope, name: str) -> str | None:
    if name == TTL:
        return None
    return event.attributes.get(name, _ZERO_TIME if name == "time" else None)


def _all(members: list[Filter]) -> Filter:
    if len(members) == 1:
        return members[0]
    return lambda event: all(member(event) for member in members)


def _everything(event: Envelope) -> bool:  # noqa: ARG001  every Filter takes the event
    return True
