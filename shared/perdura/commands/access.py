"""Commands about access: withdraw, put under embargo, make a link that expires, tell a Source once more."""

from __future__ import annotations

from typing import Any

import click

from perdura.api.models.access import REASONS
from perdura.client import Client
from perdura.commands import api
from perdura.commands.tables import as_json_option, said


@click.group()
def access() -> None:
    """Who may see an archive and what of it, and what its source is told."""


@access.command()
@click.argument("archive_id")
@click.option("--reason", type=click.Choice(REASONS), required=True, help="Why; the tombstone says it.")
@click.option("--note", default="", help="More words for the tombstone.")
@click.option("--destination", help="One access system only; absent: all.")
@click.option("--tell-source", is_flag=True, help="Tell the source that it is deleted (D).")
@click.confirmation_option(prompt="It stays preserved, and is shown to nobody any more. Withdraw it?")
@as_json_option
@api.connected
def withdraw(
    registry: Client,
    archive_id: str,
    reason: str,
    note: str,
    destination: str | None,
    tell_source: bool,
    as_json: bool,
) -> None:
    """Take an archive off its access systems."""
    wanted: dict[str, Any] = {"reason": reason, "note": note, "tell_source": tell_source}
    if destination:
        wanted["destination"] = destination
    asked = registry.post(f"/archives/{archive_id}/withdrawal", wanted)
    said(f"asked for: step {asked['steps'][0]} of {archive_id}", asked, as_json=as_json)


@access.command()
@click.argument("archive_id")
@click.option("--reason", default="", help="Why; the PREMIS log says it.")
@as_json_option
@api.connected
def restrict(registry: Client, archive_id: str, reason: str, as_json: bool) -> None:
    """Show an archive to those alone to whom it is granted; no source changes that later."""
    _restriction(registry, archive_id, reason, restricted=True, as_json=as_json)


@access.command("open")
@click.argument("archive_id")
@click.option("--reason", default="", help="Why; the PREMIS log says it.")
@as_json_option
@api.connected
def open_archive(registry: Client, archive_id: str, reason: str, as_json: bool) -> None:
    """Show an archive to everybody who may read."""
    _restriction(registry, archive_id, reason, restricted=False, as_json=as_json)


def _restriction(registry: Client, archive_id: str, reason: str, *, restricted: bool, as_json: bool) -> None:
    wanted = {"restricted": restricted, "reason": reason}
    told = registry.put(f"/archives/{archive_id}/restriction", wanted)
    said(f"archive {archive_id} is {'restricted' if told['restricted'] else 'open'}", told, as_json=as_json)
    _carried(told)


def _carried(told: dict[str, Any]) -> None:
    """Say until when access systems of others show an archive as before: steps that are under way change that."""
    for step in told["steps"]:
        for address in told["published"] or ["access systems of others"]:
            click.echo(f"shown as before at {address} until step {step} is done", err=True)


@access.command()
@click.argument("archive_id")
@click.option("--after-withdrawal", is_flag=True, help="Even if it was withdrawn; deleted records stay deleted.")
@click.option("--although-earlier-withdrawn", is_flag=True, help="Even if the version before it was withdrawn.")
@as_json_option
@api.connected
def publish(registry: Client, archive_id: str, as_json: bool, **wanted: bool) -> None:
    """Publish an archive again, by the policies of today."""
    asked = registry.post(f"/archives/{archive_id}/publication", wanted)
    said(f"asked for: step {asked['steps'][0]} of {archive_id}", asked, as_json=as_json)


@access.command()
@click.argument("archive_id")
@click.argument("until", metavar="DATE|none")
@as_json_option
@api.connected
def embargo(registry: Client, archive_id: str, until: str, as_json: bool) -> None:
    """Shut the files of an archive until a day, or open them."""
    day = None if until == "none" else until
    done = registry.put(f"/archives/{archive_id}/embargo", {"until": day})
    said(f"embargo until {done['until']}" if done["until"] else "no embargo", done, as_json=as_json)
    _carried(done)


@access.command()
@click.argument("archive_id")
@click.option("--file", "path", help="A file by its path in the AIP.")
@click.option("--aip", is_flag=True, help="The whole AIP; neither this nor --file: all files as a zip.")
@click.option("--hours", default=24.0, show_default=True, help="How long it opens.")
@as_json_option
@api.connected
def link(registry: Client, archive_id: str, path: str | None, aip: bool, hours: float, as_json: bool) -> None:
    """Make a link that opens what is shut, for anybody, until it expires."""
    if path and aip:
        raise click.UsageError("either --file or --aip")
    wanted: dict[str, Any] = {"thing": "file" if path else "aip" if aip else "zip", "hours": hours}
    if path:
        wanted["path"] = path
    made = registry.post(f"/archives/{archive_id}/passes", wanted)
    said(made["url"], made, as_json=as_json)


@access.command()
@click.argument("archive_id")
@click.argument("status", type=click.Choice(["I", "P", "F", "D"]))
@click.option("--notification", help="One receiver by its id; absent: everybody concerned.")
@as_json_option
@api.connected
def notify(registry: Client, archive_id: str, status: str, notification: str | None, as_json: bool) -> None:
    """Tell once more: I processing, P preserved, F failed, D deleted."""
    wanted = {"status": status, **({"notification": notification} if notification else {})}
    asked = registry.post(f"/archives/{archive_id}/notifications", wanted)
    said(f"{len(asked['steps'])} to be told", asked, as_json=as_json)
