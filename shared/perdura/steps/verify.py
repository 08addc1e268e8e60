"""Verify: reads a stored AIP again and compares every digest with the registry (OAIS 4.1.1.4, error checking).

Asked for where our own copy is under suspicion, for example when FTS found another checksum at the source (fts-cta.md
10.2). It goes on where the last invocation stopped. A difference is believed when a second reading finds it too.
An AIP that lies as many objects is compared file by file (`verify_bag`).

Input of the step: `package` names the AIP.
"""

from __future__ import annotations

from collections.abc import Mapping

from perdura.errors import NotStored, Rejected
from perdura.outcome import ArchiveView, Outcome, Package, StepState
from perdura.packages.long_digest import LongState, continued
from perdura.ports import Ports
from perdura.steps import verify_bag
from perdura.steps.verify_outcome import as_expected, failed
from perdura.storage.store import ObjectRef

COMPARED = ("sha256", "sha512", "adler32")


def run(archive: ArchiveView, ports: Ports) -> Outcome:
    """COMPLETED with the copy's date of verification renewed; FAILED with `fixity-mismatch` or `copy-missing`.

    Raises Rejected for a package that is not of this Archive, or has no digest to be compared with, Retryable when the
    store does not answer.
    """
    aip = _asked_for(archive)
    if aip.container == "prefix":
        return verify_bag.run(archive, aip, ports)
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
        return failed(archive, aip, "copy-missing", "The object is no longer in the store", wanted, {}, ports)
    again = bool(checkpoint.get("again"))
    if state.digests is None:
        return Outcome(StepState.QUEUED, checkpoint={**state.to_json(), "again": again})
    found = {name: digest.hex() for name, digest in state.digests.items()}
    if found == wanted:
        note = f"{aip.size} bytes; {', '.join(sorted(found))} as expected"
        return as_expected(archive, aip, found, note, ports)
    if not again:
        return Outcome(StepState.QUEUED, checkpoint={"again": True})
    return _different(archive, aip, wanted, found, ports)


def _asked_for(archive: ArchiveView) -> Package:
    aip = archive.package_of_id(archive.step.input.get("package"))
    if aip is None:
        raise Rejected("The Archive has no such package.", code="no-such-package")
    if aip.container != "prefix" and not set(COMPARED) & set(aip.checksums):
        raise Rejected("The registry has no digest of this package as a whole.", code="no-digest")
    return aip


def _different(
    archive: ArchiveView, aip: Package, expected: Mapping[str, str], found: Mapping[str, str], ports: Ports
) -> Outcome:
    wrong = [f"{name} is {found[name]}, not {value}" for name, value in expected.items() if found[name] != value]
    said = f"The stored copy is not what was preserved: {'; '.join(wrong)}"
    return failed(archive, aip, "fixity-mismatch", said, expected, found, ports)
