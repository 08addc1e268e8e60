"""Metrics: what waits in the registry's queues, for Prometheus."""

from __future__ import annotations

from flask import Response

from perdura.accounts.principals import Permission
from perdura.api.operations import Call, Section
from perdura.runtime import queues
from perdura.runtime.metrics import MEDIA_TYPE, exposition

section = Section("Metrics")


@section.get("/metrics", permission=Permission.OPERATE, media=(MEDIA_TYPE,))
def get_metrics(call: Call) -> Response:
    """What waits: CloudEvents that the broker has not taken, steps that are not finished, and for how long.

    What functions count of themselves is at their own ports (METRICS_PORT); see docs/metrics.md.
    """
    return Response(exposition(queues.waiting(call.connection)), content_type=MEDIA_TYPE)
