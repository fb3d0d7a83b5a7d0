"""The shipper's sessions at the database: short, so that one which was paused in the middle of a step holds nobody else up for long."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import connection
from django.db.backends.signals import connection_created

# The outbox is found through its partial index, whatever the planner believes of a table that has just grown.
_OPTIONS = (
    "SET idle_in_transaction_session_timeout = {idle}; SET lock_timeout = {wait}; SET statement_timeout = {longest}; "
    "SET enable_seqscan = off; SET jit = off"
)


def keep_short() -> None:
    """From now on each connection of this process to PostgreSQL has these limits. Nothing on SQLite, which has none of them."""
    connection_created.connect(_limit, dispatch_uid="l2l_shipper_sessions")
    connection.close()


def _limit(sender: Any, connection: Any, **kwargs: Any) -> None:
    if connection.vendor == "postgresql":
        lease = settings.L2L_HOT_LEASE_SECONDS * 1000
        with connection.cursor() as cursor:
            cursor.execute(_OPTIONS.format(idle=lease, wait=lease * 10, longest=lease * 20))
