"""A CycloneDX 1.6 bill of materials of an image, to standard output: of Debian, the interpreter and Python packages.

Both stages of the Dockerfile begin with the same base and the last adds no package to it, so that what `dpkg` knows in
the first is what the image has.
"""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Iterator, Mapping
from email.parser import HeaderParser
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any
from urllib.parse import quote

DPKG = Path("/var/lib/dpkg")


def component(distribution: Distribution) -> dict[str, Any]:
    """One Python package: name, version, licence, package URL."""
    metadata: Mapping[str, Any] = distribution.metadata  # type: ignore[assignment]
    name, version = str(metadata["Name"]), distribution.version
    entry: dict[str, Any] = {
        "type": "library",
        "name": name,
        "version": version,
        "purl": f"pkg:pypi/{name.lower().replace('_', '-')}@{version}",
        "bom-ref": f"{name}@{version}",
    }
    if "License-Expression" in metadata:
        entry["licenses"] = [{"expression": metadata["License-Expression"]}]
    elif "License" in metadata and len(metadata["License"]) < 100:
        entry["licenses"] = [{"license": {"name": metadata["License"]}}]
    return entry


def interpreter() -> dict[str, Any]:
    """The Python that runs it, which official images compile themselves: no package manager knows of it."""
    version = platform.python_version()
    purl = f"pkg:generic/python@{version}"
    return {"type": "platform", "name": "CPython", "version": version, "purl": purl, "bom-ref": purl}


def debian(dpkg: Path, release: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Every installed package that `dpkg` knows: of its status file, or of a file each where there is no `dpkg`."""
    files = [dpkg / "status", *sorted(dpkg.glob("status.d/*"))]
    for file in files:
        if not file.is_file() or file.suffix == ".md5sums":
            continue
        for paragraph in file.read_text("utf-8").split("\n\n"):
            fields = HeaderParser().parsestr(paragraph.lstrip())
            if fields["Package"] and "installed" in (fields["Status"] or "installed").split():
                yield _package(fields, release)


def _package(fields: Mapping[str, str], release: Mapping[str, str]) -> dict[str, Any]:
    name, version = fields["Package"], fields["Version"]
    told = {"arch": fields.get("Architecture"), "upstream": _source(fields.get("Source")), "distro": _distro(release)}
    qualifiers = "&".join(f"{key}={quote(value, safe='')}" for key, value in sorted(told.items()) if value)
    vendor = release.get("ID", "debian")
    purl = f"pkg:deb/{vendor}/{quote(name, safe='')}@{quote(version, safe='')}?{qualifiers}"
    return {"type": "library", "name": name, "version": version, "purl": purl, "bom-ref": purl}


def _source(told: str | None) -> str | None:
    """`name` or `name@version` of the source package: what advisories of Debian name."""
    name, _, version = (told or "").partition(" ")
    return f"{name}@{version.strip('()')}" if version else name or None


def _distro(release: Mapping[str, str]) -> str | None:
    return f"{release['ID']}-{release['VERSION_ID']}" if {"ID", "VERSION_ID"} <= release.keys() else None


def system() -> dict[str, str]:
    """What the system calls itself (`os-release`); nothing where it does not say."""
    try:
        return platform.freedesktop_os_release()
    except OSError:
        return {}


def document(dpkg: Path = DPKG) -> dict[str, Any]:
    """The whole bill, in the order of names, without time or serial number: the same image gives the same bill."""
    found = [interpreter(), *(component(one) for one in distributions()), *debian(dpkg, system())]
    components = sorted(found, key=lambda entry: (str(entry["name"]).lower(), str(entry["bom-ref"])))
    return {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "components": components}


if __name__ == "__main__":
    json.dump(document(), sys.stdout, indent=1)
