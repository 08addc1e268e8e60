"""Judges a bag that is stored, file by file, over as many invocations as that takes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress

from perdura.packages.digesting import digest
from perdura.packages.package import Report
from perdura.packages.rules import PackageRejected
from perdura.packages.sources import LocalFile, LocalTree, StoredObject, StoredPrefix
from perdura.packages.verify import Examination
from perdura.ports import Ports
from perdura.steps.receipts import Receipts
from perdura.storage.timed import TimeUp


def judged(examined: Examination, receipts: Receipts, ports: Ports) -> Report | None:
    """Digest the files that no earlier invocation did; None when time is up and the receipts are to be put down.

    Raises TimeUp when there was not even the time for one file.
    """
    container, receipts.algorithms = examined.container, tuple(examined.all_algorithms)
    known = set()
    for index, digests in receipts.earlier():
        _deliver(examined, index, digests)
        known.add(index)
    sizes = [member.size for member in container.members]
    done = sum(sizes[index] for index in known)

    def report(size: int) -> None:
        nonlocal done
        done += size
        ports.progress("verify", done, sum(sizes))

    found = receipts.found
    with suppress(TimeUp):
        try:
            digest(
                container,
                lambda _: receipts.algorithms,
                lambda index: index not in known,
                found.__setitem__,
                report,
                ports.deadline.near,
            )
        except PackageRejected as error:
            return examined.rejected(error)
    wanted = (n for n, each in enumerate(container.members) if not each.is_directory and n not in known)
    if any(index not in found for index in wanted):
        if not found:
            raise TimeUp
        return None
    for index, values in found.items():
        _deliver(examined, index, dict(zip(receipts.algorithms, values, strict=True)))
    return examined.conclude()


def state_of(source: LocalTree | LocalFile | StoredObject | StoredPrefix) -> str:
    """Names the state of the source that receipts are of: objects may be replaced between invocations."""
    pins = source.pins if isinstance(source, StoredPrefix) else ()
    return hashlib.sha256(repr(pins).encode()).hexdigest()[:16]


def _deliver(examined: Examination, index: int, digests: Mapping[str, bytes]) -> None:
    for name in examined.algorithms(index):
        examined.bag.computed[name][index] = digests[name]
