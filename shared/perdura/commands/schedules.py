"""`perdura schedules`: recurring harvests and their runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from perdura.client import Client
from perdura.commands import api
from perdura.commands.options import given, together
from perdura.commands.tables import Column, Row, as_json_option, limit_option, moment, said, tell
from perdura.commands.tables import show as show_table

COUNTED = ("done", "unchanged", "failed", "waiting", "deleted", "running", "queued", "cancelled")

_changeable = together((
    click.option("--query", help="A search in the syntax of the source."),
    click.option("--set", help="OAI-PMH set."),
    click.option("--follow", "follows", type=click.Choice(["updated", "created"]), help="Which time puts it in a run."),
    click.option("--limit", "record_limit", type=click.IntRange(1), help="Most records of one run."),
    click.option("--concurrency", type=click.IntRange(1, 100), help="Records at a time."),
    click.option("--collection", help="Collection that the archives join, by its id."),
    click.option("--step", "pipeline", multiple=True, help="A step of each archive, in order; may be repeated."),
    click.option("--overlap", "overlap_seconds", type=click.IntRange(0), help="Seconds a window reaches back."),
    click.option("--grace", "grace_seconds", type=click.IntRange(0), help="Seconds a window ends before the present."),
    click.option("--failures", "failures_at_least", type=click.IntRange(1), help="Failures before their share counts."),
    click.option("--share", "failure_share", type=click.FloatRange(0, 1), help="Share of failures that pauses a run."),
))  # fmt: skip


@click.group()
def schedule() -> None:
    """Harvest what is new in a repository, again and again."""


@schedule.command()
@click.argument("name")
@click.argument("source")
@click.option("--cron", required=True, help="When: five fields in UTC, or @hourly, @daily, @weekly, @monthly.")
@_changeable
@click.option("--oai", "oai_pmh", is_flag=True, help="Ask by OAI-PMH instead of by search.")
@click.option("--created", is_flag=True, help="The same as --follow created.")
@click.option("--since", help="Begin with records from this instant on. Default: from the beginning.")
@click.option("--base-url", help="Address of the instance, for sources that have none of their own.")
@click.option("--paused", is_flag=True, help="Begin no run before it is resumed.")
@as_json_option
@api.connected
def add(registry: Client, /, oai_pmh: bool, created: bool, paused: bool, as_json: bool, **wanted: Any) -> None:
    """Harvest SOURCE again and again, under a NAME."""
    body = {"way": "oai-pmh" if oai_pmh else "search", "paused": paused, **given(wanted, blank=True)}
    told = registry.post("/schedules", {**body, "follows": "created"} if created else body)
    said(f"schedule {told['id']}  next {told['next']}", told, as_json=as_json)


@schedule.command()
@click.argument("schedule_id")
@click.option("--name", help="Another name.")
@click.option("--cron", help="When: five fields in UTC, or @hourly, @daily, @weekly, @monthly.")
@_changeable
@as_json_option
@api.connected
def change(registry: Client, /, schedule_id: str, as_json: bool, **wanted: Any) -> None:
    """Change a schedule; what is not said stays. A run that is under way goes on as it began."""
    change = given(wanted, blank=True)
    if not change:
        raise click.UsageError("say what is to change")
    told = registry.patch(f"/schedules/{schedule_id}", change)
    said(f"schedule {told['id']}  next {told['next']}", told, as_json=as_json)


@schedule.command("list")
@click.option("--state", help="Only those in this state; without it, all that are not retired.")
@as_json_option
@api.connected
def list_schedules(registry: Client, state: str | None, as_json: bool) -> None:
    """List schedules with their latest run."""
    columns: list[Column] = [
        ("ID", "id"), ("STATE", "state"), ("CRON", "cron"), ("SOURCE", "source"), ("NAME", "name"),
        ("LATEST RUN", lambda row: _run(row["last_run"]) if row["last_run"] else "never run"),
    ]  # fmt: skip
    show_table(registry.items("/schedules", None, **given({"state": state})), columns, as_json=as_json)


@schedule.command()
@click.argument("schedule_id")
@as_json_option
@api.connected
def show(registry: Client, schedule_id: str, as_json: bool) -> None:
    """Show one schedule."""
    tell(registry.get(f"/schedules/{schedule_id}"), as_json=as_json)


@schedule.command()
@click.argument("schedule_id")
@as_json_option
@api.connected
def run(registry: Client, schedule_id: str, as_json: bool) -> None:
    """Run a schedule now."""
    told = registry.post(f"/schedules/{schedule_id}/runs")
    said(f"run {told['id']}", told, as_json=as_json)


@schedule.command()
@click.argument("schedule_id")
@limit_option(100)
@as_json_option
@api.connected
def runs(registry: Client, schedule_id: str, limit: int, as_json: bool) -> None:
    """List the runs of a schedule, the newest first."""
    columns: list[Column] = [
        ("ID", "id"), ("CREATED", lambda row: moment(row["created"])), ("STATE", "state"), ("RECORDS", _counts),
        ("REASON", "reason"),
    ]  # fmt: skip
    show_table(registry.items(f"/schedules/{schedule_id}/runs", limit), columns, as_json=as_json)


@schedule.command("show-run")
@click.argument("run_id")
@as_json_option
@api.connected
def show_run(registry: Client, run_id: str, as_json: bool) -> None:
    """Show one run with its batches."""
    tell(registry.get(f"/runs/{run_id}"), as_json=as_json)


@schedule.command()
@click.argument("run_id")
@click.option("--state", help="Only those in this state (failed, say).")
@as_json_option
@api.connected
def items(registry: Client, run_id: str, state: str | None, as_json: bool) -> None:
    """List the records of a run and what became of them."""
    found = registry.items(f"/runs/{run_id}/items", None, **given({"state": state}))
    columns: list[Column] = [("RECORD", "recid"), ("STATE", "state"), ("ARCHIVE", "archive"), ("MESSAGE", "message")]
    show_table(found, columns, as_json=as_json)


def _action(name: str, what: str, path: str, line: str) -> None:
    """Declare a command that changes the state of a schedule or run."""

    @schedule.command(name, help=line)
    @click.argument(f"{what}_id")
    @as_json_option
    @api.connected
    def act(registry: Client, /, as_json: bool, **which: str) -> None:
        told = registry.post(path.format(which[f"{what}_id"]))
        moved = f"  {told['items']} records" if told.get("items") else ""
        said(f"{what} {which[f'{what}_id']} is {told['state']}{moved}", told, as_json=as_json)


_action("pause", "schedule", "/schedules/{}/pause", "Begin no more runs of a schedule.")
_action("resume", "schedule", "/schedules/{}/resume", "Begin runs of a schedule again.")
_action("pause-run", "run", "/runs/{}/pause", "Start nothing more of a run.")
_action("resume-run", "run", "/runs/{}/resume", "Go on with a paused run.")
_action("cancel-run", "run", "/runs/{}/cancel", "End a run; records not begun are cancelled.")
_action("retry-run", "run", "/runs/{}/retry", "Harvest the failed records of a run again.")


@schedule.command()
@click.argument("schedule_id")
@as_json_option
@api.connected
def retire(registry: Client, schedule_id: str, as_json: bool) -> None:
    """End a schedule for good; its history stays."""
    retired = registry.delete(f"/schedules/{schedule_id}")
    said(f"schedule {schedule_id} is retired", retired, as_json=as_json)


def _run(row: Row) -> str:
    return f"{row['state']} {_counts(row)}".rstrip()


def _counts(item: Row) -> str:
    def told() -> Iterator[str]:
        for name in COUNTED:
            if number := (item["counts"] or {}).get(name):
                yield f"{number} {name}"

    return ", ".join(told()) or ("nothing" if item["counts"] is not None else "")
