"""What is told of a published Archive elsewhere is new when it changes: harvesters ask for what changed since."""

from __future__ import annotations

from alembic import op

revision = "0046"
down_revision = "0045"


def upgrade() -> None:
    """Date publications anew whenever title, metadata (with the embargo) or restriction of their Archive change."""
    op.get_bind().exec_driver_sql("""
        CREATE FUNCTION archive_description_changed() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            UPDATE publication SET changed_at = clock_timestamp() WHERE archive_id = NEW.id;
            RETURN NULL;
        END $$;
        CREATE TRIGGER archive_description_changed AFTER UPDATE OF title, metadata, restricted ON archive FOR EACH ROW
            WHEN ((OLD.title, OLD.metadata, OLD.restricted) IS DISTINCT FROM (NEW.title, NEW.metadata, NEW.restricted))
            EXECUTE FUNCTION archive_description_changed();
    """)
