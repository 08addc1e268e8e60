"""HTTP to a registry: JSON documents in and out, listings followed to their end, bodies streamed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import httpx

from perdura.client.errors import Refused, Unreachable

TIMEOUT = httpx.Timeout(30, connect=5)
UPLOAD_TIMEOUT = httpx.Timeout(300, connect=10)


class Transport:
    """The registry's REST API below `/api/v1`; documents in, documents out."""

    def __init__(self, url: str, token: str | None = None, *, agent: str = "perdura-client") -> None:
        headers = {"Accept": "application/json", "User-Agent": agent}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        self.url = url.rstrip("/")
        self._client = httpx.Client(base_url=f"{self.url}/api/v1", headers=headers, timeout=TIMEOUT, trust_env=True)

    def get(self, path: str, **parameters: Any) -> dict[str, Any]:
        """GET a JSON document. Raises Refused, Unreachable."""
        return _document(self._ask("GET", path, params=parameters))

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """POST a JSON document and get one back (empty where the answer has none). Raises Refused, Unreachable."""
        return _document(self._ask("POST", path, json=dict(body or {})))

    def put(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """PUT a JSON document and get one back. Raises Refused, Unreachable."""
        return _document(self._ask("PUT", path, json=dict(body)))

    def patch(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """PATCH the members that a JSON document names, and get the whole back. Raises Refused, Unreachable."""
        return _document(self._ask("PATCH", path, json=dict(body)))

    def delete(self, path: str) -> dict[str, Any]:
        """DELETE what is there. Raises Refused, Unreachable."""
        return _document(self._ask("DELETE", path))

    def items(self, path: str, limit: int | None = None, **parameters: Any) -> Iterator[dict[str, Any]]:
        """The items of a paged list, at most `limit`, following cursors. Raises Refused, Unreachable."""
        cursor: str | None = None
        given = 0
        while limit is None or given < limit:
            page = self.get(path, **parameters, **({"cursor": cursor} if cursor else {}))
            for item in page["items"][: None if limit is None else limit - given]:
                yield item
                given += 1
            cursor = page.get("next")
            if not cursor:
                return

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def download(self, url: str, **parameters: Any) -> Iterator[httpx.Response]:
        """A body as a stream, from the registry itself or from where it sends us; our token goes to it alone.

        `parameters` are those of the query. Raises Refused, Unreachable.
        """
        path = f"{self.url}{url}" if url.startswith("/") else url
        headers = {"Accept": "*/*", "Authorization": self._client.headers.get("Authorization", "")}
        if not path.startswith(f"{self.url}/"):
            del headers["Authorization"]
        try:
            with httpx.stream(
                "GET", path, params=parameters or None, follow_redirects=True, headers=headers, timeout=TIMEOUT
            ) as answer:
                if answer.status_code >= 400:
                    answer.read()
                    raise _refusal(answer)
                yield answer
        except httpx.TransportError as error:
            raise Unreachable(f"the download from {path} broke off: {error}") from error

    def upload(
        self, url: str, headers: Mapping[str, str], size: int, body: Callable[[], Iterator[bytes]], tries: int = 3
    ) -> None:
        """PUT a body of known size; begun anew, at most three times, where the connection breaks.

        Raises Refused, Unreachable.
        """
        sent = {**headers, "Content-Length": str(size)}
        for left in reversed(range(tries)):
            try:
                answer = httpx.put(url, headers=sent, content=body(), timeout=UPLOAD_TIMEOUT)
            except httpx.TransportError as error:
                if not left:
                    raise Unreachable(f"the upload broke off: {error}") from error
                continue
            if answer.status_code >= 500 and left:
                continue
            if answer.status_code >= 300:
                raise Refused(answer.status_code, "The object store refused the upload", answer.text[:300])
            return

    def _ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        try:
            answer = self._client.request(method, path, **more)
        except httpx.TransportError as error:
            raise Unreachable(f"{self.url} does not answer: {error}") from error
        if answer.status_code >= 300:
            raise _refusal(answer)
        return answer


def _document(answer: httpx.Response) -> dict[str, Any]:
    if not answer.content:
        return {}
    try:
        document = answer.json()
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise Unreachable(f"{answer.request.url} answered with something else than a JSON object: is it a registry?")
    return document


def _refusal(answer: httpx.Response) -> Refused:
    """What a problem document says (RFC 9457): title and detail."""
    try:
        problem = answer.json()
    except ValueError:
        problem = {}
    if not isinstance(problem, dict):
        problem = {}
    title = str(problem.get("title") or answer.reason_phrase or "Refused")
    detail = str(problem.get("detail") or "")
    wrong = [f"{item.get('field')}: {item.get('message')}" for item in problem.get("errors") or []]
    told = "; ".join([detail, *wrong] if detail else wrong)
    return Refused(answer.status_code, title, told, str(problem.get("type") or ""))
