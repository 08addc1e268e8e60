"""One bounded HTTP exchange with a dashboard or a Storage Service: time-outs, sizes, errors; nothing secret is told."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from pydantic import SecretStr

from perdura import __version__
from perdura.clients.archivematica.patience import PatientTransport, while_there_is_time, within
from perdura.fleet import AnswerTooLong, ArchivematicaRefused, ArchivematicaUnavailable, NotSent

CONNECT_SECONDS, READ_SECONDS, POST_SECONDS = 5.0, 30.0, 45.0
"""The dashboard gives up on its server after 30 s (archivematica.md 1.2): a POST is given longer than that."""
WHOLE_SECONDS = 60.0
"""Within which an answer that is read whole has to be there, however slowly it comes."""
LARGEST = 64 * 2**20
"""Bytes of an answer read whole: job lists of large transfers are the longest."""
LONGEST_MESSAGE = 200
"""Characters of an error's message that are told."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer read whole; header names in lower case, `took` in seconds."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    took: float = 0.0

    def document(self, each: Callable[[dict[str, Any]], Any] | None = None) -> Any:
        """The body as JSON; raises ArchivematicaUnavailable for anything else (a proxy's page, an answer cut off).

        `each` may put something smaller in the place of every object as soon as it was read.
        """
        try:
            return json.loads(self.body, object_hook=each)
        except (ValueError, RecursionError) as error:
            raise ArchivematicaUnavailable(
                f"Archivematica answered {self.status} with something that is not JSON."
            ) from error

    def said(self) -> str:
        """The message of an error, at most 200 characters; never a traceback."""
        try:
            found = json.loads(self.body)
        except (ValueError, RecursionError):
            return ""
        text = (
            (found.get("message") or found.get("error_message") or found.get("error"))
            if isinstance(found, dict)
            else ""
        )
        return " ".join(str(text or "").split())[:LONGEST_MESSAGE]


class Exchange:
    """Speaks to one service under one API key. Safe to use from several threads."""

    def __init__(
        self,
        url: str,
        user: str,
        key: SecretStr,
        *,
        ca: str | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self._authorization = f"ApiKey {user}:{key.get_secret_value()}"
        self._client = httpx.Client(
            base_url=self.url,
            headers={"User-Agent": f"perdura/{__version__}", "Accept": "*/*"},
            timeout=httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS),
            trust_env=False,
            follow_redirects=False,
            transport=transport or PatientTransport(ssl.create_default_context(cafile=ca)),
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def ask(self, method: str, path: str, **more: Any) -> Reply:
        """One request, its answer read whole.

        Raises NotSent, ArchivematicaUnavailable (no answer, or 5xx: the caller decides what may have happened),
        ArchivematicaRefused with code `archivematica-credentials` for 401 and 403.
        """
        reply = self.raw(method, path, **more)
        if reply.status >= 500:
            raise ArchivematicaUnavailable(f"Archivematica answered {reply.status}. {reply.said()}".strip())
        return reply

    def raw(self, method: str, path: str, *, largest: int = LARGEST, **more: Any) -> Reply:
        """The same, with answers of 5xx given back; raises AnswerTooLong beyond `largest` bytes."""
        begun = time.monotonic()
        headers = {"Authorization": self._authorization, **more.pop("headers", {})}
        try:
            with within(WHOLE_SECONDS), self._client.stream(method, path, headers=headers, **more) as answer:
                body = bytearray()
                for chunk in answer.iter_bytes():
                    body += chunk
                    if len(body) > largest:
                        raise AnswerTooLong(f"Archivematica's answer is larger than {largest} bytes.")
                reply = Reply(
                    answer.status_code,
                    {name.lower(): value for name, value in answer.headers.items()},
                    bytes(body),
                    time.monotonic() - begun,
                )
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise NotSent(f"Archivematica cannot be reached at {self.url}: {type(error).__name__}.") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ArchivematicaUnavailable(f"Archivematica did not answer {method}: {type(error).__name__}.") from error
        if reply.status in (401, 403):
            raise ArchivematicaRefused(
                f"Archivematica does not let us in ({reply.status}). {reply.said()}".strip(),
                reply.status,
                code="archivematica-credentials",
            )
        return reply

    @contextmanager
    def stream(self, path: str, near: Callable[[], bool], **more: Any) -> Iterator[Iterator[bytes]]:
        """The body of a GET as it comes, in chunks; raises as `ask`, and ArchivematicaRefused for 4xx.

        Raises TimeUp when `near` says that time is up, also while bytes are waited for.
        """
        try:
            headers = {"Authorization": self._authorization, "Accept-Encoding": "identity"}
            with ExitStack() as stack:
                with while_there_is_time(near):
                    answer = stack.enter_context(self._client.stream("GET", path, headers=headers, **more))
                if answer.status_code >= 500:
                    raise ArchivematicaUnavailable(f"Archivematica answered {answer.status_code}.")
                if answer.status_code != 200:
                    raise ArchivematicaRefused(f"Archivematica answered {answer.status_code}.", answer.status_code)
                yield _timely(answer.iter_bytes(1 << 20), near)
        except httpx.HTTPError as error:
            raise ArchivematicaUnavailable(f"Archivematica broke off: {type(error).__name__}.") from error


def _timely(chunks: Iterator[bytes], near: Callable[[], bool]) -> Iterator[bytes]:
    """The chunks, each waited for only while there is time; whoever takes them is not bound by it."""
    while True:
        with while_there_is_time(near):
            chunk = next(chunks, None)
        if chunk is None:
            return
        yield chunk
