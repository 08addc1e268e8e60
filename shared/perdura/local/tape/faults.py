"""What may be made to go wrong: rules in a JSON file that is read again whenever it changes.

The file holds a list of rules such as `{"effect": "lost", "match": "aip-42", "times": 1}`. A rule applies to
paths, URLs or request lines that contain `match`; `times` bounds how often (default: always). Other keys are
the effect's own (`text`, `status`, `seconds`, `errno`, `recoverable`).

Effects on the tape side: `lost`, `unavailable`, `archive-error` (text), `never-archived`, `stage-error` (text),
`corrupt`, `write-failure`. On the transfer service: `transfer-failure` (text, errno, recoverable), `check-duplicates`
(submissions fail as on servers with that option), `freeze` (new jobs are moved by hand only, see `control.py`),
`model` (no bytes move, see `fts/model.py`). On either server: `http` (status), `truncate`, `hang` (seconds),
`reset-before`, `reset-after` (the work is done, the answer lost).
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)
EFFECTS = frozenset({
    "lost", "unavailable", "archive-error", "never-archived", "stage-error", "corrupt", "write-failure",
    "transfer-failure", "check-duplicates", "freeze", "model", "http", "truncate", "hang", "reset-before",
    "reset-after",
})  # fmt: skip


class Faults:
    """The rules in force."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._stamp: tuple[int, int] | None = None
        self._rules: list[dict[str, Any]] = []

    def apply(self, effect: str, subject: str) -> Mapping[str, Any] | None:
        """The first rule of that effect that matches; a rule with `times` is used up by being found."""
        with self._lock:
            self._reload()
            for rule in self._rules:
                if rule["effect"] == effect and str(rule.get("match", "")) in subject and rule.get("times", 1) > 0:
                    if "times" in rule:
                        rule["times"] -= 1
                    return rule
        return None

    def rules(self) -> list[dict[str, Any]]:
        """The rules in force, with what is left of their times."""
        with self._lock:
            self._reload()
            return [dict(rule) for rule in self._rules]

    def replace(self, rules: Any) -> None:
        """Put other rules in force; raises ValueError for what is none."""
        listed = isinstance(rules, list) and all(isinstance(r, dict) and r.get("effect") in EFFECTS for r in rules)
        if not listed:
            raise ValueError(f"Faults are a list of objects with an effect of {', '.join(sorted(EFFECTS))}")
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps(rules))
        new.replace(self.path)

    def _reload(self) -> None:
        try:
            info = self.path.stat()
        except FileNotFoundError:
            self._rules, self._stamp = [], None
            return
        stamp = (info.st_mtime_ns, info.st_size)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            rules = json.loads(self.path.read_text())
            self._rules = [dict(rule) for rule in rules if rule.get("effect") in EFFECTS]
        except (ValueError, TypeError, AttributeError):
            log.warning("%s is not a list of fault rules; the rules before stay in force", self.path)
