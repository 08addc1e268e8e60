"""The command `demo`: one deposit and one harvest go all the way, then the proof that the AIP stands on its own.

The proof uses nothing of ours: `tar` unpacks the AIP, `sha512sum` and the Library of Congress' `bagit` check it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from perdura.client import Client
from perdura.commands import api
from perdura.commands.deposit import hand_in
from perdura.commands.timeline import follow

DOCUMENTS = ("README.md", "CHANGELOG.md", "LICENSE", "docs")
RECORD = "/records/3kf7w-x2p61"


@click.command()
@click.option("--keep", is_flag=True, help="Leave the stack running at the end.")
@click.pass_obj
def demo(root: Path, keep: bool) -> None:
    """Preserve this project's own documents and a harvested record, then check the result with plain tools."""
    from perdura.commands.failures import failures
    from perdura.local import stack
    from perdura.local.state import open_home

    begun = time.monotonic()
    with failures():
        home = open_home(root)
        status = stack.detach(home, _say)
    try:
        registry = api.connect(root, None, None)
        with tempfile.TemporaryDirectory(prefix="perdura-demo-") as scratch:
            archives = _preserve(registry, status.urls, Path(scratch))
            _title("The proof: plain tar, sha512sum and bagit.py")
            for archive in archives:
                _prove(registry, archive, Path(scratch))
    finally:
        if not keep:
            with failures():
                stack.down(home)
    _title(f"Done in {time.monotonic() - begun:.0f} s")
    start = "" if keep else f" (start the stack again with: perdura --home {root} up)"
    for archive in archives:
        _say(f"{archive['title']}: {status.urls['registry']}/archives/{archive['id']}{start}")


def _preserve(registry: Client, urls: dict[str, str], scratch: Path) -> list[dict[str, Any]]:
    _title("A deposit: this project's documents, bagged by the Library of Congress' bagit")
    bag = _bag(scratch / "perdura-documents")
    deposited = hand_in(registry, bag, bag=False, title="Documents of Perdura")
    if not follow(registry, deposited):
        raise click.ClickException("the deposit was not preserved")
    _title(f"A harvest: {urls['upstream']}{RECORD}")
    harvested = str(registry.post("/harvests", {"url": f"{urls['upstream']}{RECORD}"})["archive"])
    if not follow(registry, harvested):
        raise click.ClickException("the harvest was not preserved")
    return [registry.get(f"/archives/{archive}") for archive in (deposited, harvested)]


def _bag(folder: Path) -> Path:
    """A bag of the documents of this checkout, or of this package where there is no checkout."""
    import bagit

    import perdura

    package = Path(perdura.__file__).parent
    checkout = package.parents[1]
    folder.mkdir()
    for name in DOCUMENTS if (checkout / "README.md").exists() else ():
        source = checkout / name
        if source.is_dir():
            shutil.copytree(source, folder / name)
        elif source.exists():
            shutil.copy(source, folder / name)
    if not any(folder.iterdir()):
        for source in package.glob("*.py"):
            shutil.copy(source, folder / source.name)
    # A deposit of the same content would be answered with the Archive of the last demonstration.
    (folder / "demonstration.txt").write_text(f"Made at {datetime.now(UTC).isoformat()}\n", encoding="utf-8")
    bagit.make_bag(str(folder), {"External-Description": "Documents of Perdura"}, checksums=["sha256", "sha512"])
    return folder


def _prove(registry: Client, archive: dict[str, Any], scratch: Path) -> None:
    """Download an AIP and check it without Perdura; raises ClickException where anything is wrong."""
    aip = next(package for package in archive["packages"] if package["kind"] == "AIP")
    target = scratch / f"{archive['id']}.tar"
    with registry.download(aip["links"]["content"]) as answer, target.open("wb") as file:
        for chunk in answer.iter_bytes():
            file.write(chunk)
    _run(scratch, "tar", "-xf", target.name)
    (bag,) = {path.parent for path in scratch.glob("*/bagit.txt")} - {scratch / "perdura-documents"}
    _run(bag, "sha512sum", "--check", "--quiet", "--strict", "manifest-sha512.txt")
    _run(bag, "sha512sum", "--check", "--quiet", "--strict", "tagmanifest-sha512.txt")
    _run(scratch, sys.executable, "-m", "bagit", "--validate", "--quiet", str(bag))
    files = sum(1 for path in (bag / "data").rglob("*") if path.is_file())
    _say(f"{archive['title']}: {files} files, {target.stat().st_size:,} bytes: tar, sha512sum and bagit.py agree")
    shutil.rmtree(bag)


def _run(folder: Path, *command: str) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode != 0:
        raise click.ClickException(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")


def _title(text: str) -> None:
    click.secho(f"\n{text}", bold=True)


def _say(text: str) -> None:
    click.echo(text)
