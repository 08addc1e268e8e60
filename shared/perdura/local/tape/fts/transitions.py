"""The state machine of jobs and files as pure functions over their rows (fts-cta.md 3.1 to 3.3).

Each function is one thing that the daemons do; it changes the rows it is given. Times are FTS moments.
"""

from __future__ import annotations

from typing import Any

from perdura.local.tape.clock import moment
from perdura.local.tape.fts.submission import Row

ACTIVE = frozenset({
    "SUBMITTED", "READY", "ACTIVE", "STAGING", "STARTED", "ARCHIVING", "TOKEN_PREP", "FORCE_START", "ON_HOLD",
    "ON_HOLD_STAGING",
})  # fmt: skip
FINAL = frozenset({"FINISHED", "FAILED", "CANCELED"})
JOB_FINAL = FINAL | {"FINISHEDDIRTY"}
MANY_FAILED = "One or more files failed. Please have a look at the details for more information"
CANCELED_BY_USER = "Job canceled by the user"
QUEUE_TIMEOUT = "Job has been canceled because it stayed in the queue for too long (max-time-in-queue timeout)"
HOST = "fts-node-01.example.org"
RETRIED = frozenset("NY")
MIB = 1 << 20


def ready(job: Row, file: Row) -> None:
    """The scheduler picked the file."""
    now = moment()
    file |= {
        "file_state": "READY", "start_time": now, "transfer_host": HOST, "pid": 20000 + file["file_id"] % 10000,
        "reason": "", "recoverable": False, "filesize": 0, "throughput": 0.0, "tx_duration": 0.0,
        "internal_file_params": "nostreams:1,timeout:0,buffersize:0", "log_file": log_file(file), "log_debug": 0,
    }  # fmt: skip
    if job["job_state"] not in JOB_FINAL:
        job["job_state"] = "ACTIVE"


def active(job: Row, file: Row, size: int) -> None:
    """The copy started and the size of the source is known."""
    timeout = 600 + 2 * (size // MIB) + (1 if size % MIB else 0)
    file |= {
        "file_state": "ACTIVE", "start_time": moment(), "filesize": size,
        "internal_file_params": f"nostreams:1,timeout:{timeout},buffersize:0",
    }  # fmt: skip
    if job["job_state"] not in JOB_FINAL:
        job["job_state"] = "ACTIVE"


def ping(file: Row, throughput: float) -> None:
    """Progress of a copy in MiB/s."""
    file["throughput"] = throughput


def done(job: Row, files: list[Row], file: Row, seconds: float) -> None:
    """The copy succeeded; with an archive timeout the file now waits for tape."""
    last_hop = job["job_type"] != "H" or file is files[-1]
    file |= {
        "finish_time": moment(), "tx_duration": seconds, "reason": "", "recoverable": False,
        "throughput": float(f"{round(file['filesize'] / MIB / seconds, 4):.6g}") if seconds else 0.0,
    }  # fmt: skip
    if job["job_type"] == "R":
        job["source_se"] = file["source_se"]
    file["file_state"] = "ARCHIVING" if job["archive_timeout"] > -1 and last_hop else "FINISHED"
    if job["job_type"] == "H" and not last_hop:
        files[files.index(file) + 1]["file_state"] = "SUBMITTED"
    settle(job, files)


def fail(
    job: Row, files: list[Row], file: Row, reason: str, recoverable: bool, errno: int, metadata: Any = None
) -> Row | None:
    """The copy failed; gives back the retry record when the file is to be tried again."""
    now = moment()
    if metadata is not None:
        file["file_metadata"] = metadata
    if recoverable and job["retry"] > 0 and file["retry"] < job["retry"] and job["job_type"] in RETRIED:
        record = retry_record(file, reason, now)
        file |= {
            "file_state": "SUBMITTED", "retry": file["retry"] + 1, "start_time": None, "transfer_host": None,
            "log_file": None, "finish_time": None, "recoverable": True, "reason": "", "throughput": 0.0,
            "tx_duration": 0.0,
        }  # fmt: skip
        if errno == 110 and file["staging_start"] is not None:
            file |= {
                "file_state": "STAGING", "staging_start": None, "staging_finished": None, "pid": None,
                "internal_file_params": None, "filesize": 0, "recoverable": False,
            }  # fmt: skip
        return record
    file |= {
        "file_state": "FAILED", "finish_time": now, "reason": reason, "recoverable": recoverable, "throughput": 0.0,
    }  # fmt: skip
    if job["job_type"] == "R":
        waiting = next((other for other in files if other["file_state"] == "NOT_USED"), None)
        if waiting is not None:
            waiting["file_state"] = "SUBMITTED"
    settle(job, files)
    return None


def archive_start(file: Row) -> None:
    """The archive monitor picked the file."""
    file["archive_start_time"] = moment()


def archive_end(job: Row, files: list[Row], file: Row, state: str, reason: str = "") -> None:
    """The archive monitor is done with the file: FINISHED, or FAILED with a reason."""
    file |= {"file_state": state, "archive_finish_time": moment(), "reason": reason}
    settle(job, files)


def started(job: Row, file: Row, token: str | None = None) -> None:
    """The stage request was sent."""
    now = moment()
    file |= {
        "file_state": "STARTED", "start_time": now, "staging_start": now, "staging_host": HOST,
        "transfer_host": HOST, "bringonline_token": token,
    }  # fmt: skip
    job["job_state"] = job["job_state"] if job["job_state"] in JOB_FINAL else "STAGING"


def staged(job: Row, files: list[Row], file: Row) -> None:
    """The file is on disk: finished if that was all, else it waits for its copy while the job stays STAGING."""
    now = moment()
    file["staging_finished"] = now
    if file["source_surl"] == file["dest_surl"]:
        file |= {"file_state": "FINISHED", "finish_time": now, "reason": ""}
        settle(job, files)
    else:
        file |= {"file_state": "SUBMITTED", "start_time": None, "transfer_host": None, "reason": ""}


def stage_fail(job: Row, files: list[Row], file: Row, reason: str, recoverable: bool) -> Row | None:
    """The stage request failed; gives back the retry record when it is to be sent again."""
    now = moment()
    if recoverable and job["retry"] > 0 and file["retry"] < job["retry"]:
        file |= {
            "file_state": "STAGING", "start_time": None, "staging_start": None, "transfer_host": None,
            "recoverable": True, "throughput": 0.0,
        }  # fmt: skip
        record = retry_record(file, reason, now)
        file["retry"] += 1
        return record
    file |= {"file_state": "FAILED", "finish_time": now, "staging_finished": now, "reason": reason}
    settle(job, files)
    return None


def queue_timeout(job: Row, files: list[Row]) -> None:
    """The job stayed in the queue for too long."""
    now = moment()
    for file in files:
        if file["file_state"] in ("SUBMITTED", "NOT_USED", "STAGING", "ON_HOLD", "ON_HOLD_STAGING"):
            file |= {"file_state": "CANCELED", "finish_time": now, "reason": QUEUE_TIMEOUT}
    job |= {"job_state": "CANCELED", "reason": MANY_FAILED, "job_finished": now}


def token_ready(file: Row) -> None:
    """FTS holds refresh tokens for both ends."""
    file["file_state"] = file["file_state_initial"]


def cancel(job: Row, files: list[Row]) -> None:
    """A user cancelled the job; files a process works on get their finish time when it has been killed."""
    now = moment()
    for file in files:
        if file["file_state"] in ACTIVE and file["file_state"] not in ("ON_HOLD", "TOKEN_PREP"):
            file |= {"file_state": "CANCELED", "reason": CANCELED_BY_USER}
            file["finish_time"] = now if file["pid"] is None else None
    job |= {"job_state": "CANCELED", "reason": CANCELED_BY_USER, "job_finished": now, "cancel_job": True}


def cancel_file(job: Row, files: list[Row], file: Row) -> str:
    """A user cancelled one file; gives back its state."""
    if file["file_state"] not in FINAL:
        file |= {"file_state": "CANCELED", "finish_time": moment()}
        if not any(other["file_state"] in ACTIVE for other in files):
            job |= {"job_state": "CANCELED", "reason": None, "job_finished": moment(), "cancel_job": True}
    return str(file["file_state"])


def settle(job: Row, files: list[Row]) -> None:
    """Give the job the state that its files make (fts-cta.md 3.1, rules 2 to 5 and 7)."""
    if job["job_state"] in JOB_FINAL:
        return
    by_index: dict[int, list[str]] = {}
    for file in files:
        by_index.setdefault(file["file_index"], []).append(file["file_state"])
    ends = [_index_end(states) for states in by_index.values()]
    now = moment()
    if job["job_type"] == "H" and any(end in ("FAILED", "CANCELED") for end in ends):
        job |= {"job_state": "FAILED", "reason": MANY_FAILED, "job_finished": now}
        return
    if job["job_type"] == "N" and any(file["file_state"] == "SUBMITTED" for file in files):
        return
    if all(ends):
        if all(end == "FINISHED" for end in ends):
            job |= {"job_state": "FINISHED", "reason": "", "job_finished": now}
        elif any(end == "FINISHED" for end in ends):
            job |= {"job_state": "FINISHEDDIRTY", "reason": MANY_FAILED, "job_finished": now}
        elif any(end == "FAILED" for end in ends):
            job |= {"job_state": "FAILED", "reason": MANY_FAILED, "job_finished": now}
        else:
            job |= {"job_state": "CANCELED", "reason": MANY_FAILED, "job_finished": now}
        return
    open_states = [s for states, end in zip(by_index.values(), ends, strict=True) if end is None for s in states]
    if open_states and all(state in ("ARCHIVING", "NOT_USED", "FAILED") for state in open_states):
        job["job_state"] = "ARCHIVING"


def _index_end(states: list[str]) -> str | None:
    """How a file index ended: FINISHED, FAILED, CANCELED, or None while it is open."""
    if "FINISHED" in states:
        return "FINISHED"
    if all(state == "CANCELED" for state in states):
        return "CANCELED"
    if all(state in ("CANCELED", "FAILED") for state in states):
        return "FAILED"
    return None


def retry_record(file: Row, reason: str, now: str) -> Row:
    """What `/retries` shows of one failed attempt."""
    return {
        "file_id": file["file_id"], "attempt": file["retry"] + 1, "datetime": now, "reason": reason,
        "transfer_host": file["transfer_host"], "log_file": file["log_file"],
    }  # fmt: skip


def log_file(file: Row) -> str:
    """The path of a transfer's log on the node that ran it."""
    ends = "__".join(file[key].partition("://")[2] for key in ("source_se", "dest_se"))
    now = moment()
    day, clock = now[:10], now[11:16].replace(":", "")
    return f"/var/log/fts3/transfers/{day}/{ends}/{day}-{clock}__{ends}__{file['file_id']}__{file['job_id']}"
