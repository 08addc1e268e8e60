"""Alert rules, dashboard and page of the metrics name only metrics that exist."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
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


BEGUN_AT_ZERO = {"perdura_dead_letters_total"}
"""Counters whose labels are told before there is anything to count (`runtime/server.py`)."""


def test_an_alert_asks_for_the_rise_of_what_is_told_from_the_beginning_only() -> None:
    assert set(re.findall(r"increase\((perdura_\w+)", " ".join(rule["expr"] for rule in alerts()))) <= BEGUN_AT_ZERO


FIRST = {
    "PerduraDeadLetters": ('perdura_dead_letters_total{function="premis-log",type="other"}', "0x10 1x10", {}),
    "PerduraStepsNeedPeople": (
        'perdura_steps_open{function="relay",state="blocked",step="archive"}', "_x10 1x10", {"step": "archive"},
    ),
    "PerduraFunctionOverloaded": (
        'perdura_cloudevents_total{function="publish",type="t",answer="503"}', "0+60x60", {"function": "publish"},
    ),
}  # fmt: skip
"""The series that shows an alert's matter for the first time, in promtool's notation, and the alert's labels."""


@pytest.mark.parametrize("name", FIRST)
def test_an_alert_fires_for_the_first_of_its_kind(name: str, tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not here")
    series, values, labels = FIRST[name]
    [rule] = [rule for rule in alerts() if rule["alert"] == name]
    annotations = {key: text.replace("{{ $labels.", "").replace(" }}", "") for key, text in rule["annotations"].items()}
    for label, value in labels.items():
        annotations = {key: text.replace(label, value, 1) if "$labels" in rule["annotations"][key] else text
                       for key, text in annotations.items()}  # fmt: skip
    expected = {"exp_labels": {**rule["labels"], **labels}, "exp_annotations": annotations}
    test = {
        "interval": "1m",
        "input_series": [{"series": series, "values": values}],
        "alert_rule_test": [
            {"eval_time": f"{'40' if 'for' in rule else '15'}m", "alertname": name, "exp_alerts": [expected]}
        ],
    }
    file = tmp_path / "test.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [str(ROOT / "infra/monitoring/alerts.yaml")], "tests": [test]}))
    done = subprocess.run([promtool, "test", "rules", file], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


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
