"""Verification in work units: shards of a large package that different invocations verify at the same time (ADR 4).

The step surveys the package, judges all that needs no payload bytes, and divides the rest. A unit computes digests and
leaves a receipt; a file larger than a unit is continued through the saved states of its digests (packages.md 4.3, 5.4).
The last unit to end has the step asked for again: it reads the receipts and gives the verdict.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

from perdura.errors import Broken
from perdura.outcome import ArchiveView, Fact, Outcome, Package, StepState, UnitOutcome, UnitView, WorkUnit
from perdura.packages.container import Container
from perdura.packages.digesting import digest
from perdura.packages.limits import limits_of
from perdura.packages.long_digest import LongState, checked_crc, continued
from perdura.packages.package import Report
from perdura.packages.receipt import from_bytes, to_bytes
from perdura.packages.rules import PackageRejected
from perdura.packages.shards import Shard, shards
from perdura.packages.sources import StoredObject, StoredPrefix
from perdura.packages.survey import reopen, survey
from perdura.packages.verify import Examination, examine
from perdura.ports import Ports
from perdura.steps.ingest_custody import from_json, to_json
from perdura.steps.stored_package import pinned, source_of

WHOLE = "whole"
"""The unit that computes the SHA-256 of the whole object, which its depositor announced."""

IDENTITY = ("sha256",)
"""Digests that are computed of every file, whatever the manifests have: content is known by them."""

_PIECES = 16
"""Into how many units a package is divided that one invocation had no time for."""

_LOOK_AGAIN = timedelta(minutes=10)
_CHUNK = 1 << 20


def examined(source: StoredObject | StoredPrefix, ports: Ports, table: bytes | None = None) -> Examination | Report:
    """Everything about a package but its payload's bytes; `table` is its survey where there was one."""
    limits = limits_of(ports.settings)
    # Imported only where a profile is required: the models cost start-up time.
    if ports.settings.package_profile is not None:
        from perdura.packages.profiles import required

        profile = required(ports.settings.package_profile)
    else:
        profile = None
    opened = None if table is None else partial(reopen, table, source, limits)
    return examine(source, limits=limits, profile=profile, algorithms=IDENTITY, opened=opened)


def divided(
    archive: ArchiveView, sip: Package, examined: Examination, ports: Ports, *, was_too_slow: bool = False
) -> Outcome | None:
    """The outcome that has units done; None for a package that one invocation verifies, or that is one stream.

    One that `was_too_slow` for an invocation is divided whatever its size.
    """
    limit = ports.settings.verify_unit_bytes
    sizes = [member.size for member in examined.container.members]
    if was_too_slow:
        limit = min(limit, max(sum(sizes) // _PIECES, 1))
    if sum(sizes) <= limit:
        return None
    table = survey(examined.container, source_of(sip, ports.store))
    if table is None:
        return None
    key = f"{_folder(archive)}survey"
    ports.store.put(ports.settings.bucket_sips, key, table)
    algorithms = list(examined.all_algorithms)
    units = [_unit(shard, algorithms) for shard in shards(sizes, limit)]
    # A bag completed from fetch.txt is no object any more: what was handed in has been compared already.
    if archive.step.input.get("expected_sha256") and not sip.key.endswith("/"):
        units.append(WorkUnit(WHOLE, {"size": sip.size, "algorithms": ["sha256"]}))
    return Outcome(
        state=StepState.WAITING,
        units=tuple(units),
        checkpoint={"sip": to_json(sip), "survey": key, "bytes": sum(int(unit.checkpoint["size"]) for unit in units)},
        poll_at=ports.clock.now() + _LOOK_AGAIN,
    )


def _unit(shard: Shard, algorithms: Sequence[str]) -> WorkUnit:
    told = {"first": shard.first, "stop": shard.stop, "size": shard.size, "long": shard.long}
    return WorkUnit(shard.key, {**told, "algorithms": list(algorithms)})


def _folder(archive: ArchiveView) -> str:
    return f"{archive.id}/verification/{archive.step.id}/"


def run(archive: ArchiveView, unit: WorkUnit, ports: Ports) -> UnitOutcome:
    """Go on with one unit until it is done or the invocation's time is up.

    Raises Retryable errors of the store, and Broken where a file cannot be continued and is too long without.
    """
    try:
        if unit.key == WHOLE:
            return _whole(archive, unit, ports)
        container = reopen(_survey(archive, ports), source_of(_sip(archive), ports.store), limits_of(ports.settings))
        if unit.checkpoint["long"]:
            return _long(archive, unit, container, ports)
        return _members(archive, unit, container, ports)
    except PackageRejected as error:
        found = {"code": error.code, "path": error.path, "detail": error.detail}
        return _outcome(archive, unit, {}, done=True, size=0, rejected=found)


def _sip(archive: ArchiveView) -> Package:
    return from_json(archive.step.checkpoint["sip"])


def _survey(archive: ArchiveView, ports: Ports) -> bytes:
    found = ports.store.head(ports.settings.bucket_sips, archive.step.checkpoint["survey"])
    return ports.store.read(found.ref)


def _outcome(
    archive: ArchiveView, unit: WorkUnit, changes: Mapping[str, Any], *, done: bool, size: int, **result: Any
) -> UnitOutcome:
    checkpoint = {**unit.checkpoint, **changes}
    total = archive.step.checkpoint["bytes"]
    return UnitOutcome(done, checkpoint, {"done": size, **result}, what="verifying", total=total)


def _members(archive: ArchiveView, unit: WorkUnit, container: Container, ports: Ports) -> UnitOutcome:
    """Digest members from where the last invocation stopped."""
    told, members = unit.checkpoint, container.members
    start, stop, algorithms = told.get("next", told["first"]), told["stop"], tuple(told["algorithms"])
    before = sum(member.size for member in members[told["first"] : start])
    found: dict[int, Sequence[bytes]] = {}
    done = before

    def report(size: int) -> None:
        nonlocal done
        done += size
        ports.progress("verifying", done, archive.step.checkpoint["bytes"])

    digest(
        container,
        lambda _: algorithms,
        lambda index: start <= index < stop,
        found.__setitem__,
        report,
        ports.deadline.near,
    )
    left = (index for index in range(start, stop) if index not in found and not members[index].is_directory)
    following = next(left, None)
    if following is not None and not found:
        raise Broken("the time budget of one invocation is too short to verify anything", code="no-progress")
    key = f"{_folder(archive)}{unit.key}/{start:07d}"
    ports.store.put(ports.settings.bucket_sips, key, to_bytes(algorithms, found))
    changes = {"next": following, "receipts": [*told.get("receipts", ()), key]}
    return _outcome(archive, unit, changes, done=following is None, size=done)


def _long(archive: ArchiveView, unit: WorkUnit, container: Container, ports: Ports) -> UnitOutcome:
    """Digest one long file from where the last invocation stopped."""
    told, index = unit.checkpoint, int(unit.checkpoint["first"])
    crc = container.crc(index)
    is_stored = container.resume(index, 0) is not None
    algorithms = tuple(dict.fromkeys((*told["algorithms"], *(("crc32",) if crc is not None else ()))))

    def read(offset: int) -> Iterator[memoryview]:
        return container.resume(index, offset) or container.read(index)

    state = _continued(read, told["size"], algorithms, unit, archive, ports, stops=is_stored)
    if state.digests is None:
        return _outcome(archive, unit, {**state.to_json(), "resumed": True}, done=False, size=state.offset)
    checked_crc(container.members[index].path, crc, state.digests)
    key = f"{_folder(archive)}{unit.key}/{told.get('round', 1)}"
    values = [state.digests[name] for name in told["algorithms"]]
    ports.store.put(ports.settings.bucket_sips, key, to_bytes(told["algorithms"], {index: values}))
    return _outcome(archive, unit, {"receipts": [key]}, done=True, size=state.offset)


def _whole(archive: ArchiveView, unit: WorkUnit, ports: Ports) -> UnitOutcome:
    """Digest the whole object from where the last invocation stopped."""
    ref, size = pinned(_sip(archive)), unit.checkpoint["size"]

    def read(offset: int) -> Iterator[memoryview]:
        return ports.store.stream(ref, offset, size - offset, _CHUNK)

    state = _continued(read, size, ("sha256",), unit, archive, ports, stops=True)
    if state.digests is None:
        return _outcome(archive, unit, {**state.to_json(), "resumed": True}, done=False, size=state.offset)
    return _outcome(archive, unit, {}, done=True, size=size, sha256=state.digests["sha256"].hex())


def _continued(
    read: Any,
    size: int,
    algorithms: tuple[str, ...],
    unit: WorkUnit,
    archive: ArchiveView,
    ports: Ports,
    *,
    stops: bool,
) -> LongState:
    state = LongState(unit.checkpoint.get("offset", 0), unit.checkpoint.get("states", {}))
    total = archive.step.checkpoint["bytes"]
    return continued(
        read, size, algorithms, state, ports.deadline.near,
        lambda done: ports.progress("verifying", done, total), stops=stops,
    )  # fmt: skip


def gathered(archive: ArchiveView, ports: Ports) -> tuple[Package, Report, str | None] | Outcome:
    """The SIP, its report and its SHA-256 where that was wanted; an outcome while units are still to be done.

    Raises Broken when a unit failed for another reason than the package.
    """
    units = archive.step.units
    for unit in units.values():
        if error := unit.result.get("error"):
            raise Broken(error["message"], code=error["code"])
    if not all(unit.is_done for unit in units.values()):
        return _waiting(archive, units, ports)
    sip = _sip(archive)
    source = source_of(sip, ports.store, archive.step.input.get("filename"))
    found = examined(source, ports, _survey(archive, ports))
    sha256 = units[WHOLE].result.get("sha256") if WHOLE in units else None
    if isinstance(found, Report):
        return sip, found, sha256
    rejected = [unit.result["rejected"] for _, unit in sorted(units.items()) if "rejected" in unit.result]
    if rejected:
        return sip, found.rejected(PackageRejected(**rejected[0])), sha256
    for unit in units.values():
        _deliver(found, unit, ports)
    announced = str(archive.step.input.get("expected_sha256")).lower()
    doubted = tuple(_again(key, unit) for key, unit in units.items() if _is_doubtful(found, unit, announced))
    if doubted:
        return _waiting(archive, units, ports, doubted)
    return sip, found.conclude(), sha256


def _waiting(
    archive: ArchiveView, units: Mapping[str, UnitView], ports: Ports, anew: tuple[WorkUnit, ...] = ()
) -> Outcome:
    """Wait for units; those that nobody works on any more are asked for again."""
    lost = [key for key, unit in units.items() if unit.is_lost]
    wanted = {"archive": archive.id, "step": archive.step.id}
    return Outcome(
        state=StepState.WAITING,
        units=anew,
        facts=tuple(Fact("org.perdura.ingest.requested.v1", {**wanted, "unit": key}) for key in lost),
        checkpoint=archive.step.checkpoint,
        poll_at=ports.clock.now() + _LOOK_AGAIN,
    )


def _deliver(examined: Examination, unit: UnitView, ports: Ports) -> None:
    computed = examined.bag.computed
    for key in unit.checkpoint.get("receipts", ()):
        found = ports.store.head(ports.settings.bucket_sips, key)
        for index, digests in from_bytes(ports.store.read(found.ref)):
            for name in examined.algorithms(index):
                computed[name][index] = digests[name]


def _is_doubtful(examined: Examination, unit: UnitView, announced: str) -> bool:
    """Whether a mismatch rests on a digest that was continued: it is read once more before it is believed."""
    told = unit.checkpoint
    if not told.get("resumed") or told.get("round", 1) > 1:
        return False
    if "sha256" in unit.result:
        return bool(unit.result["sha256"] != announced)
    index, computed = int(told["first"]), examined.bag.computed
    return any(
        computed[name][index] != digests[index]
        for name, tables in examined.bag.declared().items()
        for digests in tables
        if index in digests and index in computed.get(name, {})
    )


def _again(key: str, unit: UnitView) -> WorkUnit:
    planned = ("first", "stop", "size", "long", "algorithms")
    kept = {name: unit.checkpoint[name] for name in planned if name in unit.checkpoint}
    return WorkUnit(key, {**kept, "round": 2})
