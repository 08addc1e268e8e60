"""Routes a request to its operation, checks everything that is declared, runs it in one transaction."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any, get_origin

from flask import Request, Response
from pydantic import BaseModel, ValidationError
from werkzeug.exceptions import MethodNotAllowed, NotFound
from werkzeug.routing import Map, Rule

from perdura.api import auditing, naming, sessions
from perdura.api.authentication import STRANGER, Caller, api_caller, check_permission
from perdura.api.operations import Call, Operation
from perdura.api.problems import FieldError, Problem, invalid, method_not_allowed, not_found
from perdura.api.resources import OPERATIONS
from perdura.api.services import Services

_JSON = "application/json"


@cache
def _routes() -> Map:
    return Map(
        [Rule(operation.rule, methods=[operation.method], endpoint=operation) for operation in OPERATIONS],
        strict_slashes=False,
        merge_slashes=False,
    )


def dispatch(request: Request, services: Services) -> Response:
    """The answer of the operation that the request asks for; raises Problem."""
    adapter = _routes().bind(request.host or "localhost")
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
    try:
        caller = api_caller(request, services)
        response = _answer(request, services, caller, operation, variables)
    except Problem as problem:
        auditing.denied(request, services, caller.principal, operation.name, problem)
        raise
    sessions.renew(response, caller.session, services.settings)
    return response


def _answer(
    request: Request, services: Services, caller: Caller, operation: Operation, variables: Mapping[str, Any]
) -> Response:
    check_permission(caller.principal, operation.permission)
    arguments: dict[str, Any] = dict(variables)
    named = list(naming.in_path(variables))
    if operation.query is not None:
        arguments["query"] = _query(request, operation.query)
        named += naming.in_model(arguments["query"], "query")
    if operation.body is not None:
        arguments["body"] = _body(request, operation.body, services.settings.body_limit)
        named += naming.in_model(arguments["body"], "body")
    with Call(request, caller.principal, services) as call:
        if named:
            call.objects += [name.id for name in naming.check(call.connection, caller.principal, named)]
        answer = operation.handler(call=call, **arguments)
        response = _response(request, operation, answer)
        auditing.done(call, operation.name, response.status_code)
    services.emitter.after_response(response, call.emitted)
    return response


def _query(request: Request, model: type[BaseModel]) -> BaseModel:
    sent: dict[str, Any] = {}
    repeated: list[FieldError] = []
    for name, values in request.args.lists():
        if name not in model.model_fields:
            raise Problem(422, "There is no such parameter.", "invalid", (FieldError(f"query.{name[:60]}", "unknown"),))
        if get_origin(model.model_fields[name].annotation) is list:
            sent[name] = values
        elif len(values) > 1:
            repeated.append(FieldError(f"query.{name}", "given more than once"))
        else:
            sent[name] = values[0]
    if repeated:
        raise Problem(422, "A parameter was repeated.", "invalid", tuple(repeated))
    try:
        return model.model_validate(sent)
    except ValidationError as error:
        raise invalid(error, "query") from None


def _body(request: Request, model: type[BaseModel], limit: int) -> BaseModel:
    if request.mimetype != _JSON:
        raise Problem(415, "Send the body as application/json.", "media-type")
    try:
        value = json.loads(_read(request, limit).decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise Problem(400, "The body is not JSON.", "not-json") from None
    if not isinstance(value, dict):
        raise Problem(422, "The body has to be a JSON object.", "invalid")
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise invalid(error, "body") from None


def _read(request: Request, limit: int) -> bytes:
    """The whole body, at most `limit` bytes, whether its length was announced or not."""
    if request.content_length is not None and request.content_length > limit:
        raise Problem(413, f"The body is larger than {limit} bytes.", "too-large")
    raw = request.stream.read(limit + 1)
    if len(raw) > limit:
        raise Problem(413, f"The body is larger than {limit} bytes.", "too-large")
    return raw


def _refuse_constant(name: str) -> float:
    raise ValueError(name)


def _response(request: Request, operation: Operation, answer: object) -> Response:
    if isinstance(answer, Response):
        return answer
    if not isinstance(answer, BaseModel):
        return Response(status=operation.status)
    response = Response(answer.model_dump_json(), status=operation.status, mimetype=_JSON)
    response.headers["Cache-Control"] = "private, no-cache"
    if request.method in {"GET", "HEAD"}:
        response.add_etag(weak=True)
        response.make_conditional(request)
    return response
