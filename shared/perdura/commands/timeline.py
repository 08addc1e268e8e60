"""Shows an archive on its way: one line per step, live on a terminal, one line per change elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from perdura.client import Client, Refused, Unreachable
from perdura.client.registry import FINAL, PATIENCE
from perdura.commands.tables import Row, said, tell

if TYPE_CHECKING:
    from rich.table import Table

SUCCESSFUL = frozenset({"completed", "completed_with_warnings"})
LOOK_SECONDS = 0.4
_COLOURS = {"completed": "green", "completed_with_warnings": "yellow", "running": "cyan", "waiting": "blue"}


def begun(registry: Client, archive_id: str, answer: Row, *, watch: bool, as_json: bool) -> None:
    """Say which archive was begun and, with `watch`, show it until it is done: the exit status is 1 where it failed."""
    if not (watch and as_json):
        said(f"archive {archive_id}", answer, as_json=as_json)
    if watch and not follow(registry, archive_id, as_json=as_json):
        raise click.exceptions.Exit(1)


def follow(registry: Client, archive_id: str, *, as_json: bool = False) -> bool:
    """Show an archive until it is done; True where it was completed. Reasons of a failure are printed.

    As JSON it is one document, of what it became. Raises Refused, or Unreachable where the registry is silent for a
    minute.
    """
    if as_json:
        archive, steps = _watch(registry, archive_id, lambda _archive, _steps: None)
        tell({**archive, "steps": steps}, as_json=True)
        return archive["state"] in SUCCESSFUL
    if sys.stdout.isatty():
        archive, steps = _follow_live(registry, archive_id)
    else:
        archive, steps = _follow_lines(registry, archive_id)
    for line in outcome_lines(archive, steps):
        click.echo(line)
    return archive["state"] in SUCCESSFUL


Shown = Callable[[dict[str, Any], list[dict[str, Any]]], None]


def _watch(registry: Client, archive_id: str, show: Shown) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    silent_since: float | None = None
    while True:
        try:
            archive = registry.archive(archive_id)
            steps = registry.steps(archive_id)
        except (Unreachable, Refused) as error:
            transient = isinstance(error, Unreachable) or error.status >= 500
            silent_since = silent_since or time.monotonic()
            if not transient or time.monotonic() - silent_since > PATIENCE:
                raise
        else:
            silent_since = None
            show(archive, steps)
            if archive["state"] in FINAL:
                return archive, steps
        time.sleep(LOOK_SECONDS)


def _follow_live(registry: Client, archive_id: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    from rich.live import Live

    with Live(refresh_per_second=8) as live:
        return _watch(registry, archive_id, lambda archive, steps: live.update(step_table(archive, steps)))


def _follow_lines(registry: Client, archive_id: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    known: dict[str, str] = {}

    def show(_archive: dict[str, Any], steps: list[dict[str, Any]]) -> None:
        for step in steps:
            if known.get(step["id"]) != step["state"]:
                known[step["id"]] = step["state"]
                click.echo(f"  {_clock(step['finished'] or step['started'])}  {step['name']:<12} {step['state']}")

    return _watch(registry, archive_id, show)


def step_table(archive: dict[str, Any], steps: list[dict[str, Any]]) -> Table:
    """The timeline of an archive; steps of its pipeline that have not begun are listed as such."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for heading in ("step", "state", "from", "took", ""):
        table.add_column(heading)
    for step in steps:
        state = Text(step["state"], style=_COLOURS.get(step["state"], "red" if step["error"] else ""))
        name = f"{step['name']} ({step['attempt']})" if step["attempt"] > 1 else step["name"]
        table.add_row(name, state, _clock(step["started"]), _took(step), _progress(step))
    begun = {step["name"] for step in steps}
    for name in (planned["name"] for planned in archive["pipeline"]):
        if name not in begun and archive["state"] not in FINAL:
            table.add_row(Text(name, style="dim"), "", "", "", "")
    return table


def outcome_lines(archive: dict[str, Any], steps: list[dict[str, Any]]) -> list[str]:
    """How an archive ended: its state, every reason, where its copies are, where it is published."""
    lines = [f"{archive['id']}  {archive['state']}"]
    latest = {step["name"]: step for step in steps}
    for step in latest.values():
        if step["error"]:
            lines.append(f"  {step['name']}: {step['error']['message']} [{step['error']['code']}]")
        if same := (step.get("output") or {}).get("duplicate_of"):
            lines.append(f"  {step['name']}: the Archive with the same content is {same}")
        told = step["error"]["message"] if step["error"] else None
        findings = [finding for finding in step["findings"] if finding["message"] != told]
        lines += [f"  {step['name']}: {finding_line(finding)}" for finding in findings]
    for copy in archive.get("copies") or []:
        broken = "" if copy["state"] == "held" else f"  {copy['state'].upper()}"
        lines.append(f"  copy      {copy['location']}  {copy['uri']}{broken}")
    if archive.get("publication"):
        lines.append(f"  published {archive['publication']['url']}")
    return lines


def finding_line(finding: dict[str, Any]) -> str:
    """A finding of a package's verification in one line."""
    where = f" ({finding['path']})" if finding.get("path") else ""
    return f"{finding['severity']}: {finding['message']}{where} [{finding['code']}]"


def _clock(moment: str | None) -> str:
    return datetime.fromisoformat(moment).astimezone().strftime("%H:%M:%S") if moment else "--:--:--"


def _took(step: dict[str, Any]) -> str:
    if not step["started"] or not step["finished"]:
        return ""
    took = datetime.fromisoformat(step["finished"]) - datetime.fromisoformat(step["started"])
    return f"{took.total_seconds():.1f} s"


def _progress(step: dict[str, Any]) -> str:
    progress = step.get("progress")
    if not isinstance(progress, dict) or step["state"] != "running":
        return ""
    done, total = progress.get("done"), progress.get("total")
    share = f"{100 * done // total} %" if done is not None and total else f"{done or ''}"
    return f"{progress.get('what', '')} {share}".strip()
