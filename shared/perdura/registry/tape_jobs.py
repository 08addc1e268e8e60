"""The register of tape jobs: the adapter of `perdura.ports.TapeJobs` on the registry."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from sqlalchemy import Engine, Row, text

from perdura.packages.tape_container import Slot
from perdura.ports import ContainerFile, OpenJob, TapeAccount, TapeJob, TapeOrder, TapeRetry, Wish
from perdura.recordable import recordable
from perdura.registry import tape_wishes
from perdura.registry.tape_tables import LOCATION

_ADMIT = text("""
    WITH before AS (SELECT server, asked_at FROM tape_job WHERE key = :key)
    INSERT INTO tape_job (key, archive_id, container_id, path, size, priority, server, holder, asked_as, asked_at)
    SELECT :key, :archive, :container, :path, :size, :priority, CAST(:server AS text), CAST(:holder AS text),
        CAST(:asked_as AS text), clock_timestamp()
    WHERE NOT EXISTS (SELECT FROM tape_destination WHERE location = :at AND paused_at IS NOT NULL)
        AND (:limit = 0 OR EXISTS (SELECT FROM tape_job WHERE key = :key) OR :limit > (
            SELECT count(*) FROM tape_job WHERE ended_at IS NULL
                AND coalesce(looked_at, submitted_at, intended_at) > clock_timestamp() - interval '1 day'))
    ON CONFLICT (key) DO UPDATE SET ended_at = NULL,
        server = coalesce(tape_job.server, excluded.server), holder = coalesce(tape_job.holder, excluded.holder),
        asked_as = coalesce(tape_job.asked_as, excluded.asked_as),
        asked_at = CASE WHEN coalesce(tape_job.asked_as, excluded.asked_as) IS NOT DISTINCT FROM excluded.asked_as
            THEN excluded.asked_at ELSE tape_job.asked_at END
    RETURNING key, path, job_id, server, holder, asked_as,
        EXISTS (SELECT FROM before WHERE server NOTNULL) AS asked_before,
        CAST(extract(epoch FROM clock_timestamp() - (SELECT asked_at FROM before)) AS float8) AS asked_ago
""")
"""A job that nobody has looked at for a day takes no place: its step was ended by other means."""

_SEEN = text("""
    UPDATE tape_job SET looked_at = clock_timestamp(), state = coalesce(seen.state, tape_job.state),
        reason = coalesce(seen.reason, tape_job.reason), file_state = coalesce(seen.file_state, tape_job.file_state),
        log_file = coalesce(seen.log_file, tape_job.log_file),
        ended_at = CASE WHEN seen.over THEN clock_timestamp() END
    FROM jsonb_to_recordset(CAST(:seen AS jsonb))
        AS seen (key text, state text, reason text, file_state text, log_file text, over boolean)
    WHERE tape_job.key = seen.key AND ended_at IS NULL
""")
"""What is over stays as it was last seen: a look that lasted too long may still have an older answer."""


_TRIED = text("""
    INSERT INTO tape_job_retry (key, attempt, failed_at, reason, host, log_file)
    VALUES (:key, :attempt, :at, :reason, :host, :log) ON CONFLICT DO NOTHING
""")


class RegistryTapeJobs:
    """Notes jobs at once, in transactions of their own, so that they survive the death of the step."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def paused(self) -> str | None:
        """Why no new jobs may be submitted; None when they may."""
        with self._engine.connect() as connection:
            row = connection.execute(
                text("SELECT paused_by, pause_reason FROM tape_destination WHERE location = :at AND paused_at NOTNULL"),
                {"at": LOCATION},
            ).one_or_none()
        return None if row is None else f"paused by {row.paused_by}: {row.pause_reason}"

    def stop(self, reason: str) -> None:
        """Let no new jobs be submitted until a person resumes."""
        with self._engine.begin() as connection:
            tape_wishes.pause(connection, recordable(reason[:500]), "archive-cta")

    def admit(self, order: TapeOrder, limit: int) -> OpenJob | None:
        """Note that a job will be asked for, unless the destination is paused or `limit` others are in flight."""
        account = order.account
        with self._engine.begin() as connection:
            if limit:
                # One at a time, or two could take the last place.
                connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended('perdura tape_job', 0))"))
            row = connection.execute(
                _ADMIT,
                {
                    "key": order.key, "archive": order.archive, "container": order.container, "path": order.path,
                    "size": order.size, "priority": order.priority, "limit": limit, "at": LOCATION,
                    "server": account and account.server, "holder": account and account.holder,
                    "asked_as": order.job_id,
                },
            ).one_or_none()  # fmt: skip
            return None if row is None else replace(_open(row), asked_before=row.asked_before, asked_ago=row.asked_ago)

    def unasked(self, order: TapeOrder) -> None:
        """Note that the order never left: nobody has it whose account it was noted with."""
        with self._engine.begin() as connection:
            connection.execute(
                text("""
                    UPDATE tape_job SET server = NULL, holder = NULL, asked_as = NULL, asked_at = NULL
                    WHERE key = :key AND job_id IS NULL
                """),
                {"key": order.key},
            )

    def asked_anew(self, order: TapeOrder) -> None:
        """Note that it is asked for under the id of this order: there is none under the one noted before."""
        with self._engine.begin() as connection:
            connection.execute(
                text("UPDATE tape_job SET asked_as = :asked_as, asked_at = clock_timestamp() WHERE key = :key"),
                {"key": order.key, "asked_as": order.job_id},
            )

    def accepted(self, key: str, job_id: str, account: TapeAccount) -> None:
        """Note the answer of the tape system, and whose job it is there."""
        with self._engine.begin() as connection:
            connection.execute(
                text("""
                    UPDATE tape_job SET job_id = :job, asked_as = :job, server = :server, holder = :holder,
                        state = 'active', submitted_at = clock_timestamp()
                    WHERE key = :key AND job_id IS NULL
                """),
                {"key": key, "job": job_id, "server": account.server, "holder": account.holder},
            )

    def wishes(self, keys: Sequence[str]) -> Mapping[str, Wish]:
        """What people asked of these jobs."""
        with self._engine.connect() as connection:
            rows = connection.execute(
                text("""
                    SELECT key, cancelled_by, wanted_priority FROM tape_job
                    WHERE key = ANY(:keys) AND (cancelled_by NOTNULL OR wanted_priority NOTNULL)
                """),
                {"keys": list(keys)},
            )
            return {row.key: Wish(row.cancelled_by, row.wanted_priority) for row in rows}

    def granted(self, key: str) -> None:
        """Note that another priority was set as wished."""
        with self._engine.begin() as connection:
            connection.execute(
                text("UPDATE tape_job SET priority = wanted_priority, wanted_priority = NULL WHERE key = :key"),
                {"key": key},
            )

    def seen(self, states: Mapping[str, TapeJob], over: Sequence[str]) -> None:
        """Note the states of jobs by key, and which of all are over for us."""
        items = [{"key": key, "over": key in over, **_seen(recordable(states.get(key)))} for key in {*states, *over}]
        if items:
            with self._engine.begin() as connection:
                connection.execute(_SEEN, {"seen": json.dumps(items)})

    def ended(self, keys: Sequence[str]) -> None:
        """Note that these are over for us: they were refused, or never came about."""
        with self._engine.begin() as connection:
            connection.execute(
                text("UPDATE tape_job SET ended_at = clock_timestamp() WHERE key = ANY(:keys)"), {"keys": list(keys)}
            )

    def tried(self, key: str, retries: Sequence[TapeRetry]) -> None:
        """Note attempts that failed; one noted before is left as it is."""
        rows = [
            {
                "key": key, "attempt": each.attempt, "at": each.at, "reason": each.reason, "host": each.host,
                "log": each.log_file,
            }
            for each in recordable(list(retries))
        ]  # fmt: skip
        if rows:
            with self._engine.begin() as connection:
                connection.execute(_TRIED, rows)

    def open_job(self, paths: Sequence[str]) -> OpenJob | None:
        """The job that may still be writing one of these files; the newest that was answered if there are several."""
        with self._engine.connect() as connection:
            row = connection.execute(
                text("""
                    SELECT key, path, job_id, server, holder, asked_as FROM tape_job
                    WHERE ended_at IS NULL AND path = ANY(:paths)
                    ORDER BY job_id IS NULL, intended_at DESC LIMIT 1
                """),
                {"paths": list(paths)},
            ).one_or_none()
        return None if row is None else _open(row)

    def slot(self, package: UUID) -> ContainerFile | None:
        """The newest container that an AIP was put into."""
        with self._engine.connect() as connection:
            row = connection.execute(
                text("""
                    SELECT container_id, m."offset", m.size AS length, c.path, c.size, c.adler32
                    FROM tape_container_member AS m JOIN tape_container AS c ON c.id = container_id
                    WHERE package_id = :package ORDER BY c.created_at DESC LIMIT 1
                """),
                {"package": package},
            ).one_or_none()
        if row is None:
            return None
        return ContainerFile(Slot(row.container_id, row.offset, row.length), row.path, row.size, row.adler32)


def account_of(row: Row[Any]) -> TapeAccount | None:
    """Whose job it is at the tape system (`server`, `holder`); None while that is not known."""
    return TapeAccount(row.server, row.holder) if row.server and row.holder else None


def _open(row: Row[Any]) -> OpenJob:
    return OpenJob(row.key, row.path, row.job_id, account_of(row), asked_as=row.asked_as)


def _seen(job: TapeJob | None) -> dict[str, str | None]:
    if job is None:
        return {}
    return {"state": job.state, "reason": job.reason, "file_state": job.file_state, "log_file": job.log_file}
