"""Plain requests are read as gunicorn's own parser reads them; all others by it."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from gunicorn.config import Config
from gunicorn.http import wsgi
from gunicorn.http.parser import RequestParser
from hypothesis import given, settings
from hypothesis import strategies as st

from perdura.runtime.plain import Plain, PlainParser

CLIENT, SERVER = ("127.0.0.1", 40_000), ("127.0.0.1", 8080)
FIRST = b"GET /APP/ HTTP/1.1\r\nHost: here\r\n\r\n"
POST = (
    b"POST /APP/event/?a=%20b&c HTTP/1.1\r\nHost: here:8080\r\nAuthorization: Bearer token\r\n"
    b"Content-Type: application/atom+xml\r\nContent-Length: 4\r\nX-Other:  spaced out\r\n\r\nbody"
)
PLAIN = [
    POST,
    b"GET /event/a%2Fb/ HTTP/1.1\r\nhost: here\r\nConnection: keep-alive\r\nAccept: */*\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: here\r\nX-Forwarded-Proto: https\r\n\r\n",
    b"POST /a;b=c HTTP/1.1\r\nHost: here\r\nContent-Length: 0\r\n\r\n",
]
OTHER = [
    b"GET / HTTP/1.0\r\nHost: here\r\nConnection: keep-alive\r\n\r\n",
    b"PUT /x HTTP/1.1\r\nHost: here\r\nContent-Length: 4\r\n\r\nbody",
    b"GET //x HTTP/1.1\r\nHost: here\r\n\r\n",
    b"GET /x#y HTTP/1.1\r\nHost: here\r\n\r\n",
    b"GET http://here/x HTTP/1.1\r\nHost: here\r\n\r\n",
    b"GET /\xe9 HTTP/1.1\r\nHost: here\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: here\r\nHost: there\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: here\r\nContent-Length: 4\r\n\r\nbody",
    b"GET / HTTP/1.1\r\nHost: here\nX: y\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost : here\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: here\r\n folded\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: here\r\nX_Y: z\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: here\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Ssl: off\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: here\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: +4\r\n\r\nbody",
    b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\nbody",
    b"POST / HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\nbody",
    b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 70000\r\n\r\n" + b"x" * 70_000,
    b"GET / HTTP/1.1\r\nHost: here\r\nX-Long: " + b"x" * 5_000 + b"\r\n\r\n",
]
_OF_GUNICORN = {"wsgi.errors", "wsgi.early_hints", "wsgi.input", "gunicorn.socket"}


def _read(parser: Any) -> object:
    """What a parser makes of the next request: its environment and body, or what it raises."""
    try:
        request = next(parser)
        if isinstance(request, Plain):
            environ = request.environ
        else:
            _, environ = wsgi.create(request, parser.unreader.sock, CLIENT, SERVER, parser.cfg)
            environ["wsgi.multithread"] = True
        body = environ["wsgi.input"].read()
        told = {name: value for name, value in environ.items() if name not in _OF_GUNICORN}
        return told, body, request.should_close()
    except StopIteration:
        return "end"
    except Exception as error:
        return type(error), str(error)


def _all_read(kind: type[RequestParser], sent: bytes, number: int) -> tuple[list[object], list[bool]]:
    """(what becomes of the first requests of a connection, which of them were plain)"""
    here, there = socket.socketpair()
    with here, there:
        here.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        here.sendall(sent)
        here.shutdown(socket.SHUT_WR)
        own = kind is PlainParser
        parser: Any = PlainParser(Config(), there, CLIENT, SERVER) if own else RequestParser(Config(), there, CLIENT)
        outcomes: list[object] = []
        plain = []
        for _ in range(number):
            outcomes.append(_read(parser))
            failed = not isinstance(outcomes[-1], tuple) or isinstance(outcomes[-1][0], type)
            plain.append(not failed and isinstance(parser.mesg, Plain))
            if failed:
                break
        return outcomes, plain


@pytest.mark.parametrize("request_", PLAIN)
def test_a_plain_request_has_the_environment_that_gunicorn_would_give_it(request_: bytes) -> None:
    sent = FIRST + request_ + request_
    ours, plain = _all_read(PlainParser, sent, 4)
    theirs, _ = _all_read(RequestParser, sent, 4)
    assert ours == theirs
    assert plain[:3] == [False, True, True]


@pytest.mark.parametrize("request_", OTHER)
def test_every_other_request_is_left_to_gunicorn(request_: bytes) -> None:
    sent = FIRST + POST + request_ + POST
    ours, plain = _all_read(PlainParser, sent, 4)
    theirs, _ = _all_read(RequestParser, sent, 4)
    assert ours == theirs
    assert plain[:2] == [False, True]
    assert not any(plain[2:3])


def test_a_request_that_came_in_parts_is_plain() -> None:
    here, there = socket.socketpair()
    with here, there:
        here.sendall(FIRST)
        parser = PlainParser(Config(), there, CLIENT, SERVER)
        assert not isinstance(next(parser), Plain)
        here.sendall(POST[:-4])
        parser.unreader.unread(parser.unreader.sock.recv(8192))
        here.sendall(POST[-4:])
        read = next(parser)
        assert isinstance(read, Plain)
        assert read.body.read() == b"body"


def test_a_large_body_is_not_received_before_it_is_asked_for() -> None:
    here, there = socket.socketpair()
    with here, there:
        parser = PlainParser(Config(), there, CLIENT, SERVER)
        here.sendall(FIRST)
        next(parser)
        here.sendall(b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 200000\r\n\r\n" + b"x" * 100_000)
        request = next(parser)
        assert not isinstance(request, Plain)
        assert len(parser.unreader.buf.getvalue()) < 100_000


def test_a_request_whose_rest_is_late_is_left_to_gunicorn() -> None:
    here, there = socket.socketpair()
    with here, there:
        here.sendall(FIRST)
        parser = PlainParser(Config(), there, CLIENT, SERVER)
        next(parser)
        here.sendall(POST[:-4])
        read = next(parser)
        assert not isinstance(read, Plain)
        here.sendall(POST[-4:])
        assert read.body.read() == b"body"


_NAMES = st.sampled_from(
    ["Host", "X-A", "x-a", "X_A", "Content-Length", "Transfer-Encoding", "Connection", "Accept", "Expect"]
)
_VALUES = st.sampled_from(
    ["here", "4", "04", "4, 4", "chunked", "close", "keep-alive", "", " ", "a b", "a\tb", "\x0b", "é"]
)
_BETWEEN, _ENDS = st.sampled_from([": ", ":", " :", ":\t"]), st.sampled_from(["\r\n", "\n"])
_LINES = st.tuples(_NAMES, _BETWEEN, _VALUES, _ENDS).map("".join)
_TARGETS = st.sampled_from(["/", "/a", "//a", "/a?b=c?d", "/%41%zz", "*", "/a b", "http://h/", "/a#b", "/[x]", "/a\\b"])


@given(
    st.sampled_from(["GET", "POST", "HEAD", "get"]),
    _TARGETS,
    st.sampled_from(["HTTP/1.1", "HTTP/1.0", "HTTP/2.0"]),
    st.lists(_LINES, max_size=4).map("".join),
    st.sampled_from(["", "body", "0\r\n\r\n"]),
)
@settings(max_examples=300)
def test_whatever_comes_is_read_as_gunicorn_reads_it(
    method: str, target: str, version: str, fields: str, body: str
) -> None:
    request = f"{method} {target} {version}\r\n{fields}\r\n{body}".encode("latin-1")
    sent = FIRST + request + POST
    ours, _ = _all_read(PlainParser, sent, 3)
    theirs, _ = _all_read(RequestParser, sent, 3)
    assert ours == theirs
