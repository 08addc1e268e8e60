"""Filters decide as the recorded ones of Knative Eventing 1.22.2 and as its conformance tables say."""

from __future__ import annotations

import json
from typing import Any

import pytest

from perdura.local.broker.envelope import Envelope, parse
from perdura.local.broker.filters import UnsupportedFilter, compile_filter
from tests.contract.test_broker.harness import event_headers
from tests.shared_data import SHARED, reference_data


def load(name: str) -> Any:
    return json.loads(reference_data("knative-oracle", name).read_text()) if SHARED else {}


RECORDED = load("filters.json") or {"filters": {}, "events": {}, "delivered": {}}
FEATURES: list[dict[str, Any]] = load("upstream-filter-conformance.json") or []
needs_recordings = pytest.mark.skipif(not FEATURES, reason="reference data (../shared) is not here")


def event(attributes: dict[str, str]) -> Envelope:
    return parse(event_headers(**attributes), b'{"a":1}')


def uses_cesql(spec: Any) -> bool:
    return "cesql" in json.dumps(spec)


@needs_recordings
@pytest.mark.parametrize("name", RECORDED["filters"])
def test_recorded(name: str) -> None:
    spec = RECORDED["filters"][name]
    if uses_cesql(spec):
        with pytest.raises(UnsupportedFilter, match="cesql"):
            compile_filter(spec)
        return
    wants = compile_filter(spec)
    for event_name, attributes in RECORDED["events"].items():
        assert wants(event(attributes)) == (name in RECORDED["delivered"][event_name]), event_name


@needs_recordings
@pytest.mark.parametrize("feature", FEATURES, ids=lambda feature: str(feature["feature"]))
def test_upstream_conformance(feature: dict[str, Any]) -> None:
    spec = {"filters": feature["filters"], "filter": {"attributes": feature["filter_attributes"]}}
    if uses_cesql(spec):
        with pytest.raises(UnsupportedFilter, match="cesql"):
            compile_filter(spec)
        return
    wants = compile_filter(spec)
    for sample in feature["events"]:
        assert wants(event({"type": "min.type", "source": "/min"} | sample["attributes"])) == sample["deliver"]


def test_typed_extensions() -> None:
    body = b'{"specversion":"1.0","id":"1","type":"t","source":"/s","num":5}'
    typed = parse({"content-type": "application/cloudevents+json"}, body)
    assert compile_filter({"filters": [{"exact": {"num": "5"}}]})(typed)
    assert not compile_filter({"filter": {"attributes": {"num": "5"}}})(typed)


def test_an_absent_time_is_the_zero_time() -> None:
    assert compile_filter({"filters": [{"prefix": {"time": "0001"}}]})(event({}))


def test_unknown_and_several_dialects_are_refused() -> None:
    for expression in ({"regex": {"type": "x"}}, {"exact": {"type": "a"}, "prefix": {"type": "b"}}):
        with pytest.raises(UnsupportedFilter):
            compile_filter({"filters": [expression]})
