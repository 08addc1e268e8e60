"""Reads the query and the body of a request: bounded, strict, every wrong field named."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, get_origin

from flask import Request
from pydantic import BaseModel, ValidationError

from perdura.api.problems import FieldError, Problem, invalid
from perdura.recordable import UNSTORABLE, storable

JSON = "application/json"


def query_of(request: Request, model: type[BaseModel]) -> BaseModel:
    """The query string as its model; raises a 422 for an unknown, repeated or wrong parameter."""
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
    _check_texts(sent, "query")
    try:
        return model.model_validate(sent)
    except ValidationError as error:
        raise invalid(error, "query") from None


def body_of(request: Request, raw: bytes, model: type[BaseModel]) -> BaseModel:
    """A body as its model; raises a 415, 400 or 422."""
    if request.mimetype != JSON:
        raise Problem(415, "Send the body as application/json.", "media-type")
    try:
        value = json.loads(raw.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise Problem(400, "The body is not JSON.", "not-json") from None
    if not isinstance(value, dict):
        raise Problem(422, "The body has to be a JSON object.", "invalid", (FieldError("body", "not an object"),))
    _check_texts(value, "body")
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise invalid(error, "body") from None


def _check_texts(sent: Mapping[str, Any], where: str) -> None:
    """Raise a 422 that names the texts which no database could hold: those with a NUL or half a surrogate pair."""
    wrong = []
    waiting: list[tuple[str, Any]] = [(where, sent)]
    while waiting:
        field, value = waiting.pop()
        if isinstance(value, Mapping):
            waiting += [(f"{field}.{name}", each) for name, each in value.items()]
            value = " ".join(value)
        elif isinstance(value, list):
            waiting += [(f"{field}.{position}", each) for position, each in enumerate(value)]
        if isinstance(value, str) and not storable(value):
            wrong.append(FieldError(UNSTORABLE.sub("?", field), "a character that cannot be stored"))
    if wrong:
        raise Problem(422, f"{len(wrong)} wrong value(s) in the {where}.", "invalid", tuple(reversed(wrong)))


def raw_body(request: Request, limit: int) -> bytes:
    """The whole body, whether its length was announced or not; raises a 413 above `limit` bytes."""
    if request.content_length is not None and request.content_length > limit:
        raise Problem(413, f"The body is larger than {limit} bytes.", "too-large")
    raw = request.stream.read(limit + 1)
    if len(raw) > limit:
        raise Problem(413, f"The body is larger than {limit} bytes.", "too-large")
    return raw


def _refuse_constant(name: str) -> float:
    raise ValueError(name)
