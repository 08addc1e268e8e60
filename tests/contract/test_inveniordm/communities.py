"""Communities and requests for review on the fake InvenioRDM (inveniordm.md 1.9)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

from tests.contract.test_inveniordm.answers import Refused, answer, json_of

if TYPE_CHECKING:
    from tests.contract.test_inveniordm.fake import Fake, Item

OUTCOMES = {"accept": "accepted", "decline": "declined", "cancel": "cancelled"}
_UNKNOWN = "The persistent identifier does not exist."


def make(server: Fake, request: httpx.Request, user: str | None) -> httpx.Response:
    """POST /api/communities"""
    if user is None:
        raise Refused(403, "Permission denied.")
    told = json_of(request)
    open_to = {user} if told["access"].get("review_policy") == "open" else set()
    server.communities[told["slug"]] = identifier = f"community-{server.number()}"
    server.curators[identifier], server.unreviewed[identifier] = user, open_to
    return answer(201, {"id": identifier, "slug": told["slug"]})


def one(server: Fake, request: httpx.Request, user: str | None, slug: str) -> httpx.Response:
    """GET /api/communities/{slug}"""
    if slug not in server.communities:
        raise Refused(404, _UNKNOWN)
    return answer(200, {"id": server.communities[slug], "slug": slug})


def review(server: Fake, request: httpx.Request, user: str | None, identifier: str) -> httpx.Response:
    """PUT /api/records/{id}/draft/review"""
    item = server.own(identifier, user, draft=True)
    community = json_of(request)["receiver"]["community"]
    if community not in server.communities.values():
        raise Refused(404, _UNKNOWN)
    if item.review is not None and server.requests[item.review]["status"] == "submitted":
        raise Refused(400, "An open review cannot be deleted.")
    if item.published is not None:
        raise Refused(400, "You cannot create a review for an already published record.")
    if item.index > 1:
        raise Refused(400, "You cannot create a review for a new version of a published record.")
    return answer(200, asked(server, item, community))


def asked(server: Fake, item: Item, community: str) -> dict[str, str]:
    """A request for review of a draft, not handed in yet."""
    item.review = f"request-{server.number()}"
    request = {"id": item.review, "status": "created", "record": item.id, "community": community}
    server.requests[item.review] = request
    return request


def review_of(server: Fake, request: httpx.Request, user: str | None, identifier: str) -> httpx.Response:
    """GET /api/records/{id}/draft/review"""
    item = server.own(identifier, user, draft=True)
    if item.review is None:
        raise Refused(404, "Review for draft not found")
    return answer(200, server.requests[item.review])


def submit(server: Fake, request: httpx.Request, user: str | None, identifier: str) -> httpx.Response:
    """POST /api/records/{id}/draft/actions/submit-review"""
    item = server.own(identifier, user, draft=True)
    server.requests[item.review or ""]["status"] = "submitted"
    return answer(202, server.requests[item.review or ""])


def request_of(server: Fake, request: httpx.Request, user: str | None, identifier: str) -> httpx.Response:
    """GET /api/requests/{id}: nothing once the draft that it is about is gone (measured on v14)"""
    if server.requests[identifier].get("record") not in server.items:
        raise Refused(404, _UNKNOWN)
    return answer(200, server.requests[identifier])


def act(server: Fake, request: httpx.Request, user: str | None, identifier: str, action: str) -> httpx.Response:
    """POST /api/requests/{id}/actions/{accept, decline or, for who asked, cancel}"""
    asked = server.requests[identifier]
    creator = server.items[asked["record"]].owner if asked["record"] in server.items else None
    if user != (creator if action == "cancel" else server.curators.get(asked["community"], "admin")):
        raise Refused(403, "Permission denied.")
    if asked["status"] in OUTCOMES.values():
        raise Refused(400, f"Error for action '{action}': Could not execute the action")
    decide(server, identifier, action)
    return answer(200, server.requests[identifier])


def decide(server: Fake, identifier: str, action: str) -> None:
    """What a curator does: `accept` publishes, `decline` and `cancel` leave the draft."""
    told = server.requests[identifier]
    told["status"] = OUTCOMES[action]
    if action == "cancel":
        server.items[told["record"]].review = None
    if "record" not in told or action != "accept":
        return
    item = server.items[told["record"]]
    if item.published is None:
        server.make_public(item)
    assert item.published is not None
    known = item.published.setdefault("communities", [])
    known += [told["community"]] if told["community"] not in known else []


def _open(request: dict[str, str]) -> bool:
    return request["status"] == "submitted"


def include(server: Fake, request: httpx.Request, user: str | None, identifier: str) -> httpx.Response:
    """POST /api/records/{id}/communities: at once where the user may include without review, else by a request."""
    item = server.own(identifier, user)
    assert item.published is not None
    told, processed = json_of(request)["communities"], []
    known = item.published.setdefault("communities", [])
    asked_for = {each["community"] for each in server.requests.values() if _open(each) and each["record"] == item.id}
    complaints = dict.fromkeys(known, "The record is already included in this community.")
    complaints |= dict.fromkeys(asked_for, "There is already an open inclusion request for this community.")
    wrong = [{"community_id": e["id"], "message": complaints[e["id"]]} for e in told if e["id"] in complaints]
    if wrong:
        return answer(400, {"errors": wrong})
    for entry in told:
        identity = f"request-{server.number()}"
        made = {"id": identity, "status": "submitted", "record": item.id, "community": entry["id"]}
        server.requests[identity] = made
        if user in server.unreviewed.get(entry["id"], {user}):
            decide(server, identity, "accept")
        processed.append({"community_id": entry["id"], "request": dict(made)})
    return answer(200, {"processed": processed})
