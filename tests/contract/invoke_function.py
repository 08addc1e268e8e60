"""One invocation of one function of whatever version of Perdura is on the path: a process of its own.

Run as `python invoke_function.py TREE FUNCTION` with a request as JSON on stdin: `{"headers": {…}, "body": "…"}`;
FUNCTION `migrate` brings the database to the schema of TREE instead. What is emitted goes to `K_SINK`.
"""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

from werkzeug.test import Client
from werkzeug.wrappers import Request

import perdura


def main(tree: Path, name: str) -> None:
    """Answer one request by the function of that tree; prints the status."""
    assert Path(perdura.__file__).is_relative_to(tree), f"{perdura.__file__} is not of {tree}"
    if name == "migrate":
        from perdura.database import engine
        from perdura.registry.migrate import upgrade
        from perdura.settings import settings

        upgrade(engine(settings()))
        return
    handle = runpy.run_path(str(tree / "functions" / name / "main.py"))["handle"]
    asked = json.load(sys.stdin)
    with Client(Request.application(handle)).post("/", headers=asked["headers"], data=asked["body"]) as answer:
        answer.get_data()
        print(answer.status_code)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
