"""Answers as both servers give them."""

from __future__ import annotations

import json

Answer = tuple[int, dict[str, str], bytes]
UUID = r"([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})"


def json_answer(status: int, document: object) -> Answer:
    return status, {"Content-Type": "application/json"}, json.dumps(document).encode()


def text_answer(status: int, text: str) -> Answer:
    return status, {"Content-Type": "text/html; charset=utf-8"}, text.encode()
