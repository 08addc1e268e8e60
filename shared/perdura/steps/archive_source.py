"""Where FTS reads an AIP from: the AIP gateway when there is one, else a presigned URL of the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from perdura.clients.tape_sources import UNSAFE, may_presign
from perdura.clients.tape_tokens import mint
from perdura.errors import Broken
from perdura.outcome import Package
from perdura.packages.long_digest import START, LongState, continued
from perdura.ports import Ports
from perdura.steps.archive_transfer import Transfer
from perdura.steps.stored_package import pinned

DAY = 86400
LONGEST_SIGNATURE = 7 * DAY
"""A presigned URL lasts at most a week (Signature Version 4)."""
SLOWEST = 5_000_000
"""Bytes per second of the slowest copy that must still end in time."""
READING = ("GET", "HEAD", "PROPFIND")


@dataclass(frozen=True, slots=True)
class Source:
    """A URL, the token that opens it, and whether it tells its own ADLER32: the gateway tells what is registered."""

    url: str
    token: str | None
    tells_checksum: bool


def reading_of(transfer: Transfer, ports: Ports) -> Source:
    """What FTS is given to read the file by.

    Raises Broken when the gateway has no secret, a container has no gateway, or anything has none where FTS would show
    presigned URLs to others.
    """
    aip = transfer.aip
    seconds = min(LONGEST_SIGNATURE, 2 * DAY + transfer.size // SLOWEST)
    gateway = ports.settings.tape_gateway_url
    if gateway is None and transfer.slot is not None:
        raise Broken("containers of AIPs are read through the AIP gateway, which is not set", code="tape-configuration")
    if gateway is None:
        if not may_presign(ports.settings):
            raise Broken(UNSAFE, code="tape-configuration")
        return Source(ports.store.presigned_get(pinned(aip), seconds), None, False)
    if ports.settings.tape_gateway_secret is None:
        raise Broken("PERDURA_TAPE_GATEWAY_URL is set, PERDURA_TAPE_GATEWAY_SECRET is not", code="tape-configuration")
    path = f"/aips/{aip.id}.tar" if transfer.slot is None else f"/containers/{transfer.slot.container}.tar"
    token = None
    if ports.settings.tape_certificate is None:
        secret = ports.settings.tape_gateway_secret.get_secret_value()
        token = mint(secret, path, READING, int(ports.clock.now().timestamp()) + seconds, "archive-cta")
    known = transfer.slot is not None or "adler32" in aip.checksums
    return Source(gateway.rstrip("/") + path, token, known)


def adler32_of(aip: Package, hashed: Mapping[str, Any], ports: Ports) -> str | LongState:
    """The AIP's ADLER32: from the registry, or computed by reading it (AIPs of other engines have none).

    `hashed` is how far an invocation before came; when time is up, how far it is now comes back, to be gone on from.
    """
    known = aip.checksums.get("adler32")
    if known:
        return known.lower().zfill(8)
    reached = continued(
        lambda offset: ports.store.stream(pinned(aip), offset),
        aip.size,
        ("adler32",),
        LongState(hashed["offset"], hashed["states"]) if hashed.get("aip") == str(aip.id) else START,
        ports.deadline.near,
        lambda done: ports.progress("computing ADLER32", done, aip.size),
    )
    return reached if reached.digests is None else reached.digests["adler32"].hex()
