-- Adds events: one call, any number of events, whose parts are arrays of one length; `object_of` and `agent_of` say
-- which event (from 1) names an object or agent. Gives back the numbers of those whose identifiers are taken; nothing of
-- them is stored. `told` are the CloudEvents that tell of each (`id` of the event, `event`), put into the outbox with it.
-- The plans are kept by the session, which an unnamed statement's would not be.
DROP FUNCTION IF EXISTS premis_append(json, json, json, timestamptz, text);
DROP FUNCTION IF EXISTS premis_append(json, json, json, timestamptz, text, jsonb);
CREATE OR REPLACE FUNCTION premis_append(ids uuid[], names text[], kind_ids bigint[], moments timestamptz[],
    premis text[], rendered text[], sent text[], leaves text[], shown text[],
    object_of integer[], objects text[], bares text[], agent_of integer[], agents text[],
    kinds json, recorded timestamptz, actor_name text, told jsonb)
RETURNS TABLE (taken integer) LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    RETURN QUERY
    WITH input AS MATERIALIZED (
        SELECT nextval('premis_sequence') AS seq, e.o::int AS o, e.id, e.i, e.k, e.at
        FROM unnest(ids, names, kind_ids, moments) WITH ORDINALITY AS e(id, i, k, at, o)
    ),
    kind AS (
        INSERT INTO premis_kind (id, type, outcomes)
        SELECT n.id, n.t, n.u
        FROM json_to_recordset(kinds) AS n(id bigint, t text, u text[])
        WHERE NOT EXISTS (SELECT 1 FROM premis_kind p WHERE p.id = n.id)
        ORDER BY n.id
        ON CONFLICT DO NOTHING
    ),
    head AS (
        INSERT INTO premis_event (event_id, identifier, sequence, log_sequence, kind_id, at, recorded_at, changed_at,
                                  version, premis_version, objects, xml)
        SELECT input.id, input.i, input.seq, input.seq, input.k, input.at, recorded, recorded, 1, premis[input.o],
               shown[input.o], rendered[input.o]
        FROM input ORDER BY input.id
        ON CONFLICT (event_id) DO NOTHING
        RETURNING sequence
    ),
    new AS MATERIALIZED (
        SELECT input.* FROM input JOIN head ON head.sequence = input.seq
    ),
    logged AS (
        INSERT INTO premis_log (sequence, recorded_at, event_id, version, kind, actor, premis_version, xml, leaf)
        SELECT new.seq, recorded, new.id, 1, 'created', actor_name, premis[new.o],
               coalesce(sent[new.o], rendered[new.o]), convert_to(leaves[new.o], 'UTF8')
        FROM new
    ),
    unsealed AS (
        INSERT INTO premis_unsealed (sequence, recorded_at) SELECT new.seq, recorded FROM new
    ),
    linked AS (
        INSERT INTO premis_object (object, bare, kind_id, at, identifier, event_id, sequence)
        SELECT n.ob, n.ba, new.k, new.at, new.i, new.id, new.seq
        FROM unnest(object_of, objects, bares) AS n(o, ob, ba)
        JOIN new ON new.o = n.o
    ),
    acted AS (
        INSERT INTO premis_agent_link (agent, kind_id, at, identifier, event_id, sequence)
        SELECT n.ag, new.k, new.at, new.i, new.id, new.seq
        FROM unnest(agent_of, agents) AS n(o, ag)
        JOIN new ON new.o = n.o
    ),
    counted AS (
        INSERT INTO premis_count_delta (day, kind_id, n)
        SELECT (new.at AT TIME ZONE 'UTC')::date, new.k, count(*) FROM new GROUP BY 1, 2
    )
    SELECT input.o FROM input LEFT JOIN head ON head.sequence = input.seq
    WHERE head.sequence IS NULL ORDER BY input.o;
    IF told IS NOT NULL THEN
        INSERT INTO outbox (id, event, next_at)
        SELECT (n.event ->> 'id')::uuid, n.event, clock_timestamp() + interval '5 seconds'
        FROM jsonb_to_recordset(told) AS n(id uuid, event jsonb)
        JOIN premis_event e ON e.event_id = n.id AND e.recorded_at = recorded
        ON CONFLICT DO NOTHING;
    END IF;
END $$;

-- The same for one event: plain inserts, whose plans cost next to nothing. False when the identifier is taken. `told`
-- is the CloudEvent that tells of it, put into the outbox with it, `noted` an entry of the audit log, kept with it.
DROP FUNCTION IF EXISTS premis_append_one(uuid, text, bigint, timestamptz, text, text, text, text, text, text, text[],
    text[], text[], text[], timestamptz, text);
CREATE OR REPLACE FUNCTION premis_append_one(new_id uuid, name text, kind bigint, happened timestamptz,
    premis text, rendered text, sent text, leaf_text text, shown_objects text, type_text text, outcome_texts text[],
    object_keys text[], bare_names text[], agent_keys text[], recorded timestamptz, actor_name text,
    told jsonb, noted json)
RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    seq bigint := nextval('premis_sequence');
BEGIN
    INSERT INTO premis_event (event_id, identifier, sequence, log_sequence, kind_id, at, recorded_at, changed_at,
                              version, premis_version, objects, xml)
    VALUES (new_id, name, seq, seq, kind, happened, recorded, recorded, 1, premis, shown_objects, rendered)
    ON CONFLICT (event_id) DO NOTHING;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM 1 FROM premis_kind WHERE id = kind;
    IF NOT FOUND THEN
        INSERT INTO premis_kind (id, type, outcomes) VALUES (kind, type_text, outcome_texts) ON CONFLICT DO NOTHING;
    END IF;
    INSERT INTO premis_log (sequence, recorded_at, event_id, version, kind, actor, premis_version, xml, leaf)
    VALUES (seq, recorded, new_id, 1, 'created', actor_name, premis, coalesce(sent, rendered),
            convert_to(leaf_text, 'UTF8'));
    INSERT INTO premis_unsealed (sequence, recorded_at) VALUES (seq, recorded);
    FOR i IN 1 .. cardinality(object_keys) LOOP
        INSERT INTO premis_object (object, bare, kind_id, at, identifier, event_id, sequence)
        VALUES (object_keys[i], bare_names[i], kind, happened, name, new_id, seq);
    END LOOP;
    FOR i IN 1 .. cardinality(agent_keys) LOOP
        INSERT INTO premis_agent_link (agent, kind_id, at, identifier, event_id, sequence)
        VALUES (agent_keys[i], kind, happened, name, new_id, seq);
    END LOOP;
    INSERT INTO premis_count_delta (day, kind_id, n) VALUES ((happened AT TIME ZONE 'UTC')::date, kind, 1);
    IF told IS NOT NULL THEN
        INSERT INTO outbox (id, event, next_at)
        VALUES ((told ->> 'id')::uuid, told, clock_timestamp() + interval '5 seconds') ON CONFLICT (id) DO NOTHING;
    END IF;
    IF noted IS NOT NULL THEN
        INSERT INTO audit_entry (account_id, actor, means, action, outcome, method, path, status, objects, address)
        SELECT n.account_id, n.actor, n.means, n.action, n.outcome, n.method, n.path, n.status, n.objects, n.address
        FROM json_to_record(noted) AS n (account_id uuid, actor text, means text, action text, outcome text,
            method text, path text, status integer, objects text[], address text);
    END IF;
    RETURN true;
END $$;

-- What a function of the version before calls, which keeps the audit log itself.
CREATE OR REPLACE FUNCTION premis_append_one(new_id uuid, name text, kind bigint, happened timestamptz,
    premis text, rendered text, sent text, leaf_text text, shown_objects text, type_text text, outcome_texts text[],
    object_keys text[], bare_names text[], agent_keys text[], recorded timestamptz, actor_name text,
    told jsonb)
RETURNS boolean LANGUAGE sql AS $$
    SELECT premis_append_one(new_id, name, kind, happened, premis, rendered, sent, leaf_text, shown_objects, type_text,
        outcome_texts, object_keys, bare_names, agent_keys, recorded, actor_name, told, CAST(NULL AS json))
$$;

-- Puts a new version in the place of the one of that number, or a tombstone when there is no event given. False when
-- the event has changed since it was read. The old version stays in the log.
CREATE OR REPLACE FUNCTION premis_supersede(target uuid, expected integer, event json, links json, kinds json,
                                            tombstone text, recorded timestamptz, actor_name text)
RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    old premis_event%ROWTYPE;
    seq bigint;
BEGIN
    SELECT * INTO old FROM premis_event WHERE event_id = target AND version = expected FOR UPDATE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    seq := nextval('premis_sequence');
    DELETE FROM premis_object WHERE object = ANY (
        SELECT json_array_elements_text(links -> 'old')) AND sequence = old.sequence;
    DELETE FROM premis_agent_link WHERE agent = ANY (
        SELECT json_array_elements_text(links -> 'old_agents')) AND sequence = old.sequence;
    INSERT INTO premis_count_delta (day, kind_id, n) VALUES ((old.at AT TIME ZONE 'UTC')::date, old.kind_id, -1);
    INSERT INTO premis_unsealed (sequence, recorded_at) VALUES (seq, recorded);
    IF event IS NULL THEN
        INSERT INTO premis_log (sequence, recorded_at, event_id, version, kind, actor, premis_version, xml, leaf)
        VALUES (seq, recorded, target, expected + 1, 'deleted', actor_name, old.premis_version, old.xml,
                convert_to(tombstone, 'UTF8'));
        DELETE FROM premis_event WHERE event_id = target;
        RETURN true;
    END IF;
    INSERT INTO premis_kind (id, type, outcomes)
    SELECT n.id, n.t, n.u FROM json_to_recordset(kinds) AS n(id bigint, t text, u text[])
    ON CONFLICT DO NOTHING;
    INSERT INTO premis_log (sequence, recorded_at, event_id, version, kind, actor, premis_version, xml, leaf)
    SELECT seq, recorded, target, expected + 1, 'replaced', actor_name, e.v, coalesce(e.s, e.x),
           convert_to(e.l, 'UTF8')
    FROM json_to_record(event) AS e(v text, x text, s text, l text);
    UPDATE premis_event SET log_sequence = seq, kind_id = e.k, at = e.at, changed_at = recorded,
                            version = expected + 1, premis_version = e.v, objects = e.b, xml = e.x
    FROM json_to_record(event) AS e(k bigint, at timestamptz, v text, x text, b text)
    WHERE event_id = target;
    INSERT INTO premis_object (object, bare, kind_id, at, identifier, event_id, sequence)
    SELECT n.ob, n.ba, e.k, e.at, old.identifier, target, old.sequence
    FROM json_to_recordset(links -> 'new') AS n(ob text, ba text),
         json_to_record(event) AS e(k bigint, at timestamptz)
    WHERE n.ob IS NOT NULL;
    INSERT INTO premis_agent_link (agent, kind_id, at, identifier, event_id, sequence)
    SELECT n.ag, e.k, e.at, old.identifier, target, old.sequence
    FROM json_to_recordset(links -> 'new') AS n(ag text), json_to_record(event) AS e(k bigint, at timestamptz)
    WHERE n.ag IS NOT NULL;
    INSERT INTO premis_count_delta (day, kind_id, n)
    SELECT (e.at AT TIME ZONE 'UTC')::date, e.k, 1 FROM json_to_record(event) AS e(k bigint, at timestamptz);
    RETURN true;
END $$;

-- Folds changes of the counts into the counts; as many as asked for, none twice, waiting for nobody.
CREATE OR REPLACE FUNCTION premis_fold_counts(at_most integer) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    folded integer;
BEGIN
    WITH taken AS (
        DELETE FROM premis_count_delta WHERE id = ANY (ARRAY(
            SELECT id FROM premis_count_delta ORDER BY id LIMIT at_most FOR UPDATE SKIP LOCKED))
        RETURNING day, kind_id, n
    ),
    summed AS (SELECT day, kind_id, sum(n)::bigint AS n, count(*) AS rows FROM taken GROUP BY day, kind_id),
    stored AS (
        INSERT INTO premis_count AS c (day, kind_id, n)
        SELECT day, kind_id, n FROM summed ORDER BY day, kind_id
        ON CONFLICT (day, kind_id) DO UPDATE SET n = c.n + excluded.n
    )
    SELECT coalesce(sum(rows), 0) INTO folded FROM summed;
    RETURN folded;
END $$;

-- Creates the partitions of this month and the coming ones. It runs with the rights of the owner of the tables, so
-- that the application can ask for partitions without being able to alter the log.
CREATE OR REPLACE FUNCTION premis_create_partitions(months_ahead integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    first date;
    name text;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('premis_create_partitions'));
    FOR ahead IN 0..least(months_ahead, 24) LOOP
        first := (date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => ahead))::date;
        name := 'premis_log_' || to_char(first, 'YYYY_MM');
        IF to_regclass(name) IS NULL AND NOT EXISTS (
            SELECT 1 FROM premis_log_default
            WHERE recorded_at >= first::timestamp AT TIME ZONE 'UTC'
              AND recorded_at < (first + interval '1 month') AT TIME ZONE 'UTC')
        THEN
            EXECUTE format('CREATE TABLE %I PARTITION OF premis_log FOR VALUES FROM (%L) TO (%L)', name,
                           first::timestamp AT TIME ZONE 'UTC', (first + interval '1 month') AT TIME ZONE 'UTC');
        END IF;
    END LOOP;
END $$;

-- Whoever connects, and whatever their rights: rows of the log, leaves and checkpoints are not changed.
CREATE OR REPLACE FUNCTION premis_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END $$;
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['premis_log', 'premis_leaf', 'premis_checkpoint'] LOOP
        IF NOT EXISTS (SELECT 1 FROM pg_trigger WHERE tgname = 'append_only' AND tgrelid = name::regclass) THEN
            EXECUTE format('CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON %I FOR EACH ROW '
                           'EXECUTE FUNCTION premis_refuse_change()', name);
            EXECUTE format('CREATE TRIGGER append_only_whole BEFORE TRUNCATE ON %I FOR EACH STATEMENT '
                           'EXECUTE FUNCTION premis_refuse_change()', name);
        END IF;
    END LOOP;
END $$;
