"""Sets, where they lie, and that what lies there was read again (P3, P4)."""

from __future__ import annotations

from audit.populations import Period, Reconciled
from audit.populations.sql import As, Column, Listing, count

_OF_THE_PERIOD = "s.complete_at IS NOT NULL AND s.night >= :first AND s.night <= :last"


def _sets_by_locations(period: Period) -> list[Reconciled]:
    sets = count(f"FROM l2l_backups_backupset AS s WHERE {_OF_THE_PERIOD}", period)
    locations = count("FROM l2l_backups_location AS l", period)
    return [Reconciled("complete sets of the period x locations = rows", sets * locations, count(COPIES.source, period))]


SETS = Listing(
    name="sets",
    title="Backup sets that existed at any time of the period",
    promises=("P1", "P6"),
    key=(Column("set", "s.id", As.ID),),
    columns=(
        Column("customer", "s.stream_id", As.ID),
        Column("code", "st.name"),
        Column("night", "s.night", As.DAY),
        Column("state", "s.state"),
        Column("policy", "s.policy", As.NUMBER),
        Column("complete_at", "s.complete_at", As.TIME),
        Column("protected_at", "s.protected_at", As.TIME),
        Column("damaged_at", "s.damaged_at", As.TIME),
        Column("goes_at", "s.goes_at", As.TIME),
        Column("kept_why", "s.kept_why"),
        Column("left_at", "s.left_at", As.TIME),
        Column("removed_at", "s.removed_at", As.TIME),
    ),
    source=(
        "FROM l2l_backups_backupset AS s JOIN l2l_audit_stream AS st ON st.id = s.stream_id "
        "WHERE s.complete_at IS NOT NULL AND s.started_at < :ends AND (s.removed_at IS NULL OR s.removed_at >= :begins)"
    ),
)
COPIES = Listing(
    name="copies",
    title="Each set of the period at each location",
    promises=("P3",),
    key=(Column("set", "s.id", As.ID), Column("location", "l.id", As.NUMBER)),
    columns=(
        Column("customer", "s.stream_id", As.ID),
        Column("code", "st.name"),
        Column("night", "s.night", As.DAY),
        Column("location", "l.name"),
        Column("offsite", "l.offsite", As.FLAG),
        Column("required", "l.required", As.FLAG),
        Column(
            "state",
            "CASE WHEN c.state = 'present' THEN 'whole' WHEN c.state = 'owed' THEN 'owed' "
            "WHEN s.state IN ('leaving', 'removed') THEN 'removed' ELSE 'absent' END",
        ),
        Column("read_back_at", "c.checked_at", As.TIME),
        Column("removed_at", "s.removed_at", As.TIME),
    ),
    source=(
        "FROM l2l_backups_backupset AS s JOIN l2l_audit_stream AS st ON st.id = s.stream_id CROSS JOIN l2l_backups_location AS l "
        "LEFT JOIN l2l_backups_blob AS e ON e.made_by_id = s.id AND e.kind = 'envelope' "
        "LEFT JOIN l2l_backups_copy AS c ON c.blob_id = e.id AND c.location_id = l.id "
        f"WHERE {_OF_THE_PERIOD}"
    ),
    more=_sets_by_locations,
)
VERIFICATIONS = Listing(
    name="verifications",
    title="What was read again, each night at each location",
    promises=("P4",),
    key=(Column("pass", "p.id", As.NUMBER),),
    columns=(
        Column("location", "l.name"),
        Column("night", "p.night", As.DAY),
        Column("started_at", "p.started_at", As.TIME),
        Column("ended_at", "p.ended_at", As.TIME),
        Column("listed_at", "p.listed_at", As.TIME),
        Column("objects_read", "p.objects_read", As.NUMBER),
        Column("bytes_read", "p.bytes_read", As.NUMBER),
        Column("found_damaged", "p.found", As.NUMBER),
        Column("mended", "p.mended", As.NUMBER),
        Column("left_damaged", 'p."left"', As.NUMBER),
        Column("unknown_objects", "p.unknown", As.NUMBER),
        Column("stored_objects", "p.stored_objects", As.NUMBER),
        Column("checked_within_the_period_promised", "p.in_time", As.NUMBER),
        Column("oldest_check_at", "p.oldest_at", As.TIME),
    ),
    source=(
        "FROM l2l_backups_verificationpass AS p JOIN l2l_backups_location AS l ON l.id = p.location_id "
        "WHERE p.night >= :first AND p.night <= :last"
    ),
)
DAMAGES = Listing(
    name="damages",
    title="Objects found damaged, and how they were mended",
    promises=("P4",),
    key=(Column("damage", "d.id", As.NUMBER),),
    columns=(
        Column("customer", "d.stream_id", As.ID),
        Column("code", "st.name"),
        Column("location", "l.name"),
        Column("object", "d.name"),
        Column("kind", "d.kind"),
        Column("what", "d.what"),
        Column("found_at", "d.found_at", As.TIME),
        Column("mended_at", "d.mended_at", As.TIME),
        Column("mended_from", "d.mended_from"),
        Column("beyond_mending_at", "d.beyond_at", As.TIME),
        Column("over_at", "d.over_at", As.TIME),
    ),
    source=(
        "FROM l2l_backups_damage AS d JOIN l2l_audit_stream AS st ON st.id = d.stream_id "
        "JOIN l2l_backups_location AS l ON l.id = d.location_id "
        "WHERE d.found_at < :ends AND (coalesce(d.mended_at, d.over_at) IS NULL OR coalesce(d.mended_at, d.over_at) >= :begins)"
    ),
)
POPULATIONS = (SETS.population, COPIES.population, VERIFICATIONS.population, DAMAGES.population)
