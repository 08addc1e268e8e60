"""Announcing packages that lie in the object store already; each is an item of a job, with a state of its own."""

from __future__ import annotations

from itertools import islice
from uuid import UUID

from perdura.accounts.principals import Permission
from perdura.api.models.announcements import MOST, AnnouncementRequest
from perdura.api.models.steering import JobAnswer
from perdura.api.operations import Call, Section
from perdura.api.problems import FieldError, Problem
from perdura.api.resources.jobs import found
from perdura.registry import jobs
from perdura.settings import Settings

section = Section("Deposits")

LISTED = 100_000
"""Objects below a prefix that are looked at."""

ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz")


def announceable(settings: Settings) -> list[str]:
    """The buckets whose packages may be announced: never one of the platform's own but the drop zone, the first."""
    own = {settings.bucket_sips, settings.bucket_aips, settings.bucket_dips, settings.bucket_log}
    buckets = dict.fromkeys([settings.bucket_incoming, *settings.announce_buckets.split()])
    return [bucket for bucket in buckets if bucket not in own]


def allowed(bucket: str, settings: Settings) -> bool:
    """Whether packages in a bucket may be announced."""
    return bucket in announceable(settings)


@section.post("/announcements", permission=Permission.DEPOSIT, status=202)
def announce_packages(call: Call, body: AnnouncementRequest) -> JobAnswer:
    """Have packages ingested that lie in the object store, up to 10,000 at once.

    Each becomes an Archive of its own; `links.items` of the job tells what became of which. What was announced before
    in the same state is the same Archive. Whoever announces sees the Archives that are made of it, whatever becomes of
    them; one that was there before stays as it was.
    """
    return found(call, begin(call, body))


def begin(call: Call, body: AnnouncementRequest) -> UUID:
    """Make the job; raises Problem for a bucket that is not to be announced from, Conflict when nothing lies there."""
    settings = call.services.settings
    if not allowed(body.bucket, settings):
        problem = FieldError("body.bucket", "not one from which packages may be announced")
        raise Problem(422, "Nothing can be announced from this bucket.", "invalid", (problem,))
    if body.packages is not None:
        items = [
            {"subject": package.key, "input": package.model_dump(exclude={"key"}, exclude_none=True)}
            for package in body.packages
        ]
    else:
        listing = islice(call.services.store.list(body.bucket, f"{(body.prefix or '').rstrip('/')}/"), LISTED)
        items = [{"subject": info.ref.key} for info in listing if info.ref.key.lower().endswith(ENDINGS)]
        if len(items) > MOST:
            raise Problem(409, f"More than {MOST} packages lie there; announce a deeper prefix.", "job-too-large")
    given = {"bucket": body.bucket, **({"collection": str(body.collection)} if body.collection else {})}
    call.detail.update({"bucket": body.bucket, "packages": len(items)})
    return jobs.make(
        call.connection, "announce", items, by=call.principal.name, account=call.principal.account, step_input=given
    )
