"""`perdura import-oais`: the archives of a CERN OAIS platform, of what its API tells (cern-oais-platform.md 10)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from perdura.client import Client
from perdura.commands import api
from perdura.commands.failures import Unusable
from perdura.commands.jobs import watch_job
from perdura.commands.tables import as_json_option, said

TOGETHER = 500
"""Archives of one request."""


@click.command("import-oais")
@click.argument("dump", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--origin", required=True, help="Address of the platform it comes from.")
@click.option("--bucket", required=True, help="Bucket in which the SIPs lie.")
@click.option("--base", default="", help="What the paths there begin with and the keys do not.")
@click.option("--aip-bucket", help="Bucket in which the AIPs lie, if another.")
@click.option("--aip-base", help="What the paths of AIPs begin with, if something else.")
@click.option("--sips-only", is_flag=True, help="Make every AIP anew of the SIP, instead of keeping those made there.")
@click.option("--watch", is_flag=True, help="Stay until all are begun. Exit status 1 when some could not be.")
@as_json_option
@api.connected
def import_oais(
    registry: Client, /, dump: Path, sips_only: bool, watch: bool, as_json: bool, **places: str | None
) -> None:
    """Take over the archives of a CERN OAIS platform from DUMP.

    DUMP is JSON: `{"archives": [...], "steps": [...], "collections": [...]}` as the API there lists them, whole or in
    pages; each collection (`tags/`) with the `archives` in it (`tags/{id}/archives/`).
    """
    try:
        archives = oais_archives(json.loads(dump.read_text("utf-8")))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise Unusable(f"{dump} is no dump of a CERN OAIS platform: {what}") from error
    told = {name: value for name, value in places.items() if value is not None}
    failed = False
    for first in range(0, len(archives), TOGETHER):
        some = archives[first : first + TOGETHER]
        job = registry.post("/imports/oais", {**told, "aips": not sips_only, "archives": some})
        if not (watch and as_json):
            said(f"job {job['id']}: {job['total']} archives", job, as_json=as_json)
        if watch:
            failed = not watch_job(registry, job, as_json=as_json) or failed
    if failed:
        raise click.exceptions.Exit(1)


def oais_archives(dump: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The archives of a dump, each with its steps, the titles of its collections and the place of its AIP.

    Raises ValueError for a dump of another form.
    """
    steps: dict[int, list[dict[str, Any]]] = {}
    for step in listed(dump.get("steps"), "steps"):
        kind = step.get("step_type")
        name = kind.get("name", "") if isinstance(kind, dict) else str(kind)
        steps.setdefault(step["archive"], []).append({**step, "name": name})
    named: dict[int, list[str]] = {}
    for collection in listed(dump.get("collections"), "collections"):
        if "archives" not in collection:
            raise ValueError(
                f"the collection {collection['title']!r} does not say what is in it: add the answer of "
                f"tags/{collection.get('id')}/archives/ to it as `archives`"
            )
        for archive in listed(collection["archives"], "archives of a collection"):
            number = archive["id"] if isinstance(archive, dict) else archive
            named.setdefault(number, []).append(collection["title"])
    return [
        {**archive, "title": archive.get("title") or "", "steps": steps.get(archive["id"], []),
         "collections": named.get(archive["id"], []),
         "path_to_aip": archive.get("path_to_aip") or _aip_of(steps.get(archive["id"], []))}
        for archive in listed(dump.get("archives"), "archives")
    ]  # fmt: skip


def listed(told: Any, what: str) -> list[Any]:
    """What the API there lists: a list, a page of it (`results`), or a list of its pages. Raises ValueError."""
    if told is None:
        return []
    if isinstance(told, dict) and isinstance(told.get("results"), list):
        return list(told["results"])
    if not isinstance(told, list):
        raise ValueError(f"{what}: neither a list nor a page with `results`")
    if told and all(isinstance(page, dict) and isinstance(page.get("results"), list) for page in told):
        return [item for page in told for item in page["results"]]
    return told


def _aip_of(steps: list[dict[str, Any]]) -> str | None:
    """Where the newest AIP lies: the API there tells it in no member of the archive, but as artifact of a step."""
    for step in sorted(steps, key=lambda each: int(each.get("id") or 0), reverse=True):
        output = step.get("output_data")
        if isinstance(output, str):
            try:
                output = json.loads(output)
            except ValueError:
                continue
        artifact = output.get("artifact") if isinstance(output, dict) else None
        if isinstance(artifact, dict) and artifact.get("artifact_name") == "AIP":
            return artifact.get("artifact_localpath") or artifact.get("artifact_path")
    return None
