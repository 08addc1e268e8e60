"""The parts put together: one library, one transfer service, two ports of the loopback interface."""

from __future__ import annotations

import hmac
import json
import secrets
import ssl
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509

from perdura.clients.tape_x509 import holder_dn
from perdura.local.tape.control import Control
from perdura.local.tape.endpoint import Endpoint
from perdura.local.tape.faults import Faults
from perdura.local.tape.fts.credentials import DelegatedProxies
from perdura.local.tape.fts.daemon import Daemon, Pace
from perdura.local.tape.fts.identity import ANONYMOUS, Identity, from_chain, from_token
from perdura.local.tape.fts.ledger import Ledger
from perdura.local.tape.fts.problems import html
from perdura.local.tape.fts.service import Service
from perdura.local.tape.fts.storage import Storages, storage
from perdura.local.tape.http import Request, Response, Server, as_json, tls_context
from perdura.local.tape.library import Library, Model
from perdura.local.tape.scheduler import Scheduler

LOCAL_USER = "perdura"


class TapeServer:
    """A running tape library. `token` is the bearer token that opens both ports."""

    def __init__(
        self,
        state: Path,
        *,
        token: str | None,
        fts_port: int = 0,
        endpoint_port: int = 0,
        tls_directory: Path | None = None,
        model: Model | None = None,
        pace: Pace | None = None,
        api: tuple[int, int, int] = (3, 14, 0),
    ) -> None:
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.token = token
        self._own_token = secrets.token_urlsafe(32)
        tls = tls_context(str(tls_directory)) if tls_directory else None
        self._host_dn = _host_dn(tls_directory) if tls_directory else None
        outgoing = _outgoing(tls_directory) if tls_directory else None
        self.faults = Faults(state / "faults.json")
        self.scheduler = Scheduler()
        self.library = Library(state / "library", model or Model(), self.faults, self.scheduler)
        self.endpoint = Endpoint(
            self.library, self.faults, [each for each in (token, self._own_token) if each], outgoing
        )
        self.ledger = Ledger(state / "fts.sqlite")
        storages = Storages(self._credentials, outgoing)
        proxies = DelegatedProxies(self.ledger, tls_directory / "ca.pem") if tls_directory else None
        self.daemon = Daemon(self.ledger, storages, self.faults, self.scheduler, pace, proxies)
        self.service = Service(
            self.ledger,
            self.faults,
            self._who,
            storages,
            api=api,
            submitted=self.daemon.submitted,
            delegated=self.daemon.wake,
        )
        self.control = Control(self.ledger, self.faults, self.daemon, self.library)
        # The ports last, so that nothing listens where the state on disk was refused.
        self.endpoint_server = Server(endpoint_port, self._on_endpoint, tls)
        try:
            self.fts_server = Server(fts_port, self._on_fts, tls)
        except OSError:
            self.endpoint_server.server_close()
            raise
        self.endpoint.url = self.endpoint_server.url
        self.library.listeners.append(self.daemon.wake)

    @property
    def fts_url(self) -> str:
        """Address of the transfer service."""
        return self.fts_server.url

    @property
    def endpoint_url(self) -> str:
        """Address of the tape endpoint."""
        return self.endpoint_server.url

    def start(self) -> None:
        """Answer requests."""
        self.endpoint_server.start()
        self.fts_server.start()
        self.daemon.start()

    def stop(self) -> None:
        """Stop answering and write everything down."""
        for server in (self.fts_server, self.endpoint_server):
            server.stop()
        self.daemon.stop()
        self.library.stop()
        self.scheduler.stop()
        self.ledger.close()

    def status(self) -> dict[str, object]:
        """Drives, queues, volumes, residency and transfers."""
        return {**self.library.status(), "transfers": self.ledger.counts()}

    def _on_endpoint(self, asked: Request) -> Response:
        if asked.path == "/status" and asked.method == "GET":
            return as_json(self.status()) if self._ours(asked) else Response(401)
        return self.endpoint.handle(asked)

    def _on_fts(self, asked: Request) -> Response:
        if asked.path == "/control" or asked.path.startswith("/control/"):
            return self.control.handle(asked) if self._ours(asked) else Response(401)
        return self.service.handle(asked)

    def _ours(self, asked: Request) -> bool:
        """Whether it is who runs the server that asks."""
        return self._bearer(asked) or (bool(asked.peer.chain) and from_chain(asked.peer.chain, self._host_dn).root)

    def _bearer(self, asked: Request) -> bool:
        scheme, _, given = asked.headers.get("authorization", "").partition(" ")
        return (
            bool(self.token)
            and scheme.lower() == "bearer"
            and hmac.compare_digest(given.encode(), str(self.token).encode())
        )

    def _who(self, asked: Request) -> Identity | Response:
        if "authorization" in asked.headers:
            if self.token is None:
                return html(400, "Unsupported authentication method: method=OAuth2")
            known = from_token(LOCAL_USER, "local", (LOCAL_USER,), token=self.token)
            return known if self._bearer(asked) else ANONYMOUS
        return from_chain(asked.peer.chain, self._host_dn) if asked.peer.chain else ANONYMOUS

    def _credentials(self, url: str) -> Mapping[str, str]:
        """The service's own way into the endpoint beside it; other storages get what the user gave."""
        ours = urlsplit(storage(url)).netloc.rpartition(":")[2] == str(self.endpoint_server.port)
        return {"Authorization": f"Bearer {self._own_token}"} if ours else {}


def _host_dn(directory: Path) -> str:
    return holder_dn(x509.load_pem_x509_certificates((directory / "host.pem").read_bytes()))


def _outgoing(directory: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(directory / "ca.pem"))
    context.load_cert_chain(str(directory / "host.pem"), str(directory / "host.key"))
    return context


def endpoints_file(state: Path) -> Path:
    """Where a running server notes its addresses for `perdura tape status`."""
    return state / "endpoints.json"


def note_endpoints(state: Path, server: TapeServer) -> None:
    """Write the addresses down."""
    addresses = {"fts": server.fts_url, "endpoint": server.endpoint_url}
    endpoints_file(state).write_text(json.dumps(addresses))


def asked_for_status(state: Path, token: str, tls_directory: Path | None) -> dict[str, Any]:
    """What a running library tells of itself; raises OSError, ValueError or KeyError when there is none."""
    url = json.loads(endpoints_file(state).read_text())["endpoint"]
    request = urllib.request.Request(  # noqa: S310 - the address of our own library
        f"{url}/status", headers={"Authorization": f"Bearer {token}"} if token else {}
    )
    tls = _outgoing(tls_directory) if tls_directory else None
    with urllib.request.urlopen(request, timeout=5, context=tls) as answer:  # noqa: S310
        found: dict[str, Any] = json.load(answer)
    return found
