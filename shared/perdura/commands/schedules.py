"""Commands of recurring harvests: schedules, their runs, and the credentials that harvests use."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from perdura.commands import api

COUNTED = ("done", "unchanged", "failed", "waiting", "deleted", "running", "queued", "cancelled")


@click.group()
def schedule() -> None:
    """Harvest what is new in a repository, again and again."""


@schedule.command()
@click.argument("name")
@click.argument("source")
@click.option("--cron", required=True, help="When: five fields in UTC, or @hourly, @daily, @weekly, @monthly.")
@click.option("--query", default="", help="A search in the syntax of the source.")
@click.option("--oai", "oai_pmh", is_flag=True, help="Ask by OAI-PMH instead of by search.")
@click.option("--set", "set_name", help="OAI-PMH set.")
@click.option("--created", is_flag=True, help="Follow the time of creation instead of that of change.")
@click.option("--since", help="Begin with records from this instant on. Default: from the beginning.")
@click.option("--limit", type=click.IntRange(1), help="Most records of one run.")
@click.option("--concurrency", type=click.IntRange(1, 100), default=4, show_default=True, help="Records at a time.")
@click.option("--collection", help="Collection that the archives join, by its id.")
@click.option("--base-url", help="Address of the instance, for sources that have none of their own.")
@api.options
@click.pass_obj
def add(root: Path, /, name: str, source: str, url: str | None, token: str | None, **given: Any) -> None:
    """Harvest SOURCE again and again, under a NAME."""
    body = {
        "name": name,
        "source": source,
        "cron": given["cron"],
        "query": given["query"],
        "way": "oai-pmh" if given["oai_pmh"] else "search",
        "follows": "created" if given["created"] else "updated",
        "concurrency": given["concurrency"],
        "set": given["set_name"],
        "since": given["since"],
        "record_limit": given["limit"],
        "collection": given["collection"],
        "base_url": given["base_url"],
    }
    told = api.connect(root, url, token).post("/schedules", {k: v for k, v in body.items() if v is not None})
    click.echo(f"schedule {told['id']}  next {told['next']}")


@schedule.command("list")
@click.option("--json", "as_json", is_flag=True, help="As JSON, one document per line.")
@api.options
@click.pass_obj
def list_schedules(root: Path, as_json: bool, url: str | None, token: str | None) -> None:
    """List schedules with their latest run."""
    for item in api.connect(root, url, token).items("/schedules", 10_000):
        last = item["last_run"]
        run = f"{last['state']} {_counts(last)}" if last else "never run"
        line = f"{item['id']}  {item['state']:<8} {item['cron']:<14} {item['source']:<12} {item['name']}  ({run})"
        click.echo(json.dumps(item) if as_json else line)


@schedule.command()
@click.argument("schedule_id")
@api.options
@click.pass_obj
def show(root: Path, schedule_id: str, url: str | None, token: str | None) -> None:
    """Show one schedule as JSON."""
    click.echo(json.dumps(api.connect(root, url, token).get(f"/schedules/{schedule_id}"), indent=2))


@schedule.command()
@click.argument("schedule_id")
@api.options
@click.pass_obj
def run(root: Path, schedule_id: str, url: str | None, token: str | None) -> None:
    """Run a schedule now."""
    told = api.connect(root, url, token).post(f"/schedules/{schedule_id}/runs")
    click.echo(f"run {told['id']}")


@schedule.command()
@click.argument("schedule_id")
@api.options
@click.pass_obj
def runs(root: Path, schedule_id: str, url: str | None, token: str | None) -> None:
    """List the runs of a schedule, the newest first."""
    for item in api.connect(root, url, token).items(f"/schedules/{schedule_id}/runs", 10_000):
        reason = f"  {item['reason']}" if item["reason"] else ""
        click.echo(f"{item['id']}  {item['created'][:19]}  {item['state']:<24} {_counts(item)}{reason}")


@schedule.command()
@click.argument("run_id")
@click.option("--state", help="Only those in this state (failed, say).")
@click.option("--json", "as_json", is_flag=True, help="As JSON, one document per line.")
@api.options
@click.pass_obj
def items(root: Path, run_id: str, state: str | None, as_json: bool, url: str | None, token: str | None) -> None:
    """List the records of a run and what became of them."""
    for item in api.connect(root, url, token).items(
        f"/runs/{run_id}/items", 10_000_000, **({"state": state} if state else {})
    ):
        line = f"{item['recid']:<24} {item['state']:<10} {item['archive'] or '-':<36}  {item['message'] or ''}"
        click.echo(json.dumps(item) if as_json else line.rstrip())


def _action(name: str, what: str, path: str, line: str) -> None:
    """Declare a command that changes the state of a schedule or run."""

    @schedule.command(name, help=line)
    @click.argument(f"{what}_id")
    @api.options
    @click.pass_obj
    def act(root: Path, /, url: str | None, token: str | None, **given: str) -> None:
        told = api.connect(root, url, token).post(path.format(given[f"{what}_id"]))
        moved = f"  {told['items']} records" if told.get("items") else ""
        click.echo(f"{what} {given[f'{what}_id']} is {told['state']}{moved}")


_action("pause", "schedule", "/schedules/{}/pause", "Begin no more runs of a schedule.")
_action("resume", "schedule", "/schedules/{}/resume", "Begin runs of a schedule again.")
_action("pause-run", "run", "/runs/{}/pause", "Start nothing more of a run.")
_action("resume-run", "run", "/runs/{}/resume", "Go on with a paused run.")
_action("cancel-run", "run", "/runs/{}/cancel", "End a run; records not begun are cancelled.")
_action("retry-run", "run", "/runs/{}/retry", "Harvest the failed records of a run again.")


@schedule.command()
@click.argument("schedule_id")
@api.options
@click.pass_obj
def retire(root: Path, schedule_id: str, url: str | None, token: str | None) -> None:
    """End a schedule for good; its history stays."""
    api.connect(root, url, token).delete(f"/schedules/{schedule_id}")
    click.echo(f"schedule {schedule_id} is retired")


def _counts(item: dict[str, Any]) -> str:
    def told() -> Iterator[str]:
        for name in COUNTED:
            if number := item["counts"].get(name):
                yield f"{number} {name}"

    return ", ".join(told()) or "nothing"


@click.group()
def credential() -> None:
    """Keep credentials for sources; harvests use them, nobody can read them."""


@credential.command("set")
@click.argument("source")
@api.options
@click.pass_obj
def put_credential(root: Path, source: str, url: str | None, token: str | None) -> None:
    """Keep a credential for SOURCE. It is asked for, or read from standard input: never an argument."""
    asked = sys.stdin.isatty()
    secret: str = click.prompt("Credential", hide_input=True) if asked else sys.stdin.readline().strip()
    api.connect(root, url, token).put(f"/credentials/{source}", {"secret": secret})
    click.echo(f"kept for {source}")


@credential.command("list")
@api.options
@click.pass_obj
def list_credentials(root: Path, url: str | None, token: str | None) -> None:
    """List the sources for which you keep a credential."""
    for item in api.connect(root, url, token).get("/credentials")["items"]:
        click.echo(f"{item['source']:<20} set {item['updated'][:19]}  used {(item['used'] or 'never')[:19]}")


@credential.command("remove")
@click.argument("source")
@api.options
@click.pass_obj
def remove_credential(root: Path, source: str, url: str | None, token: str | None) -> None:
    """Forget the credential for SOURCE."""
    api.connect(root, url, token).delete(f"/credentials/{source}")
    click.echo(f"forgotten for {source}")
