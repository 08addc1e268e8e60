"""`perdura tape`: the local library, the robot certificate, and the orders of operators over the API."""

from __future__ import annotations

import json

import click

from perdura.client import Client
from perdura.commands import api
from perdura.commands.tables import as_json_option, limit_option, said
from perdura.local.tape.cli import tape


@tape.command()
@as_json_option
@api.connected
def show(registry: Client, as_json: bool) -> None:
    """Show the destination: jobs in flight, what waits, drills, recalled copies, credentials."""
    found = registry.get("/tape")
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    if found["pause"]:
        click.echo(f"PAUSED by {found['pause']['by']}: {found['pause']['reason']}")
    limit = f" of at most {found['limit']}" if found["limit"] else ""
    click.echo(f"jobs in flight: {found['in_flight']}{limit}")
    for why, count in sorted(found["waiting"].items()):
        click.echo(f"waiting, {why}: {count}")
    click.echo(f"copies on tape: {found['copies']}, {found['bytes']} bytes, {found['containers']} containers")
    if found["broken_copies"]:
        click.echo(f"LOST OR DAMAGED: {found['broken_copies']} copies on tape")
    for drill in found["drills"][:5]:
        click.echo(f"drill of {drill['archive']}: {drill['state']} {drill['finished'] or ''}")
    for copy in found["restored"]:
        click.echo(f"recalled: {copy['bucket']}/{copy['key']} until {copy['expires']}")
    credentials = found["credentials"]
    if credentials and credentials["error"]:
        click.echo(f"credentials: {credentials['error']}")
    elif credentials:
        left = "" if credentials["days_left"] is None else f", {credentials['days_left']} days left"
        click.echo(f"credentials: {credentials['holder']}{left}")


@tape.command()
@click.option("--all", "everything", is_flag=True, help="Also those that are over.")
@limit_option(50)
@as_json_option
@api.connected
def jobs(registry: Client, everything: bool, limit: int, as_json: bool) -> None:
    """List jobs at FTS, newest first."""
    for job in registry.items("/tape/jobs", limit, **({} if everything else {"open": "true"})):
        line = f"{job['job'] or '-':<36} {job['state']:<10} {job['priority']} {job['path']} {job['reason'] or ''}"
        if as_json:
            click.echo(json.dumps(job))
            continue
        click.echo(line.rstrip())
        for failed in job["retries"]:
            click.echo(
                f"  attempt {failed['attempt']} failed {failed['at']}: {failed['reason']} ({failed['log_file']})"
            )


@tape.command()
@api.connected
def metrics(registry: Client) -> None:
    """Print the figures of the destination in the form that Prometheus reads."""
    with registry.download("/api/v1/tape/metrics") as answer:
        click.echo(answer.read().decode(), nl=False)


@tape.command()
@click.argument("reason")
@as_json_option
@api.connected
def pause(registry: Client, reason: str, as_json: bool) -> None:
    """Submit nothing new to tape; what is under way is followed. REASON is shown to everybody who waits."""
    paused = registry.post("/tape/pause", {"reason": reason})
    said(f"paused by {paused['pause']['by']}: {paused['pause']['reason']}", paused, as_json=as_json)


@tape.command()
@as_json_option
@api.connected
def resume(registry: Client, as_json: bool) -> None:
    """Submit to tape again."""
    said("resumed", registry.post("/tape/resume"), as_json=as_json)


@tape.command()
@click.argument("job")
@as_json_option
@api.connected
def cancel(registry: Client, job: str, as_json: bool) -> None:
    """Cancel a JOB at the next look. What was copied before may still reach tape; a retry finds it."""
    said("will be cancelled", registry.post(f"/tape/jobs/{job}/cancel"), as_json=as_json)


@tape.command()
@click.argument("job")
@click.argument("priority", type=click.IntRange(1, 5))
@as_json_option
@api.connected
def priority(registry: Client, job: str, priority: int, as_json: bool) -> None:
    """Give a JOB another PRIORITY, 1 (last) to 5 (first), at the next look."""
    wanted = registry.post(f"/tape/jobs/{job}/priority", {"priority": priority})
    said("will be changed", wanted, as_json=as_json)
