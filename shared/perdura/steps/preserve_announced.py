"""Preserve by taking over an AIP that another platform had made: announced where it lies, kept as it is.

It is copied into the bucket of AIPs, out of reach of whoever put it there, and then verified like one that an
Archivematica of ours made: bytes, bag, METS, and the payload of the SIP. Nothing is removed where it lay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from perdura.errors import NotStored, Rejected
from perdura.fleet import Stored, id_in_name
from perdura.outcome import ArchiveView, Outcome, Package, PackageKind, StepState
from perdura.ports import Ports
from perdura.steps.preserve_takeover import go_on
from perdura.steps.preserve_takeover_bytes import container_of, copied, package_of
from perdura.steps.preserve_takeover_course import KEY, Continued, Course, Flawed, course_of, with_package
from perdura.steps.preserve_takeover_outcome import flawed
from perdura.storage.timed import TimeUp

_COPIED = "copied"
"""Key of the last object of an unpacked AIP that was copied, in the checkpoint."""
_REMAINS = "To have an AIP made of the SIP instead, choose an engine for this Archive and retry."


def run(archive: ArchiveView, ports: Ports) -> Outcome:
    """Copy and verify the AIP at `take_over` (`bucket`, `key`) of the step's input; later invocations go on.

    FAILED with `aip-missing`, `aip-bag-invalid` and the like when it is not what it must be, BLOCKED with
    `aip-not-opened`, `aip-not-scanned` and the like when a setting or a policy keeps it out. Raises Rejected when no
    AIP was announced or its name has no id, Retryable when the store fails.
    """
    outcome = go_on(archive, ports, scanned=False) or _begun(archive, ports)
    if outcome.state in {StepState.FAILED, StepState.BLOCKED}:
        return replace(outcome, message=f"{outcome.message} {_REMAINS}")
    return outcome


def poll(archives: Sequence[ArchiveView], ports: Ports) -> Sequence[tuple[ArchiveView, Outcome]]:  # noqa: ARG001
    """Nothing of this engine waits for anybody."""
    return ()


def _begun(archive: ArchiveView, ports: Ports) -> Outcome:
    told: Mapping[str, Any] | None = archive.step.input.get("take_over")
    if told is None:
        raise Rejected(f"No AIP was announced for this Archive. {_REMAINS}", code="no-aip")
    bucket, key = str(told["bucket"]), str(told["key"]).rstrip("/")
    identity = id_in_name(key)
    if identity is None:
        raise Rejected(f"The name of {key} does not end with the id of an AIP. {_REMAINS}", code="aip-name")
    record = Stored(identity, "AIP", "UPLOADED", key, 0, "", ())
    course = replace(course_of(archive), record=record)
    try:
        course = with_package(course, _kept(archive, record, bucket, course, ports))
    except Flawed as error:
        return flawed(archive, record, error, ports)
    except _Later as up:
        return Outcome(StepState.QUEUED, checkpoint={KEY: course.to_json(), _COPIED: up.key})
    except Continued as up:
        return Outcome(StepState.QUEUED, checkpoint={KEY: up.course.to_json()})
    kept = {KEY: course.to_json()}
    try:
        outcome = go_on(replace(archive, step=replace(archive.step, checkpoint=kept)), ports, scanned=False)
    except TimeUp:
        # The copying took the time of this invocation; the next has all of its own for what cannot be divided.
        outcome = None
    return outcome or Outcome(StepState.QUEUED, checkpoint=kept)


class _Later(Exception):
    """Time is up; `key` was the last object that was copied."""

    def __init__(self, key: str) -> None:
        self.key = key


def _kept(archive: ArchiveView, record: Stored, bucket: str, course: Course, ports: Ports) -> Package:
    """Our copy of the AIP, packed or unpacked. Raises Flawed when there is none, Continued or _Later."""
    if next(iter(ports.store.list(bucket, f"{record.key}/")), None) is not None:
        return _unpacked(archive, record, bucket, ports)
    try:
        info = ports.store.head(bucket, record.key)
    except NotStored as error:
        message = f"An AIP was announced at {bucket}/{record.key}, but nothing is there."
        raise Flawed(message, code="aip-missing") from error
    if container_of(record) == "prefix":
        raise Flawed(f"What {record.name} is packed in cannot be told from its name.", code="aip-not-opened")
    if info.size == 0:
        raise Flawed(f"{bucket}/{record.key} is empty.", code="aip-size")
    return package_of(record, copied(archive, record, info, course, ports), container_of(record))


def _unpacked(archive: ArchiveView, record: Stored, bucket: str, ports: Ports) -> Package:
    """An AIP of one object per file, copied file by file on from where the last invocation stopped."""
    target, place = ports.settings.bucket_aips, f"{archive.id}/{record.name}/"
    size = 0
    done = str(archive.step.checkpoint.get(_COPIED, ""))
    for info in ports.store.list(bucket, f"{record.key}/"):
        size += info.size
        if info.ref.key <= done:
            continue
        if ports.deadline.near() and done:
            raise _Later(done)
        ports.store.copy(info.ref, target, place + info.ref.key.removeprefix(f"{record.key}/"), info.size)
        done = info.ref.key
    return Package(record.id, PackageKind.AIP, target, place, "prefix", size)
