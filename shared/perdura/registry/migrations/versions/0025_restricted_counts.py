"""What restricted Archives add to the counts is counted beside them, so that it can be taken off for whom they hide.

Each measure has a second one, `restricted-<measure>`. It is kept at commit, behind the lock on the row of the index:
an Archive that is restricted or opened while a step of it ends is neither forgotten nor counted twice.
"""

from __future__ import annotations

from alembic import op

revision = "0025"
down_revision = "0024"

_FINISHES = """
    CREATE TABLE archive_finish (archive_id UUID NOT NULL,
        day DATE NOT NULL,
        state TEXT NOT NULL,
        times INTEGER NOT NULL,
        CONSTRAINT pk_archive_finish PRIMARY KEY (archive_id, day, state),
        CONSTRAINT fk_archive_finish_archive_id FOREIGN KEY(archive_id) REFERENCES archive (id) ON DELETE CASCADE);

    CREATE FUNCTION archive_finishes_rebuild() RETURNS void LANGUAGE sql AS $$
        INSERT INTO archive_finish (archive_id, day, state, times)
        SELECT id, (coalesce((SELECT max(finished_at) FROM step WHERE archive_id = archive.id), updated_at)
            AT TIME ZONE 'UTC')::date, state, 1
        FROM archive
        WHERE state IN ('completed', 'completed_with_warnings', 'failed', 'rejected', 'cancelled')
            AND NOT EXISTS (SELECT FROM archive_finish WHERE archive_id = archive.id)
    $$;
"""

_DAYS = """
    CREATE FUNCTION archive_days(wanted uuid) RETURNS TABLE (day date, measure text, name text, detail text,
        bucket smallint, count bigint, amount bigint) LANGUAGE sql STABLE AS $$
        SELECT (created_at AT TIME ZONE 'UTC')::date, 'archive', origin, '', 0::smallint, 1::bigint, 0::bigint
        FROM archive_index WHERE archive_id = wanted
        UNION ALL
        SELECT date_trunc('year', created_at AT TIME ZONE 'UTC')::date, 'holder', format, '', 0::smallint, 1::bigint,
            0::bigint
        FROM archive_index, unnest(formats) AS format WHERE archive_id = wanted
        UNION ALL
        SELECT archive_finish.day, 'finished', state, '', 0::smallint, times::bigint, 0::bigint
        FROM archive_finish WHERE archive_id = wanted
        UNION ALL
        SELECT (finished_at AT TIME ZONE 'UTC')::date, 'step', step.name, state,
            step_seconds_bucket(extract(epoch FROM finished_at - coalesce(started_at, created_at))::float), 1::bigint,
            greatest(0, round(extract(epoch FROM finished_at - coalesce(started_at, created_at)) * 1000))::bigint
        FROM step WHERE archive_id = wanted AND finished_at IS NOT NULL
        UNION ALL
        SELECT (finished_at AT TIME ZONE 'UTC')::date, 'failure', step.name, coalesce(error_code, ''), 0::smallint,
            1::bigint, 0::bigint
        FROM step WHERE archive_id = wanted AND finished_at IS NOT NULL AND state = 'failed'
        UNION ALL
        SELECT (created_at AT TIME ZONE 'UTC')::date, 'package', kind, '', 0::smallint, 1::bigint, size
        FROM package WHERE archive_id = wanted
        UNION ALL
        SELECT date_trunc('year', created_at AT TIME ZONE 'UTC')::date, 'format', format_key, format_name, 0::smallint,
            files, bytes
        FROM package JOIN package_format ON package_format.package_id = package.id WHERE archive_id = wanted
    $$;
"""
"""What one Archive adds to the daily counts."""

_BEFORE = """
    CREATE FUNCTION archive_restricted_before(wanted uuid) RETURNS boolean LANGUAGE plpgsql AS $$
    DECLARE
        now_restricted boolean;
    BEGIN
        SELECT restricted INTO now_restricted FROM archive_index WHERE archive_id = wanted FOR UPDATE;
        RETURN coalesce(now_restricted, false)
            <> (position(wanted::text IN coalesce(current_setting('perdura.moved', true), '')) > 0);
    END $$;

    CREATE FUNCTION archive_counts_made_anew() RETURNS boolean LANGUAGE sql AS $$
        SELECT coalesce(current_setting('perdura.rebuilt', true), '') = 'yes'
    $$;
"""
"""Whether an Archive counted as restricted before this transaction: where it no longer does, or only now, all that
the transaction brought is moved with it. And whether this transaction has counted everything anew."""

_MOVES = """
    CREATE OR REPLACE FUNCTION archive_index_counted() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP <> 'INSERT' THEN
            INSERT INTO archive_change (state, source, restricted, origin, step, cause, archives, bytes)
            SELECT state, source, restricted, origin, step, cause, -count(*), -coalesce(sum(size), 0)
            FROM before GROUP BY 1, 2, 3, 4, 5, 6;
            INSERT INTO daily_change (day, measure, name, detail, bucket, count, amount)
            SELECT date_trunc('year', created_at AT TIME ZONE 'UTC')::date, measure, format, '', 0, -count(*), 0
            FROM before, unnest(formats) AS format,
                unnest(CASE WHEN restricted THEN ARRAY['holder', 'restricted-holder'] ELSE ARRAY['holder'] END)
                    AS measure
            GROUP BY 1, 2, 3;
        END IF;
        IF TG_OP <> 'DELETE' THEN
            INSERT INTO archive_change (state, source, restricted, origin, step, cause, archives, bytes)
            SELECT state, source, restricted, origin, step, cause, count(*), coalesce(sum(size), 0)
            FROM after GROUP BY 1, 2, 3, 4, 5, 6;
            INSERT INTO daily_change (day, measure, name, detail, bucket, count, amount)
            SELECT date_trunc('year', created_at AT TIME ZONE 'UTC')::date, measure, format, '', 0, count(*), 0
            FROM after, unnest(formats) AS format,
                unnest(CASE WHEN restricted THEN ARRAY['holder', 'restricted-holder'] ELSE ARRAY['holder'] END)
                    AS measure
            GROUP BY 1, 2, 3;
        END IF;
        IF TG_OP = 'INSERT' THEN
            INSERT INTO daily_change (day, measure, name, detail, bucket, count, amount)
            SELECT (created_at AT TIME ZONE 'UTC')::date, 'archive', origin, '', 0, count(*), 0
            FROM after GROUP BY 1, 3;
            PERFORM archive_moved(array_agg(archive_id), 1) FROM after WHERE restricted;
        ELSIF TG_OP = 'UPDATE' THEN
            PERFORM archive_moved(array_agg(archive_id), CASE WHEN after.restricted THEN 1 ELSE -1 END)
            FROM before JOIN after USING (archive_id) WHERE before.restricted <> after.restricted
            GROUP BY after.restricted;
        END IF;
        RETURN NULL;
    END $$;

    CREATE FUNCTION archive_moved(ids uuid[], sign integer) RETURNS void LANGUAGE plpgsql AS $$
    BEGIN
        IF ids IS NULL THEN
            RETURN;
        END IF;
        PERFORM set_config('perdura.moved',
            coalesce(current_setting('perdura.moved', true), '') || ' ' || array_to_string(ids, ' '), true);
        INSERT INTO daily_change (day, measure, name, detail, bucket, count, amount)
        SELECT day, 'restricted-' || measure, name, detail, bucket, sign * sum(count), sign * sum(amount)
        FROM unnest(ids) AS moved, archive_days(moved) WHERE measure <> 'holder' GROUP BY 1, 2, 3, 4, 5;
    END $$;
"""

_FINISHED = """
    CREATE FUNCTION archive_counted(wanted uuid, day date, measure text, name text, detail text, bucket smallint,
        count bigint, amount bigint) RETURNS void LANGUAGE sql AS $$
        INSERT INTO daily_change (day, measure, name, detail, bucket, count, amount)
        SELECT $2, $3, $4, $5, $6, $7, $8
        UNION ALL SELECT $2, 'restricted-' || $3, $4, $5, $6, $7, $8 WHERE archive_restricted_before($1)
    $$;

    CREATE FUNCTION archive_finish_noted() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO archive_finish AS kept (archive_id, day, state, times)
        VALUES (NEW.id, (transaction_timestamp() AT TIME ZONE 'UTC')::date, NEW.state, 1)
        ON CONFLICT (archive_id, day, state) DO UPDATE SET times = kept.times + 1;
        RETURN NULL;
    END $$;
    CREATE OR REPLACE FUNCTION archive_finished() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NOT archive_counts_made_anew() THEN
            PERFORM archive_counted(NEW.id, (transaction_timestamp() AT TIME ZONE 'UTC')::date, 'finished', NEW.state,
                                    '', 0::smallint, 1, 0);
        END IF;
        RETURN NULL;
    END $$;
    CREATE OR REPLACE FUNCTION step_finished() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        seconds double precision :=
            extract(epoch FROM NEW.finished_at - coalesce(NEW.started_at, NEW.created_at));
        today date := (NEW.finished_at AT TIME ZONE 'UTC')::date;
    BEGIN
        IF archive_counts_made_anew() THEN
            RETURN NULL;
        END IF;
        PERFORM archive_counted(NEW.archive_id, today, 'step', NEW.name, NEW.state, step_seconds_bucket(seconds), 1,
                                greatest(0, round(seconds * 1000))::bigint);
        IF NEW.state = 'failed' THEN
            PERFORM archive_counted(NEW.archive_id, today, 'failure', NEW.name, coalesce(NEW.error_code, ''),
                                    0::smallint, 1, 0);
        END IF;
        RETURN NULL;
    END $$;
    CREATE FUNCTION package_restricted() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NOT archive_counts_made_anew() AND archive_restricted_before(NEW.archive_id) THEN
            INSERT INTO daily_change (day, measure, name, detail, bucket, count, amount)
            VALUES ((NEW.created_at AT TIME ZONE 'UTC')::date, 'restricted-package', NEW.kind, '', 0, 1, NEW.size);
        END IF;
        RETURN NULL;
    END $$;
    CREATE FUNCTION package_format_restricted() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        more_files bigint := NEW.files;
        more_bytes bigint := NEW.bytes;
    BEGIN
        IF archive_counts_made_anew() THEN
            RETURN NULL;
        END IF;
        IF TG_OP = 'UPDATE' THEN
            more_files := more_files - OLD.files;
            more_bytes := more_bytes - OLD.bytes;
        END IF;
        INSERT INTO daily_change (day, measure, name, detail, bucket, count, amount)
        SELECT date_trunc('year', created_at AT TIME ZONE 'UTC')::date, 'restricted-format', NEW.format_key,
            NEW.format_name, 0, more_files, more_bytes
        FROM package WHERE id = NEW.package_id AND archive_restricted_before(archive_id);
        RETURN NULL;
    END $$;

    DROP TRIGGER archive_finished ON archive;
    CREATE CONSTRAINT TRIGGER archive_finished AFTER UPDATE OF state ON archive DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW
        WHEN (OLD.state <> NEW.state
            AND NEW.state IN ('completed', 'completed_with_warnings', 'failed', 'rejected', 'cancelled'))
        EXECUTE FUNCTION archive_finished();
    CREATE TRIGGER archive_finish_noted AFTER UPDATE OF state ON archive FOR EACH ROW
        WHEN (OLD.state <> NEW.state
            AND NEW.state IN ('completed', 'completed_with_warnings', 'failed', 'rejected', 'cancelled'))
        EXECUTE FUNCTION archive_finish_noted();
    DROP TRIGGER step_finished ON step;
    DROP TRIGGER step_made_finished ON step;
    CREATE CONSTRAINT TRIGGER step_finished AFTER UPDATE OF finished_at ON step DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW WHEN (OLD.finished_at IS NULL AND NEW.finished_at IS NOT NULL) EXECUTE FUNCTION step_finished();
    CREATE CONSTRAINT TRIGGER step_made_finished AFTER INSERT ON step DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW WHEN (NEW.finished_at IS NOT NULL) EXECUTE FUNCTION step_finished();
    CREATE CONSTRAINT TRIGGER package_restricted AFTER INSERT ON package DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION package_restricted();
    CREATE CONSTRAINT TRIGGER package_format_restricted AFTER INSERT OR UPDATE ON package_format
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION package_format_restricted();
"""

_REBUILD = """
    CREATE OR REPLACE FUNCTION archive_index_of_format() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NOT archive_counts_made_anew() THEN
            PERFORM archive_index_refresh(archive_id, false) FROM package WHERE id = NEW.package_id;
        END IF;
        RETURN NULL;
    END $$;

    CREATE OR REPLACE FUNCTION archive_index_rebuild() RETURNS void LANGUAGE sql AS $$
        SELECT set_config('perdura.rebuilt', 'yes', true);
        TRUNCATE archive_index, package_format, archive_count, archive_change, daily_count, daily_change;
        SELECT archive_finishes_rebuild();
        INSERT INTO package_format (package_id, format_key, format_name, files, bytes)
        SELECT package_id, format_key, coalesce(max(format_name), ''), count(*), sum(size)
        FROM package_file WHERE format_key IS NOT NULL GROUP BY 1, 2;
        INSERT INTO archive_index
        SELECT source.*, archive_words(title, metadata)
        FROM archive_index_source AS source JOIN archive ON archive.id = source.archive_id;
        INSERT INTO daily_change (day, measure, name, detail, bucket, count, amount)
        SELECT day, 'finished', state, '', 0, sum(times), 0 FROM archive_finish GROUP BY 1, 3
        UNION ALL
        SELECT (finished_at AT TIME ZONE 'UTC')::date, 'step', name, state,
            step_seconds_bucket(extract(epoch FROM finished_at - coalesce(started_at, created_at))::float), count(*),
            sum(greatest(0, round(extract(epoch FROM finished_at - coalesce(started_at, created_at)) * 1000)))
        FROM step WHERE finished_at IS NOT NULL GROUP BY 1, 3, 4, 5
        UNION ALL
        SELECT (finished_at AT TIME ZONE 'UTC')::date, 'failure', name, coalesce(error_code, ''), 0, count(*), 0
        FROM step WHERE finished_at IS NOT NULL AND state = 'failed' GROUP BY 1, 3, 4
        UNION ALL
        SELECT (created_at AT TIME ZONE 'UTC')::date, 'package', kind, '', 0, count(*), sum(size)
        FROM package GROUP BY 1, 3
        UNION ALL
        SELECT date_trunc('year', created_at AT TIME ZONE 'UTC')::date, 'format', format_key, max(format_name), 0,
            sum(files), sum(bytes)
        FROM package_format JOIN package ON package.id = package_id GROUP BY 1, 3;
    $$;
"""

_PRESENT = """
    SELECT archive_finishes_rebuild();
    INSERT INTO daily_change (day, measure, name, detail, bucket, count, amount)
    SELECT day, 'restricted-' || measure, name, detail, bucket, sum(count), sum(amount)
    FROM archive_index, archive_days(archive_id) WHERE restricted GROUP BY 1, 2, 3, 4, 5;
"""


def upgrade() -> None:
    """Keep the second counts from now on, and make those of what is there."""
    for statements in (_FINISHES, _DAYS, _BEFORE, _MOVES, _FINISHED, _REBUILD, _PRESENT):
        op.get_bind().exec_driver_sql(statements)
