DO $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'perdura_app') THEN
        CREATE ROLE perdura_app NOLOGIN;
    END IF;
EXCEPTION WHEN insufficient_privilege OR duplicate_object OR unique_violation THEN
    RAISE NOTICE 'role perdura_app has to be made by an administrator';
END $$;
DO $$
BEGIN
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'perdura_app') THEN
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO perdura_app', current_schema());
        REVOKE ALL ON premis_log, premis_log_default, premis_leaf, premis_checkpoint, premis_key FROM perdura_app;
        GRANT SELECT, INSERT ON premis_log, premis_leaf, premis_checkpoint, premis_key TO perdura_app;
        GRANT SELECT, INSERT, UPDATE, DELETE ON premis_event, premis_object, premis_agent_link, premis_count,
            premis_count_delta,
            premis_agent, premis_unsealed, premis_tile TO perdura_app;
        GRANT SELECT, INSERT ON premis_kind TO perdura_app;
        GRANT USAGE ON SEQUENCE premis_sequence TO perdura_app;
    END IF;
END $$;
