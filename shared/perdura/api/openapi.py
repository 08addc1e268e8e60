"""The OpenAPI 3.1 document, generated from the operations and models that are really used."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any
from uuid import UUID

from pydantic.json_schema import JsonSchemaMode, models_json_schema

from perdura import __version__
from perdura.api import idempotency, naming
from perdura.api.conditions import CHANGING
from perdura.api.operations import Operation
from perdura.api.problems import MEDIA_TYPE
from perdura.api.resources import OPERATIONS

_Key = tuple[type[Any], JsonSchemaMode]
_References = dict[_Key, dict[str, Any]]

_VARIABLE = re.compile(r"<(?:(\w+):)?(\w+)>")
_REFERENCE = "#/components/schemas/{model}"
_PROBLEMS = {
    400: "The request cannot be read.",
    401: "The caller is not known.",
    403: "The caller may not do this.",
    404: "There is no such thing, or the caller may not see it.",
    409: "The state of the thing does not allow this.",
    412: "It has changed since the `If-Match` that was sent.",
    413: "The body is too large.",
    415: "The body is not of the right media type.",
    422: "Values are wrong; `errors` names each field.",
    429: "Too many requests; `Retry-After` says when to go on.",
    503: "Something that is needed does not answer; try again after `Retry-After` seconds.",
}
_PROBLEM_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "Problem details (RFC 9457), at most 512 bytes.",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "format": "uri", "description": "`urn:perdura:problem:<code>` or `about:blank`."},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "message"],
                "properties": {
                    "field": {"type": "string", "description": "Dotted path: `query.limit`, `body.size` …"},
                    "message": {"type": "string"},
                },
            },
        },
    },
}


@cache
def document() -> dict[str, Any]:
    """The whole document."""
    wanted: set[_Key] = set()
    for operation in OPERATIONS:
        wanted |= {(model, "validation") for model in (operation.body, operation.query) if model is not None}
        if operation.answer is not None:
            wanted.add((operation.answer, "serialization"))
    references, schemas = models_json_schema(sorted(wanted, key=_order), ref_template=_REFERENCE)
    components = dict(schemas.get("$defs", {}))
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        path = _VARIABLE.sub(r"{\2}", operation.rule)
        paths.setdefault(path, {})[operation.method.lower()] = _operation(operation, references, components)
    queries = {operation.query.__name__ for operation in OPERATIONS if operation.query is not None}
    used = json.dumps([components, paths])
    for name in queries:
        if f'"{_REFERENCE.format(model=name)}"' not in used:
            components.pop(name, None)
    components["Problem"] = _PROBLEM_SCHEMA
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Perdura",
            "version": __version__,
            "summary": "Deposits, harvests and Archives of a digital-preservation platform.",
            "description": (
                "Send `Authorization: Bearer <token>`. Listings are paged by keyset: follow `next`. Errors are "
                "problem details (RFC 9457) and name every wrong field."
            ),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}],
        "tags": [{"name": name} for name in dict.fromkeys(operation.section for operation in OPERATIONS)],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(components.items())),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _order(entry: _Key) -> tuple[str, str]:
    return entry[0].__name__, entry[1]


def _operation(
    operation: Operation,
    references: _References,
    components: dict[str, Any],
) -> dict[str, Any]:
    result: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "tags": [operation.section],
        "parameters": _parameters(operation, components),
        "responses": _responses(operation, references),
    }
    if operation.description:
        result["description"] = operation.description
    if operation.permission is None:
        result["security"] = []
    else:
        result["x-permission"] = operation.permission.value
    if operation.body is not None:
        schema = references[operation.body, "validation"]
        result["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return result


@cache
def _readable() -> frozenset[str]:
    """Rules of what can be read, and has a tag."""
    return frozenset(operation.rule for operation in OPERATIONS if operation.method == "GET")


def _parameters(operation: Operation, components: dict[str, Any]) -> list[dict[str, Any]]:
    kinds = dict(operation.variables)
    parameters = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "format": "uuid"} if kinds.get(name) is UUID else {"type": "string"},
        }
        for _, name in _VARIABLE.findall(operation.rule)
    ]
    if operation.method == "POST":
        parameters.append(_header(idempotency.HEADER, "Makes a repetition be answered as the first time, for a day."))
    if operation.method in CHANGING and operation.rule in _readable():
        parameters.append(_header("If-Match", "Entity tag of what is to be changed; 412 if it is another."))
    if operation.query is None:
        return parameters
    schema = components[operation.query.__name__]
    for name, member in schema.get("properties", {}).items():
        parameters.append(
            {
                "name": name,
                "in": "query",
                "required": name in schema.get("required", ()),
                "description": member.get("description", ""),
                "schema": _without_null(member),
            }
        )
    return parameters


def _header(name: str, description: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": False, "description": description, "schema": {"type": "string"}}


def _without_null(member: dict[str, Any]) -> dict[str, Any]:
    """The schema of a parameter: what is absent from a query string is never null."""
    schema = {key: value for key, value in member.items() if key not in {"description", "title"}}
    choices = [choice for choice in schema.pop("anyOf", ()) if choice != {"type": "null"}]
    if schema.get("default", 0) is None:
        del schema["default"]
    if len(choices) == 1:
        only: dict[str, Any] = choices[0] | schema
        return only
    return {"anyOf": choices} | schema if choices else schema


def _responses(operation: Operation, references: _References) -> dict[str, Any]:
    content: dict[str, Any] = {media: {} for media in operation.media}
    if operation.answer is not None:
        content["application/json"] = {"schema": references[operation.answer, "serialization"]}
    success: dict[str, Any] = {"description": operation.summary}
    if content:
        success["content"] = content
    responses: dict[str, Any] = {str(operation.status): success}
    if operation.method == "GET" and operation.answer is not None:
        responses["304"] = {"description": "Nothing has changed since the ETag that was sent."}
    if operation.media and operation.answer is None:
        responses["206"] = {"description": "The range that was asked for.", "content": content}
        responses["304"] = {"description": "Nothing has changed since the ETag that was sent."}
        responses["307"] = {"description": "Where the store gives the bytes."}
        responses["416"] = {"description": "The range lies outside."}
    for status in _problems_of(operation):
        responses[str(status)] = {
            "description": _PROBLEMS[status],
            "content": {MEDIA_TYPE: {"schema": {"$ref": _REFERENCE.format(model="Problem")}}},
        }
    return responses


def _problems_of(operation: Operation) -> list[int]:
    found = {429, 503}
    if operation.permission is not None:
        found |= {401, 403}
    if operation.method in CHANGING:
        found.add(412)
    models = [model for model in (operation.query, operation.body) if model is not None]
    if "<" in operation.rule or any(naming.names_things(model) for model in models):
        found.add(404)
    if operation.query is not None:
        found.add(422)
    if operation.body is not None:
        found |= {400, 413, 415, 422}
    if operation.method == "POST":
        found.add(400)
    if operation.method != "GET" or operation.media or operation.conflicts:
        found.add(409)
    if operation.method != "GET":
        found.add(422)
    return sorted(found)
