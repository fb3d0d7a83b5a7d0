"""Weeks and months with what was chosen for them, sets that left and why, content that was purged (P6, P9)."""

from __future__ import annotations

from audit.models import Event
from audit.populations import Period, Reconciled, Told
from audit.populations.own import in_history
from audit.populations.sql import As, Column, Listing, count
from backups.models import Purge

_DESTROYED = (
    "EXISTS (SELECT 1 FROM l2l_subscriptions_deletionrequest AS d WHERE d.customer_id = s.stream_id AND d.begun_at IS NOT NULL "
    "AND d.begun_at <= s.left_at)"
)


def _left(period: Period) -> list[Reconciled]:
    """Retention tells in each event how many sets it let go; the rows are counted one by one."""
    decided = Event.objects.filter(event="prune:decided", at__gte=period.begins, at__lt=period.ends)
    told = sum(int(one.facts.get("sets", 0)) for one in decided.only("facts").iterator())
    return [
        Reconciled(
            "sets that retention let go, by its events = rows but those of destroyed customers",
            told,
            count(f"{REMOVALS.source} AND NOT {_DESTROYED}", period),
        )
    ]


def _of_purges(period: Period) -> list[Reconciled]:
    return in_history(Purge)


KEPT = Listing(
    name="kept",
    title="Each customer's weeks and months that ended in the period, and the set that is kept for them",
    promises=("P6",),
    key=(Column("customer", "sl.stream_id", As.ID), Column("slot", "sl.key")),
    columns=(
        Column("customer", "sl.stream_id", As.ID),
        Column("code", "st.name"),
        Column("slot", "sl.key"),
        Column("first", "sl.first", As.DAY),
        Column("last", "sl.last", As.DAY),
        Column("state", "sl.state"),
        Column("set", "sl.backup_set_id", As.ID),
        Column("set_night", "s.night", As.DAY),
        Column("set_state", "s.state"),
        Column("nights_off", "sl.nights_off", As.NUMBER),
        Column("policy", "sl.policy", As.NUMBER),
        Column("decided_at", "sl.decided_at", As.TIME),
        Column("note", "sl.note"),
    ),
    source=(
        "FROM l2l_backups_slot AS sl JOIN l2l_audit_stream AS st ON st.id = sl.stream_id "
        "LEFT JOIN l2l_backups_backupset AS s ON s.id = sl.backup_set_id WHERE sl.last >= :first AND sl.last <= :last"
    ),
)
REMOVALS = Listing(
    name="removals",
    title="Sets that were let go, and why",
    promises=("P6", "P12"),
    key=(Column("set", "s.id", As.ID),),
    columns=(
        Column("customer", "s.stream_id", As.ID),
        Column("code", "st.name"),
        Column("night", "s.night", As.DAY),
        Column("reason", f"CASE WHEN {_DESTROYED} THEN 'customer destroyed' ELSE 'retention' END"),
        Column("kept_until_then", "s.kept_why"),
        Column("kept_policy", "s.kept_policy", As.NUMBER),
        Column("goes_at", "s.goes_at", As.TIME),
        Column("left_at", "s.left_at", As.TIME),
        Column("removed_at", "s.removed_at", As.TIME),
    ),
    source=(
        "FROM l2l_backups_backupset AS s JOIN l2l_audit_stream AS st ON st.id = s.stream_id "
        "WHERE s.left_at >= :begins AND s.left_at < :ends"
    ),
    more=_left,
)
PURGES = Listing(
    name="purges",
    title="Content that was removed because its term was over",
    promises=("P9",),
    key=(Column("purge", "p.id", As.NUMBER),),
    columns=(
        Column("customer", "p.customer_id", As.ID),
        Column("code", "c.code"),
        Column("request", "p.request_id", As.NUMBER),
        Column("part", "p.part", As.NUMBER),
        Column("purged_at", "p.purged_at", As.TIME),
        Column("read_back_at", "p.finished_at", As.TIME),
        Column("items_sha256_sum", "p.total"),
    ),
    source=(
        "FROM l2l_backups_purge AS p JOIN l2l_subscriptions_customer AS c ON c.id = p.customer_id "
        "WHERE p.purged_at >= :begins AND p.purged_at < :ends"
    ),
    told=(Told("content:purged", "l2l_backups.purge", "purged_at"),),
    more=_of_purges,
)
POPULATIONS = tuple(one.population for one in (KEPT, REMOVALS, PURGES))
