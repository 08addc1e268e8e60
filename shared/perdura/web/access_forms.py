"""What readers may see of an Archive, decided on its page: embargo, withdrawal, publishing again."""

from __future__ import annotations

from uuid import UUID

from flask import Response

from perdura.accounts.principals import Permission
from perdura.api.models.access import EmbargoRequest, PublicationRequest, WithdrawalRequest
from perdura.api.resources import access
from perdura.web.query_string import checked
from perdura.web.visit import Visit, see_other


def embargo(visit: Visit, archive_id: UUID) -> Response:
    """Shut the files until a day; an empty day opens them."""
    visit.require(Permission.OPERATE)
    fields = visit.form(("until",))
    wanted = checked(EmbargoRequest, {"until": fields["until"] or None})
    access.set_embargo(visit, archive_id, wanted)
    return see_other(f"/archives/{archive_id}")


def withdraw(visit: Visit, archive_id: UUID) -> Response:
    """Take the Archive off its access systems, and show what happens."""
    visit.require(Permission.OPERATE)
    fields = visit.form(("reason", "note", "tell_source"))
    told = {"reason": fields["reason"], "note": fields["note"], "tell_source": fields["tell_source"] == "yes"}
    access.withdraw(visit, archive_id, checked(WithdrawalRequest, told))
    return see_other(f"/archives/{archive_id}")


def publish(visit: Visit, archive_id: UUID) -> Response:
    """Publish the Archive again, and show what happens."""
    visit.require(Permission.OPERATE)
    names = ("after_withdrawal", "although_earlier_withdrawn")
    wanted = PublicationRequest(**{name: value == "yes" for name, value in visit.form(names).items()})
    access.publish_again(visit, archive_id, wanted)
    return see_other(f"/archives/{archive_id}")
