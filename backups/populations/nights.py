"""Nights, and the versions of the policy that cut them: one row for each customer and night of the period (P1, P2)."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from django.db.models import Count, Max, Min, Q

from audit import clock
from audit.populations import Period, Reconciled
from audit.populations.own import in_history
from audit.populations.sql import As, Column, Listing
from audit.registry import SYSTEM_STREAM
from backups import policies
from backups.models import BackupPolicy, Run
from backups.populations import sampled
from backups.populations.owed import Owed, nights_in, stretch
from subscriptions.models import Customer

STATES = (
    "CASE WHEN r.state = 'done' AND NOT r.late THEN 'filled' WHEN r.state = 'done' THEN 'late' WHEN r.state = 'excused' THEN 'excused' "
    "WHEN r.state IN ('missed', 'failed', 'stopped', 'paused') THEN 'missed' ELSE 'open' END"
)
_ENVELOPE = "FROM l2l_backups_blob AS e WHERE e.made_by_id = s.id AND e.kind = 'envelope'"
_WHOLE = (
    "(SELECT count(*) FROM l2l_backups_copy AS c JOIN l2l_backups_blob AS e ON e.id = c.blob_id "
    "WHERE c.state = 'present' AND e.made_by_id = s.id AND e.kind = 'envelope')"
)


def owed_to_all(versions: list[Any]) -> dict[uuid.UUID, Owed]:
    """The dates of all customers, ended ones too, and of the system stream."""
    began = min(one.in_force_from for one in versions)
    found = {SYSTEM_STREAM: Owed(began, None, None, None)}
    standing = ~Q(deletion_requests__state="cancelled")
    dated = Customer.objects.order_by().annotate(
        first=Min("subscriptions__start"),
        last=Max("subscriptions__end"),
        open_ended=Count("subscriptions", filter=Q(subscriptions__end=None)),
        agreed=Count("subscriptions"),
        begun=Max("deletion_requests__begun_at", filter=standing),
    )
    columns = ("pk", "created_at", "first", "last", "open_ended", "agreed", "begun")
    for pk, created_at, first, last, open_ended, agreed, begun in dated.values_list(*columns).iterator():
        found[pk] = Owed(created_at, first, last if agreed and not open_ended else None, begun)
    return found


def reconcile(period: Period) -> list[Reconciled]:
    """Nights owed by contract dates and policy, against the runs; and customer by customer, so that no two faults hide each other."""
    versions = policies.versions()
    if not versions:
        return []
    now, expected, found, agreeing = clock.now(), 0, 0, 0
    counted = _counted(period)
    owed = owed_to_all(versions)
    for stream, dates in owed.items():
        begins, ends = stretch(dates, versions, period.first, period.last, now)
        nights, rows = nights_in(begins, ends), _within(stream, begins, ends, counted)
        expected, found, agreeing = expected + nights, found + rows, agreeing + (nights == rows)
    return [
        Reconciled("nights owed by contract dates and policy = filled + late + missed + excused + open", expected, found),
        Reconciled("customers, and the system = those of whom every owed night is listed", len(owed), agreeing),
    ]


def _counted(period: Period) -> dict[uuid.UUID, tuple[int, date, date]]:
    """Of each stream how many nights there are, the first and the last."""
    runs = Run.objects.filter(kind=Run.Kind.BACKUP, night__range=(period.first, period.last)).order_by()
    by_stream = runs.values_list("stream").annotate(count=Count("pk"), first=Min("night"), last=Max("night"))
    return {stream: (count, first, last) for stream, count, first, last in by_stream.iterator()}


def _within(stream: uuid.UUID, begins: date, ends: date, counted: Mapping[uuid.UUID, tuple[int, date, date]]) -> int:
    """Rows of nights that are owed; what lies before or behind them fills none."""
    count, first, last = counted.get(stream, (0, begins, begins))
    if not count or (begins <= first and last <= ends):
        return count
    return Run.objects.filter(kind=Run.Kind.BACKUP, stream=stream, night__range=(begins, ends)).count()


def evidence(key: str) -> dict[str, bytes]:
    """The run with what people did to it, the signed envelope of its set as it lies at a location, its copies, tests of the set."""
    stream, _, night = key.partition("/")
    run = Run.objects.select_related("backup_set", "stream").get(kind=Run.Kind.BACKUP, stream=uuid.UUID(stream), night=night)
    document: dict[str, Any] = {
        name: getattr(run, name)
        for name in ("pk", "night", "state", "late", "policy", "due_at", "ends_at", "started_at", "ended_at", "attempts")
    }
    document |= {"stream": run.stream_id, "set": run.backup_set_id, "acts": list(run.acts.values("at", "what", "actor").order_by("at"))}
    found = {"run.json": as_json(document)}
    return {**found, **sampled.of_set(run.backup_set)} if run.backup_set else found


def as_json(document: Any) -> bytes:
    return (json.dumps(document, indent=1, sort_keys=True, default=_written) + "\n").encode()


def _written(value: Any) -> str:
    return value.isoformat() if isinstance(value, date | datetime) else str(value)


def _of_policies(period: Period) -> list[Reconciled]:
    return in_history(BackupPolicy)


NIGHTS = Listing(
    name="nights",
    title="Every night of every customer",
    promises=("P1",),
    key=(Column("stream", "r.stream_id", As.ID), Column("night", "r.night", As.DAY)),
    columns=(
        Column("customer", "r.stream_id", As.ID),
        Column("code", "st.name"),
        Column("night", "r.night", As.DAY),
        Column("state", STATES),
        Column("run", "r.id", As.NUMBER),
        Column("run_state", "r.state"),
        Column("policy", "r.policy", As.NUMBER),
        Column("due_at", "r.due_at", As.TIME),
        Column("ends_at", "r.ends_at", As.TIME),
        Column("started_at", "r.started_at", As.TIME),
        Column("ended_at", "r.ended_at", As.TIME),
        Column("attempts", "r.attempts", As.NUMBER),
        Column("excused_by", "(SELECT max(a.actor) FROM l2l_backups_act AS a WHERE a.run_id = r.id AND a.what = 'excused')"),
        Column("set", "r.backup_set_id", As.ID),
        Column("content_bytes", "s.content_bytes", As.NUMBER),
        Column("protected_at", "s.protected_at", As.TIME),
        Column("proof", "s.proof"),
        Column("envelope_sha256", f"(SELECT max(e.sha256) {_ENVELOPE})"),
        Column(
            "locations",
            _WHOLE,
            As.NUMBER,
        ),
    ),
    source=(
        "FROM l2l_backups_run AS r JOIN l2l_audit_stream AS st ON st.id = r.stream_id "
        "LEFT JOIN l2l_backups_backupset AS s ON s.id = r.backup_set_id "
        "WHERE r.kind = 'backup' AND r.night >= :first AND r.night <= :last"
    ),
    more=reconcile,
    evidence=evidence,
)
POLICIES = Listing(
    name="policies",
    title="Versions of the backup policy, with who made and who approved them",
    promises=("P1", "P6"),
    key=(Column("version", "p.number", As.NUMBER),),
    columns=(
        Column("in_force_from", "p.in_force_from", As.TIME),
        Column("night_starts", "p.night_starts"),
        Column("zone", "p.zone"),
        Column("nightly_days", "p.nightly_days", As.NUMBER),
        Column("weekly_weeks", "p.weekly_weeks", As.NUMBER),
        Column("longest_years", "p.longest_years", As.NUMBER),
        Column("test_days", "p.test_days", As.NUMBER),
        Column("tests_a_night", "p.tests_a_night", As.NUMBER),
        Column("made_by", "p.made_by"),
        Column("approved_by", "p.approved_by"),
    ),
    source="FROM l2l_backups_backuppolicy AS p WHERE p.in_force_from < :ends",
    more=_of_policies,
)
LOSS_HOURS = Listing(
    name="hot_hours",
    title="How long changes took until they were durable at each location, hour by hour",
    promises=("P2",),
    key=(Column("hour", "h.id", As.NUMBER),),
    columns=(
        Column("hour", "h.hour", As.TIME),
        Column("location", "l.name"),
        Column("changes", "h.changes", As.NUMBER),
        Column("longest_seconds", "h.longest", As.NUMBER),
    ),
    source=(
        "FROM l2l_backups_losshour AS h JOIN l2l_backups_location AS l ON l.id = h.location_id WHERE h.hour >= :begins AND h.hour < :ends"
    ),
)
POPULATIONS = (NIGHTS.population, POLICIES.population, LOSS_HOURS.population)
