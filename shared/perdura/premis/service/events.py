"""AtomPub of events: service document, feed, creating, reading, superseding (premis.md 1.2 to 1.8)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy.engine import Connection
from werkzeug.datastructures import Headers
from werkzeug.wrappers import Response

from perdura.premis import log, query
from perdura.premis.json_form import BadJson, event_from_json, sent_xml
from perdura.premis.listed import instant
from perdura.premis.log import Stored
from perdura.premis.model import Event
from perdura.premis.query import Sight
from perdura.premis.service import atom, batch, changes, parameters, strict
from perdura.premis.service.call import ATOM, Call, Refused, as_json, refusal, shown, too_large
from perdura.premis.service.parameters import Ordering, Window, link
from perdura.premis.service.unpacking import HEAD, json_value
from perdura.premis.xml import BadPremis, events_in, is_uuid, parse, received
from perdura.premis.xml.usual_atom import usual_entry

_DEFAULT = Ordering(query.Order.DATE, descending=False)


def service_document(call: Call) -> Response:
    """GET /APP/"""
    return Response(atom.service(call.urls, call.settings.premis_author), content_type="application/atomsvc+xml")


def ping(_call: Call) -> Response:
    """HEAD of a collection: clients ask it whether the service is there, so nothing is looked up (premis.md 1.13)."""
    return Response(content_type=ATOM)


def feed(call: Call) -> Response:
    """GET /APP/event/"""
    sent = call.parameters(*parameters.FEED)
    version = parameters.version(sent)
    order = parameters.ordering(sent, _DEFAULT)
    wanted = parameters.window(sent, order)
    matching = parameters.feed_filter(sent, call.zone, call.sight)
    with call.reading() as connection:
        page = query.page(
            connection,
            matching,
            order=order.order,
            descending=order.descending,
            offset=wanted.offset,
            limit=wanted.size,
            place=wanted.place,
        )
    if wanted.page is not None and wanted.page > 1 and not page.events:
        raise Refused(400, parameters.NO_SUCH_PAGE)
    url = call.urls.collection("event")
    links = _links(url, sent, parameters.sent_with_blanks(call, parameters.FEED), wanted, order, page)
    paging = atom.Paging(links, page.total, wanted.offset + 1, wanted.size)
    updated = instant(max((event.changed_micro for event in page.events), default=page.changed or 0))
    author = call.settings.premis_author
    response = Response(
        atom.event_feed(page.events, call.urls, author, version, paging, updated), content_type=atom.FEED_TYPE
    )
    if page.changed is not None:
        response.last_modified = instant(page.changed)
    return response


def create(call: Call) -> Response:
    """POST /APP/event/: one event in XML or JSON, or a batch of them."""
    actor = call.writer()
    media = call.media()
    with call.received(max(call.settings.body_limit, call.settings.premis_batch_limit)) as body:
        head = body.read(HEAD)
        if batch.is_batch(media, head):
            body.seek(0)
            return batch.create(call, media, body, actor)
        data = head + body.read(call.settings.body_limit)
    if len(data) > call.settings.body_limit:
        raise too_large(call.settings.body_limit)
    now = datetime.now(UTC)
    event, sent, shown_xml = _sent_json(call, data, now) if media.endswith("json") else _sent_xml(call, data, now)
    told = call.telling.one(event) if call.telling is not None else None
    location = call.urls.member("event", event.identifier_value)

    def answer(stored: Stored) -> Response:
        if media.endswith("json"):
            response = as_json({"id": location, "identifier": stored.identifier}, 201)
        else:
            response = _entry(call, stored, None, 201)
        response.headers["Location"] = location
        return response

    noted = call.entry("premis.record", 201, str(event.id))
    response = call.gathering.add(event, actor=actor, answer=answer, sent=sent, shown=shown_xml, told=told, noted=noted)
    if response is not None:
        return response
    message = f"An event with id='{event.identifier_value}' exists."
    return refusal(call.request, 409, message, {"Location": location})


def entry(call: Call, identifier: str) -> Response:
    """GET /APP/event/<id>/"""
    version = parameters.version(call.parameters("version"))
    with call.reading() as connection:
        stored = found(connection, identifier, call.sight)
    if stored is None:
        raise Refused(404, f"There is no event for identifier {shown(identifier)}.")
    return _entry(call, stored, version, 200)


def put(call: Call, identifier: str) -> Response:
    """PUT /APP/event/<id>/: a new version; elements that are absent keep their value."""
    actor = _changer(call)
    media = call.media()
    data = call.body(call.settings.body_limit)
    change = changes.from_json(data) if media.endswith("json") else changes.from_xml(data)
    with call.engine.begin() as connection:
        stored = found(connection, identifier, call.sight)
        if stored is None:
            raise Refused(404, "Event not found")
        call.unchanged(*_tags(stored))
        inside = change.identifier
        if inside and (not is_uuid(inside) or UUID(inside) != stored.event_id):
            raise Refused(400, f'URI-identifier mismatch ("{shown(inside)}" != "{shown(identifier)}")')
        now = datetime.now(UTC)
        event, sent = change.onto(
            replace(stored.event, id=stored.event_id, identifier=stored.identifier), now, call.zone
        )
        strict.check(call, event)
        log.replace(connection, stored, event, actor=actor, sent=sent, recorded_at=now)
        if call.telling is not None:
            call.telling.many(connection, [event])
        current = log.find(connection, stored.event_id)
        call.audit(connection, "premis.replace", 200, str(stored.event_id))
    if current is None:
        raise Refused(404, "Event not found")
    if media.endswith("json"):
        return as_json({"id": call.urls.member("event", current.identifier), "identifier": current.identifier})
    return _entry(call, current, None, 200)


def delete(call: Call, identifier: str) -> Response:
    """DELETE /APP/event/<id>/: a tombstone."""
    actor = _changer(call)
    with call.engine.begin() as connection:
        stored = found(connection, identifier, call.sight)
        if stored is None:
            raise Refused(404, f"Unable to Delete. There is no event for identifier {shown(identifier)}.")
        call.unchanged(*_tags(stored))
        log.delete(connection, stored, actor=actor)
        call.audit(connection, "premis.delete", 200, str(stored.event_id))
    return _entry(call, stored, None, 200)


def found(connection: Connection, identifier: str, sight: Sight | None) -> Stored | None:
    """The event of an identifier in any spelling of its UUID, if it may be seen."""
    stored = log.find(connection, UUID(identifier)) if is_uuid(identifier) else None
    if stored is None or query.hides(connection, sight, stored.objects.split(", ")):
        return None
    return stored


def _sent_xml(call: Call, data: bytes, now: datetime) -> tuple[Event, str, str | None]:
    kept = call.settings.premis_identifier_type
    if (usual := usual_entry(data)) is not None:
        event, sent, shown_xml = usual.read(now=now, zone=call.zone, identifier_type=kept)
    else:
        elements = events_in(parse(data))
        if len(elements) != 1:
            raise BadPremis(f"expected exactly one event, found {len(elements)}.")
        event, sent, shown_xml = received(elements[0], now=now, zone=call.zone, identifier_type=kept)
    strict.check(call, event)
    return event, sent, shown_xml


def _sent_json(call: Call, data: bytes, now: datetime) -> tuple[Event, str | None, None]:
    value = json_value(data)
    if isinstance(value, list):
        raise BadJson("expected one event.")
    event = event_from_json(value, now=now, zone=call.zone, identifier_type=call.settings.premis_identifier_type)
    strict.check(call, event)
    return event, sent_xml(value), None


def _entry(call: Call, stored: Stored, version: str | None, status: int) -> Response:
    body = atom.event_entry(stored, call.urls, call.settings.premis_author, version)
    headers = Headers([("Content-Type", atom.ENTRY_TYPE), ("ETag", f'"{_tag(stored, version)}"')])
    response = Response(body, status, headers)
    if status == 200:
        response.last_modified = stored.changed_at
    return response


def _tag(stored: Stored, version: str | None) -> str:
    return f"{stored.event_id.hex}-{stored.version}-{int(stored.changed_at.timestamp() * 1e6):x}-{version or ''}"


def _tags(stored: Stored) -> list[str]:
    return [_tag(stored, version) for version in (None, "2.3", "3.0")]


def _changer(call: Call) -> str:
    actor = call.writer()
    if not call.settings.premis_changes:
        raise Refused(403, "Events are not changed or deleted here.")
    return actor


def _links(
    url: str,
    sent: Mapping[str, str],
    own: Mapping[str, str],
    wanted: Window,
    order: Ordering,
    page: query.Page,
) -> list[tuple[str, str]]:
    """Links of a feed, one per relation (premis.md 1.8)."""
    links = [("self", link(url, own))]
    base = {name: value for name, value in sent.items() if name not in ("page", "start", "count", "cursor")}
    if wanted.page is None:
        size = wanted.size
        last = (wanted.offset % size) + max(0, (page.total - 1 - wanted.offset % size) // size * size)
        starts = {
            "first": 1,
            "previous": min(max(0, wanted.offset - size), max(0, last)) + 1 if wanted.offset and page.total else None,
            "next": wanted.offset + size + 1 if page.more else None,
            "last": last + 1 if page.total > wanted.offset % size else 1,
        }
        links += [(rel, link(url, base, start=at, count=size)) for rel, at in starts.items() if at is not None]
        return links
    if "count" in sent:
        base["count"] = str(wanted.size)
    number = wanted.page
    pages = max(1, -(-page.total // wanted.size))
    links.append(("first", link(url, base, page=1)))
    if number > 1:
        mark = parameters.cursor(page.events[0], order, backwards=True) if page.events and number > 2 else None
        links.append(("previous", link(url, base, page=number - 1, cursor=mark)))
    if page.more and page.events:
        mark = parameters.cursor(page.events[-1], order, backwards=False)
        links.append(("next", link(url, base, page=number + 1, cursor=mark)))
    links.append(("last", link(url, base, page=max(pages, number))))
    return links
