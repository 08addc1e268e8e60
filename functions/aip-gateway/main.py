"""aip-gateway: the `davs://` service from which FTS reads AIPs, and nothing else."""

from flask import Request
from werkzeug.wrappers import Response

from perdura.runtime.answers import HEALTH_PATHS, probe
from perdura.runtime.environment import environment


def handle(request: Request) -> Response:
    """Answer one request of a transfer service; a probe is answered before the gateway is imported."""
    if request.path in HEALTH_PATHS:
        return probe(request, then_import="perdura.api.gateway")
    from perdura.api import gateway, gateway_audit

    surroundings = environment()
    audit = gateway_audit.Audit(surroundings.engine)
    response = gateway.respond(request, surroundings, gateway.find_in(surroundings.engine), audit)
    return surroundings.emitter.after_response(response, audit.told)
