"""The REST API as the commands see it: one client, one way to fail."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import httpx

from perdura.commands.failures import Unusable
from perdura.errors import PerduraError

URL_VARIABLE = "PERDURA_URL"
TOKEN_VARIABLE = "PERDURA_TOKEN"  # noqa: S105 - a name
TIMEOUT = httpx.Timeout(30, connect=5)
UPLOAD_TIMEOUT = httpx.Timeout(300, connect=10)


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options `--url` and `--token` of a command that speaks to the API."""
    command = click.option("--token", envvar=TOKEN_VARIABLE, help="Bearer token. Default: that of the local stack.")(
        command
    )
    return click.option("--url", envvar=URL_VARIABLE, help="URL of the registry. Default: the local stack.")(command)


class Refused(click.ClickException):
    """The API said no; exit status 1. `status` is the HTTP status."""

    def __init__(self, status: int, title: str, detail: str) -> None:
        super().__init__(f"{title} ({status}){f': {detail}' if detail else ''}")
        self.status = status


class Api:
    """The registry's REST API below `/api/v1`; documents in, documents out."""

    def __init__(self, url: str, token: str | None) -> None:
        headers = {"Accept": "application/json", "User-Agent": "perdura-cli"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        self.url = url.rstrip("/")
        self._client = httpx.Client(base_url=f"{self.url}/api/v1", headers=headers, timeout=TIMEOUT, trust_env=True)

    def get(self, path: str, **parameters: Any) -> dict[str, Any]:
        """GET a JSON document. Raises Refused, Unusable."""
        return _document(self._ask("GET", path, params=parameters))

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """POST a JSON document and get one back (empty where the answer has none). Raises Refused, Unusable."""
        return _document(self._ask("POST", path, json=dict(body or {})))

    def put(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """PUT a JSON document and get one back. Raises Refused, Unusable."""
        return _document(self._ask("PUT", path, json=dict(body)))

    def delete(self, path: str) -> dict[str, Any]:
        """DELETE what is there. Raises Refused, Unusable."""
        return _document(self._ask("DELETE", path))

    def items(self, path: str, limit: int, **parameters: Any) -> Iterator[dict[str, Any]]:
        """The items of a paged list, at most `limit`, following cursors."""
        cursor: str | None = None
        left = limit
        while left > 0:
            page = self.get(path, **parameters, **({"cursor": cursor} if cursor else {}))
            for item in page["items"][:left]:
                yield item
                left -= 1
            cursor = page.get("next")
            if not cursor:
                return

    @contextmanager
    def download(self, url: str) -> Iterator[httpx.Response]:
        """A body as a stream, from the registry itself or from where it sends us; our token goes to it alone.

        Raises Refused, Unusable.
        """
        path = f"{self.url}{url}" if url.startswith("/") else url
        headers = {"Accept": "*/*", "Authorization": self._client.headers.get("Authorization", "")}
        if not path.startswith(f"{self.url}/"):
            del headers["Authorization"]
        try:
            with httpx.stream("GET", path, follow_redirects=True, headers=headers, timeout=TIMEOUT) as answer:
                if answer.status_code >= 400:
                    answer.read()
                    raise _refusal(answer)
                yield answer
        except httpx.TransportError as error:
            raise Unusable(f"the download from {path} broke off: {error}") from error

    def upload(
        self, url: str, headers: Mapping[str, str], size: int, body: Callable[[], Iterator[bytes]], tries: int = 3
    ) -> None:
        """PUT a body of known size; begun anew, at most three times, where the connection breaks.

        Raises Refused, Unusable.
        """
        sent = {**headers, "Content-Length": str(size)}
        for left in reversed(range(tries)):
            try:
                answer = httpx.put(url, headers=sent, content=body(), timeout=UPLOAD_TIMEOUT)
            except httpx.TransportError as error:
                if not left:
                    raise Unusable(f"the upload broke off: {error}") from error
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
            raise Unusable(f"{self.url} does not answer: {error}; does it run? (perdura status)") from error
        if answer.status_code >= 300:
            raise _refusal(answer)
        return answer


def connect(root: Path, url: str | None, token: str | None) -> Api:
    """The API at `url`, else that of the stack that runs on this home. Raises Unusable where there is none.

    The local administrator's token is used for the local stack only.
    """
    if url is not None:
        return Api(url, token)
    if not root.is_dir():
        raise Unusable(f"no stack in {root}: start one (perdura up) or name a registry (--url or {URL_VARIABLE})")
    from perdura.local.state import open_home
    from perdura.local.status import read_status

    try:
        home = open_home(root)
        status = read_status(home)
    except PerduraError as error:
        raise Unusable(error.message) from error
    if "registry" not in status.urls:
        raise Unusable(f"the stack of {root} does not run: start it (perdura up)")
    own = token or os.environ.get("PERDURA_ADMIN_TOKEN") or home.known_secret("admin-token")
    return Api(status.urls["registry"], own)


def _document(answer: httpx.Response) -> dict[str, Any]:
    if not answer.content:
        return {}
    try:
        document = answer.json()
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise Unusable(f"{answer.request.url} answered with something else than a JSON object: is it a registry?")
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
    return Refused(answer.status_code, title, "; ".join([detail, *wrong] if detail else wrong))
