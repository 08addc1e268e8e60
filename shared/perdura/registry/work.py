"""A step's life in the registry: started by a guarded update, closed with all that it did in one transaction."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from perdura.cloudevents.build import carried, from_carried
from perdura.cloudevents.message import CloudEvent
from perdura.errors import Conflict
from perdura.ids import derived_id
from perdura.outcome import (
    ArchiveView,
    Copy,
    CopyState,
    File,
    Outcome,
    Package,
    PackageKind,
    StepState,
    StepView,
    UnitView,
)
from perdura.registry import decisions, earlier_versions
from perdura.registry.archives import lock
from perdura.registry.preservation import note_version, supersede
from perdura.registry.transitions import ERRAND_POSITION, ArchiveState, archive_state_after, expected_before

_FILES_PER_STATEMENT = 10_000


@dataclass(frozen=True, slots=True)
class Started:
    """A step that may be worked on now, and what the registry knows beside the step's own view."""

    archive: ArchiveView
    pipeline: tuple[str, ...]
    position: int
    deliveries: int
    warned: bool
    cause: CloudEvent | None
    failures: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    held_until: datetime | None = None
    """Until when a waiting step is ours to look at; whoever takes it on after that sets another time."""

    def failed(self, code: str) -> int:
        """How many invocations in a row ended with this error since the step last got on."""
        return int(self.failures.get(code, {}).get("times", 0))

    def failing_for(self, code: str) -> float:
        """Seconds since the first of them; 0 where there is none."""
        since = self.failures.get(code, {}).get("since")
        return max(0.0, time.time() - since) if since else 0.0


@dataclass(frozen=True, slots=True)
class Next:
    """What follows a closed step: the new state of the Archive (None: as it was), and the step to be asked for."""

    archive_state: ArchiveState | None
    step: UUID | None = None
    name: str | None = None


VIEW = """
    step.id AS step_id, step.name, step.attempt, step.input, step.checkpoint, step.position, step.deliveries,
    step.failures, step.cause, step.created_at AS step_created_at, archive.id AS archive_id, archive.title,
    archive.metadata, archive.restricted, archive.pipeline, archive.created_at AS archive_created_at,
    (SELECT jsonb_build_array(source, recid) FROM resource WHERE resource.id = archive.resource_id) AS resource,
    (SELECT jsonb_agg(to_jsonb(package) ORDER BY package.created_at, package.id) FROM package
     WHERE package.archive_id = archive.id) AS packages,
    (SELECT jsonb_agg(to_jsonb(copy) ORDER BY package.created_at, package.id, copy.location)
     FROM copy JOIN package ON package.id = copy.package_id
     WHERE package.archive_id = archive.id) AS copies,
    EXISTS (SELECT FROM step AS earlier WHERE earlier.archive_id = archive.id
            AND (earlier.state = 'completed_with_warnings' OR earlier.output ? 'skipped_by')) AS warned,
    (SELECT jsonb_object_agg(key, jsonb_build_object('state', unit.state, 'checkpoint', unit.checkpoint,
            'result', unit.result, 'lost', unit.state <> 'completed' AND unit.run_at < clock_timestamp()))
     FROM work_unit AS unit WHERE unit.step_id = step.id) AS units
"""
"""What `archive_of` reads of a row of `step` and `archive`."""

_START = text(f"""
    UPDATE step SET state = 'running', started_at = coalesce(started_at, clock_timestamp()),
        deliveries = deliveries + 1, updated_at = clock_timestamp(), error_code = NULL, error_message = NULL,
        poll_at = clock_timestamp() + interval '15 minutes', held_until = NULL, cause = CAST(:cause AS jsonb)
    FROM archive
    WHERE step.id = :step AND archive.id = step.archive_id AND step.state = ANY(:expected)
    RETURNING {VIEW}
""")  # noqa: S608 - a constant of this module

_WAITING = text(f"""
    UPDATE step SET held_until = clock_timestamp() + interval '1 second' * :lease FROM archive
    WHERE archive.id = step.archive_id AND step.id IN (
        SELECT id FROM step WHERE name = :name AND state = 'waiting' AND poll_at <= clock_timestamp()
            AND (held_until IS NULL OR held_until <= clock_timestamp())
        ORDER BY poll_at LIMIT :limit FOR UPDATE SKIP LOCKED)
    RETURNING {VIEW}, step.held_until
""")  # noqa: S608 - a constant of this module
LEASE = 600.0
"""Seconds for which a waiting step belongs to who looks at it; who dies over it is followed by another. A look has to
end before."""


def start(connection: Connection, step: UUID, cause: CloudEvent) -> Started | None:
    """Put a step to `running` and return what it needs; None when it is not to be run (any more).

    `poll_at` becomes the time after which the watchdog asks for the step again, should this worker die and the
    broker forget.
    """
    row = connection.execute(
        _START,
        {"step": step, "expected": list(expected_before(StepState.RUNNING)), "cause": json.dumps(carried(cause))},
    ).one_or_none()
    return None if row is None else _started(row)


def waiting(connection: Connection, name: str, limit: int) -> list[Started]:
    """Take on waiting steps whose time to look again has come, for `LEASE` seconds: nobody else looks at them then.

    They are not locked: a person may cancel them meanwhile, and `still_waiting` has to be asked before they are closed.
    """
    rows = connection.execute(_WAITING, {"name": name, "limit": limit, "lease": LEASE})
    return [replace(_started(row), held_until=row.held_until) for row in rows]


def still_waiting(connection: Connection, taken: Iterable[Started]) -> set[UUID]:
    """Lock those of the steps taken on that still wait and are still ours, and give them back.

    What was learned of another says nothing any more: somebody has looked at it since, and may have acted.
    """
    ours = {started.archive.step.id: started.held_until for started in taken}
    rows = connection.execute(
        text("SELECT id, held_until FROM step WHERE id = ANY(:steps) AND state = 'waiting' ORDER BY id FOR UPDATE"),
        {"steps": list(ours)},
    )
    return {row.id for row in rows if row.held_until == ours[row.id]}


def look_failed(connection: Connection, step: UUID, code: str, after: float) -> None:
    """Note that a look at a waiting step came to nothing by an error of ours; it is looked at again in `after` s."""
    connection.execute(_FAILED, {"step": step, "code": code})
    connection.execute(
        text("""
            UPDATE step SET held_until = NULL, poll_at = clock_timestamp() + interval '1 second' * :after,
                updated_at = clock_timestamp()
            WHERE id = :step AND state = 'waiting'
        """),
        {"step": step, "after": after},
    )


def _started(row: Row[Any]) -> Started:
    cause = from_carried(row.cause) if row.cause else None
    return Started(archive_of(row), tuple(row.pipeline), row.position, row.deliveries, row.warned, cause, row.failures)


def archive_of(row: Row[Any]) -> ArchiveView:
    """An Archive and one of its steps, as a step sees them."""
    source, recid = row.resource or (None, None)
    return ArchiveView(
        id=row.archive_id,
        title=row.title,
        source=source,
        recid=recid,
        metadata=row.metadata,
        restricted=row.restricted,
        created_at=row.archive_created_at,
        packages=tuple(_package(value) for value in row.packages or ()),
        copies=tuple(_copy(value) for value in row.copies or ()),
        step=StepView(
            id=row.step_id,
            name=row.name,
            attempt=row.attempt,
            input=row.input,
            checkpoint=row.checkpoint,
            created_at=row.step_created_at,
            units={key: _unit(value) for key, value in (row.units or {}).items()},
        ),
    )


def _unit(value: Mapping[str, Any]) -> UnitView:
    return UnitView(value["state"], value["checkpoint"], value["result"] or {}, value["lost"])


def _package(value: Mapping[str, Any]) -> Package:
    return Package(
        id=UUID(value["id"]),
        kind=PackageKind(value["kind"]),
        bucket=value["bucket"],
        key=value["key"],
        container=value["container"],
        size=value["size"],
        version_id=value["version_id"],
        etag=value["etag"],
        checksums=value["checksums"],
        accepted=value["accepted"],
        index_key=value["index_key"],
        retain_until=datetime.fromisoformat(value["retain_until"]) if value.get("retain_until") else None,
        recorded_at=datetime.fromisoformat(value["created_at"]),
    )


def _copy(value: Mapping[str, Any]) -> Copy:
    verified = value["verified_at"]
    return Copy(
        package_id=UUID(value["package_id"]),
        location=value["location"],
        uri=value["uri"],
        size=value["size"],
        checksums=value["checksums"],
        verified_at=datetime.fromisoformat(verified) if verified else None,
        state=CopyState(value["state"]),
    )


NO_PROGRESS = "no-progress"
"""Code of a continued step that an invocation brought no further."""

_ONE_MORE = """failures || jsonb_build_object(CAST(:code AS text), jsonb_build_object(
    'times', coalesce(CAST(failures -> CAST(:code AS text) ->> 'times' AS integer), 0) + 1,
    'since', coalesce(CAST(failures -> CAST(:code AS text) ->> 'since' AS numeric),
        extract(epoch FROM clock_timestamp()))))"""

_CLOSE = text("""
    UPDATE step SET state = :state, output = output || CAST(:output AS jsonb), findings = CAST(:findings AS jsonb),
        checkpoint = coalesce(CAST(:checkpoint AS jsonb), checkpoint), error_code = :code, error_message = :message,
        poll_at = CASE WHEN :state = 'waiting' AND poll_at > held_until - interval '1 second' * :lease THEN poll_at
            ELSE coalesce(CAST(:poll_at AS timestamptz), clock_timestamp() + interval '1 minute') END,
        held_until = NULL, progress = CASE WHEN :state = 'waiting' THEN progress END,
        failures = CASE WHEN :getting_on THEN '{}' ELSE failures END,
        progress_at = CASE WHEN :state = 'waiting' AND output @> CAST(:output AS jsonb) OR :stalled
                           THEN progress_at ELSE clock_timestamp() END,
        finished_at = CASE WHEN :final THEN clock_timestamp() END, updated_at = clock_timestamp()
    WHERE id = :step AND state = ANY(:expected)
""")
"""A step that was to be looked at at once while somebody looked at it keeps that time: he may have come too early."""

_FAILED = text(f"UPDATE step SET failures = {_ONE_MORE} WHERE id = :step")  # noqa: S608 - a constant of this module

_KEEP = text("""
    WITH kept AS (
        INSERT INTO package (id, archive_id, kind, bucket, key, version_id, etag, container, size, checksums,
                             accepted, index_key, retain_until)
        SELECT id, :archive, kind, bucket, key, version_id, etag, container, size, checksums, accepted, index_key,
            retain_until
        FROM jsonb_to_recordset(CAST(:packages AS jsonb)) AS p (id uuid, kind text, bucket text, key text,
            version_id text, etag text, container text, size bigint, checksums jsonb, accepted boolean,
            index_key text, retain_until timestamptz)
        ON CONFLICT (id) DO UPDATE SET version_id = excluded.version_id, etag = excluded.etag,
            size = excluded.size, checksums = excluded.checksums, accepted = excluded.accepted,
            bucket = excluded.bucket, key = excluded.key, index_key = excluded.index_key,
            retain_until = excluded.retain_until
        RETURNING id
    )
    INSERT INTO copy (package_id, location, uri, size, checksums, verified_at, state)
    SELECT package_id, location, uri, size, checksums, verified_at, state
    FROM jsonb_to_recordset(CAST(:copies AS jsonb)) AS c (package_id uuid, location text, uri text, size bigint,
        checksums jsonb, verified_at timestamptz, state text)
    ON CONFLICT (package_id, location) DO UPDATE SET uri = excluded.uri, size = excluded.size,
        checksums = excluded.checksums, verified_at = excluded.verified_at, state = excluded.state
    WHERE excluded.state = 'held' OR copy.uri = excluded.uri
""")

_FILES = text("""
    INSERT INTO package_file (package_id, path, size, checksums, "offset", format_name, format_key, media_type)
    SELECT :package, path, size, checksums, "offset", format_name, format_key, media_type
    FROM jsonb_to_recordset(CAST(:files AS jsonb)) AS f (path text, size bigint, checksums jsonb, "offset" bigint,
        format_name text, format_key text, media_type text)
    ON CONFLICT (package_id, path) DO UPDATE SET size = excluded.size, checksums = excluded.checksums,
        "offset" = excluded."offset", format_name = excluded.format_name, format_key = excluded.format_key,
        media_type = excluded.media_type
""")

_GO_ON = text(f"""
    WITH resource_kept AS (
        INSERT INTO resource (id, source, recid)
        SELECT CAST(:resource AS uuid), :source, :recid WHERE CAST(:resource AS uuid) IS NOT NULL
        ON CONFLICT (source, recid) DO NOTHING
    ), next_step AS (
        INSERT INTO step (id, archive_id, name, position, poll_at)
        SELECT CAST(:next AS uuid), :archive, :name, :position, clock_timestamp() + interval '1 minute'
        WHERE CAST(:next AS uuid) IS NOT NULL
        ON CONFLICT (id) DO NOTHING
    ), withdrawn AS (
        DELETE FROM publication
        WHERE archive_id = :archive AND destination = ANY (CAST(:withdrawn AS text[]))
    ), published AS (
        INSERT INTO publication (archive_id, destination, url)
        SELECT :archive, destination, url
        FROM jsonb_to_recordset(CAST(:publications AS jsonb)) AS p (destination text, url text)
        WHERE NOT EXISTS (
            SELECT FROM placement
            WHERE archive_id = :archive AND placement.destination = p.destination AND state = 'withdrawn'
        ) AND NOT EXISTS (
            SELECT FROM withdrawal
            WHERE archive_id = :archive AND coalesce(withdrawal.destination, p.destination) = p.destination
                AND lifted_at IS NULL
        )
        ON CONFLICT (archive_id, destination) DO UPDATE SET url = excluded.url, changed_at = clock_timestamp()
    )
    UPDATE archive SET state = coalesce(CAST(:state AS text), state), updated_at = clock_timestamp(),
        title = coalesce(:title, title),
        metadata = {decisions.CHANGED},
        restricted = CASE WHEN metadata ? 'restricted_by_hand' THEN restricted
                          ELSE coalesce(CAST(:restricted AS boolean), restricted) END,
        resource_id = coalesce(CAST(:resource AS uuid), resource_id),
        content_sha256 = coalesce(:content_sha256, content_sha256)
    WHERE id = :archive
""")  # noqa: S608 - a constant


def stalled(started: Started, outcome: Outcome) -> bool:
    """Whether the step is to be continued from where it was before this invocation."""
    same = dict(outcome.checkpoint or {}) == dict(started.archive.step.checkpoint)
    return outcome.state is StepState.QUEUED and same


def close(connection: Connection, started: Started, outcome: Outcome) -> Next:
    """Record everything a step did and what follows, in the caller's transaction.

    Raises Conflict when the step is no longer in a state from which it may get there (it was cancelled meanwhile).
    """
    archive, state = started.archive, outcome.state
    final = state in {
        StepState.COMPLETED,
        StepState.COMPLETED_WITH_WARNINGS,
        StepState.FAILED,
        StepState.CANCELLED,
    }
    done = connection.execute(
        _CLOSE,
        {
            "step": archive.step.id,
            "state": state,
            "expected": [s for s in expected_before(state) if s is not StepState.QUEUED],
            "output": json.dumps(dict(outcome.output)),
            "findings": json.dumps([asdict(finding) for finding in outcome.findings]),
            "checkpoint": None if outcome.checkpoint is None else json.dumps(dict(outcome.checkpoint)),
            "code": outcome.error_code,
            "message": outcome.message,
            "poll_at": outcome.poll_at,
            "lease": LEASE,
            "final": final,
            "stalled": stalled(started, outcome),
            "getting_on": outcome.state in {StepState.QUEUED, StepState.WAITING} and not stalled(started, outcome),
        },
    )
    if stalled(started, outcome):
        connection.execute(_FAILED, {"step": archive.step.id, "code": NO_PROGRESS})
    if done.rowcount != 1:
        raise Conflict(f"The step is no longer running; it cannot become {state}.")
    made = next((package for package in outcome.packages if package.kind is PackageKind.AIP and package.accepted), None)
    if made is not None:
        supersede(connection, archive, made)
    keep(connection, archive.id, outcome.packages, outcome.copies)
    if made is not None:
        note_version(connection, archive, made)
    for package_id, files in outcome.files:
        keep_files(connection, package_id, files)
    return _go_on(connection, started, outcome)


def left_behind(connection: Connection, step: UUID, checkpoint: Mapping[str, Any] | None) -> None:
    """Keep the checkpoint of an invocation whose step a person cancelled meanwhile.

    It says what the step asked of outside systems; that is called off, once more if it was called off already.
    """
    if checkpoint is not None:
        connection.execute(
            text("""
                UPDATE step SET checkpoint = CAST(:checkpoint AS jsonb), output = output #- '{recall,called_off_at}'
                WHERE id = :step AND state = 'cancelled'
            """),
            {"step": step, "checkpoint": json.dumps(dict(checkpoint))},
        )


def keep(connection: Connection, archive: UUID, packages: Sequence[Package], copies: Sequence[Copy]) -> None:
    """Record packages of an Archive and where copies of them lie; what is known of them already is replaced.

    That a copy is lost or damaged says nothing of the one that was made in its stead at another place. What is lost
    with it is for `tape_containers.lost_with`.
    """
    if packages or copies:
        connection.execute(
            _KEEP,
            {
                "archive": archive,
                "packages": json.dumps([_plain(package) for package in packages]),
                "copies": json.dumps([_plain(copy) for copy in copies]),
            },
        )


def keep_files(connection: Connection, package: UUID, files: Sequence[File]) -> None:
    """Record the files of a package, some thousand in one statement."""
    for some in _slices(files):
        connection.execute(_FILES, {"package": package, "files": json.dumps([_plain(file) for file in some])})


def _go_on(connection: Connection, started: Started, outcome: Outcome) -> Next:
    archive, change = started.archive, outcome.archive
    last = started.position + 1 >= len(started.pipeline)
    following = _next(started, last=last, state=outcome.state, rejected=bool(change and change.rejected))
    resource = derived_id("resource", change.source, change.recid) if change and change.recid else None
    if outcome.published:
        # A withdrawal takes this lock too: the statement below must see what it did.
        lock(connection, archive.id)
    connection.execute(
        _GO_ON,
        {
            "archive": archive.id,
            "state": following.archive_state,
            "next": following.step if following.step != archive.step.id else None,
            "name": following.name,
            "position": started.position + 1,
            "title": change.title if change else None,
            "metadata": json.dumps(dict(change.metadata)) if change and change.metadata else None,
            "restricted": change.restricted if change else None,
            "content_sha256": change.content_sha256 if change else None,
            "resource": resource,
            "source": change.source if change else None,
            "recid": change.recid if change else None,
            "withdrawn": list(outcome.output.get("withdrawn") or ()),
            "publications": json.dumps(
                [{"destination": destination, "url": url} for destination, url in outcome.published.items()]
            ),
        },
    )
    if resource is not None:
        earlier_versions.begin_with(connection, archive.id)
    return following


def _next(started: Started, *, last: bool, state: StepState, rejected: bool) -> Next:
    if started.position >= ERRAND_POSITION:
        continued = state is StepState.QUEUED
        return Next(None, started.archive.step.id, started.archive.step.name) if continued else Next(None)
    archive_state = archive_state_after(state, last=last, rejected=rejected, warned_before=started.warned)
    if state is StepState.QUEUED:
        return Next(archive_state, started.archive.step.id, started.archive.step.name)
    if last or state not in {StepState.COMPLETED, StepState.COMPLETED_WITH_WARNINGS}:
        return Next(archive_state)
    position = started.position + 1
    return Next(archive_state, derived_id("step", started.archive.id, position, 1), started.pipeline[position])


def postpone(
    connection: Connection, step: UUID, code: str, message: str, retry_after: float, *, counted: bool = True
) -> None:
    """Note why an invocation could not finish and that the step will be tried again.

    An invocation that is not `counted` did not fail: an outside system asked it to come back later.
    """
    connection.execute(
        text(f"""
            UPDATE step SET state = 'queued', error_code = :code, error_message = :message,
                failures = CASE WHEN CAST(:counted AS boolean) THEN {_ONE_MORE} ELSE failures END,
                poll_at = clock_timestamp() + interval '1 second' * :after, updated_at = clock_timestamp()
            WHERE id = :step AND state = 'running'
        """),  # noqa: S608 - a constant of this module
        {"step": step, "code": code, "message": message, "after": retry_after, "counted": counted},
    )


def put_off(connection: Connection, step: UUID, seconds: float) -> None:
    """Have the watchdog ask for a step in so many seconds, unless that is to be sooner; nothing was tried.

    One that waits for its turn has no time to be asked for, and goes on waiting.
    """
    connection.execute(
        text("""
            UPDATE step SET poll_at = least(poll_at, clock_timestamp() + interval '1 second' * :seconds)
            WHERE id = :step AND state IN ('queued', 'running', 'waiting') AND poll_at IS NOT NULL
        """),
        {"step": step, "seconds": seconds},
    )


_PROGRESS = text("""
    UPDATE step SET progress = CAST(:progress AS jsonb) || jsonb_build_object('furthest',
            coalesce(progress -> 'furthest', '{}') || jsonb_build_object(CAST(:what AS text),
                greatest(CAST(:done AS bigint), CAST(progress #>> ARRAY['furthest', CAST(:what AS text)] AS bigint)))),
        progress_at = CASE WHEN CAST(:done AS bigint)
                > coalesce(CAST(progress #>> ARRAY['furthest', CAST(:what AS text)] AS bigint), -1)
            THEN clock_timestamp() ELSE progress_at END
    WHERE id = :step AND state = 'running'
""")


def note_progress(connection: Connection, step: UUID, what: str, done: int, total: int | None) -> None:
    """Show how far a running step is. It gets on where no invocation before it was: one that is killed again and again
    at the same place does not."""
    told = json.dumps({"what": what, "done": done, "total": total})
    connection.execute(_PROGRESS, {"step": step, "progress": told, "what": what, "done": done})


def _plain(value: Package | Copy | File) -> dict[str, Any]:
    return {field.name: _json_value(getattr(value, field.name)) for field in fields(value)}


def _json_value(item: object) -> object:
    if isinstance(item, UUID | datetime):
        return str(item)
    return dict(item) if isinstance(item, Mapping) else item


def _slices(files: Sequence[File]) -> Iterable[Sequence[File]]:
    for begin in range(0, len(files), _FILES_PER_STATEMENT):
        yield files[begin : begin + _FILES_PER_STATEMENT]
