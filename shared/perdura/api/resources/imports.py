"""Migration: archives of a CERN OAIS platform, with their SIPs in the object store."""

from __future__ import annotations

from perdura.accounts.principals import Permission
from perdura.api.models.oais_import import OaisImportRequest
from perdura.api.models.steering import JobAnswer
from perdura.api.operations import Call, Section
from perdura.api.problems import FieldError, Problem
from perdura.api.resources.jobs import found
from perdura.registry import jobs
from perdura.storage.drop_zone import open_buckets

section = Section("Deposits")


@section.post("/imports/oais", permission=Permission.ADMINISTER, status=202)
def import_oais(call: Call, body: OaisImportRequest) -> JobAnswer:
    """Take over archives of a CERN OAIS platform: each SIP is verified anew, gets an AIP and goes all the way.

    An AIP that was made there is verified and kept as it is; one that is missing or broken fails the step `preserve`
    by name, and a retry with an engine chosen makes one of the SIP. Their steps there are kept in the metadata, their
    collections are made. An archive that was taken over is left alone the next time.
    """
    for field, bucket in (("body.bucket", body.bucket), ("body.aip_bucket", body.aip_bucket)):
        if bucket is not None and bucket not in open_buckets(call.services.settings):
            problem = FieldError(field, "not one from which packages may be announced")
            raise Problem(422, "Nothing can be announced from this bucket.", "invalid", (problem,))
    items = [
        {"subject": f"{archive.source} {archive.recid}", "input": archive.model_dump(mode="json")}
        for archive in body.archives
    ]
    given = body.model_dump(include={"origin", "bucket", "base", "aips", "aip_bucket", "aip_base"})
    call.detail.update({"origin": body.origin, "archives": len(items)})
    job = jobs.make(
        call.connection, "import", items, by=call.principal.name, account=call.principal.account, given=given
    )
    return found(call, job)
