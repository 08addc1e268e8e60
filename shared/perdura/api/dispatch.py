"""Routes a request to its operation, checks everything that is declared, runs it in one transaction."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from flask import Request, Response
from pydantic import BaseModel
from werkzeug.exceptions import MethodNotAllowed, NotFound
from werkzeug.routing import Map, Rule

from perdura.api import auditing, idempotency, limits, naming, sessions
from perdura.api.addresses import address_of
from perdura.api.authentication import STRANGER, Caller, caller_of, check_permission, check_session
from perdura.api.conditions import check_match
from perdura.api.file_paths import CONVERTERS
from perdura.api.operations import Call, Operation
from perdura.api.problems import Problem, method_not_allowed, not_found, problem_of
from perdura.api.reading import JSON, body_of, query_of, raw_body
from perdura.api.resources import OPERATIONS
from perdura.api.services import Services


@cache
def _routes() -> Map:
    return Map(
        [Rule(operation.rule, methods=[operation.method], endpoint=operation) for operation in OPERATIONS],
        strict_slashes=False,
        merge_slashes=False,
        converters=CONVERTERS,
    )


def dispatch(request: Request, services: Services) -> Response:
    """The answer of the operation that the request asks for; raises Problem."""
    adapter = _routes().bind("")
    try:
        operation, variables = adapter.match(request.path, method=request.method)
    except MethodNotAllowed as refused:
        allowed = set(refused.valid_methods or ()) | {"OPTIONS"}
        if request.method == "OPTIONS":
            return Response(status=204, headers={"Allow": ", ".join(sorted(allowed))})
        raise method_not_allowed(allowed) from None
    except NotFound:
        raise not_found("resource") from None
    caller = STRANGER
    left: Mapping[str, str] = {}
    try:
        caller = caller_of(request, services)
        check_session(request, caller, services)
        left = limits.spend(caller.principal, address_of(request, services.settings), services)
        response = _answer(request, services, caller, operation, variables)
    except Problem as problem:
        auditing.denied(request, services, caller.principal, operation.name, problem, variables)
        problem.headers = {**left, **problem.headers}
        raise
    except Exception as error:
        refusal = problem_of(error)
        refusal.headers = {**left, **refusal.headers}
        raise refusal from error
    response.headers.update(left)
    sessions.renew(response, caller.session, services.settings)
    return response


def _answer(
    request: Request, services: Services, caller: Caller, operation: Operation, variables: Mapping[str, Any]
) -> Response:
    check_permission(caller.principal, operation.permission)
    arguments: dict[str, Any] = dict(variables)
    named = list(naming.in_path(variables))
    raw = b""
    if operation.query is not None:
        arguments["query"] = query_of(request, operation.query)
        named += naming.in_model(arguments["query"], "query")
    if operation.body is not None:
        raw = raw_body(request, services.settings.body_limit)
        arguments["body"] = body_of(request, raw, operation.body)
        named += naming.in_model(arguments["body"], "body")
    repeatable = idempotency.of(request, caller.principal, raw)
    with Call(request, caller.principal, services) as call:
        if named:
            call.objects += [name.id for name in naming.check(call.connection, caller.principal, named)]
        call.objects += naming.plain_in_path(variables)
        if repeatable is not None:
            before = idempotency.answered(call.connection, repeatable)
            if before is not None:
                return before
        check_match(call, request, variables, lambda: _tag(call, operation, variables))
        response = _response(request, operation, operation.handler(call=call, **arguments))
        if repeatable is not None:
            idempotency.keep(call.connection, repeatable, response, confidential=operation.confidential)
        auditing.done(call, operation.name, response.status_code)
    services.emitter.after_response(response, call.emitted)
    return response


def _tag(call: Call, operation: Operation, variables: Mapping[str, Any]) -> str | None:
    """The entity tag of what a GET of the same path would answer to this caller; None where there is nothing to get."""
    for reading in OPERATIONS:
        if (reading.method, reading.rule) == ("GET", operation.rule):
            check_permission(call.principal, reading.permission)
            query = {} if reading.query is None else {"query": reading.query()}
            return _response(call.request, reading, reading.handler(call=call, **variables, **query)).get_etag()[0]
    return None


def _response(request: Request, operation: Operation, answer: object) -> Response:
    if isinstance(answer, Response):
        return answer
    if not isinstance(answer, BaseModel):
        return Response(status=operation.status)
    response = Response(answer.model_dump_json(), status=operation.status, mimetype=JSON)
    if operation.status == 201 and (place := getattr(answer, "links", {}).get("self")):
        response.headers["Location"] = place
    if operation.confidential:
        response.headers["Cache-Control"] = "no-store"
        return response
    response.headers["Cache-Control"] = "private, no-cache"
    if operation.method in {"GET", "PUT", "PATCH"}:
        response.add_etag()
    if request.method in {"GET", "HEAD"}:
        response.make_conditional(request)
    return response
