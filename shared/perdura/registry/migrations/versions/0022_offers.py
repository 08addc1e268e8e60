"""What the access pages offer of each Archive, by the policy of their destination."""

from __future__ import annotations

from alembic import op

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    """Create the tables; of what is published already all payload files are offered."""
    for statement in (_TABLES, _PUBLISHED, _FILES, _PLACED, _RIGHTS):
        op.get_bind().exec_driver_sql(statement)


_TABLES = """
CREATE TABLE offer (
    archive_id uuid CONSTRAINT pk_offer PRIMARY KEY CONSTRAINT fk_offer_archive_id REFERENCES archive (id),
    package_id uuid NOT NULL CONSTRAINT fk_offer_package_id REFERENCES package (id),
    content text NOT NULL CONSTRAINT ck_offer_content CHECK (content IN ('metadata', 'dip', 'aip')),
    files integer NOT NULL,
    file_bytes bigint NOT NULL
);
CREATE INDEX ix_offer_package_id ON offer (package_id);
CREATE TABLE offer_file (
    archive_id uuid NOT NULL CONSTRAINT fk_offer_file_archive_id REFERENCES offer (archive_id),
    name text COLLATE "C" NOT NULL,
    path text COLLATE "C" NOT NULL,
    CONSTRAINT pk_offer_file PRIMARY KEY (archive_id, name),
    CONSTRAINT uq_offer_file_archive_id_path UNIQUE (archive_id, path)
)
"""

_PAYLOAD = """
SELECT publication.archive_id, package.id AS package_id, package_file.path, package_file.size,
    CASE WHEN starts_with(package_file.path, 'data/objects/') THEN substr(package_file.path, 14)
        ELSE substring(package_file.path FROM '^data/[^/]+/representations/[^/]+/data/(.+)$') END AS name
FROM publication
JOIN package ON package.archive_id = publication.archive_id AND package.kind = 'AIP' AND package.accepted
LEFT JOIN package_file ON package_file.package_id = package.id
WHERE publication.destination = 'access-pages'
"""

_PUBLISHED = f"""
INSERT INTO offer (archive_id, package_id, content, files, file_bytes)
SELECT archive_id, package_id, CASE WHEN count(path) > 0 THEN 'dip' ELSE 'aip' END, count(name),
    coalesce(sum(size) FILTER (WHERE name IS NOT NULL), 0)
FROM ({_PAYLOAD}) AS payload GROUP BY archive_id, package_id
ON CONFLICT DO NOTHING
"""  # noqa: S608 - a constant of this module

_FILES = f"""
INSERT INTO offer_file (archive_id, name, path)
SELECT archive_id, name, path FROM ({_PAYLOAD}) AS payload WHERE name IS NOT NULL
ON CONFLICT DO NOTHING
"""  # noqa: S608 - a constant of this module

_PLACED = """
INSERT INTO placement (destination, archive_id, record_id, state)
SELECT destination, archive_id, archive_id::text, 'published' FROM publication WHERE destination = 'access-pages'
ON CONFLICT DO NOTHING
"""

_RIGHTS = """
DO $$
BEGIN
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'perdura_app') THEN
        GRANT SELECT, INSERT, UPDATE ON offer TO perdura_app;
        GRANT SELECT, INSERT, DELETE ON offer_file TO perdura_app;
    END IF;
END $$
"""
