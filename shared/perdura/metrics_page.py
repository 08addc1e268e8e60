"""`docs/metrics.md`, generated from `perdura.runtime.metrics` by `make documents`; a test compares them."""

from __future__ import annotations

import sys
from pathlib import Path

from perdura.runtime.metrics import METRICS, PORT

_INTRODUCTION = f"""# Metrics

<!-- Generated from shared/perdura/runtime/metrics.py by `make documents`; do not edit. -->

Where `{PORT}` is set, a function tells Prometheus what it did at `/metrics` on that port, which no client reaches. The
gauges come from `relay`, which always runs. Every metric has the label `function` as well. Alert rules and a Grafana
dashboard are in [infra/monitoring](../infra/monitoring); a test holds them to this list.

A counter begins at 0 with every set of labels that is known beforehand (all but `code`), so that the first event of
its kind is an increase. What a pod counts right before it ends may never be scraped: how many steps wait for a person,
and the alert on it, are therefore read from the registry (`perdura_steps_open` with the state `blocked`).

| metric | kind | labels | what it says |
|---|---|---|---|
"""


def page() -> str:
    """The page."""
    rows = [
        f"| `{each.name}` | {each.kind} | {', '.join(f'`{label}`' for label in each.labels)} | {each.says} |"
        for each in METRICS
    ]
    return _INTRODUCTION + "\n".join(rows) + "\n"


if __name__ == "__main__":
    root = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    (root / "docs/metrics.md").write_text(page(), encoding="utf-8")
