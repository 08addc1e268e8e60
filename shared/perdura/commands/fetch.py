"""`perdura fetch`: a package or one file of it, held against the registry's checksums."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import click

from perdura.client import Client
from perdura.commands import api
from perdura.commands.failures import Unusable

_PIECE = 1 << 20


@click.command()
@click.argument("archive_id")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), required=True, help="Where to write.")
@click.option("--package", "package_id", help="Another package than the AIP, by its id.")
@click.option("--file", "path", help="Only this file, by its path in the package.")
@api.connected
def fetch(registry: Client, archive_id: str, package_id: str | None, path: str | None, output: Path) -> None:
    """Download the AIP of an archive, or the package that --package names (a rejected SIP, say), or one file of it.

    What arrives is held against the registry's checksums before it gets its name.
    """
    package = _wanted(registry.archive(archive_id), package_id)
    thing = package if path is None else _file(registry, archive_id, package["id"], path)
    if "content" not in thing["links"]:
        raise click.ClickException("it cannot be read by itself; the package may be under embargo, packed or unpacked")
    declared = {name: value for name, value in thing["checksums"].items() if name in ("sha256", "sha512")}
    hashes = {name: hashlib.new(name) for name in declared}
    part = output.with_name(f".{output.name}.part")
    try:
        size = 0
        with registry.download(thing["links"]["content"]) as answer, part.open("wb") as file:
            for piece in answer.iter_bytes(_PIECE):
                file.write(piece)
                size += len(piece)
                for digest in hashes.values():
                    digest.update(piece)
        wrong = [name for name, digest in hashes.items() if digest.hexdigest() != declared[name].lower()]
        if size != thing["size"] or wrong:
            reason = f"{size} of {thing['size']} bytes, wrong: {', '.join(wrong) or 'size'}"
            what = "file" if path is not None else "package"
            raise click.ClickException(f"what arrived is not the {what}: {reason}")
        os.replace(part, output)
    except OSError as error:
        raise Unusable(f"{output} cannot be written: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)
    click.echo(f"{output}  {size} bytes, {', '.join(sorted(declared)) or 'no checksum'} as registered")


def _wanted(archive: dict[str, Any], package_id: str | None) -> dict[str, Any]:
    """The package of that id, else the newest AIP."""
    for package in reversed(archive.get("packages") or []):
        if package["id"] == package_id or (package_id is None and package["kind"] == "AIP"):
            return dict(package)
    what = f"no package {package_id}" if package_id else f"no AIP (it is {archive['state']})"
    raise click.ClickException(f"archive {archive['id']} has {what}")


def _file(registry: Client, archive_id: str, package: str, path: str) -> dict[str, Any]:
    """The file at that very path."""
    for file in registry.items(f"/archives/{archive_id}/files", 1, package=package, prefix=path):
        if file["path"] == path:
            return file
    raise click.ClickException(f"archive {archive_id} has no file {path}")
