"""PostgreSQL's own refusal to change or remove evidence, also by raw SQL. Put there after each migration, so that none can leave it out."""

from __future__ import annotations

from django.db import connections

from audit.models import AccessReview, Anchor, Attestation, Event, Reading, SchemaVersion, SignedHead

GUARDED = (AccessReview, Anchor, Attestation, Event, Reading, SchemaVersion, SignedHead)
_FUNCTION = """
CREATE OR REPLACE FUNCTION l2l_audit_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'The evidence trail is only added to: % of % is refused.', TG_OP, TG_TABLE_NAME; END $$
"""


def guard(alias: str) -> None:
    """Makes the triggers that are missing; nothing on SQLite, where whoever has the file can do anything."""
    connection = connections[alias]
    if connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT tgrelid::regclass::text FROM pg_trigger WHERE tgname = 'l2l_append_only'")
        guarded = {name for (name,) in cursor.fetchall()}
        for table in {model._meta.db_table for model in GUARDED} - guarded:
            cursor.execute(_FUNCTION)
            cursor.execute(
                f"CREATE TRIGGER l2l_append_only BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION l2l_audit_append_only()"
            )
