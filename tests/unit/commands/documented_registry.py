"""A registry that is nothing but its OpenAPI document: takes what that allows, and answers by its schemas."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import flask
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, Rule
from werkzeug.serving import make_server
from werkzeug.wrappers import Response

from perdura.api import openapi
from perdura.api.operations import Operation
from perdura.api.problems import Problem
from perdura.api.reading import body_of, query_of, raw_body
from perdura.api.resources import OPERATIONS

SOME_ID = "01900000-0000-7000-8000-00000000000a"
_TEXTS = {"uuid": SOME_ID, "date-time": "2026-11-24T10:00:00Z", "date": "2026-11-24"}


class DocumentedRegistry:
    """Notes by its name every operation that was called as the document wants it; anything else is a 4xx."""

    def __init__(self) -> None:
        rules = [Rule(each.rule, methods=[each.method], endpoint=each) for each in OPERATIONS]
        self._routes = Map(rules, strict_slashes=False, merge_slashes=False)
        self.called: list[str] = []
        self.answers: dict[str, Any] = {}
        """Answers that a schema cannot tell, by operation."""
        self._server = make_server("127.0.0.1", 0, self._serve)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    @contextmanager
    def running(self) -> Iterator[DocumentedRegistry]:
        """Serve until the end of the block."""
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()

    def _serve(self, environ: Any, start_response: Any) -> Any:
        try:
            response = self._answer(flask.Request(environ))
        except Problem as problem:
            errors = [{"field": error.field, "message": error.message} for error in problem.errors]
            told = {"title": problem.detail, "status": problem.status, "errors": errors}
            response = Response(json.dumps(told), status=problem.status)
        except HTTPException as refused:
            response = Response(json.dumps({"title": f"{refused}"}), status=refused.code)
        return response(environ, start_response)

    def _answer(self, request: flask.Request) -> Response:
        operation: Operation = self._routes.bind("localhost").match(request.path, method=request.method)[0]
        if operation.query is not None:
            query_of(request, operation.query)
        if operation.body is not None:
            body_of(request, raw_body(request, 1 << 20), operation.body)
        self.called.append(operation.name)
        answer = self.answers.get(operation.name) or sample(_schema(operation))
        content = answer if isinstance(answer, bytes) else json.dumps(answer).encode() if answer is not None else b""
        return Response(content, status=operation.status, mimetype="application/json")


def _schema(operation: Operation) -> Mapping[str, Any] | None:
    document = openapi.document()
    path = operation.rule
    for piece in operation.rule.split("/"):
        if piece.startswith("<"):
            path = path.replace(piece, "{" + piece.strip("<>").rpartition(":")[2] + "}")
    answer = document["paths"][path][operation.method.lower()]["responses"][str(operation.status)]
    media = answer.get("content", {}).get("application/json")
    return media["schema"] if media else None


def sample(schema: Mapping[str, Any] | None) -> Any:
    """A document of that schema, all its members there; the last page of a listing."""
    if schema is None:
        return None
    if "$ref" in schema:
        return sample(openapi.document()["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema:
        return sample(schema["anyOf"][0])
    match schema.get("type"):
        case "object" if "properties" in schema:
            members = schema["properties"].items()
            return {name: None if name == "next" and "anyOf" in member else sample(member) for name, member in members}
        case "object":
            more = schema.get("additionalProperties")
            return {"state": sample(more)} if isinstance(more, dict) and more else {}
        case "array":
            return [sample(schema["items"])]
        case "string":
            return _TEXTS.get(schema.get("format", ""), "some \x1b[2Jtext")
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "boolean":
            return True
    return None
