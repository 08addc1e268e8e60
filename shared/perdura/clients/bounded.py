"""Answers of the tape system read whole: no more bytes and no more time than an honest server needs."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx

from perdura.errors import UpstreamUnavailable

MOST = 16 << 20
"""Bytes of an answer: 200 jobs with all that FTS keeps of them have some two MiB."""
SECONDS = 120.0
"""How long the body of one answer may take to come; each part of it has the time-out of the client besides."""
_REWRITTEN = frozenset({"content-encoding", "transfer-encoding"})


class TooMuch(httpx.TransportError):
    """The answer is larger than `MOST` bytes, or still not whole after `SECONDS`."""


def read(chunks: Iterable[bytes], most: int = MOST) -> bytes:
    """The bytes of a body; raises TooMuch."""
    until = time.monotonic() + SECONDS
    body = bytearray()
    for chunk in chunks:
        body += chunk
        if len(body) > most or time.monotonic() > until:
            raise TooMuch("the answer has too many bytes, or takes too long")
    return bytes(body)


def refuse_coded(headers: Mapping[str, str]) -> None:
    """Raise TooMuch for a body in a content coding: a few bytes of it may stand for any number."""
    if headers.get("Content-Encoding", "identity").lower() != "identity":
        raise TooMuch("the answer is compressed although that was not asked for")


def ask(client: httpx.Client, method: str, url: str, *, most: int = MOST, **more: Any) -> httpx.Response:
    """The answer to one request, read whole; raises httpx.HTTPError, TooMuch among them."""
    with client.stream(method, url, **more) as answer:
        if method != "HEAD":
            refuse_coded(answer.headers)
        body = read(answer.iter_bytes(), most)
    headers = [(name, value) for name, value in answer.headers.multi_items() if name.lower() not in _REWRITTEN]
    return httpx.Response(answer.status_code, headers=headers, content=body, request=answer.request)


@contextmanager
def understood(otherwise: UpstreamUnavailable) -> Iterator[None]:
    """Raise `otherwise` for what goes wrong while an answer is taken apart: it is not of the form that it must have."""
    try:
        yield
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise otherwise from error
