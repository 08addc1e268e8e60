"""What the installation holds and does, as charts and tables."""

from __future__ import annotations

from flask import Response

from perdura.accounts.principals import Permission
from perdura.api.models.statistics import StatisticsQuery
from perdura.api.queries import statistics
from perdura.web import charts, formatting
from perdura.web.charts import Bar
from perdura.web.language import marked, translate
from perdura.web.query_string import read_query
from perdura.web.visit import Visit

PERIODS = ((30, marked("30 days")), (90, marked("90 days")), (365, marked("A year")), (1825, marked("5 years")))


def show(visit: Visit) -> Response:
    """The statistics of a period."""
    visit.require(Permission.READ)
    query = read_query(visit, StatisticsQuery)
    found = statistics.statistics(visit.connection, visit.principal, query.days)
    days = found.throughput
    return visit.page(
        "statistics.html",
        found=found,
        days=query.days,
        periods=[(days, translate(words)) for days, words in PERIODS],
        charts={
            "archives": charts.columns(
                translate("Archives completed, and failed above them"),
                [Bar(day.day.isoformat(), day.completed, day.failed) for day in days],
                _number,
            ),
            "volume": charts.columns(
                translate("Bytes of AIPs made"), [Bar(day.day.isoformat(), day.bytes) for day in days], _size
            ),
            "sources": charts.rows(
                translate("Archives by source"),
                [Bar(volume.name, volume.count) for volume in found.sources[:12]],
                _number,
            ),
            "formats": charts.rows(
                translate("Files by format"),
                [Bar(f"{volume.name or '?'} ({volume.format})", volume.files) for volume in found.formats[:12]],
                _number,
            ),
            "steps": charts.rows(
                translate("Mean time per step"),
                [Bar(formatting.step_name(step.name), step.mean_seconds) for step in found.steps],
                _seconds,
            ),
            "failures": charts.rows(
                translate("Failures by cause"),
                [Bar(f"{formatting.step_name(f.step)}: {f.code or '?'}", f.count) for f in found.failures[:12]],
                _number,
            ),
        },
    )


def _number(value: float) -> str:
    return f"{value:,.0f}".replace(",", " ") if value >= 10 or value == int(value) else f"{value:.1f}"


def _size(value: float) -> str:
    return formatting.size(round(value))


def _seconds(value: float) -> str:
    return f"{value:.1f} s" if value < 120 else f"{value / 60:.1f} min" if value < 7200 else f"{value / 3600:.1f} h"
