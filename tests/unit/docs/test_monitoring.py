"""Alert rules, dashboard and page of the metrics name only metrics that exist; each alert fires when it should."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from perdura import metrics_page
from perdura.runtime.answers import Answer
from perdura.runtime.metrics import EVENTS, METRICS, STEPS, Kind

ROOT = Path(__file__).resolve().parents[3]
CASES = Path(__file__).with_name("alerts_test.yaml")
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


@pytest.mark.timeout(300)  # promtool works for fifteen seconds on two cores, and longer where others work, too
def test_every_alert_fires_when_it_should_and_then_alone() -> None:
    # `make test` puts it beside Python, where Debian's packages can be had.
    promtool = shutil.which("promtool", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if promtool is None:
        pytest.skip("no promtool here: see .ci/promtool")
    done = subprocess.run([promtool, "test", "rules", CASES], capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    cases = [case for test in yaml.safe_load(CASES.read_text(encoding="utf-8"))["tests"]
             for case in test["promql_expr_test"]]  # fmt: skip
    fires = {name for case in cases for sample in case["exp_samples"]
             for name in re.findall(r'alertname="(\w+)"', sample["labels"])}  # fmt: skip
    assert fires == {rule["alert"] for rule in alerts()}
    assert any(not case["exp_samples"] for case in cases)


def test_an_alert_on_an_increase_is_on_a_counter_that_begins_at_0() -> None:
    """Prometheus sees no increase in a counter that is there only since its first event."""
    counted = {name for rule in alerts() for name in re.findall(r"(?:increase|rate)\((\w+)", rule["expr"])}
    assert counted
    assert [name for name in counted if not list(KNOWN[name].beginnings())] == []
    # What a pod counted that is scaled away before it is scraped is in no counter: that comes from the registry.
    asleep = {STEPS.name}
    assert counted & asleep == set()


def test_answers_and_steps_that_are_known_beforehand_are_all_of_them() -> None:
    assert list(EVENTS.known["answer"]) == [str(int(answer)) for answer in Answer]
    mains = "".join(main.read_text(encoding="utf-8") for main in ROOT.glob("functions/*/main.py"))
    asked = set(re.findall(r"org\.perdura\.(\w+)\.requested\.v1", mains)) - {"fixity"}
    assert asked <= set(STEPS.known["step"])
