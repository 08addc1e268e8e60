"""Moving one job by hand: each step is what the daemons do to its rows, under the names of the recorded corpus."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perdura.local.tape.clock import moment
from perdura.local.tape.fts import transitions
from perdura.local.tape.fts.problems import Refused
from perdura.local.tape.fts.submission import Row

MEGABYTES = 20_000_000
"""Size of a file whose submission did not tell one."""


def step(job: Row, files: list[Row], given: Mapping[str, Any]) -> Row | None:
    """Apply one step to the rows; gives back the record of a failed attempt, if it made one.

    `event` names the step, `file_index` the position of the file in its job; the other keys are the step's own (README
    of the corpus). Raises Refused for a step that is none, or lacks what it needs.
    """
    try:
        return _applied(job, files, files[int(given.get("file_index", 0))], given)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise Refused(400, f"This step cannot be taken: {type(error).__name__} {error}") from error


def _applied(job: Row, files: list[Row], file: Row, given: Mapping[str, Any]) -> Row | None:
    match given["event"]:
        case "ready":
            transitions.ready(job, file)
        case "active":
            transitions.active(job, file, int(given.get("size", file["user_filesize"] or MEGABYTES)))
        case "ping":
            transitions.ping(file, float(given["thr"]))
        case "done":
            transitions.done(job, files, file, float(given["dur"]))
        case "fail":
            reason, recoverable, errno = str(given["reason"]), bool(given["recoverable"]), int(given["errno"])
            return transitions.fail(job, files, file, reason, recoverable, errno, given.get("file_metadata"))
        case "archive_start":
            transitions.archive_start(file)
        case "archive_end":
            transitions.archive_end(job, files, file, str(given["state"]), str(given.get("reason", "")))
        case "started":
            transitions.started(job, file, given.get("token"))
        case "token":
            file["bringonline_token"] = str(given["token"])
        case "staged":
            transitions.staged(job, files, file)
        case "stage_fail":
            return transitions.stage_fail(job, files, file, str(given["reason"]), bool(given["recoverable"]))
        case "kill_canceled":
            for each in files:
                each["finish_time"] = each["finish_time"] or moment()
        case "queue_timeout":
            transitions.queue_timeout(job, files)
        case "token_ready":
            transitions.token_ready(file)
        case unknown:
            raise Refused(400, f"There is no step {unknown}")
    return None
