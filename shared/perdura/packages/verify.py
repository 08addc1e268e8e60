"""Verifies a package: one pass over its bytes, every rule, one report (packages.md 2, RFC 8493)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from perdura.packages.bag import Bag, read_bag
from perdura.packages.digesting import digest
from perdura.packages.file_table import FileTable
from perdura.packages.findings import Findings
from perdura.packages.foresight import Foresight
from perdura.packages.layout import find_bag
from perdura.packages.limits import LIMITS, Limits
from perdura.packages.opening import name_agrees, open_container
from perdura.packages.package import Report, Verdict
from perdura.packages.profile_check import check_profiles
from perdura.packages.rules import REJECTED, PackageRejected
from perdura.packages.source import ByteSource, TreeSource

if TYPE_CHECKING:
    from perdura.packages.profiles import Profile

Progress = Callable[[int, int], None]


def verify(
    source: ByteSource | TreeSource,
    *,
    limits: Limits = LIMITS,
    profile: Profile | None = None,
    progress: Progress | None = None,
    algorithms: tuple[str, ...] = (),
) -> Report:
    """The verdict on a package and all it rests on.

    Computes the digests that the manifests need, and `algorithms` besides for every file. `profile` must hold;
    without one the profile that the bag names is checked when it is installed. `progress` is called with
    (bytes done, bytes in all), from several threads. Nothing is written to disk, memory is bounded by the
    limits. The package's faults are in the report; raised are only errors of the source: StoreUnavailable,
    ObjectChanged, NotStored, and Broken.
    """
    findings = Findings(limits)
    kind = "unknown"
    try:
        foresight = Foresight(algorithms)
        container = open_container(source, limits, foresight.observe)
        kind = container.kind
        if isinstance(source, ByteSource) and not name_agrees(source.name, kind):
            findings.add("container-name", detail=kind)
        for code, path in container.warnings:
            findings.add(code, path)
        layout = find_bag(container, findings, limits)
        bag = read_bag(container, layout, findings, limits)
        sip = check_profiles(bag, profile)
        wanted = tuple(dict.fromkeys((*algorithms, *(sip.algorithms_beside(bag) if sip else ()))))
        _digest(bag, foresight, wanted, progress)
        bag.judge()
        if sip is not None:
            sip.judge(bag)
    except PackageRejected as error:
        findings.add(error.code, error.path, error.detail, severity=REJECTED)
        return Report(Verdict.REJECTED, findings.shown(), findings.counts, kind, (), 0, 0)
    return Report(
        findings.verdict(),
        findings.shown(),
        findings.counts,
        kind,
        FileTable(container, layout.index, bag.computed, bag.declared()),
        bag.payload_files,
        bag.payload_bytes,
        bag.facts(),
        tuple(bag.unchecked),
    )


def _digest(bag: Bag, foresight: Foresight, extra: tuple[str, ...], progress: Progress | None) -> None:
    """Fill `bag.computed`: from what was foreseen, the rest by reading."""
    payload = tuple(dict.fromkeys((*bag.payload_algorithms, *extra)))
    tags = tuple(dict.fromkeys((*bag.tag_algorithms, *extra)))
    payload_members = bag.payload_members
    container = bag.container
    total = sum(member.size for member in container.members)
    done = 0

    def algorithms(index: int) -> tuple[str, ...]:
        return payload if index in payload_members else tags

    def deliver(index: int, digests: Sequence[bytes]) -> None:
        for table, value in zip(payload_tables if index in payload_members else tag_tables, digests, strict=True):
            table[index] = value

    def report(size: int) -> None:
        nonlocal done
        done += size
        if progress is not None:
            progress(min(done, total), total)

    for name in dict.fromkeys((*payload, *tags)):
        bag.computed.setdefault(name, {})
    payload_tables = [bag.computed[name] for name in payload]
    tag_tables = [bag.computed[name] for name in tags]
    read: set[int] = set()
    for index, known in foresight.digests.items():
        wanted: Any = algorithms(index)
        if all(name in known for name in wanted):
            read.add(index)
            deliver(index, tuple(known[name] for name in wanted))
    digest(container, algorithms, lambda index: index not in read, deliver, report)
