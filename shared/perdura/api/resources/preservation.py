"""How Archives are preserved: versions of AIPs, and the Archivematicas that make some."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from uuid import UUID

from perdura.accounts.principals import Permission
from perdura.api import links
from perdura.api.models.preservation import (
    AddedFile,
    ChangedFile,
    FileUpload,
    InstanceAnswer,
    InstanceChange,
    InstanceList,
    PreserveOptions,
    UploadRequest,
    VersionAnswer,
    VersionBegun,
    VersionComparison,
    VersionDifference,
    VersionList,
    VersionRequest,
)
from perdura.api.operations import Call, Section
from perdura.api.problems import Problem, not_found
from perdura.api.queries import published
from perdura.api.sight import seen
from perdura.errors import NotStored
from perdura.ids import new_id
from perdura.registry import archivematica, preservation
from perdura.registry import archives as registry
from perdura.registry.archivematica import InstanceState

section = Section("Preservation")

SHOWN_CHANGES = 10_000
UPLOAD_SECONDS = 24 * 3600


@section.get("/archives/<uuid:archive_id>/preservation", permission=Permission.READ)
def get_preservation(call: Call, archive_id: UUID) -> PreserveOptions:
    """How an Archive is to be preserved, as far as anybody said."""
    seen(call, archive_id)
    return _wished(call, archive_id)


def _wished(call: Call, archive_id: UUID) -> PreserveOptions:
    known = preservation.wish(call.connection, archive_id)
    return PreserveOptions.model_validate({name: known[name] for name in PreserveOptions.model_fields if name in known})


@section.put("/archives/<uuid:archive_id>/preservation", permission=Permission.OPERATE)
def set_preservation(call: Call, archive_id: UUID, body: PreserveOptions) -> PreserveOptions:
    """Say how an Archive is to be preserved from now on: engine, profile, Archivematica, configuration."""
    seen(call, archive_id)
    preservation.note_wish(call.connection, archive_id, body.wish())
    return _wished(call, archive_id)


@section.get("/archives/<uuid:archive_id>/versions", permission=Permission.READ)
def list_versions(call: Call, archive_id: UUID) -> VersionList:
    """All versions of an Archive's AIP, oldest first, and which is in use."""
    seen(call, archive_id)
    return VersionList(items=[_version(each) for each in preservation.versions(call.connection, archive_id)])


@section.post("/archives/<uuid:archive_id>/versions/uploads", permission=Permission.OPERATE, status=201)
def upload_for_version(call: Call, archive_id: UUID, body: UploadRequest) -> FileUpload:
    """Get an address to send one file to that a new version is to have."""
    seen(call, archive_id)
    del body
    upload = new_id()
    bucket = call.services.settings.bucket_sips
    url = call.services.store.presigned_put(bucket, _key(archive_id, upload), UPLOAD_SECONDS, public=True)
    return FileUpload(upload=upload, url=url, expires=datetime.now(UTC) + timedelta(seconds=UPLOAD_SECONDS))


@section.post("/archives/<uuid:archive_id>/versions", permission=Permission.OPERATE, status=202)
def create_version(call: Call, archive_id: UUID, body: VersionRequest) -> VersionBegun:
    """Make a new version of the AIP: other metadata, files added or migrated, another engine or profile.

    It refers to the one in use, which stays. 409 while something is under way, or when a file was not uploaded.
    """
    seen(call, archive_id)
    begun = preservation.preserve_again(
        call.connection,
        archive_id,
        reason=body.reason,
        additions=[_addition(call, archive_id, each) for each in body.files],
        wished=body.preserve.wish() if body.preserve else {},
        metadata=body.metadata,
        title=body.title,
    )
    call.emit(begun.events)
    return VersionBegun(archive=archive_id, links=links.archive_links(archive_id))


@section.post("/archives/<uuid:archive_id>/versions/<uuid:package_id>/choose", permission=Permission.OPERATE)
def choose_version(call: Call, archive_id: UUID, package_id: UUID) -> VersionList:
    """Put a version into use; choosing an older one is the rollback. No version is ever removed by this.

    Where the Archive is published a step `publish` brings the version there, to an InvenioRDM as the newest of its
    record.
    """
    seen(call, archive_id)
    preservation.choose(call.connection, archive_id, package_id)
    if published.is_placed(call.connection, archive_id):
        asked = json.dumps({"by": str(call.principal.account or "administrator")})
        call.emit(registry.errand(call.connection, archive_id, "publish", asked, new_id()).events)
    return VersionList(items=[_version(each) for each in preservation.versions(call.connection, archive_id)])


@section.get("/archives/<uuid:archive_id>/versions/<uuid:package_id>/diff", permission=Permission.READ)
def compare_versions(call: Call, archive_id: UUID, package_id: UUID, query: VersionComparison) -> VersionDifference:
    """How two versions differ, file by file."""
    seen(call, archive_id)
    known = {each.package for each in preservation.versions(call.connection, archive_id)}
    if not {package_id, query.to} <= known:
        raise not_found("version")
    found = preservation.difference(call.connection, package_id, query.to, SHOWN_CHANGES + 1)
    shown = found[:SHOWN_CHANGES]
    items = [ChangedFile.model_validate({"kind": each.kind, "path": each.path, "was": each.was}) for each in shown]
    return VersionDifference(old=package_id, new=query.to, items=items, more=len(found) > len(shown))


@section.get("/archivematicas", permission=Permission.OPERATE)
def list_archivematicas(call: Call) -> InstanceList:
    """Every Archivematica that was ever used: mode, health, version, what is in flight."""
    return InstanceList(items=[_instance(each) for each in archivematica.instances(call.connection)])


@section.put("/archivematicas/<name>", permission=Permission.OPERATE)
def change_archivematica(call: Call, name: str, body: InstanceChange) -> InstanceAnswer:
    """Drain, pause or resume an Archivematica. What is in flight there is followed to its end in any mode."""
    return _instance(archivematica.set_mode(call.connection, name, body.mode, body.reason, ()))


def _addition(call: Call, archive_id: UUID, file: AddedFile) -> dict[str, object]:
    bucket, key = call.services.settings.bucket_sips, _key(archive_id, file.upload)
    try:
        stored = call.services.store.head(bucket, key)
    except NotStored:
        raise Problem(409, f"{file.path} was not uploaded.", "not-uploaded") from None
    if stored.size != file.size:
        raise Problem(409, f"{file.path} has {stored.size} bytes, {file.size} were announced.", "size-differs")
    return {
        "path": file.path,
        "bucket": bucket,
        "key": key,
        "size": file.size,
        "sha256": file.sha256,
        **({"derived_from": file.derived_from} if file.derived_from else {}),
    }


def _key(archive_id: UUID, upload: UUID) -> str:
    return f"{archive_id}/additions/{upload}"


def _version(version: preservation.Version) -> VersionAnswer:
    return VersionAnswer(
        package=version.package,
        number=version.number,
        predecessor=version.predecessor,
        reason=version.reason,
        chosen=version.chosen,
        size=version.size,
        created=version.created_at,
    )


def _instance(state: InstanceState) -> InstanceAnswer:
    return InstanceAnswer.model_validate(
        {
            "name": state.name,
            "mode": state.mode,
            "reason": state.reason,
            "paused_until": state.paused_until,
            "failures": state.failures,
            "reachable": state.reachable,
            "version": state.version,
            "checked": state.checked_at,
            "packages": state.packages,
            "bytes": state.bytes,
        }
    )
