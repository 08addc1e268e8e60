"""Leading a running library by hand, beside FTS's own interface: faults, clock, speed, frozen jobs (fts-cta.md 11.1).

`GET /control`; `PUT /control/faults|clock|speed`; `POST /control/jobs/{id}/freeze|thaw|steps`. Open to whom the server
itself belongs: its token, or the certificate of its host.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from perdura.local.tape import clock
from perdura.local.tape.faults import Faults
from perdura.local.tape.fts.bodies import json_value
from perdura.local.tape.fts.daemon import Daemon
from perdura.local.tape.fts.ledger import Ledger
from perdura.local.tape.fts.problems import NOT_FOUND, Refused, no_job, problem
from perdura.local.tape.fts.stepping import step
from perdura.local.tape.http import Request, Response, as_json
from perdura.local.tape.library import Library


class Control:
    """Answers requests below `/control`."""

    def __init__(self, ledger: Ledger, faults: Faults, daemon: Daemon, library: Library) -> None:
        self._ledger, self._faults, self._daemon, self._library = ledger, faults, daemon, library
        self._model, self._pace, self._speed = library.model, daemon.pace, 1.0

    def handle(self, asked: Request) -> Response:
        """Answer one request of somebody who may ask."""
        try:
            match (asked.method, asked.path.strip("/").split("/")[1:]):
                case ("GET", []):
                    return as_json(self._state())
                case ("PUT", ["faults"]):
                    self._replace_faults(json_value(asked, 1 << 20))
                case ("PUT", ["clock"]):
                    clock.set_offset(_number(asked, "offset"))
                    self._daemon.wake()
                case ("PUT", ["speed"]):
                    self._run_at(_number(asked, "factor"))
                case ("POST", ["jobs", job_id, "freeze" | "thaw" | "steps" as order]):
                    return self._job(job_id, order, asked)
                case _:
                    return problem(404, NOT_FOUND)
        except Refused as refusal:
            return problem(refusal.status, refusal.message)
        return as_json(self._state())

    def _state(self) -> dict[str, Any]:
        return {
            "clock_offset": clock.offset(), "speed": self._speed, "faults": self._faults.rules(),
            "frozen": [name for name, _ in self._ledger.notes("frozen")],
        }  # fmt: skip

    def _replace_faults(self, rules: Any) -> None:
        try:
            self._faults.replace(rules)
        except ValueError as error:
            raise Refused(400, str(error)) from error

    def _run_at(self, factor: float) -> None:
        if not 0 < factor <= 1e6:
            raise Refused(400, "The factor must be above 0 and at most a million")
        model, self._speed = self._model, factor
        self._library.model = replace(
            model, mount=model.mount / factor, seek=model.seek / factor, rate=model.rate * factor,
            keep=model.keep / factor,
        )  # fmt: skip
        self._daemon.pace = replace(self._pace, retry_unit=self._pace.retry_unit / factor)

    def _job(self, job_id: str, order: str, asked: Request) -> Response:
        if self._ledger.job(job_id) is None:
            raise Refused(404, no_job(job_id))
        if order == "freeze":
            self._ledger.keep_note("frozen", job_id, {"since": clock.moment()})
        elif order == "thaw":
            self._daemon.thaw(job_id)
        else:
            self._steps(job_id, json_value(asked, 1 << 20))
        return as_json({"job": self._ledger.job(job_id), "files": self._ledger.files(job_id)})

    def _steps(self, job_id: str, given: Any) -> None:
        if self._ledger.note("frozen", job_id) is None:
            raise Refused(409, "The job moves by itself: freeze it first")
        with self._ledger.change():
            for each in given if isinstance(given, list) else [given]:
                job, files = self._ledger.job(job_id), self._ledger.files(job_id)
                if job is None or not isinstance(each, dict):
                    raise Refused(400, "A step is an object with an event, for a job that is there")
                if each.get("event") == "clean":
                    self._ledger.clean(job_id)
                    continue
                failed = step(job, files, each)
                self._ledger.store(job, files)
                if failed is not None:
                    self._ledger.add_retry(failed)


def _number(asked: Request, name: str) -> float:
    document = json_value(asked, 1 << 20)
    value = document.get(name) if isinstance(document, dict) else None
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise Refused(400, f"{name} must be a number")
    return float(value)
