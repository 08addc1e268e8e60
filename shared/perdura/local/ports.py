"""Free TCP ports on the loopback address: tested by listening, remembered by the caller."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterable, Mapping

from perdura.errors import Broken

LOWEST, HIGHEST = 12_000, 22_000
"""Ports we choose from: with SeaweedFS' twins at +10000 all lie below Linux' ephemeral ports (from 32768)."""
OBJECT_STORE_PORTS = 5
TWIN = 10_000
"""Distance of each gRPC port from its HTTP port in SeaweedFS (embedded-services.md 2.1)."""


def is_free(port: int) -> bool:
    """Whether one can listen on that port of 127.0.0.1 now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen(1)
        except OSError:
            return False
    return True


def object_store_ports(first: int) -> list[int]:
    """The ten ports SeaweedFS uses from `first` on."""
    block = range(first, first + OBJECT_STORE_PORTS)
    return [*block, *(port + TWIN for port in block)]


def choose(names: Iterable[str], object_store: str | None, known: Mapping[str, int]) -> dict[str, int]:
    """A free port for each name, the known one where it is still free; `object_store` gets the first of its block.

    Raises Broken where none is free.
    """
    taken: set[int] = set()
    chosen: dict[str, int] = {}
    promised = set(known.values())

    def claim(name: str, width: int) -> None:
        fresh = [port for port in _candidates() if port not in promised]
        for candidate in [*([known[name]] if name in known else []), *fresh]:
            wanted = {candidate} if width == 1 else set(object_store_ports(candidate))
            if not wanted & taken and all(is_free(port) for port in wanted):
                taken.update(wanted)
                chosen[name] = candidate
                return
        raise Broken(f"no free port between {LOWEST} and {HIGHEST} for {name}")

    if object_store is not None:
        claim(object_store, OBJECT_STORE_PORTS)
    for name in names:
        claim(name, 1)
    return chosen


def _candidates() -> list[int]:
    return random.sample(range(LOWEST, HIGHEST - OBJECT_STORE_PORTS), 200)
