"""Announcing packages that lie in the object store already; each is an item of a job, with a state of its own."""

from __future__ import annotations

from itertools import islice
from uuid import UUID

from perdura.accounts.principals import Permission
from perdura.api.models.announcements import MOST, AnnouncementRequest
from perdura.api.models.steering import JobAnswer
from perdura.api.open_objects import check_bucket, check_keys
from perdura.api.operations import Call, Section
from perdura.api.problems import Problem
from perdura.api.resources.jobs import found
from perdura.registry import jobs
from perdura.settings import Settings

section = Section("Deposits")

LISTED = 100_000
"""Objects below a prefix that are looked at."""

ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz")


@section.post("/announcements", permission=Permission.DEPOSIT, status=202)
def announce_packages(call: Call, body: AnnouncementRequest) -> JobAnswer:
    """Have packages ingested that lie in the object store, up to 10,000 at once.

    Each becomes an Archive of its own; `links.items` of the job tells what became of which. What was announced before
    in the same state is the same Archive. Whoever announces sees the Archives that are made of it, whatever becomes of
    them; one that was there before stays as it was.
    """
    return found(call, begin(call, body))


def begin(call: Call, body: AnnouncementRequest) -> UUID:
    """Make the job; raises Problem for what is not to be announced, Conflict when nothing lies there."""
    _check(body, call.services.settings)
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
    job = jobs.make(call.connection, "announce", items, by=call.asker, given=given)
    call.objects.append(job)
    return job


def _check(body: AnnouncementRequest, settings: Settings) -> None:
    """Raise a 403 for a bucket, a prefix or a key that a caller may not name."""
    check_bucket("body.bucket", body.bucket, settings)
    named = {f"body.packages.{position}.key": package.key for position, package in enumerate(body.packages or ())}
    check_keys(body.bucket, named if body.prefix is None else {"body.prefix": body.prefix}, settings)
