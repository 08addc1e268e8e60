"""Acting for a user: TLS with the proxy that the user delegated (fts-cta.md 4.1)."""

from __future__ import annotations

import os
import ssl
import tempfile
import threading
from pathlib import Path

from perdura.local.tape import clock
from perdura.local.tape.fts.ledger import Ledger
from perdura.local.tape.fts.submission import Row


class DelegatedProxies:
    """TLS contexts by user; one is made again when its user delegates anew."""

    def __init__(self, ledger: Ledger, ca_file: Path) -> None:
        self._ledger, self._ca_file = ledger, ca_file
        self._lock = threading.Lock()
        self._contexts: dict[str, tuple[float, ssl.SSLContext]] = {}

    def lasts(self, dn: str) -> bool:
        """Whether there is a proxy of the user that has not ended by the service's clock."""
        proxy = self._ledger.note("proxy", dn)
        return proxy is not None and proxy["expires"] > clock.now()

    def context(self, dn: str) -> ssl.SSLContext | None:
        """A context that presents the user's proxy; None when the user delegated none."""
        proxy, held = self._ledger.note("proxy", dn), self._ledger.note("signing-request", dn)
        if proxy is None or held is None or "pem" not in proxy:
            return None
        with self._lock:
            expires, context = self._contexts.get(dn, (0.0, None))
            if context is None or expires != proxy["expires"]:
                context = ssl.create_default_context(cafile=str(self._ca_file))
                _load(context, f"{proxy['pem']}\n{held['key']}")
                self._contexts[dn] = (proxy["expires"], context)
            return context


def may_act(proxies: DelegatedProxies | None, job: Row) -> bool:
    """Whether the service may act for the user of a job: always for one that came with tokens."""
    if proxies is None or job["job_metadata"]["auth_method"] != "certificate":
        return True
    return proxies.lasts(str(job["user_dn"]))


def _load(context: ssl.SSLContext, pem: str) -> None:
    """OpenSSL only reads certificates from files: the file lives as long as the call."""
    handle, name = tempfile.mkstemp()
    try:
        with os.fdopen(handle, "w") as file:
            file.write(pem)
        context.load_cert_chain(name)
    finally:
        Path(name).unlink()
