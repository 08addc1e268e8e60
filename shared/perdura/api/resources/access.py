"""Access: passes to content, withdrawal, embargo, and telling Sources again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from perdura.accounts.principals import Permission, Principal
from perdura.api import links
from perdura.api.models.access import (
    EmbargoAnswer,
    EmbargoRequest,
    ErrandAnswer,
    NotificationRequest,
    PassAnswer,
    PassRequest,
    PublicationRequest,
    RestrictionAnswer,
    RestrictionRequest,
    WithdrawalRequest,
)
from perdura.api.operations import Call, Section
from perdura.api.problems import Problem, not_found
from perdura.api.queries import archives, files, published
from perdura.api.sight import seen
from perdura.clients.destinations import WHERE_PUBLISHED
from perdura.cloudevents.message import CloudEvent
from perdura.ids import new_id
from perdura.premis import log
from perdura.premis.model import SUCCESS, Event, Identifier, Outcome
from perdura.registry import archives as registry
from perdura.registry import earlier_versions, embargo_by_hand, restriction, withdrawals
from perdura.runtime import notices
from perdura.web import passes

section = Section("Access")


@section.post("/archives/<uuid:archive_id>/passes", permission=Permission.OPERATE, status=201, confidential=True)
def make_pass(call: Call, archive_id: UUID, body: PassRequest) -> PassAnswer:
    """Make a link to a file, the zip of all files, or the AIP, that works for anybody until it expires.

    It opens what is restricted, under embargo or not published, and nothing that was withdrawn, then or later. 409 for
    that, without an AIP, and where no secret for links is configured.
    """
    seen(call, archive_id)
    package = published.aip(call.connection, archive_id)
    if package is None:
        raise Problem(409, "There is no AIP yet that could be read.", "no-aip")
    if published.is_withdrawn(call.connection, archive_id):
        raise Problem(409, "The Archive was withdrawn from access: no link opens it.", "withdrawn")
    thing = {"zip": "files.zip", "aip": "aip"}.get(body.thing, f"files/{body.path}")
    if body.thing == "file" and (body.path is None or files.one(call.connection, package.id, body.path) is None):
        raise not_found("file")
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=body.hours)
    url = passes.link(call.services.settings, archive_id, thing, until)
    if url is None:
        raise Problem(409, "Links that expire are not set up here (access_link_secret).", "no-link-secret")
    call.detail = {"thing": thing, "until": until.isoformat()}
    return PassAnswer(url=url, expires_at=until)


@section.post("/archives/<uuid:archive_id>/withdrawal", permission=Permission.OPERATE, status=202)
def withdraw(call: Call, archive_id: UUID, body: WithdrawalRequest) -> ErrandAnswer:
    """Take an Archive off its access systems, with a tombstone; what is preserved stays.

    From now on it is published there no more: nothing that is under way, or waits, goes on to publish it.
    """
    seen(call, archive_id)
    call.detail |= body.model_dump(exclude_none=True)
    withdrawals.decide(call.connection, archive_id, body.destination)
    _assigned(call, archive_id, withdrawals.decided(body.destination, body.reason), body.note or "")
    return _errand(call, archive_id, "withdraw", body.model_dump(exclude_none=True))


@section.post("/archives/<uuid:archive_id>/publication", permission=Permission.OPERATE, status=202)
def publish_again(call: Call, archive_id: UUID, body: PublicationRequest) -> ErrandAnswer:
    """Publish an Archive again, by the policies of today; a record that is there already is compared and left.

    What was withdrawn is published again only with `after_withdrawal`; a record that was withdrawn from an InvenioRDM
    never is. 409 without an AIP.

    Where the version of its Resource before it was withdrawn, an Archive waits for a person: with
    `although_earlier_withdrawn` it is published all the same, and a step `publish` that is blocked goes on.
    """
    seen(call, archive_id)
    if published.aip(call.connection, archive_id) is None:
        raise Problem(409, "There is no AIP yet that could be published.", "no-aip")
    call.detail |= body.model_dump()
    if body.after_withdrawal:
        withdrawals.lift(call.connection, archive_id)
        _assigned(call, archive_id, withdrawals.LIFTED)
    if body.although_earlier_withdrawn:
        earlier_versions.publish_all_the_same(call.connection, archive_id)
        _assigned(call, archive_id, "To be published although an earlier version was withdrawn")
        if not body.after_withdrawal and registry.stuck_at(call.connection, archive_id) == "publish":
            begun = registry.retry(call.connection, archive_id)
            call.emit(begun.events)
            return ErrandAnswer(archive=archive_id, steps=_steps(begun.events), links=links.archive_links(archive_id))
    return _errand(call, archive_id, "publish", body.model_dump())


def _assigned(call: Call, archive_id: UUID, detail: str, note: str = "") -> None:
    """Record in the log what a person decided, in the transaction of the decision."""
    event = Event(
        id=new_id(),
        type="policy assignment",
        at=datetime.now(UTC),
        details=(detail,),
        outcomes=(Outcome(SUCCESS, (note,) if note else ()),),
        agents=(_authorizer(call),),
        objects=(Identifier("UUID", str(archive_id)),),
    )
    log.append(call.connection, [event], actor="registry")


def _errand(call: Call, archive_id: UUID, name: str, told: Mapping[str, Any]) -> ErrandAnswer:
    """Ask for a step beside the pipeline; it knows who asked."""
    asked = json.dumps({**told, "by": _authorizer(call).value})
    begun = registry.errand(call.connection, archive_id, name, asked, new_id())
    call.emit(begun.events)
    return ErrandAnswer(archive=archive_id, steps=_steps(begun.events), links=links.archive_links(archive_id))


@section.put("/archives/<uuid:archive_id>/embargo", permission=Permission.OPERATE)
def set_embargo(call: Call, archive_id: UUID, body: EmbargoRequest) -> EmbargoAnswer:
    """Shut the files of an Archive until a day, or open them; its description stays public, and no Source changes that.

    What is published on access systems of others is given the same embargo by a step.
    """
    seen(call, archive_id)
    until = body.until.isoformat() if body.until else None
    embargo_by_hand.decide(call.connection, archive_id, body.until)
    call.detail["until"] = until
    _assigned(call, archive_id, f"Embargo until {until}" if until else "Embargo lifted")
    elsewhere = archives.published_elsewhere(call.connection, archive_id)
    return EmbargoAnswer(archive=archive_id, until=body.until, published=elsewhere, steps=_carried(call, archive_id))


def _carried(call: Call, archive_id: UUID) -> list[UUID]:
    """Bring what was decided to access systems of others where the Archive is, or is about to be."""
    if not published.is_placed_elsewhere(call.connection, archive_id):
        return []
    return _errand(call, archive_id, "publish", {"where": WHERE_PUBLISHED}).steps


@section.put("/archives/<uuid:archive_id>/restriction", permission=Permission.DEPOSIT)
def set_restriction(call: Call, archive_id: UUID, body: RestrictionRequest) -> RestrictionAnswer:
    """Restrict an Archive to those to whom it is granted, or open it; no Source changes that later.

    Its records on access systems of others are restricted by a step, whatever the policy there is for new ones.

    Whoever may operate decides both ways. Whoever handed it in, announced or harvested it may restrict it, but not
    open it.
    """
    seen(call, archive_id)
    own = archives.is_from(call.connection, call.principal, archive_id)
    if not may_decide(call.principal, own=own, restricted=body.restricted):
        refused = "restrict it: it was handed in by another" if body.restricted else "open an Archive"
        raise Problem(403, f"Without the right to operate you cannot {refused}.", "forbidden")
    decided = restriction.decide(
        call.connection, archive_id, restricted=body.restricted, reason=body.reason, by=_authorizer(call)
    )
    call.detail |= body.model_dump()
    elsewhere = archives.published_elsewhere(call.connection, archive_id)
    steps = _carried(call, archive_id) if decided else []
    return RestrictionAnswer(archive=archive_id, restricted=body.restricted, published=elsewhere, steps=steps)


def may_decide(principal: Principal, *, own: bool, restricted: bool) -> bool:
    """Whether somebody may restrict an Archive, or open it: both who may operate, the one whoever made it."""
    return principal.may(Permission.OPERATE) or (own and restricted and principal.may(Permission.DEPOSIT))


def _authorizer(call: Call) -> Identifier:
    return Identifier("account", str(call.principal.account or "administrator"), ("authorizer",))


@section.post("/archives/<uuid:archive_id>/notifications", permission=Permission.OPERATE, status=202)
def notify_again(call: Call, archive_id: UUID, body: NotificationRequest) -> ErrandAnswer:
    """Tell the Source, or whoever else wants to know, once more. 409 when nobody is to be told of that status."""
    seen(call, archive_id)
    events = notices.tell(
        call.connection,
        call.services.settings,
        archive_id,
        body.status,
        None,
        cause=str(new_id()),
        only=body.notification,
    )
    if not events:
        raise Problem(409, "Nobody is to be told of that status of this Archive.", "nobody-to-tell")
    call.emit(events)
    return ErrandAnswer(archive=archive_id, steps=_steps(events), links=links.archive_links(archive_id))


def _steps(events: Iterable[CloudEvent]) -> list[UUID]:
    return [UUID(event.data["step"]) for event in events]
