"""Migration: archives of a CERN OAIS platform, with their SIPs in the object store."""

from __future__ import annotations

from perdura.accounts.principals import Permission
from perdura.api.models.oais_import import OaisImportRequest
from perdura.api.models.steering import JobAnswer
from perdura.api.open_objects import check_bucket, check_keys
from perdura.api.operations import Call, Section
from perdura.api.resources.jobs import found
from perdura.registry import jobs, oais_import
from perdura.settings import Settings

section = Section("Deposits")


@section.post("/imports/oais", permission=Permission.ADMINISTER, status=202)
def import_oais(call: Call, body: OaisImportRequest) -> JobAnswer:
    """Take over archives of a CERN OAIS platform: each SIP is verified anew, gets an AIP and goes all the way.

    An AIP that was made there is verified and kept as it is; one that is missing or broken fails the step `preserve`
    by name, and a retry with an engine chosen makes one of the SIP. Their steps there are kept in the metadata, their
    collections are made. An archive that was taken over is left alone the next time.
    """
    _check(body, call.services.settings)
    items = [
        {"subject": f"{archive.source} {archive.recid}", "input": archive.model_dump(mode="json")}
        for archive in body.archives
    ]
    given = body.model_dump(include={"origin", "bucket", "base", "aips", "aip_bucket", "aip_base"})
    call.detail.update({"origin": body.origin, "archives": len(items)})
    job = jobs.make(call.connection, "import", items, by=call.asker, given=given)
    call.objects.append(job)
    return found(call, job)


def _check(body: OaisImportRequest, settings: Settings) -> None:
    """Raise a 403 for a bucket or a path that a caller may not name. An archive without a SIP is an item that fails."""
    check_bucket("body.bucket", body.bucket, settings)
    if body.aip_bucket is not None:
        check_bucket("body.aip_bucket", body.aip_bucket, settings)
    given, sips, aips = body.model_dump(exclude={"archives"}), {}, {}
    for position, archive in enumerate(body.archives):
        told = archive.model_dump(include={"path_to_sip", "path_to_aip"})
        if (sip := oais_import.sip_place(given, told)) is not None:
            sips[f"body.archives.{position}.path_to_sip"] = sip[1]
        if (aip := oais_import.aip_place(given, told)) is not None:
            aips[f"body.archives.{position}.path_to_aip"] = aip.key
    check_keys(body.bucket, sips, settings)
    check_keys(body.aip_bucket or body.bucket, aips, settings)
