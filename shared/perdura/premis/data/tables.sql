CREATE SEQUENCE IF NOT EXISTS premis_sequence CACHE 1;

CREATE TABLE IF NOT EXISTS premis_log (
    sequence bigint NOT NULL,
    recorded_at timestamptz NOT NULL,
    event_id uuid NOT NULL,
    version integer NOT NULL,
    kind text NOT NULL CHECK (kind IN ('created', 'replaced', 'deleted')),
    actor text NOT NULL,
    premis_version text,
    xml text NOT NULL,
    leaf bytea NOT NULL,
    CONSTRAINT pk_premis_log PRIMARY KEY (sequence, recorded_at)
) PARTITION BY RANGE (recorded_at);
CREATE INDEX IF NOT EXISTS ix_premis_log_event_id ON premis_log (event_id);
CREATE TABLE IF NOT EXISTS premis_log_default PARTITION OF premis_log DEFAULT;

CREATE TABLE IF NOT EXISTS premis_event (
    event_id uuid CONSTRAINT pk_premis_event PRIMARY KEY,
    identifier text COLLATE "C" NOT NULL,
    sequence bigint NOT NULL,
    log_sequence bigint NOT NULL,
    kind_id bigint NOT NULL,
    at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    changed_at timestamptz NOT NULL,
    version integer NOT NULL,
    premis_version text,
    objects text NOT NULL,
    xml text NOT NULL
);
CREATE INDEX IF NOT EXISTS ix_premis_event_moment ON premis_event (at, identifier) INCLUDE (event_id, kind_id, sequence);
CREATE INDEX IF NOT EXISTS ix_premis_event_kind_at ON premis_event (kind_id, at, identifier) INCLUDE (event_id);
CREATE INDEX IF NOT EXISTS ix_premis_event_kind_identifier ON premis_event (kind_id, identifier) INCLUDE (event_id);
CREATE INDEX IF NOT EXISTS ix_premis_event_kind_added ON premis_event (kind_id, sequence) INCLUDE (event_id, at);
DROP INDEX IF EXISTS ix_premis_event_at, ix_premis_event_kind_sequence;

CREATE TABLE IF NOT EXISTS premis_object (
    object text COLLATE "C" NOT NULL,
    sequence bigint NOT NULL,
    bare text COLLATE "C",
    kind_id bigint NOT NULL,
    at timestamptz NOT NULL,
    identifier text COLLATE "C" NOT NULL,
    event_id uuid NOT NULL,
    CONSTRAINT pk_premis_object PRIMARY KEY (object, sequence)
);
CREATE INDEX IF NOT EXISTS ix_premis_object_moment ON premis_object (object, at, identifier)
    INCLUDE (event_id, kind_id, sequence);
CREATE INDEX IF NOT EXISTS ix_premis_object_any_case ON premis_object (lower(object))
    WHERE length(object) = 36 AND object <> lower(object);
CREATE INDEX IF NOT EXISTS ix_premis_object_name ON premis_object (bare, sequence)
    INCLUDE (event_id, kind_id, at, identifier) WHERE bare IS NOT NULL;
DROP INDEX IF EXISTS ix_premis_object_at, ix_premis_object_bare;

CREATE TABLE IF NOT EXISTS premis_agent_link (
    agent text COLLATE "C" NOT NULL,
    sequence bigint NOT NULL,
    kind_id bigint NOT NULL,
    at timestamptz NOT NULL,
    identifier text COLLATE "C" NOT NULL,
    event_id uuid NOT NULL,
    CONSTRAINT pk_premis_agent_link PRIMARY KEY (agent, sequence)
);

CREATE TABLE IF NOT EXISTS premis_kind (
    id bigint CONSTRAINT pk_premis_kind PRIMARY KEY,
    type text COLLATE "C" NOT NULL,
    outcomes text[] COLLATE "C" NOT NULL
);

CREATE TABLE IF NOT EXISTS premis_count (
    day date NOT NULL,
    kind_id bigint NOT NULL,
    n bigint NOT NULL,
    CONSTRAINT pk_premis_count PRIMARY KEY (day, kind_id)
);
CREATE TABLE IF NOT EXISTS premis_count_delta (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT pk_premis_count_delta PRIMARY KEY,
    day date NOT NULL,
    kind_id bigint NOT NULL,
    n bigint NOT NULL
);

CREATE TABLE IF NOT EXISTS premis_agent (
    identifier text COLLATE "C" CONSTRAINT pk_premis_agent PRIMARY KEY,
    name text COLLATE "C" NOT NULL,
    type text NOT NULL,
    recorded_at timestamptz NOT NULL,
    changed_at timestamptz NOT NULL,
    xml text NOT NULL
);
CREATE INDEX IF NOT EXISTS ix_premis_agent_name ON premis_agent (left(name, 200), identifier);

CREATE TABLE IF NOT EXISTS premis_unsealed (
    sequence bigint CONSTRAINT pk_premis_unsealed PRIMARY KEY,
    recorded_at timestamptz NOT NULL
);
CREATE TABLE IF NOT EXISTS premis_leaf (
    leaf_index bigint CONSTRAINT pk_premis_leaf PRIMARY KEY,
    sequence bigint NOT NULL CONSTRAINT uq_premis_leaf_sequence UNIQUE,
    recorded_at timestamptz NOT NULL,
    hash bytea NOT NULL CHECK (length(hash) = 32)
);
CREATE TABLE IF NOT EXISTS premis_tile (
    level integer NOT NULL,
    tile_index bigint NOT NULL,
    hashes bytea NOT NULL,
    CONSTRAINT pk_premis_tile PRIMARY KEY (level, tile_index)
);
CREATE TABLE IF NOT EXISTS premis_checkpoint (
    size bigint CONSTRAINT pk_premis_checkpoint PRIMARY KEY,
    root bytea NOT NULL,
    note text NOT NULL,
    signed_at timestamptz NOT NULL
);
CREATE TABLE IF NOT EXISTS premis_key (
    verifier text CONSTRAINT pk_premis_key PRIMARY KEY,
    first_used_at timestamptz NOT NULL
);
