"""Custody: what arrived is copied out of reach of its depositor before it is judged, whatever its size."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from perdura.errors import NotStored, ObjectChanged, Rejected
from perdura.outcome import ArchiveView, Finding, Outcome, Package, PackageKind, StepState
from perdura.ports import Ports
from perdura.steps.stored_package import pinned
from perdura.storage.store import ObjectInfo
from perdura.storage.timed import timed
from perdura.storage.uploads import ONE_REQUEST_COPY, Upload, copy_on


def take_custody(archive: ArchiveView, ports: Ports) -> Package | Outcome:
    """Copy the deposited object; the outcome that goes on with it where one invocation is too short.

    Raises NotStored, ObjectChanged, and Rejected when there is nothing to copy.
    """
    told = archive.step.input
    if "key" not in told:
        raise Rejected("There is no complete SIP to ingest: a light one has to be completed first.", code="no-sip")
    key = f"{archive.id}/sip"
    begun = archive.step.checkpoint.get("copy")
    found = ports.store.head(told["bucket"], told["key"], told.get("version_id"))
    if begun is None and found.size <= ONE_REQUEST_COPY:
        return _kept(ports.store.copy(found.ref, ports.settings.bucket_sips, key, found.size), told, ports)
    return _copy_on(found, begun, key, told, ports)


def taken(archive: ArchiveView) -> Package | None:
    """The SIP that an earlier invocation of this step took custody of."""
    kept = archive.step.checkpoint.get("sip")
    return from_json(kept) if kept else None


def _copy_on(
    found: ObjectInfo, begun: Mapping[str, Any] | None, key: str, told: Mapping[str, Any], ports: Ports
) -> Package | Outcome:
    """Go on with a copy in parts; begun anew when the object was replaced or the upload is gone."""
    bucket, uploads = ports.settings.bucket_sips, ports.store.uploads
    if begun is None or begun["etag"] != found.ref.etag:
        begun = {"etag": found.ref.etag, "upload": uploads.begin(bucket, key).id, "parts": 0}
    upload = Upload(bucket, key, begun["upload"])
    try:
        copied = copy_on(uploads, found.ref, upload, found.size, ports.deadline.near)
        if copied is not None:
            now = ports.store.head(found.ref.bucket, found.ref.key, found.ref.version_id)
            if now.ref.etag != found.ref.etag:
                raise ObjectChanged("the deposited object was replaced while it was being copied")
            return _kept(copied, told, ports)
        parts = len(uploads.parts(upload))
    except NotStored:
        begun = {"etag": found.ref.etag, "upload": uploads.begin(bucket, key).id, "parts": 0}
        return Outcome(state=StepState.QUEUED, checkpoint={"copy": begun})
    return Outcome(state=StepState.QUEUED, checkpoint={"copy": {**begun, "parts": parts}})


def _kept(kept: ObjectInfo, told: Mapping[str, Any], ports: Ports) -> Package:
    return Package(
        id=ports.derived("sip"),
        kind=PackageKind.SIP,
        bucket=kept.ref.bucket,
        key=kept.ref.key,
        container="unknown",
        size=kept.size,
        version_id=kept.ref.version_id,
        etag=kept.ref.etag,
        checksums={"sha256": told["expected_sha256"].lower()} if told.get("expected_sha256") else {},
    )


def unlike_announced(archive: ArchiveView, sip: Package, ports: Ports, sha256: str | None = None) -> Finding | None:
    """What is wrong when the package kept is not what its depositor announced.

    `sha256` is that of the bytes kept where it is known already; else they are read. Raises TimeUp.
    """
    size, expected = archive.step.input.get("expected_size"), archive.step.input.get("expected_sha256")
    if sip.key.endswith("/"):
        return None  # Completed from fetch.txt: what was handed in has been compared already.
    if size is not None and size != sip.size:
        return Finding("size-not-as-announced", f"{sip.size} bytes arrived; the depositor announced {size}.")
    if expected is None:
        return None
    if sha256 is None:
        digest = hashlib.sha256()
        for chunk in timed(ports.store, ports.deadline.near).stream(pinned(sip)):
            digest.update(chunk)
        sha256 = digest.hexdigest()
    if sha256 == expected.lower():
        return None
    message = f"SHA-256 of what arrived is {sha256}; the depositor announced {expected}."
    return Finding("checksum-not-as-announced", message)


def to_json(sip: Package) -> dict[str, Any]:
    """A SIP as a checkpoint keeps it while it is being verified."""
    return {
        "id": str(sip.id),
        "bucket": sip.bucket,
        "key": sip.key,
        "container": sip.container,
        "size": sip.size,
        "version_id": sip.version_id,
        "etag": sip.etag,
        "checksums": dict(sip.checksums),
    }


def from_json(value: Mapping[str, Any]) -> Package:
    """The SIP that `to_json` wrote."""
    return Package(**{**value, "id": UUID(value["id"])}, kind=PackageKind.SIP)
