"""Verify: reads a stored AIP again and compares every digest with the registry (OAIS 4.1.1.4, error checking).

Asked for where our own copy is under suspicion, for example when FTS found another checksum at the source (fts-cta.md
10.2). It goes on where the last invocation stopped. A difference is believed when a second reading finds it too.

Input of the step: `package` names the AIP.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from perdura import __version__
from perdura.errors import NotStored, Rejected
from perdura.outcome import ArchiveView, Copy, CopyState, Fact, Finding, Outcome, Package, StepState
from perdura.packages.long_digest import LongState, continued
from perdura.ports import Ports
from perdura.premis.model import FAILURE, SUCCESS, Event, Identifier
from perdura.premis.model import Outcome as EventOutcome
from perdura.storage.store import ObjectRef

LOCATION = "object-store"
READ_AGAIN = "Stored copy read again"
"""How the detail of the event begins: the check stands for itself, not for the step that made the AIP."""
COMPARED = ("sha256", "sha512", "adler32")


def run(archive: ArchiveView, ports: Ports) -> Outcome:
    """COMPLETED with the copy's date of verification renewed; FAILED with `fixity-mismatch` or `copy-missing`.

    Raises Rejected for a package that is not of this Archive, or has no digest to be compared with, Retryable when the
    store does not answer.
    """
    aip = _asked_for(archive)
    wanted = {name: aip.checksums[name] for name in COMPARED if name in aip.checksums}
    # Not pinned by its ETag: an object that another one took the place of is to be read, and its digests told as wrong.
    # Pinned it would be an object that changed under the reader, which is tried again and never told.
    ref = ObjectRef(aip.bucket, aip.key, aip.version_id)
    checkpoint = archive.step.checkpoint
    try:
        size = ports.store.head(aip.bucket, aip.key, aip.version_id).size
        if size != aip.size:
            return _different(archive, aip, {"size": str(aip.size)}, {"size": str(size)}, ports)
        state = continued(
            lambda offset: ports.store.stream(ref, offset, aip.size - offset),
            aip.size,
            tuple(wanted),
            LongState(checkpoint.get("offset", 0), checkpoint.get("states", {})),
            ports.deadline.near,
            lambda done: ports.progress("verify", done, aip.size),
        )
    except NotStored:
        return _failed(archive, aip, "copy-missing", "The object is no longer in the store", wanted, {}, ports)
    again = bool(checkpoint.get("again"))
    if state.digests is None:
        return Outcome(StepState.QUEUED, checkpoint={**state.to_json(), "again": again})
    found = {name: digest.hex() for name, digest in state.digests.items()}
    if found == wanted:
        return _as_expected(archive, aip, found, ports)
    if not again:
        return Outcome(StepState.QUEUED, checkpoint={"again": True})
    return _different(archive, aip, wanted, found, ports)


def _asked_for(archive: ArchiveView) -> Package:
    aip = archive.package_of_id(archive.step.input.get("package"))
    if aip is None:
        raise Rejected("The Archive has no such package.", code="no-such-package")
    if not set(COMPARED) & set(aip.checksums):
        raise Rejected("The registry has no digest of this package as a whole.", code="no-digest")
    return aip


def _as_expected(archive: ArchiveView, aip: Package, found: Mapping[str, str], ports: Ports) -> Outcome:
    now = ports.clock.now()
    note = f"{aip.size} bytes; {', '.join(sorted(found))} as expected"
    return Outcome(
        copies=(replace(_copy(archive, aip), verified_at=now, state=CopyState.HELD),),
        events=(_event(archive, aip, SUCCESS, note, ports),),
        output={"fixity": {"package": str(aip.id), "location": LOCATION, "checksums": dict(found)}},
    )


def _copy(archive: ArchiveView, aip: Package) -> Copy:
    held = (copy for copy in archive.copies if (copy.package_id, copy.location) == (aip.id, LOCATION))
    return next(held, Copy(aip.id, LOCATION, _uri(aip), aip.size, aip.checksums))


def _different(
    archive: ArchiveView, aip: Package, expected: Mapping[str, str], found: Mapping[str, str], ports: Ports
) -> Outcome:
    wrong = [f"{name} is {found[name]}, not {value}" for name, value in expected.items() if found[name] != value]
    said = f"The stored copy is not what was preserved: {'; '.join(wrong)}"
    return _failed(archive, aip, "fixity-mismatch", said, expected, found, ports)


def _failed(
    archive: ArchiveView,
    aip: Package,
    code: str,
    said: str,
    expected: Mapping[str, str],
    found: Mapping[str, str],
    ports: Ports,
) -> Outcome:
    message = f"{said} ({_uri(aip)})"
    state = CopyState.LOST if code == "copy-missing" else CopyState.DAMAGED
    told: dict[str, Any] = {
        "archive": str(archive.id), "package": str(aip.id), "location": LOCATION, "expected": dict(expected),
        "found": dict(found),
    }  # fmt: skip
    return Outcome(
        StepState.FAILED,
        error_code=code,
        message=message,
        findings=(Finding(code, message),),
        copies=(replace(_copy(archive, aip), state=state),),
        events=(_event(archive, aip, FAILURE, f"{code}: {message}", ports),),
        facts=(Fact("org.perdura.fixity.failed.v1", told),),
    )


def _uri(aip: Package) -> str:
    return f"s3://{aip.bucket}/{aip.key}"


def _event(archive: ArchiveView, aip: Package, outcome: str, note: str, ports: Ports) -> Event:
    return Event(
        id=ports.derived("premis/fixity"),
        type="fixity check",
        at=ports.clock.now(),
        details=(f"{READ_AGAIN}: {_uri(aip)}",),
        outcomes=(EventOutcome(outcome, (note[:2000],)),),
        agents=(Identifier("software", f"perdura/{__version__} preserve", ("executing program",)),),
        objects=(Identifier("UUID", str(aip.id), ("source",)), Identifier("UUID", str(archive.id))),
    )
