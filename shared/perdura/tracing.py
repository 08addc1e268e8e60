"""Traces (OpenTelemetry) along the `traceparent` of CloudEvents: deliveries, waits in queues, SQL, S3 and HTTP.

Off unless `begin` is called: then `span` is a call that does nothing and no library is imported. Names and attributes
hold no values of statements, no query strings, no headers: a trace is read by more people than the database is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from enum import StrEnum
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit

from perdura.errors import Broken

_NOTHING: AbstractContextManager[None] = nullcontext()
_tracer: Any = None
_provider: Any = None


class Kind(StrEnum):
    """On which side of a conversation a span is."""

    INTERNAL = "internal"
    CLIENT = "client"
    CONSUMER = "consumer"
    PRODUCER = "producer"


def begin(service: str, endpoint: str, ratio: float = 1.0, exporter: Any = None) -> None:
    """Trace from now on; spans go to an OTLP endpoint over HTTP (`…/v1/traces`), in the background.

    `ratio` is the share of new traces that are kept; a trace that came with a decision keeps it. `exporter` replaces
    the one of the endpoint, and gets each span at once. Raises Broken where the libraries are not installed.
    """
    global _tracer, _provider
    try:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
        from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio
    except ImportError as error:
        raise Broken("PERDURA_TRACES_ENDPOINT is set, but the extra `observability` is not installed.") from error
    resource = Resource({"service.name": service, "service.namespace": "perdura"})
    provider = TracerProvider(sampler=ParentBasedTraceIdRatio(ratio), resource=resource)
    if exporter is not None:
        provider.add_span_processor(SimpleSpanProcessor(exporter))
    else:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint, timeout=5)))
    _tracer, _provider = provider.get_tracer("perdura"), provider


def end() -> None:
    """Trace no longer; what was traced and not sent yet is sent first."""
    global _tracer, _provider
    if _provider is not None:
        _provider.shutdown()
    _tracer = _provider = None


def enabled() -> bool:
    """Whether spans are made."""
    return _tracer is not None


def span(
    name: str,
    kind: Kind = Kind.INTERNAL,
    attributes: Mapping[str, str | int] | None = None,
    parent: str | None = None,
) -> AbstractContextManager[Any]:
    """A span around a block: below the one around it, or below the `traceparent` given; it tells an error's kind."""
    if _tracer is None:
        return _NOTHING
    return _span(name, kind, dict(attributes or {}), parent)


@contextmanager
def _span(name: str, kind: Kind, attributes: dict[str, str | int], parent: str | None) -> Iterator[Any]:
    from opentelemetry.trace import StatusCode

    # The library would record the error's message, and PostgreSQL's hold values.
    with _tracer.start_as_current_span(
        name, context=_context(parent), kind=_kind(kind), attributes=attributes,
        record_exception=False, set_status_on_exception=False,
    ) as made:  # fmt: skip
        try:
            yield made
        except BaseException as error:
            made.set_status(StatusCode.ERROR, type(error).__name__)
            raise


def waited(name: str, since: datetime, parent: str | None, attributes: Mapping[str, str | int]) -> None:
    """A span of the time from `since` until now in which a message lay in queues."""
    if _tracer is None:
        return
    now = datetime.now(UTC)
    start = min(since.astimezone(UTC), now)
    made = _tracer.start_span(
        name,
        context=_context(parent),
        kind=_kind(Kind.CONSUMER),
        attributes=dict(attributes),
        start_time=_nanoseconds(start),
    )
    made.end(end_time=_nanoseconds(now))


def traceparent() -> str | None:
    """The present span as W3C Trace Context writes it; None outside of any, or where nothing is traced."""
    if _tracer is None:
        return None
    from opentelemetry.propagate import inject

    carrier: dict[str, str] = {}
    inject(carrier)
    return carrier.get("traceparent")


def sql(statement: str) -> AbstractContextManager[Any]:
    """A span of one statement, named by its first word and the table it is about; never by its values."""
    if _tracer is None:
        return _NOTHING
    return span(_summary(statement), Kind.CLIENT, {"db.system.name": "postgresql"})


def http(method: str, url: str) -> AbstractContextManager[Any]:
    """A span of one request to elsewhere: method and host, no path and no query, which may hold secrets."""
    if _tracer is None:
        return _NOTHING
    host = urlsplit(url).hostname or ""
    return span(f"{method} {host}", Kind.CLIENT, {"http.request.method": method, "server.address": host})


_WORDS = frozenset(("from", "into", "update", "table"))


def _summary(statement: str) -> str:
    words = statement.split(None, 400)
    verb = words[0].upper() if words else "SQL"
    after = [follower for word, follower in pairwise(words) if word.lower() in _WORDS]
    table = next((word.strip('(),"') for word in after if word[:1].isalpha()), "")
    return f"{verb} {table}".strip()[:80]


def _context(parent: str | None) -> Any:
    if parent is None:
        return None
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract({"traceparent": parent})


def _kind(kind: Kind) -> Any:
    from opentelemetry.trace import SpanKind

    return SpanKind[kind.name]


def _nanoseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000) * 1000
