"""Announcing packages that lie in the object store already; each is an item of a job, with a state of its own."""

from __future__ import annotations

from itertools import islice
from uuid import UUID

from perdura.accounts import arrivals
from perdura.accounts.principals import Permission
from perdura.accounts.rights import Thing, hides, visible
from perdura.api.models.announcements import MOST, AnnouncementRequest
from perdura.api.models.steering import JobAnswer
from perdura.api.open_objects import check_bucket, check_keys
from perdura.api.operations import Call, Section
from perdura.api.problems import Problem
from perdura.api.resources.jobs import found
from perdura.registry import jobs
from perdura.registry.deposits import arrival_id
from perdura.runtime.extras import as_they_arrived
from perdura.settings import Settings
from perdura.sources.profile import of_protocol

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
        items = [{"subject": key} for key in _below(call, body.bucket, f"{(body.prefix or '').rstrip('/')}/")]
    given = {"bucket": body.bucket, **({"collection": str(body.collection)} if body.collection else {})}
    call.detail.update({"bucket": body.bucket, "packages": len(items)})
    job = jobs.make(call.connection, "announce", items, by=call.asker, given=given)
    call.objects.append(job)
    return job


def _below(call: Call, bucket: str, prefix: str) -> list[str]:
    """Keys of the packages below a prefix. Those of Archives that are hidden from the caller are not there."""
    store, principal = call.services.store, call.principal
    listing = islice(store.list(bucket, prefix), LISTED)
    found = [info for info in listing if info.ref.key.lower().endswith(ENDINGS)]
    if len(found) > MOST:
        raise Problem(409, f"More than {MOST} packages lie there; announce a deeper prefix.", "job-too-large")
    if not found or not hides(principal):
        return [info.ref.key for info in found]
    named = list(as_they_arrived(store, found))
    shut = arrivals.withheld(call.connection, principal, named, of_protocol("prefix", call.services.settings))
    became = {arrival_id(each): each for each in shut}
    seen = visible(call.connection, principal, [(Thing.ARCHIVE, archive) for archive in became])
    hidden = shut - {became[archive] for _, archive in seen}
    return [each.key for each in named if each not in hidden]


def _check(body: AnnouncementRequest, settings: Settings) -> None:
    """Raise a 403 for a bucket, a prefix or a key that a caller may not name."""
    check_bucket("body.bucket", body.bucket, settings)
    named = {f"body.packages.{position}.key": package.key for position, package in enumerate(body.packages or ())}
    check_keys(body.bucket, named if body.prefix is None else {"body.prefix": body.prefix}, settings)
