"""From a request to its answer: routes, methods, conditional answers, compression; errors say nothing inner."""

from __future__ import annotations

import gzip
import hashlib
import logging
from collections.abc import Callable
from urllib.parse import quote, unquote, urlsplit

from sqlalchemy.engine import Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.utils import redirect
from werkzeug.wrappers import Request, Response

from perdura.errors import Conflict, Rejected, Retryable
from perdura.premis.service import agents, events, find, forms, pages, proofs, search
from perdura.premis.service.call import (
    Call,
    Handler,
    Refused,
    Route,
    Telling,
    Urls,
    parsed_query,
    refusal,
)
from perdura.premis.service.door import Door, OwnDoor
from perdura.settings import Settings

_log = logging.getLogger(__name__)

_WORTH_COMPRESSING = 1_400
_BUSY_STATES = ("57014", "53300", "57P01", "57P03", "40001", "40P01", "55P03")


def respond(
    request: Request,
    engine: Engine,
    settings: Settings,
    *,
    telling: Telling | None = None,
    door: Door | None = None,
) -> Response:
    """Answer a request to the log. Never raises.

    `telling` says how others hear of what is recorded, `door` who may do and see what.
    """
    call = None
    try:
        raw = _raw_path(request)
        query = parsed_query(request.query_string.decode("utf-8", "replace"))
        urls = Urls(_base(request, settings))
        call = Call(request, raw, engine, settings, urls, door or OwnDoor(settings), telling, query=query)
        response = _dispatch(call)
    except Refused as error:
        response = refusal(request, error.status, error.message, error.headers)
        if call is not None and error.status in (401, 403):
            _denied(call, error.status)
    except Conflict as error:
        response = refusal(request, 409, error.message)
    except Rejected as error:
        response = refusal(request, 400, error.message)
    except (Retryable, PoolTimeout) as error:
        _log.warning("unavailable: %s", type(error).__name__)
        response = refusal(request, 503, "The log is not available at the moment.", {"Retry-After": "5"})
    except DBAPIError as error:
        response = _database(request, error)
    except SQLAlchemyError as error:
        _log.error("database: %s", type(error).__name__)
        response = refusal(request, 503, "The log is not available at the moment.", {"Retry-After": "5"})
    response.headers["X-Content-Type-Options"] = "nosniff"
    return _finished(request, response)


def _denied(call: Call, status: int) -> None:
    """Keep in the audit log that somebody was not let in."""
    try:
        with call.engine.begin() as connection:
            call.audit(connection, "premis." + ("read" if call.method in ("GET", "HEAD") else "write"), status)
    except SQLAlchemyError as error:
        _log.error("a denied act could not be recorded: %s", type(error).__name__)


def _database(request: Request, error: DBAPIError) -> Response:
    """A failure of the database: never a 500, never its words. A value it cannot hold is its sender's mistake."""
    details = error.orig.args[0] if error.orig is not None and error.orig.args else None
    state = details.get("C", "") if isinstance(details, dict) else ""
    if state.startswith("22") or state == "54000":
        return refusal(request, 400, "A value is too long or has characters that cannot be stored.")
    _log.warning("database: %s %s", type(error.orig).__name__, state)
    wait = "1" if state in _BUSY_STATES else "5"
    return refusal(request, 503, "The log is not available at the moment.", {"Retry-After": wait})


def _dispatch(call: Call) -> Response:
    route = _route(call.path)
    if route is None:
        raise Refused(404, "There is nothing here.")
    if call.method == "OPTIONS":
        return Response(status=204, headers={"Allow": _allowed(route)})
    handler = route.handlers.get(call.method)
    if handler is None:
        message = route.wrong or f"{call.method[:20]} is not possible here."
        raise Refused(405, message, {"Allow": _allowed(route)})
    if call.method in ("GET", "HEAD"):
        call.reader()
        if route.canonical is not None and route.canonical != call.path:
            query = call.request.query_string.decode("utf-8", "replace")
            target = call.urls.base + route.canonical + (f"?{quote(query, safe=_IN_QUERY)}" if query else "")
            return redirect(target, 301)
    return handler(call)


_IN_QUERY = "=&+%/:;@!$'()*,?-._~"


def _allowed(route: Route) -> str:
    return ", ".join(sorted({*route.handlers, "OPTIONS"}))


def _route(path: str) -> Route | None:
    """The route of a raw path; the canonical form ends in a slash unless it has a suffix (premis.md 1.1)."""
    if path in ("/", ""):
        return Route({"GET": lambda call: redirect(call.urls.base + "/event/", 302)})
    head, _, rest = path[1:].partition("/")
    if head == "APP":
        return _atom_pub(rest)
    if head in ("event", "agent"):
        return _event_page(rest) if head == "event" else _agent_page(rest)
    if head == "log":
        return proofs.route(rest)
    if head == "static":
        return Route({"GET": lambda call: pages.static(call, unquote(rest))})
    return None


def _atom_pub(rest: str) -> Route | None:
    kind, _, identifier = rest.partition("/")
    if not rest:
        return Route({"GET": events.service_document}, "/APP/")
    if kind not in ("event", "agent"):
        return None
    if not identifier:
        handlers: dict[str, Handler] = (
            {"GET": events.feed, "HEAD": events.ping, "POST": events.create}
            if kind == "event"
            else {"GET": agents.feed, "HEAD": events.ping, "POST": agents.create}
        )
        return Route(handlers, f"/APP/{kind}/", "Invalid method for this URL." if kind == "agent" else "")
    name = unquote(identifier.removesuffix("/"), errors="replace")
    canonical = f"/APP/{kind}/{identifier.removesuffix('/')}/"
    module = events if kind == "event" else agents
    return Route(
        {
            "GET": lambda call: module.entry(call, name),
            "PUT": lambda call: module.put(call, name),
            "DELETE": lambda call: module.delete(call, name),
        },
        canonical,
    )


def _event_page(rest: str) -> Route | None:
    if not rest:
        return Route({"GET": pages.recent}, "/event/")
    if rest in ("search", "search/"):
        return Route({"GET": pages.search}, "/event/search/")
    if rest == "search.json":
        return Route({"GET": search.json_page})
    if rest == "search.json/":
        return None
    if rest in ("statistics", "statistics/"):
        return Route({"GET": pages.statistics}, "/event/statistics/")
    if rest == "statistics.json":
        return Route({"GET": forms.statistics})
    if rest == "export.ndjson":
        return Route({"GET": forms.export})
    if rest.startswith("find/"):
        wanted = unquote(rest.removeprefix("find/"), errors="replace")
        return Route({"GET": lambda call: find.newest(call, wanted)})
    for suffix, handler in (
        (".premis.xml", forms.event_premis),
        (".xml", forms.event_atom),
        (".history.json", forms.event_history),
        (".json", forms.event_json),
    ):
        if rest.endswith(suffix):
            return Route({"GET": _with(handler, rest.removesuffix(suffix))})
    return Route({"GET": _with(pages.event, rest.removesuffix("/"))}, f"/event/{rest.removesuffix('/')}/")


def _agent_page(rest: str) -> Route | None:
    if not rest:
        return Route({"GET": pages.agent_list, "POST": pages.save_agent}, "/agent/")
    if rest in ("new", "new/"):
        return Route({"GET": pages.new_agent}, "/agent/new/")
    for suffix, handler in (
        (".premis.xml", forms.agent_premis),
        (".xml", forms.agent_atom),
        (".json", forms.agent_json),
    ):
        if rest.endswith(suffix):
            return Route({"GET": _with(handler, rest.removesuffix(suffix))})
    if rest.removesuffix("/").endswith("/edit"):
        name = rest.removesuffix("/").removesuffix("/edit")
        return Route({"GET": _with(pages.edit_agent, name)}, f"/agent/{name}/edit/")
    return Route({"GET": _with(pages.agent, rest.removesuffix("/"))}, f"/agent/{rest.removesuffix('/')}/")


def _with(handler: Callable[[Call, str], Response], encoded: str) -> Handler:
    name = unquote(encoded, errors="replace")
    return lambda call: handler(call, name)


def _raw_path(request: Request) -> str:
    """The path as it was sent: `%2F` is not `/`, and slashes side by side are two (premis.md 4.5)."""
    raw = request.environ.get("RAW_URI") or request.environ.get("REQUEST_URI")
    if not raw:
        return quote(request.path, safe="/:@!$&'()*+,;=~-._")
    path = raw.partition("#")[0].partition("?")[0]
    if not path.startswith("/"):
        path = "/" + path.partition("://")[2].partition("/")[2]
    return str(path)


def _base(request: Request, settings: Settings) -> str:
    """Where links lead: the host asked for, if it is one of ours, else the configured address."""
    host = request.host
    configured = urlsplit(settings.premis_url)
    name = host.rpartition(":")[0] if ":" in host.rpartition("]")[2] else host
    if name in ("127.0.0.1", "localhost", "[::1]") or name in settings.premis_hosts.split():
        return f"{request.scheme}://{host}"
    return f"{configured.scheme}://{configured.netloc}{configured.path.rstrip('/')}"


def _finished(request: Request, response: Response) -> Response:
    """Validators, 304, gzip, and no body for HEAD."""
    if response.status_code == 200 and request.method in ("GET", "HEAD") and not response.is_streamed:
        body = response.get_data()
        if "ETag" not in response.headers and body:
            response.set_etag(hashlib.sha256(body).hexdigest()[:32])
        response.headers.setdefault("Cache-Control", "no-cache")
        response.headers["Vary"] = "Accept-Encoding"
        _conditional(request, response)
        if response.status_code == 200 and len(body) >= _WORTH_COMPRESSING and _takes_gzip(request):
            response.set_data(gzip.compress(body, 1, mtime=0))
            response.headers["Content-Encoding"] = "gzip"
            etag, weak = response.get_etag()
            if etag:
                response.set_etag(f"{etag}-gzip", bool(weak))
    if request.method == "HEAD":
        length = response.headers.get("Content-Length")
        response.set_data(b"")
        if length is not None:
            response.headers["Content-Length"] = length
    return response


def _conditional(request: Request, response: Response) -> None:
    etag, _ = response.get_etag()
    sent = {tag.removesuffix("-gzip") for tag in request.if_none_match.as_set(include_weak=True)}
    matched = etag in sent or request.if_none_match.star_tag
    if not request.if_none_match and request.if_modified_since and response.last_modified:
        matched = response.last_modified <= request.if_modified_since
    if matched:
        response.status_code = 304
        response.set_data(b"")
        response.headers.pop("Content-Length", None)
        response.headers.pop("Content-Type", None)


def _takes_gzip(request: Request) -> bool:
    return request.accept_encodings["gzip"] > 0
