"""The error table of fts-cta.md 10.2, row by row."""

from __future__ import annotations

from datetime import timedelta

import pytest

from perdura.ports import Residency, TapeJob
from perdura.steps.archive_decisions import Act, Expected, next_look, on_job, on_residency, reason_of
from tests.unit.tape.fakes import NOW

EXPECTED = Expected(1000, "0a1b2c3d")
EXISTS = "DESTINATION [17] Destination file exists and overwrite is not enabled"


def failed(reason: str, *, recoverable: bool = False, there: Residency | None = None) -> TapeJob:
    return TapeJob("job", "failed", reason, recoverable=recoverable, at_destination=there)


def there(*, size: int = 1000, adler32: str | None = "0a1b2c3d", disk: bool = True, tape: bool = True) -> Residency:
    return Residency("p", disk, tape, size, adler32)


@pytest.mark.parametrize(
    ("job", "act", "code"),
    [
        (TapeJob("job", "active"), Act.WAIT, "active"),
        (TapeJob("job", "archiving"), Act.WAIT, "archiving"),
        (TapeJob("job", "finished"), Act.INSPECT, "finished"),
        (TapeJob("job", "unknown"), Act.INSPECT, "job-unknown"),
        (failed(EXISTS, there=there()), Act.INSPECT, "already-archived"),
        (failed(EXISTS, there=there(tape=False)), Act.MONITOR, "already-copied"),
        (failed(EXISTS, there=there(size=999)), Act.OPERATOR, "destination-differs"),
        (failed(EXISTS, there=there(adler32="ffffffff")), Act.OPERATOR, "destination-differs"),
        (failed(EXISTS), Act.INSPECT, "destination-exists"),
        (failed(EXISTS, there=there(adler32=None)), Act.INSPECT, "destination-exists"),
        (failed("TRANSFER [17] copy HTTP 412 : File exists"), Act.INSPECT, "destination-exists"),
        (failed("TRANSFER [17] File exists", there=there(size=999)), Act.OPERATOR, "destination-differs"),
        (failed("ARCHIVING [110] archive timeout has been exceeded"), Act.MONITOR, "archive-timeout"),
        (
            failed(
                "Transfer has been forced-canceled because it has been in ARCHIVING state beyond its archive timeout"
            ),
            Act.MONITOR,
            "archive-timeout",
        ),
        (failed("ARCHIVING [42] [Tape REST API] no tapes"), Act.INSPECT, "archiving-error"),
        (failed("ARCHIVING [2] [Tape REST API] File is lost"), Act.INSPECT, "archiving-error"),
        (
            failed("SOURCE [5] Source and user-defined ADLER32 checksum do not match (a != b)"),
            Act.OPERATOR,
            "source-damaged",
        ),
        (
            failed("DESTINATION [5] User-defined and destination ADLER32 checksum do not match (a != b)"),
            Act.RESUBMIT,
            "copy-damaged",
        ),
        (failed("DESTINATION [22] Source and destination file size mismatch"), Act.RESUBMIT, "copy-damaged"),
        (failed("SOURCE [2] Result HTTP 404 : File not found  after 1 attempts"), Act.OPERATOR, "source-missing"),
        (failed("SOURCE [13] Result HTTP 403 : Permission refused"), Act.RESUBMIT, "source-closed"),
        (failed("TRANSFER [5] anything", recoverable=True), Act.RESUBMIT, "transfer-failed"),
        (failed("TRANSFER [110] Connection timed out"), Act.RESUBMIT, "transfer-failed"),
        (failed("TRANSFER [70] Communication error"), Act.RESUBMIT, "transfer-failed"),
        (failed("TRANSFER [112] Host is down"), Act.RESUBMIT, "transfer-failed"),
        (failed("TRANSFER [28] No space left on device"), Act.OPERATOR, "transfer-failed"),
        (failed("TRANSFER [5] proxy expired"), Act.RESUBMIT, "proxy-expired"),
        (failed("something without scope"), Act.OPERATOR, "transfer-failed"),
        (
            TapeJob("job", "cancelled", "Job canceled by the user"),
            Act.OPERATOR,
            "job-cancelled",
        ),
        (TapeJob("job", "cancelled", "Storage banned"), Act.OPERATOR, "tape-banned"),
        (TapeJob("job", "cancelled", "User banned"), Act.OPERATOR, "tape-banned"),
        (
            TapeJob("job", "cancelled", "Job has been canceled because … (max-time-in-queue timeout)"),
            Act.RESUBMIT,
            "cancelled-by-fts",
        ),
        (
            TapeJob("job", "cancelled", "Transfer has been forced-canceled because host h is offline and …"),
            Act.RESUBMIT,
            "cancelled-by-fts",
        ),
    ],
)
def test_a_job_leads_to_one_decision(job: TapeJob, act: Act, code: str) -> None:
    decision = on_job(job, EXPECTED)
    assert (decision.act, decision.code) == (act, code)


def test_a_damaged_source_is_alarmed_and_checked_and_never_copied_again() -> None:
    decision = on_job(failed("SOURCE [5] Source and user-defined ADLER32 checksum do not match (a != b)"), EXPECTED)
    assert decision.alarm
    assert decision.check_source


@pytest.mark.parametrize(
    ("found", "complaints", "days", "act", "code"),
    [
        (None, 0, 0, Act.WAIT, "residency-unknown"),
        (Residency("p", False, False, None, None, "UNAVAILABLE"), 0, 0, Act.WAIT, "residency-unknown"),
        (Residency("p", False, False, None, None, "LOST"), 0, 0, Act.OPERATOR, "lost-on-tape"),
        (Residency("p", False, False, None, None, "does not exist"), 0, 0, Act.RESUBMIT, "not-at-destination"),
        (there(), 0, 0, Act.DONE, "on-tape"),
        (there(disk=False), 0, 0, Act.DONE, "on-tape"),
        (there(adler32=None), 0, 0, Act.OPERATOR, "checksum-unavailable"),
        (there(size=1), 0, 0, Act.OPERATOR, "destination-differs"),
        (there(adler32="ffffffff"), 0, 0, Act.OPERATOR, "destination-differs"),
        (there(tape=False), 0, 0, Act.MONITOR, "on-disk"),
        (there(tape=False), 0, 13, Act.MONITOR, "on-disk"),
        (there(tape=False), 0, 15, Act.OPERATOR, "not-on-tape"),
        (Residency("p", True, False, 1000, "0a1b2c3d", "no tapes"), 0, 0, Act.MONITOR, "archiving-error"),
        (Residency("p", True, False, 1000, "0a1b2c3d", "no tapes"), 2, 0, Act.OPERATOR, "archiving-error"),
        # A file that is on tape is on tape, whatever else the endpoint complains of.
        (Residency("p", True, True, 1000, "0a1b2c3d", "recall queue is long"), 2, 0, Act.DONE, "on-tape"),
    ],
)
def test_only_the_endpoint_makes_a_copy_count(
    found: Residency | None, complaints: int, days: int, act: Act, code: str
) -> None:
    decision = on_residency(
        found, EXPECTED, waited=timedelta(days=days), patience=timedelta(days=14), complaints=complaints
    )
    assert (decision.act, decision.code) == (act, code)


def test_a_reason_is_taken_apart() -> None:
    reason = reason_of("DESTINATION [17] it exists")
    assert (reason.scope, reason.errno, reason.text) == ("DESTINATION", 17, "it exists")
    assert reason_of(None).errno == 0


def test_looks_get_rarer_up_to_a_limit() -> None:
    waits = [(next_look(NOW, looks, 30, 300) - NOW).total_seconds() for looks in range(6)]
    assert waits == [30, 60, 120, 240, 300, 300]
