"""What Archives are found and counted by is made anew in sets, not Archive by Archive; readers go on meanwhile.

A million Archives with ten million steps took more than ten minutes, most of it for logarithms of exact numbers and
for steps read in the order of their Archives.
"""

from __future__ import annotations

from alembic import op

revision = "0041"
down_revision = "0040"

_CHEAPER = """
    ALTER FUNCTION archive_words(text, jsonb) PARALLEL SAFE;

    CREATE OR REPLACE FUNCTION step_seconds_bucket(seconds double precision) RETURNS smallint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
        SELECT (30 - width_bucket(-seconds, '{-536870912,-268435456,-134217728,-67108864,-33554432,-16777216,-8388608,
            -4194304,-2097152,-1048576,-524288,-262144,-131072,-65536,-32768,-16384,-8192,-4096,-2048,-1024,-512,-256,
            -128,-64,-32,-16,-8,-4,-2,-1,-0.5,-0.25,-0.125,-0.0625,-0.03125,-0.015625}'::float[]))::smallint
    $$;
"""
"""The bucket is what it was, the logarithm to the base of 2 rounded up, from -6 to 30; it is looked up."""

_SOURCE = """
    CREATE OR REPLACE VIEW archive_index_source AS
    SELECT archive.id AS archive_id, archive.created_at, archive.state, archive.restricted, archive.origin,
        coalesce(resource.source, '') AS source, coalesce(resource.recid, '') AS recid, kept.size,
        coalesce(reached.steps, '{}') AS steps, coalesce(reached.step, '') AS step,
        coalesce(reached.cause, '') AS cause, coalesce(held.formats, '{}') AS formats
    FROM archive
    LEFT JOIN resource ON resource.id = archive.resource_id
    LEFT JOIN (
        SELECT DISTINCT ON (archive_id) archive_id, size FROM package ORDER BY archive_id, kind, created_at DESC
    ) AS kept ON kept.archive_id = archive.id
    LEFT JOIN (
        SELECT archive_id, array_agg(name || ':' || state ORDER BY position) AS steps,
            (array_agg(name ORDER BY position DESC) FILTER (WHERE position < 1000))[1] AS step,
            (array_agg(CASE WHEN state IN ('failed', 'blocked') THEN coalesce(error_code, '') ELSE '' END
                       ORDER BY position DESC) FILTER (WHERE position < 1000))[1] AS cause
        FROM (SELECT DISTINCT ON (archive_id, position) archive_id, position, name, state, error_code FROM step
              ORDER BY archive_id, position, attempt DESC) AS latest
        GROUP BY archive_id
    ) AS reached ON reached.archive_id = archive.id
    LEFT JOIN (
        SELECT archive_id, array_agg(DISTINCT format_key ORDER BY format_key) AS formats
        FROM package_format JOIN package ON package.id = package_format.package_id GROUP BY archive_id
    ) AS held ON held.archive_id = archive.id;
"""
"""Groups, where it had a look at each Archive's parts: the planner reads them for one Archive, or all at once."""

_COUNTED = """
    DROP TRIGGER archive_index_inserted ON archive_index;
    CREATE TRIGGER archive_index_inserted AFTER INSERT ON archive_index
        REFERENCING NEW TABLE AS after FOR EACH STATEMENT WHEN (NOT archive_counts_made_anew())
        EXECUTE FUNCTION archive_index_counted();
    DROP TRIGGER archive_index_updated ON archive_index;
    CREATE TRIGGER archive_index_updated AFTER UPDATE ON archive_index
        REFERENCING OLD TABLE AS before NEW TABLE AS after
        FOR EACH STATEMENT WHEN (NOT archive_counts_made_anew()) EXECUTE FUNCTION archive_index_counted();
    DROP TRIGGER package_format_restricted ON package_format;
    CREATE CONSTRAINT TRIGGER package_format_restricted AFTER INSERT OR UPDATE ON package_format
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NOT archive_counts_made_anew())
        EXECUTE FUNCTION package_format_restricted();
    DROP TRIGGER archive_index_format ON package_format;
    CREATE CONSTRAINT TRIGGER archive_index_format AFTER INSERT ON package_format
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NOT archive_counts_made_anew())
        EXECUTE FUNCTION archive_index_of_format();
"""
"""Nothing is noted as a change while everything is counted anew: not even queued, for millions of rows."""

_FINISHES = """
    CREATE OR REPLACE FUNCTION archive_finishes_rebuild() RETURNS void LANGUAGE sql AS $$
        INSERT INTO archive_finish (archive_id, day, state, times)
        SELECT id, (coalesce(last.finished_at, updated_at) AT TIME ZONE 'UTC')::date, state, 1
        FROM archive
        LEFT JOIN (SELECT archive_id, max(finished_at) AS finished_at FROM step GROUP BY archive_id) AS last
            ON last.archive_id = archive.id
        WHERE state IN ('completed', 'completed_with_warnings', 'failed', 'rejected', 'cancelled')
            AND NOT EXISTS (SELECT FROM archive_finish WHERE archive_id = archive.id)
    $$;
"""

_COUNTS = """
    CREATE FUNCTION archive_counts_rebuild() RETURNS void LANGUAGE sql AS $$
        DELETE FROM archive_change;
        DELETE FROM archive_count;
        INSERT INTO archive_count (state, source, restricted, origin, step, cause, archives, bytes)
        SELECT state, source, restricted, origin, step, cause, count(*), coalesce(sum(size), 0)
        FROM archive_index GROUP BY 1, 2, 3, 4, 5, 6;
        DELETE FROM daily_change;
        DELETE FROM daily_count;
        INSERT INTO daily_count (day, measure, name, detail, bucket, count, amount)
        SELECT day, prefix || measure, name, detail, bucket, sum(count), sum(amount)
        FROM (
            SELECT (created_at AT TIME ZONE 'UTC')::date AS day, 'archive' AS measure, origin AS name, '' AS detail,
                0 AS bucket, restricted, count(*) AS count, 0 AS amount
            FROM archive_index GROUP BY 1, 3, 6
            UNION ALL
            SELECT date_trunc('year', created_at AT TIME ZONE 'UTC')::date, 'holder', format, '', 0, restricted,
                count(*), 0
            FROM archive_index, unnest(formats) AS format GROUP BY 1, 3, 6
            UNION ALL
            SELECT day, 'finished', archive_finish.state, '', 0, restricted, sum(times), 0
            FROM archive_finish JOIN archive_index USING (archive_id) GROUP BY 1, 3, 6
            UNION ALL
            SELECT day, 'step', name, state, bucket, restricted, count(*), sum(milliseconds)
            FROM (
                SELECT (finished_at AT TIME ZONE 'UTC')::date AS day, name, step.state,
                    step_seconds_bucket(extract(epoch FROM finished_at - coalesce(started_at, step.created_at))::float)
                        AS bucket, restricted,
                    greatest(0, round(extract(epoch FROM finished_at - coalesce(started_at, step.created_at)) * 1000))
                        AS milliseconds
                FROM step JOIN archive_index USING (archive_id) WHERE finished_at IS NOT NULL
            ) AS ended GROUP BY 1, 3, 4, 5, 6
            UNION ALL
            SELECT (finished_at AT TIME ZONE 'UTC')::date, 'failure', name, coalesce(error_code, ''), 0, restricted,
                count(*), 0
            FROM step JOIN archive_index USING (archive_id)
            WHERE finished_at IS NOT NULL AND step.state = 'failed' GROUP BY 1, 3, 4, 6
            UNION ALL
            SELECT (package.created_at AT TIME ZONE 'UTC')::date, 'package', kind, '', 0, restricted, count(*),
                sum(package.size)
            FROM package JOIN archive_index USING (archive_id) GROUP BY 1, 3, 6
            UNION ALL
            SELECT date_trunc('year', package.created_at AT TIME ZONE 'UTC')::date, 'format', format_key, format_name,
                0, restricted, sum(files), sum(bytes)
            FROM package_format JOIN package ON package.id = package_id JOIN archive_index USING (archive_id)
            GROUP BY 1, 3, 4, 6
        ) AS part, unnest(CASE WHEN restricted THEN ARRAY['', 'restricted-'] ELSE ARRAY[''] END) AS prefix
        GROUP BY 1, 2, 3, 4, 5;
    $$;
"""

_REBUILD = """
    CREATE OR REPLACE FUNCTION archive_index_rebuild() RETURNS void LANGUAGE plpgsql
    SET work_mem = '128MB' SET enable_nestloop = off AS $$
    BEGIN
        LOCK TABLE archive, step, package, package_file, archive_finish, package_format, archive_index, archive_count,
            archive_change, daily_count, daily_change IN EXCLUSIVE MODE;
        SET CONSTRAINTS ALL IMMEDIATE;
        SET CONSTRAINTS ALL DEFERRED;
        PERFORM set_config('perdura.rebuilt', 'yes', true), set_config('perdura.moved', '', true);
        PERFORM archive_finishes_rebuild();

        CREATE UNLOGGED TABLE package_format_anew AS
        SELECT package_id, format_key, coalesce(max(format_name), '') AS format_name, count(*) AS files,
            sum(size)::bigint AS bytes
        FROM package_file WHERE format_key IS NOT NULL GROUP BY 1, 2;
        DELETE FROM package_format AS kept WHERE NOT EXISTS (SELECT FROM package_format_anew AS anew
            WHERE anew.package_id = kept.package_id AND anew.format_key = kept.format_key);
        MERGE INTO package_format AS kept USING package_format_anew AS anew
            ON kept.package_id = anew.package_id AND kept.format_key = anew.format_key
            WHEN NOT MATCHED THEN INSERT VALUES (anew.*)
            WHEN MATCHED AND (kept.format_name, kept.files, kept.bytes)
                IS DISTINCT FROM (anew.format_name, anew.files, anew.bytes)
                THEN UPDATE SET format_name = anew.format_name, files = anew.files, bytes = anew.bytes;
        DROP TABLE package_format_anew;

        PERFORM set_config('enable_indexscan', 'off', true);
        CREATE UNLOGGED TABLE archive_index_anew AS SELECT * FROM archive_index_source;
        CREATE UNLOGGED TABLE archive_words_anew AS
        SELECT id AS archive_id, archive_words(title, metadata) AS search FROM archive;
        PERFORM set_config('enable_indexscan', 'on', true);
        MERGE INTO archive_index AS kept USING (
            SELECT anew.*, search FROM archive_index_anew AS anew JOIN archive_words_anew USING (archive_id)
            ORDER BY created_at, archive_id
        ) AS anew ON kept.archive_id = anew.archive_id
            WHEN NOT MATCHED THEN INSERT VALUES (anew.*)
            WHEN MATCHED AND ROW (kept.*) IS DISTINCT FROM ROW (anew.*)
                THEN UPDATE SET created_at = anew.created_at, state = anew.state, restricted = anew.restricted,
                    origin = anew.origin, source = anew.source, recid = anew.recid, size = anew.size,
                    steps = anew.steps, step = anew.step, cause = anew.cause, formats = anew.formats,
                    search = anew.search;
        DROP TABLE archive_index_anew, archive_words_anew;

        PERFORM archive_counts_rebuild();
        PERFORM set_config('perdura.rebuilt', '', true);
    END $$;
"""
"""In one transaction, by the owner of the tables. What differs is written, so that readers see the index as it was
until all of it is as it should be. Who writes waits from the first lock on: none is got later, by who holds others.
The planner knows nothing of tables that were made or filled a moment ago: it would go through them row by row."""


def upgrade() -> None:
    """Put the new functions in the places of the old; nothing is made anew."""
    for statements in (_CHEAPER, _SOURCE, _COUNTED, _FINISHES, _COUNTS, _REBUILD):
        op.get_bind().exec_driver_sql(statements)
