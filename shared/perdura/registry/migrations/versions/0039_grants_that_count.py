"""Grants know whether they are of what is restricted, and whether they are the own ones of who made an Archive.

Whoever makes an Archive is granted it, and most Archives are public: of a hundred thousand grants a few say anything
about what may be seen. These are marked, by triggers on both sides: giving a grant waits for a restriction of its
Archive that is under way, and the other way round, so that no mark is missed.
"""

from __future__ import annotations

from alembic import op

revision = "0039"
down_revision = "0038"

_MARKS = """
    ALTER TABLE access_grant ADD COLUMN restricted boolean NOT NULL DEFAULT false,
        ADD COLUMN own boolean NOT NULL DEFAULT false;

    CREATE FUNCTION access_grant_given() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        SELECT restricted INTO NEW.restricted FROM archive WHERE id = NEW.archive_id FOR SHARE;
        NEW.restricted := coalesce(NEW.restricted, false);
        RETURN NEW;
    END $$;
    CREATE TRIGGER access_grant_given BEFORE INSERT ON access_grant FOR EACH ROW
        WHEN (NEW.archive_id IS NOT NULL) EXECUTE FUNCTION access_grant_given();

    CREATE FUNCTION archive_restriction_granted() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        UPDATE access_grant SET restricted = NEW.restricted WHERE archive_id = NEW.id;
        RETURN NULL;
    END $$;
    CREATE TRIGGER archive_restriction_granted AFTER UPDATE OF restricted ON archive FOR EACH ROW
        WHEN (OLD.restricted <> NEW.restricted) EXECUTE FUNCTION archive_restriction_granted();
"""

_PRESENT = """
    UPDATE access_grant SET restricted = archive.restricted, own = account_id IS NOT NULL AND (
            given_by = (SELECT name FROM account WHERE account.id = account_id)
            OR EXISTS (SELECT FROM deposit
                WHERE deposit.archive_id = archive.id AND deposit.account_id = access_grant.account_id)
            OR EXISTS (SELECT FROM step WHERE step.archive_id = archive.id AND step.position = 0
                AND step.input ->> 'requested_by' = access_grant.account_id::text)
            OR given_by IN (SELECT 'schedule ' || name FROM schedule))
    FROM archive WHERE archive.id = access_grant.archive_id;
"""

_INDEXES = """
    CREATE INDEX ix_access_grant_account_restricted ON access_grant (account_id, archive_id) WHERE restricted;
    CREATE INDEX ix_access_grant_group_restricted ON access_grant (group_name, archive_id) WHERE restricted;
    CREATE INDEX ix_access_grant_newest ON access_grant (created_at, id);
    CREATE INDEX ix_access_grant_given ON access_grant (created_at, id) WHERE NOT own;
"""


def upgrade() -> None:
    """Add the marks, what keeps them, and the indexes over what is marked."""
    for statements in (_MARKS, _PRESENT, _INDEXES):
        op.get_bind().exec_driver_sql(statements)
