"""Alert rules, dashboard and page of the metrics name only metrics that exist."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from perdura import metrics_page
from perdura.runtime.metrics import METRICS, Kind

ROOT = Path(__file__).resolve().parents[3]
KNOWN = {metric.name: metric for metric in METRICS}


def alerts() -> list[dict[str, Any]]:
    document = yaml.safe_load((ROOT / "infra/monitoring/alerts.yaml").read_text(encoding="utf-8"))
    return [rule for group in document["groups"] for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    document: dict[str, Any] = json.loads((ROOT / "infra/monitoring/dashboard.json").read_text(encoding="utf-8"))
    return list(document["panels"])


def expressions() -> Iterator[str]:
    yield from (rule["expr"] for rule in alerts())
    yield from (target["expr"] for panel in panels() for target in panel["targets"])


def test_the_page_is_up_to_date() -> None:
    assert (ROOT / "docs/metrics.md").read_text(encoding="utf-8") == metrics_page.page(), "run `make documents`"


@pytest.mark.parametrize("expression", sorted(set(expressions())))
def test_an_expression_names_metrics_and_labels_that_exist(expression: str) -> None:
    used = re.findall(r"(perdura_\w+)(?:\{([^}]*)\})?", expression)
    assert used
    for name, selector in used:
        metric = KNOWN.get(name) or KNOWN[re.sub(r"_(bucket|count|sum)$", "", name)]
        assert name == metric.name or metric.kind is Kind.HISTOGRAM
        assert set(re.findall(r"(\w+)\s*(?:=|!)", selector)) <= {"function", *metric.labels}
    # Labels that are kept come from the metrics of the expression, `le` from a histogram.
    kept = {label.strip() for group in re.findall(r"by \(([^)]*)\)", expression) for label in group.split(",")}
    assert kept <= {"function", "le"} | {label for name, _ in used for label in labels_of(name)}


def labels_of(name: str) -> tuple[str, ...]:
    return (KNOWN.get(name) or KNOWN[re.sub(r"_(bucket|count|sum)$", "", name)]).labels


def test_every_metric_is_watched_or_shown() -> None:
    everything = " ".join(expressions())
    assert [name for name in KNOWN if name not in everything] == []


def test_every_alert_tells_a_person_what_is_the_matter() -> None:
    for rule in alerts():
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert set(rule["annotations"]) == {"summary", "description"}


def test_panels_have_numbers_of_their_own_and_do_not_overlap() -> None:
    assert len({panel["id"] for panel in panels()}) == len(panels())
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels()}
    assert len(places) == len(panels())
