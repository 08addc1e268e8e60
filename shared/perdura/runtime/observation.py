"""What watches a function from outside: traces, and errors sent to a Sentry; only where it is asked for."""

from __future__ import annotations

from typing import Any

from perdura import __version__, tracing
from perdura.errors import Broken
from perdura.settings import Settings

_KEPT = ("exception", "level", "logger", "logentry", "message", "platform", "timestamp", "event_id", "release", "sdk",
         "server_name", "transaction", "environment")  # fmt: skip
_IDS = ("archive", "step", "event", "event_type", "code")


def begin(function: str, settings: Settings) -> None:
    """Begin what the settings ask for; raises Broken where a library for it is missing."""
    if settings.traces_endpoint:
        tracing.begin(function, settings.traces_endpoint, settings.traces_ratio)
    if settings.sentry_dsn is not None:
        _sentry(function, settings.sentry_dsn.get_secret_value())


def _sentry(function: str, dsn: str, transport: Any = None) -> None:
    try:
        import sentry_sdk
    except ImportError as error:
        raise Broken("PERDURA_SENTRY_DSN is set, but the extra `observability` is not installed.") from error
    sentry_sdk.init(
        dsn,
        release=f"perdura@{__version__}",
        server_name=function,
        default_integrations=True,
        auto_enabling_integrations=False,
        include_local_variables=False,
        include_source_context=True,
        max_request_body_size="never",
        traces_sample_rate=0.0,
        before_send=without_secrets,
        transport=transport,
    )


def without_secrets(event: Any, _hint: Any) -> Any:
    """What Sentry gets: error, trace and the ids of what was worked on; no request, no variables, no breadcrumbs."""
    kept = {name: event[name] for name in _KEPT if name in event}
    ids = {name: str(value) for name, value in (event.get("extra") or {}).items() if name in _IDS}
    return {**kept, "tags": ids}
