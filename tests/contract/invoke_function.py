"""The functions of whatever version of Perdura is on the path, in a process of their own, asked line by line.

Run as `python invoke_function.py TREE`. Each line on stdin is a request as JSON, `{"function", "method", "path",
"headers", "body"}`, each line on stdout its answer, `{"status", "headers", "body"}`. The function `migrate` brings the
database to the schema of TREE instead. What is emitted goes to `K_SINK`.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
from functools import cache
from pathlib import Path
from typing import Any

from werkzeug.test import Client
from werkzeug.wrappers import Request

import perdura


def main(tree: Path) -> None:
    """Answer requests by the functions of that tree until there are no more."""
    assert Path(perdura.__file__).is_relative_to(tree), f"{perdura.__file__} is not of {tree}"
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        print(json.dumps(_answer(tree, json.loads(line))), file=answers, flush=True)


def _answer(tree: Path, asked: dict[str, Any]) -> dict[str, Any]:
    if asked["function"] == "migrate":
        from perdura.database import engine
        from perdura.registry.migrate import upgrade
        from perdura.settings import settings

        upgrade(engine(settings()))
        return {"status": 204, "headers": {}, "body": ""}
    client = _client(tree / "functions" / asked["function"] / "main.py")
    with client.open(asked["path"], method=asked["method"], headers=asked["headers"], data=asked["body"]) as answer:
        return {"status": answer.status_code, "headers": dict(answer.headers), "body": answer.get_data(as_text=True)}


@cache
def _client(main_file: Path) -> Client:
    return Client(Request.application(runpy.run_path(str(main_file))["handle"]))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
