"""The book of Archivematicas and submissions: the adapter of `perdura.fleet.Submissions` on the registry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Engine, Row, text

from perdura.errors import Conflict, NotFound
from perdura.fleet import IN_FLIGHT, Probe, Submission, Terms
from perdura.fleet_places import LETS_PASS, Room, Waiting, place
from perdura.ids import derived_id

PATIENCE_OF_QUEUE = 120.0
"""Seconds after which an older submission whose step does not wait, and that nobody looked at, is no longer before."""
LARGEST = 2**63 - 1
"""Bytes of a package that an instance without a limit may have."""

_COLUMNS = (
    "id, archive_id, step_id, name, size, wanted, queued_at, state, instance, configuration, path, ahead, ahead_bytes, "
    "tries, sent_at, transfer, sip, status, microservice, moved_at, outcome, refused"
)
_UNDER_WAY = "step.state IN ('queued', 'running', 'waiting')"


@dataclass(frozen=True, slots=True)
class InstanceState:
    """What is known of one instance, with what is in flight there."""

    name: str
    mode: str
    reason: str
    paused_until: datetime | None
    failures: int
    reachable: bool
    version: str | None
    checked_at: datetime | None
    packages: int
    bytes: int


class SubmissionBook:
    """Keeps the book; `limit` failures in a row, or packages that end alike, pause an instance for `pause` seconds."""

    def __init__(self, engine: Engine, *, limit: int, pause: float) -> None:
        self._engine = engine
        self._limit = limit
        self._pause = pause

    def queue(self, archive: UUID, step: UUID, size: int, wanted: str | None) -> Submission:
        """The submission of that step, made when there is none, named by the Archive and by its number there."""
        with self._engine.begin() as connection:
            row = connection.execute(
                text(f"""
                    INSERT INTO archivematica_submission (id, archive_id, step_id, name, size, wanted)
                    SELECT :id, :archive, :step, concat_ws('-', CAST(:archive AS text), nullif(count(*) + 1, 1)),
                        :size, :wanted
                    FROM archivematica_submission WHERE archive_id = :archive
                    ON CONFLICT (step_id) DO UPDATE SET looked_at = clock_timestamp()
                    RETURNING {_COLUMNS}
                """),  # noqa: S608 - a constant of this module
                {
                    "id": derived_id("archivematica", step),
                    "archive": archive,
                    "step": step,
                    "size": size,
                    "wanted": wanted,
                },
            ).one()
        return _submission(row)

    def of_step(self, step: UUID) -> Submission | None:
        """The submission of a step."""
        with self._engine.connect() as connection:
            found = connection.execute(
                text(f"SELECT {_COLUMNS} FROM archivematica_submission WHERE step_id = :step"),  # noqa: S608
                {"step": step},
            ).one_or_none()
        return _submission(found) if found else None

    def earlier(self, archive: UUID, step: UUID) -> Sequence[Submission]:
        """What other steps of the Archive ever sent to an Archivematica, newest first."""
        with self._engine.connect() as connection:
            found = connection.execute(
                text(f"""
                    SELECT {_COLUMNS} FROM archivematica_submission
                    WHERE archive_id = :archive AND step_id <> :step AND sent_at IS NOT NULL ORDER BY queued_at DESC
                """),  # noqa: S608
                {"archive": archive, "step": step},
            ).all()
        return [_submission(row) for row in found]

    def left(self, most: int) -> Sequence[Submission]:
        """What is in flight of steps that are over, at most so many, those not looked at for the longest time first."""
        with self._engine.connect() as connection:
            found = connection.execute(
                text(f"""
                    SELECT {_COLUMNS} FROM archivematica_submission AS s
                    WHERE state = ANY(:in_flight) AND NOT EXISTS (
                        SELECT FROM step WHERE step.id = s.step_id AND {_UNDER_WAY})
                    ORDER BY looked_at LIMIT :most
                """),  # noqa: S608
                {"in_flight": list(IN_FLIGHT), "most": most},
            ).all()
        return [_submission(row) for row in found]

    def reserve(self, submission: Submission, offers: Sequence[Terms]) -> Submission | str:
        """Keep a place at the least-loaded instance; or the reason why there is none now.

        First come, first served: whoever is queued longer and could go there too goes first.
        """
        with self._engine.begin() as connection:
            connection.execute(
                text("""
                    INSERT INTO archivematica_instance (name) SELECT unnest(CAST(:names AS text[]))
                    ON CONFLICT (name) DO NOTHING
                """),
                {"names": sorted(terms.name for terms in offers)},
            )
            states = {each.name: each for each in _states(connection, lock=True)}
            connection.execute(
                text("UPDATE archivematica_submission SET looked_at = clock_timestamp() WHERE id = :id"),
                {"id": submission.id},
            )
            reasons = {terms.name: _refusal(states[terms.name]) for terms in offers}
            rooms = [_room(terms, states[terms.name]) for terms in offers if reasons[terms.name] is None]
            if not rooms:
                told = sorted(f"{name}: {reason}" for name, reason in reasons.items())
                return "; ".join(told) or "no Archivematica is configured"
            mine = Waiting(submission.size, submission.wanted, submission.refused)
            if place(mine, rooms) is None:
                return "every Archivematica has as much to do as it may have"
            chosen = place(mine, rooms, _before(connection, submission, rooms))
            if chosen is None:
                return "others were queued before"
            ahead = states[chosen.terms.name]
            kept = replace(
                submission, state="reserved", instance=ahead.name, ahead=ahead.packages, ahead_bytes=ahead.bytes
            )
            _write(connection, kept)
        return kept

    def note(self, submission: Submission) -> None:
        """Write down what changed."""
        with self._engine.begin() as connection:
            _write(connection, submission)

    def sending(self, submission: Submission) -> bool:
        """Write down that it is about to be asked for; not, when its step is over or its place was taken from it."""
        with self._engine.begin() as connection:
            still = connection.execute(
                text(f"""
                    SELECT 1 FROM archivematica_submission AS s JOIN step ON step.id = s.step_id
                    WHERE s.id = :id AND s.state = 'reserved' AND {_UNDER_WAY}
                    FOR UPDATE
                """),  # noqa: S608
                {"id": submission.id},
            ).one_or_none()
            if still is None:
                return False
            _write(connection, submission)
        return True

    def met(self, instance: str, failure: str | None) -> None:
        """Count a request that an instance failed, or one that it took, which ends the counting.

        What it takes does not end a pause for what became of packages before: only an AIP does.
        """
        with self._engine.begin() as connection:
            if failure is None:
                connection.execute(
                    text("""
                        UPDATE archivematica_instance SET failures = 0, reason = '', paused_until = NULL,
                            mode = 'active', updated_at = clock_timestamp()
                        WHERE name = :name AND (failures > 0 OR paused_until IS NOT NULL)
                            AND (mode = 'active' OR paused_until IS NOT NULL) AND alike < :limit
                    """),
                    {"name": instance, "limit": self._limit},
                )
                return
            connection.execute(
                text("""
                    UPDATE archivematica_instance SET failures = failures + 1, updated_at = clock_timestamp(),
                        reason = CASE WHEN mode = 'active' OR paused_until IS NOT NULL THEN :reason ELSE reason END,
                        mode = CASE WHEN mode = 'active' AND failures + 1 >= :limit THEN 'paused' ELSE mode END,
                        paused_until = CASE WHEN failures + 1 >= :limit
                            AND (mode = 'active' OR paused_until IS NOT NULL)
                            THEN clock_timestamp() + interval '1 second' * :pause ELSE paused_until END
                    WHERE name = :name
                """),
                {"name": instance, "reason": failure[:500], "limit": self._limit, "pause": self._pause},
            )

    def ended(self, instance: str, kind: str | None, message: str = "") -> None:
        """Count packages in a row that ended alike at an instance, by error code; none when an AIP came about."""
        with self._engine.begin() as connection:
            if kind is not None:
                reason = f"{self._limit} packages in a row ended alike ({kind}). {message}"[:500]
                values = {"name": instance, "kind": kind, "reason": reason, "limit": self._limit, "pause": self._pause}
                connection.execute(text(_ENDED_ALIKE), values)
                return
            connection.execute(
                text("UPDATE archivematica_instance SET alike = 0, failing = '' WHERE name = :name AND alike > 0"),
                {"name": instance},
            )
        self.met(instance, None)

    def seen(self, instance: str, probe: Probe | None, reason: str = "") -> None:
        """Note that an instance answered with `probe`, or did not, and why."""
        with self._engine.begin() as connection:
            connection.execute(
                text("""
                    INSERT INTO archivematica_instance (name, reachable, version, pipeline, reason, checked_at)
                    VALUES (:name, :reachable, :version, :pipeline, :reason, clock_timestamp())
                    ON CONFLICT (name) DO UPDATE SET reachable = excluded.reachable,
                        version = coalesce(excluded.version, archivematica_instance.version),
                        pipeline = coalesce(excluded.pipeline, archivematica_instance.pipeline),
                        reason = CASE WHEN archivematica_instance.mode = 'active' THEN excluded.reason
                            ELSE archivematica_instance.reason END,
                        checked_at = excluded.checked_at, updated_at = clock_timestamp()
                """),
                {
                    "name": instance,
                    "reachable": probe is not None,
                    "version": probe.version if probe else None,
                    "pipeline": probe.pipeline if probe else None,
                    "reason": reason[:500],
                },
            )


def instances(connection: Connection) -> list[InstanceState]:
    """Every instance that was ever used, by name."""
    return _states(connection)


def set_mode(connection: Connection, name: str, mode: str, reason: str, known: Sequence[str]) -> InstanceState:
    """Let an instance work (`active`), finish what it has (`draining`), or rest (`paused`), by a person's decision.

    Raises NotFound for an instance that is neither configured (`known`) nor in the book.
    """
    if name not in known and name not in {each.name for each in _states(connection)}:
        raise NotFound(f"There is no Archivematica called {name!r}.")
    connection.execute(
        text("""
            INSERT INTO archivematica_instance (name, mode, reason) VALUES (:name, :mode, :reason)
            ON CONFLICT (name) DO UPDATE SET mode = excluded.mode, reason = excluded.reason, paused_until = NULL,
                failures = 0, alike = 0, failing = '', updated_at = clock_timestamp()
        """),
        {"name": name, "mode": mode, "reason": reason[:500]},
    )
    return next(each for each in _states(connection) if each.name == name)


def stored(connection: Connection, package: UUID, name: str) -> bool:
    """Look sooner at the submission that a Storage Service says it stored: a hint, of which nothing is believed.

    Raises Conflict for a name that is not one of ours.
    """
    if not 0 < len(name) <= 200:
        raise Conflict("That is no name of a package.")
    done = connection.execute(
        text("""
            UPDATE step SET poll_at = clock_timestamp(), updated_at = clock_timestamp()
            FROM archivematica_submission AS s
            WHERE s.step_id = step.id AND step.state = 'waiting' AND s.state IN ('unsure', 'followed')
                AND (s.sip = :package OR s.name = :name OR s.path = :name)
        """),
        {"package": package, "name": name},
    )
    return bool(done.rowcount)


_ALIKE = "CASE WHEN failing = :kind THEN alike + 1 ELSE 1 END"
_ENDED_ALIKE = f"""
    UPDATE archivematica_instance SET alike = {_ALIKE}, failing = :kind, updated_at = clock_timestamp(),
        reason = CASE WHEN {_ALIKE} >= :limit AND (mode = 'active' OR paused_until IS NOT NULL)
            THEN :reason ELSE reason END,
        mode = CASE WHEN mode = 'active' AND {_ALIKE} >= :limit THEN 'paused' ELSE mode END,
        paused_until = CASE WHEN {_ALIKE} >= :limit AND (mode = 'active' OR paused_until IS NOT NULL)
            THEN clock_timestamp() + interval '1 second' * :pause ELSE paused_until END
    WHERE name = :name
"""  # noqa: S608 - a constant of this module
_BEFORE = f"""
    SELECT DISTINCT other.queued_at, other.id, other.size, other.wanted, other.refused,
        extract(epoch FROM statement_timestamp() - other.queued_at) AS waited
    FROM unnest(CAST(:names AS text[]), CAST(:all AS bigint[]), CAST(:free AS bigint[])) AS room (name, all_bytes, free)
    CROSS JOIN LATERAL (
        SELECT s.queued_at, s.id, s.size, s.wanted, s.refused
        FROM archivematica_submission AS s JOIN step ON step.id = s.step_id
        WHERE s.state = 'queued' AND (s.queued_at, s.id) < (:queued, CAST(:id AS uuid)) AND {_UNDER_WAY}
            AND (step.state = 'waiting' OR s.looked_at > clock_timestamp() - interval '1 second' * :patience)
            AND (s.wanted IS NULL OR s.wanted = room.name) AND NOT room.name = ANY(s.refused)
            AND (s.size <= room.free OR s.size <= room.all_bytes
                AND s.queued_at < clock_timestamp() - interval '1 second' * :lets_pass)
        ORDER BY s.queued_at, s.id LIMIT :most
    ) AS other ORDER BY other.queued_at, other.id
"""  # noqa: S608 - a constant of this module
_STATES = f"""
    SELECT name, mode, reason, paused_until, failures, reachable, version, checked_at,
        paused_until IS NOT NULL AND paused_until <= clock_timestamp() AS on_trial,
        load.packages, load.bytes
    FROM archivematica_instance AS i CROSS JOIN LATERAL (
        SELECT count(*) AS packages, coalesce(sum(s.size), 0) AS bytes
        FROM archivematica_submission AS s JOIN step ON step.id = s.step_id
        WHERE s.instance = i.name AND s.state = ANY(:in_flight)
            AND ({_UNDER_WAY} OR s.looked_at > clock_timestamp() - interval '1 day')
    ) AS load ORDER BY name
"""  # noqa: S608 - a constant of this module
"""What steps that are over left there is looked at until it has ended; unseen for a day it takes no place any more."""


def _states(connection: Connection, *, lock: bool = False) -> list[InstanceState]:
    """All instances; one whose pause is over counts as active with a single place while nothing is in flight."""
    if lock:
        connection.execute(text("SELECT name FROM archivematica_instance ORDER BY name FOR UPDATE"))
    found = connection.execute(text(_STATES), {"in_flight": list(IN_FLIGHT)})
    return [
        InstanceState(
            row.name,
            "trial" if row.mode == "paused" and row.on_trial else row.mode,
            row.reason,
            row.paused_until,
            row.failures,
            row.reachable,
            row.version,
            row.checked_at,
            int(row.packages),
            int(row.bytes),
        )
        for row in found
    ]


def _refusal(state: InstanceState) -> str | None:
    """Why nothing new goes to an instance; None when it takes work."""
    if state.mode in {"draining", "paused"}:
        return f"{state.mode}{f' ({state.reason})' if state.reason else ''}"
    if state.mode == "trial" and state.packages:
        return "on trial after a pause"
    if not state.reachable:
        return f"unreachable ({state.reason})" if state.reason else "unreachable"
    return None


def _room(terms: Terms, state: InstanceState) -> Room:
    places = 1 if state.mode == "trial" else terms.packages
    return Room(terms, state.packages, state.bytes, places, state.failures)


def _before(connection: Connection, submission: Submission, rooms: Sequence[Room]) -> list[Waiting]:
    """Who was queued before and fits into one of `rooms`, or is to be kept room for there, oldest first.

    For each no more than there are places in all, and rooms to be kept.
    """
    places = sum(max(room.places - room.packages, 0) for room in rooms)
    found = connection.execute(
        text(_BEFORE),
        {
            "queued": submission.queued_at,
            "id": submission.id,
            "patience": PATIENCE_OF_QUEUE,
            "names": [room.terms.name for room in rooms],
            "all": [LARGEST if room.terms.bytes is None else room.terms.bytes for room in rooms],
            "free": [LARGEST if room.terms.bytes is None else room.terms.bytes - room.bytes for room in rooms],
            "lets_pass": LETS_PASS,
            "most": places + len(rooms),
        },
    )
    return [Waiting(int(row.size), row.wanted, tuple(row.refused), float(row.waited)) for row in found]


def _write(connection: Connection, submission: Submission) -> None:
    values: dict[str, Any] = asdict(submission) | {"refused": list(submission.refused)}
    connection.execute(
        text("""
            UPDATE archivematica_submission SET state = :state, instance = :instance, configuration = :configuration,
                path = :path, ahead = :ahead, ahead_bytes = :ahead_bytes, tries = :tries, sent_at = :sent_at,
                transfer = :transfer, sip = :sip, status = :status, microservice = :microservice, moved_at = :moved_at,
                outcome = :outcome, refused = :refused, looked_at = clock_timestamp()
            WHERE id = :id
        """),
        {name: value for name, value in values.items() if name not in {"archive", "step", "queued_at", "wanted"}},
    )


def _submission(row: Row[Any]) -> Submission:
    found = Submission(*tuple(row))
    return replace(found, refused=tuple(found.refused))
