"""Verifies a package: one pass over its bytes, every rule, one report (packages.md 2, RFC 8493)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from perdura.packages.bag import Bag, read_bag
from perdura.packages.container import Container
from perdura.packages.digest_table import DigestTable
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
    from perdura.packages.sip import Sip

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
    examined = examine(source, limits=limits, profile=profile, algorithms=algorithms)
    if isinstance(examined, Report):
        return examined
    return digested(examined, progress)


@dataclass
class Examination:
    """A package of which everything was judged that can be judged without its payload's bytes.

    Digests are put into `computed` then, by whomever, and `conclude` gives the report.
    """

    bag: Bag
    findings: Findings
    foresight: Foresight
    sip: Sip | None
    extra: tuple[str, ...]
    """Algorithms that are wanted of every file besides those of the manifests."""

    @property
    def container(self) -> Container:
        """Where the members are."""
        return self.bag.container

    def algorithms(self, index: int) -> tuple[str, ...]:
        """The digests that are needed of a member."""
        return self._payload if index in self.bag.payload_members else self._tags

    @property
    def all_algorithms(self) -> tuple[str, ...]:
        """The digests that are needed of any member."""
        return tuple(dict.fromkeys((*self._payload, *self._tags)))

    @cached_property
    def _payload(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.bag.payload_algorithms, *self.extra)))

    @cached_property
    def _tags(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.bag.tag_algorithms, *self.extra)))

    def prepare(self) -> None:
        """Make room for digests."""
        for name in self.all_algorithms:
            self.bag.computed.setdefault(name, DigestTable(name, len(self.container.members)))

    def rejected(self, error: PackageRejected) -> Report:
        """The report when the container turned out hostile after all."""
        return _rejected(self.findings, error, self.container.kind)

    def conclude(self) -> Report:
        """The verdict, all digests being there."""
        bag = self.bag
        try:
            bag.judge()
            if self.sip is not None:
                self.sip.judge(bag)
        except PackageRejected as error:
            return self.rejected(error)
        return Report(
            self.findings.verdict(),
            self.findings.shown(),
            self.findings.counts,
            self.container.kind,
            FileTable(self.container, bag.layout.index, bag.computed, bag.declared()),
            bag.payload_files,
            bag.payload_bytes,
            bag.facts(),
            tuple(bag.unchecked),
        )


def examine(
    source: ByteSource | TreeSource,
    *,
    limits: Limits = LIMITS,
    profile: Profile | None = None,
    algorithms: tuple[str, ...] = (),
    opened: Callable[[], Container] | None = None,
) -> Examination | Report:
    """Everything but the payload's bytes; the report of a package that is rejected at that.

    `opened` gives the container where it was surveyed before.
    """
    findings = Findings(limits)
    foresight = Foresight(algorithms, limits.members)
    kind = "unknown"
    try:
        container = open_container(source, limits, foresight.observe) if opened is None else opened()
        kind = container.kind
        if isinstance(source, ByteSource) and not name_agrees(source.name, kind):
            findings.add("container-name", detail=kind)
        for code, path in container.warnings:
            findings.add(code, path)
        layout = find_bag(container, findings, limits)
        bag = read_bag(container, layout, findings, limits)
        sip = check_profiles(bag, profile)
        extra = tuple(dict.fromkeys((*algorithms, *(sip.algorithms_beside(bag) if sip else ()))))
    except PackageRejected as error:
        return _rejected(findings, error, kind)
    examination = Examination(bag, findings, foresight, sip, extra)
    examination.prepare()
    return examination


def digested(examined: Examination, progress: Progress | None = None) -> Report:
    """The report on a package that was examined, after all its bytes were read."""
    try:
        _digest(examined, progress)
    except PackageRejected as error:
        return examined.rejected(error)
    return examined.conclude()


def _rejected(findings: Findings, error: PackageRejected, kind: str) -> Report:
    findings.add(error.code, error.path, error.detail, severity=REJECTED)
    return Report(Verdict.REJECTED, findings.shown(), findings.counts, kind, (), 0, 0)


def _digest(examined: Examination, progress: Progress | None) -> None:
    """Fill in the digests: from what was foreseen, the rest by reading."""
    container, computed = examined.container, examined.bag.computed
    total = sum(member.size for member in container.members)
    done = 0
    tables: dict[tuple[str, ...], list[DigestTable]] = {}

    def deliver(index: int, digests: Sequence[bytes]) -> None:
        for table, value in zip(tables_of(examined.algorithms(index)), digests, strict=True):
            table[index] = value

    def tables_of(names: tuple[str, ...]) -> list[DigestTable]:
        found = tables.get(names)
        if found is None:
            found = tables[names] = [computed[name] for name in names]
        return found

    def report(size: int) -> None:
        nonlocal done
        done += size
        if progress is not None:
            progress(min(done, total), total)

    read: set[int] = set()
    for index, member in enumerate(container.members):
        foreseen = None if member.is_directory else examined.foresight.digests(index, examined.algorithms(index))
        if foreseen is not None:
            read.add(index)
            deliver(index, foreseen)
    digest(container, examined.algorithms, lambda index: index not in read, deliver, report)
