"""Asks processes whether they are well, in a thread of its own."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

EAGER_SECONDS = 0.1
STEADY_SECONDS = 5.0
ANSWER_SECONDS = 3.0


def answers(url: str) -> bool:
    """Whether GET of that URL answers 2xx within three seconds."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", parts.path or "/")
        answer = connection.getresponse()
        answer.read(65536)
        return 200 <= answer.status < 300
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


class Watch:
    """Looks at every URL every five seconds, and ten times a second at those that do not answer yet.

    `report(name, well)` is called from the watching thread for each look.
    """

    def __init__(self, urls: Mapping[str, str], report: Callable[[str, bool], None]) -> None:
        self._urls = dict(urls)
        self._report = report
        self._ended = threading.Event()
        self._eager = threading.Event()
        self._thread = threading.Thread(target=self._run, name="health", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def hurry(self) -> None:
        """Look again at once: something was restarted."""
        self._eager.set()

    def end(self) -> None:
        """Stop looking."""
        self._ended.set()
        self._eager.set()

    def _run(self) -> None:
        silent = set(self._urls)
        while not self._ended.is_set():
            for name in sorted(silent) if silent else list(self._urls):
                well = answers(self._urls[name])
                if self._ended.is_set():
                    return
                self._report(name, well)
                (silent.discard if well else silent.add)(name)
            if self._eager.wait(EAGER_SECONDS if silent else STEADY_SECONDS):
                self._eager.clear()
                silent = set(self._urls)
