"""A light SIP: metadata, manifests and `fetch.txt`, the files still at the upstream (RFC 8493 §2.2.3).

BagIt lets a file stand in `fetch.txt` only when every manifest lists it. So the manifests are those for which the
upstream declared a checksum of every file; without one there is no light bag (cern-oais-platform.md 14, 20.9).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from urllib.parse import quote

from perdura.clients.http import redacted
from perdura.errors import Rejected
from perdura.sources.plan import Plan
from perdura.sources.transfer import Fetched
from perdura.steps.harvest_sip import TagFile, bag_files, encoded, metadata_files, tag_file

MANIFESTS = ("sha512", "sha256", "sha1", "md5")
"""Algorithms of BagIt manifests, the strongest first."""


def bag(plan: Plan, at: datetime, plan_json: bytes, organisation: str) -> list[TagFile]:
    """All files of the light bag, `bagit.txt` last; raises Rejected (`light-impossible`) with the reason."""
    algorithms = declared_algorithms(plan)
    declared = [Fetched(file.path, file.size or 0, file.checksums) for file in plan.files]
    metadata = metadata_files(plan, declared, at, plan_json, light=True)
    fetch = tag_file("fetch.txt", fetch_txt(plan))
    return [*metadata, fetch, *bag_files(plan, declared, metadata, at, organisation, algorithms, (fetch,))]


def declared_algorithms(plan: Plan) -> Sequence[str]:
    """The manifest algorithms that every file declares."""
    found = [name for name in MANIFESTS if all(name in file.checksums for file in plan.files)]
    if not found:
        raise Rejected(
            "The repository does not declare a checksum of every file, so no light package can be made.",
            code="light-impossible",
        )
    if any(file.size is None for file in plan.files):
        raise Rejected("The repository does not declare the size of every file.", code="light-impossible")
    return found


def fetch_txt(plan: Plan) -> bytes:
    """Lines `URL LENGTH PATH`; raises Rejected for an address that carries a secret or is no http address."""
    lines = []
    for file in plan.files:
        if not file.url.startswith(("http://", "https://")):
            raise Rejected("Only files that others can fetch over http fit a light package.", code="light-impossible")
        if redacted(file.url) != file.url:
            raise Rejected("The address of a file carries a secret.", code="light-impossible")
        url = quote(file.url, safe="/?#%:@!$&'()*+,;=~-._[]")
        lines.append(f"{url} {file.size} {encoded(file.path)}\n")
    return "".join(lines).encode()
