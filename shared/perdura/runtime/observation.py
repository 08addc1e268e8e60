"""What watches a function from outside: its log, and where they are asked for metrics, traces, errors sent to a Sentry.

It is the same for a function that is served and for one that a Job runs once.
"""

from __future__ import annotations

import os
from typing import Any

from perdura import __version__, tracing
from perdura.errors import Broken
from perdura.runtime.logs import configure
from perdura.settings import Settings, settings

_KEPT = ("exception", "level", "logger", "logentry", "message", "platform", "timestamp", "event_id", "release", "sdk",
         "server_name", "transaction", "environment")  # fmt: skip
_IDS = ("archive", "step", "event", "event_type", "code")


_SECONDS_TO_SEND = 5.0


def observe() -> None:
    """Have this process observed as the environment says (`FUNCTION`, `LOG_LEVEL`, `METRICS_PORT`) and the settings do.

    Raises Broken where a library for it is missing.
    """
    function = os.environ.get("FUNCTION", "perdura")
    configure(function, os.environ.get("LOG_LEVEL", "warning").lower())
    begin(function, settings())
    if metrics_port := os.environ.get("METRICS_PORT"):
        _expose_metrics(function, int(metrics_port))


def end() -> None:
    """Send what was traced, and the errors, before a process ends that nobody else waits for."""
    tracing.end()
    if settings().sentry_dsn is not None:
        import sentry_sdk

        sentry_sdk.flush(_SECONDS_TO_SEND)


def _expose_metrics(function: str, port: int) -> None:
    from perdura.runtime import metrics, queues
    from perdura.runtime.environment import environment

    metrics.serve(
        os.environ.get("HOST", "0.0.0.0"),  # noqa: S104 - a container's contract
        port,
        (lambda: queues.gauges(environment())) if function == "relay" else None,
    )


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
