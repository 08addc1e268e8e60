"""The text that Prometheus reads."""

from __future__ import annotations

import pytest

from perdura.runtime.metrics import Kind, Metric, exposition

BYTES = Metric("stored_bytes", Kind.GAUGE, "Bytes.", ("kind",))
DAYS = Metric("days_left", Kind.GAUGE, "Days.")


def test_samples_of_a_metric_stand_below_what_it_says() -> None:
    samples = [(BYTES, {"kind": 'a"b\\c\n'}, 1.0), (BYTES, {"kind": "b"}, 2), (DAYS, {}, 0.5)]
    assert exposition(samples).splitlines() == [
        "# HELP stored_bytes Bytes.",
        "# TYPE stored_bytes gauge",
        'stored_bytes{kind="a\\"b\\\\c\\n"} 1',
        'stored_bytes{kind="b"} 2',
        "# HELP days_left Days.",
        "# TYPE days_left gauge",
        "days_left 0.5",
    ]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (1_234_567_890_123, "1234567890123"),
        (1_234_567_890_123.0, "1234567890123"),
        (1234567.25, "1234567.25"),
        (20.1, "20.1"),
        (-3, "-3"),
        (float("inf"), "inf"),
    ],
)
def test_no_digit_of_a_number_is_lost(value: float, told: str) -> None:
    assert exposition([(DAYS, {}, value)]).splitlines()[-1] == f"days_left {told}"
