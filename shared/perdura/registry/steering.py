"""What a person may do to the steps of an Archive: cancel, skip, run more; and which of it makes sense now.

Every function works in the caller's transaction and returns the CloudEvents it put into the outbox.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from perdura.errors import Conflict, NotFound, Rejected
from perdura.ids import derived_id
from perdura.outcome import StepState
from perdura.registry import deposits
from perdura.registry.archives import SOURCE, Begun, ask, retry
from perdura.registry.transitions import (
    ERRAND_POSITION,
    FOLLOWERS,
    ArchiveState,
    check_pipeline,
)


class Act(StrEnum):
    """What may be asked for."""

    RETRY = "retry"
    SKIP = "skip"
    CANCEL = "cancel"
    RUN = "run"


_STUCK = frozenset({StepState.FAILED, StepState.BLOCKED})
_UNFINISHED = frozenset({StepState.QUEUED, StepState.RUNNING, StepState.WAITING, StepState.BLOCKED})
_DONE = frozenset({StepState.COMPLETED, StepState.COMPLETED_WITH_WARNINGS})


def legal(state: str, pipeline: Sequence[str], position: int | None, step_state: str | None) -> list[Act]:
    """What makes sense for an Archive whose last step is at `position`; None before the first step.

    A rejected package stays as it is: trying it again would change nothing.
    """
    acts: list[Act] = []
    if step_state in _STUCK and state != ArchiveState.REJECTED:
        acts.append(Act.RETRY)
        if position is not None and may_skip(pipeline, position):
            acts.append(Act.SKIP)
    if state == ArchiveState.AWAITING_UPLOAD or step_state in _UNFINISHED:
        acts.append(Act.CANCEL)
    if step_state in _DONE and position == len(pipeline) - 1 and more_steps(pipeline):
        acts.append(Act.RUN)
    return acts


def may_skip(pipeline: Sequence[str], position: int) -> bool:
    """Whether the pipeline holds without the step at `position`: what follows may follow what was before."""
    if position == 0:
        return False
    if position + 1 >= len(pipeline):
        return True
    return pipeline[position + 1] in FOLLOWERS.get(pipeline[position - 1], frozenset())


def more_steps(pipeline: Sequence[str]) -> list[str]:
    """Steps that may be run behind a pipeline."""
    return sorted(FOLLOWERS.get(pipeline[-1], frozenset()) - set(made_once(pipeline))) if pipeline else []


def made_once(pipeline: Sequence[str]) -> list[str]:
    """A pipeline as if its AIP had been made once: without the steps for the versions before the last.

    `preserve_again` lengthens a pipeline by `preserve` and what followed it.
    """
    if "preserve" not in pipeline:
        return list(pipeline)
    last = len(pipeline) - 1 - pipeline[::-1].index("preserve")
    return [*pipeline[: pipeline.index("preserve")], *pipeline[last:]]


_LAST = text("""
    SELECT archive.state AS archive_state, archive.pipeline, step.id, step.name, step.position, step.attempt, step.state
    FROM archive LEFT JOIN LATERAL (
        SELECT * FROM step WHERE archive_id = archive.id AND position < :errands
        ORDER BY position DESC, attempt DESC LIMIT 1
    ) AS step ON true
    WHERE archive.id = :archive FOR UPDATE OF archive
""")


def _last(connection: Connection, archive: UUID) -> Row[Any]:
    row = connection.execute(_LAST, {"archive": archive, "errands": ERRAND_POSITION}).one_or_none()
    if row is None:
        raise NotFound("There is no such Archive.")
    return row


_CANCEL = text("""
    UPDATE step SET state = 'cancelled', finished_at = clock_timestamp(), updated_at = clock_timestamp(),
        output = output || jsonb_build_object('cancelled_by', CAST(:by AS text))
    WHERE archive_id = :archive AND position < :errands AND state IN ('queued', 'running', 'waiting', 'blocked')
""")

_ARCHIVE = text("UPDATE archive SET state = :state, updated_at = clock_timestamp() WHERE id = :archive")


def cancel(connection: Connection, archive: UUID, *, by: str) -> Begun:
    """Stop an Archive where it is: no further step is run. What a step wrote already stays.

    What a step asked of outside systems is called off afterwards, whether they answer now or not.

    Raises NotFound, or Conflict when nothing is under way.
    """
    # The deposit and the step before the Archive: the order in which an arrival and a closing step lock them.
    deposits.call_off(connection, archive)
    stopped = connection.execute(_CANCEL, {"archive": archive, "by": by, "errands": ERRAND_POSITION}).rowcount
    last = _last(connection, archive)
    if not stopped and last.archive_state != ArchiveState.AWAITING_UPLOAD:
        raise Conflict(f"Nothing is under way: the Archive is {last.archive_state}.", code="nothing-to-cancel")
    connection.execute(_ARCHIVE, {"archive": archive, "state": ArchiveState.CANCELLED})
    return Begun(archive, ())


_CANCEL_ERRAND = text("""
    UPDATE step SET state = 'cancelled', finished_at = clock_timestamp(), updated_at = clock_timestamp(),
        output = output || jsonb_build_object('cancelled_by', CAST(:by AS text))
    WHERE id = :step AND archive_id = :archive AND position >= :errands
        AND state IN ('queued', 'running', 'waiting', 'blocked')
""")


def cancel_errand(connection: Connection, archive: UUID, step: UUID, *, by: str) -> None:
    """Stop a step beside the pipeline, such as a recall; what it asked of the tape system is called off afterwards.

    Raises NotFound, or Conflict when it is over or belongs to the pipeline.
    """
    values = {"step": step, "archive": archive, "by": by, "errands": ERRAND_POSITION}
    if connection.execute(_CANCEL_ERRAND, values).rowcount:
        return
    state = connection.execute(
        text("SELECT state, position FROM step WHERE id = :step AND archive_id = :archive"),
        {"step": step, "archive": archive},
    ).one_or_none()
    if state is None:
        raise NotFound("The Archive has no such step.")
    if state.position < ERRAND_POSITION:
        raise Conflict("The step belongs to the pipeline: cancel the Archive.", code="pipeline-step")
    raise Conflict(f"Nothing is under way: the step is {state.state}.", code="nothing-to-cancel")


_SKIPPED = text("""
    WITH superseded AS (
        UPDATE step SET state = 'cancelled', finished_at = clock_timestamp(), updated_at = clock_timestamp()
        WHERE id = :before AND state = 'blocked'
    )
    INSERT INTO step (id, archive_id, name, position, attempt, state, output, started_at, finished_at)
    VALUES (:step, :archive, :name, :position, :attempt, 'cancelled',
            jsonb_build_object('skipped_by', CAST(:by AS text)), clock_timestamp(), clock_timestamp())
""")

_NEXT = text("""
    INSERT INTO step (id, archive_id, name, position, poll_at)
    VALUES (:step, :archive, :name, :position, clock_timestamp() + interval '1 minute')
    ON CONFLICT (id) DO NOTHING
""")


def skip(connection: Connection, archive: UUID, *, by: str) -> Begun:
    """Go on without the failed or blocked step; the timeline keeps both the failure and who left it out.

    Raises NotFound, Conflict when the last step is neither failed nor blocked, Rejected when what follows needs it.
    """
    last = _last(connection, archive)
    if last.state not in _STUCK or last.archive_state == ArchiveState.REJECTED:
        raise Conflict("Only a failed or blocked step can be skipped.", code="nothing-to-skip")
    if not may_skip(last.pipeline, last.position):
        raise Rejected(f"The pipeline cannot go on without {last.name!r}.", code="needed-step")
    attempt = last.attempt + 1
    connection.execute(
        _SKIPPED,
        {
            "step": derived_id("step", archive, last.position, attempt), "archive": archive, "name": last.name,
            "position": last.position, "attempt": attempt, "by": by, "before": last.id,
        },
    )  # fmt: skip
    if last.position + 1 >= len(last.pipeline):
        connection.execute(_ARCHIVE, {"archive": archive, "state": ArchiveState.COMPLETED_WITH_WARNINGS})
        return Begun(archive, ())
    return _go_on(connection, archive, last.pipeline, last.position + 1)


def _go_on(connection: Connection, archive: UUID, pipeline: Sequence[str], position: int) -> Begun:
    step = derived_id("step", archive, position, 1)
    connection.execute(_NEXT, {"step": step, "archive": archive, "name": pipeline[position], "position": position})
    connection.execute(_ARCHIVE, {"archive": archive, "state": ArchiveState.RUNNING})
    return Begun(archive, (ask(connection, archive, step, pipeline[position], 1, SOURCE),))


_PIPELINE = text("UPDATE archive SET pipeline = CAST(:pipeline AS jsonb) WHERE id = :archive")


def run(connection: Connection, archive: UUID, steps: Sequence[str]) -> Begun:
    """Run more steps behind a finished pipeline.

    Raises NotFound, Conflict when the pipeline is not finished, Rejected when the steps cannot follow.
    """
    last = _last(connection, archive)
    if last.state not in _DONE or last.position != len(last.pipeline) - 1:
        raise Conflict("More steps can be run once all steps of the pipeline are done.", code="not-finished")
    check_pipeline([*made_once(last.pipeline), *steps])
    pipeline = [*last.pipeline, *steps]
    connection.execute(_PIPELINE, {"archive": archive, "pipeline": json.dumps(pipeline)})
    return _go_on(connection, archive, pipeline, len(last.pipeline))


def do(connection: Connection, archive: UUID, act: Act, *, by: str, steps: Sequence[str] = ()) -> Begun:
    """Do one of the acts."""
    match act:
        case Act.RETRY:
            return retry(connection, archive)
        case Act.SKIP:
            return skip(connection, archive, by=by)
        case Act.CANCEL:
            return cancel(connection, archive, by=by)
        case Act.RUN:
            return run(connection, archive, steps)
