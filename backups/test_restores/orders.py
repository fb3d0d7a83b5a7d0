"""Which tests are to be made: tonight's plan, and what a person asks for (P7). Each is a row that one process works off."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from django.db import transaction
from django.db.models import Q, QuerySet

from audit import actors
from audit.models import Stream
from backups import nights
from backups.errors import NotTested
from backups.models import BackupSet, Slot, TestCell, TestNight, TestOrder, TestTier
from backups.policy import Policy
from backups.slots import night_of
from backups.test_restores import coverage, planning
from backups.test_restores.exempting import left_alone
from backups.vault import Vault

# After the night's own backups have begun.
BEGINS_AFTER = timedelta(hours=3)
# A message that the queue lost is sent again after this.
QUEUED_FOR = timedelta(minutes=10)
KEPT = timedelta(days=120)
STARTS_TESTS = "l2l_backups.add_testrestore"
State = TestOrder.State


@dataclass(frozen=True, slots=True)
class Plan:
    """What one night takes, from which cells, by which seed."""

    seed: str
    policy: Policy
    owed: int
    overdue: int
    cells: list[TestCell]
    out_of_reach: dict[str, str]


def plan(vault: Vault, now: datetime, seed: str | None = None) -> Plan | None:
    """Tonight's choice as it would be made now; orders nothing. None before there is a policy. Locations that cannot be used stay owed."""
    policy = vault.in_force(now)
    if policy is None:
        return None
    coverage.refresh(policy, now)
    return _planned(policy, vault.usable()[1], now, seed or secrets.token_hex(16))


def _planned(policy: Policy, out_of_reach: dict[str, str], now: datetime, seed: str) -> Plan:
    rows = {(str(cell.stream_id), cell.tier, cell.location.name): cell for cell in coverage.owed().select_related("stream", "location")}
    alone = {str(stream) for stream in left_alone()}
    pure = [cell for cell in coverage.pure(rows.values()) if cell.location not in out_of_reach and cell.stream not in alone]
    chosen = planning.tonight(pure, policy.test_days, policy.tests_a_night, now, seed)
    overdue = sum(cell.due_at < now for cell in rows.values())
    return Plan(seed, policy, len(rows), overdue, [rows[one.stream, one.tier, one.location] for one in chosen], out_of_reach)


def plan_night(vault: Vault, now: datetime) -> TestNight | None:
    """Orders the tests of the night that it is, once, some hours after its backups began; None when it was done, or is not due yet. Stands
    inside `audit.acting(...)`."""
    policy = vault.in_force(now)
    if policy is None:
        return None
    night = nights.night_under(night_of(now, policy.zone), policy)
    if now < night.due_at + BEGINS_AFTER or TestNight.objects.filter(pk=night.label).exists():
        return None
    chosen = plan(vault, now)
    assert chosen is not None
    with transaction.atomic():
        made, new = TestNight.objects.get_or_create(
            pk=night.label,
            defaults={
                "planned_at": now,
                "seed": chosen.seed,
                "policy": policy.number,
                "owed": chosen.owed,
                "overdue": chosen.overdue,
                "chosen": len(chosen.cells),
                "out_of_reach": "; ".join(f"{name}: {why}" for name, why in chosen.out_of_reach.items())[:500],
            },
        )
        if not new:
            return None
        order(chosen.cells, chosen.seed, now, night=night.label, reason="owed tonight", owed=True)
    forget_old(now)
    return made


def order(
    cells: Sequence[TestCell],
    seed: str,
    now: datetime,
    *,
    reason: str,
    night: date | None = None,
    set_id: uuid.UUID | None = None,
    at: datetime | None = None,
    owed: bool = False,
) -> list[TestOrder]:
    """A row for each cell; who acts has asked for it. With `owed` a cell that has an open order already gets no second one."""
    opened: set[tuple[uuid.UUID, str, int]] = set()
    if owed:
        opened = set(TestOrder.objects.filter(state__in=(State.WAITING, State.RUNNING)).values_list("stream", "tier", "location"))
    rows = [
        TestOrder(
            stream_id=cell.stream_id,
            tier=cell.tier,
            location_id=cell.location_id,
            seed=seed,
            night=night,
            set_id=set_id,
            at=at,
            asked_by=actors.current().name[:200],
            reason=reason[:500],
            asked_at=now,
        )
        for cell in cells
        if (cell.stream_id, cell.tier, cell.location_id) not in opened
    ]
    for one in rows:
        one.save()
    return rows


def ask(
    vault: Vault,
    stream: Stream,
    now: datetime,
    *,
    reason: str,
    location: str | None = None,
    set_id: str | None = None,
    at: datetime | None = None,
) -> list[TestOrder]:
    """Tests of one stream, at each location or the named one: of the named set, else of the tier that is due first there.

    Raises `NotTested` when there is nothing to be tested, or the stream is left alone."""
    if not reason.strip():
        raise NotTested("Say why it is tested: the reason stands beside the result.")
    policy = vault.in_force(now)
    if policy is None:
        raise NotTested("There is no backup policy. 'manage.py init' makes the first version.")
    if stream.pk in left_alone():
        raise NotTested(f"{stream.name} is being returned or has ended: its backups are left alone.")
    vault.only(location)  # refuses a name that is none
    coverage.refresh(policy, now, stream.pk)
    cells = coverage.owed().filter(stream=stream).select_related("stream", "location")
    if location is not None:
        cells = cells.filter(location__name=location)
    if set_id is not None:
        return _ask_for_set(cells, stream, set_id, now, reason=reason, at=at)
    first = {cell.location_id: cell for cell in reversed(cells)}  # the one due first comes last, and stays
    if not first:
        raise NotTested(f"{stream.name} has no set{f' at {location}' if location else ''}. 'manage.py backup' makes one.")
    chosen = sorted(first.values(), key=lambda cell: (cell.location.position, cell.location.name))
    return order(chosen, secrets.token_hex(16), now, reason=reason, at=at)


def _ask_for_set(
    cells: QuerySet[TestCell], stream: Stream, set_id: str, now: datetime, *, reason: str, at: datetime | None
) -> list[TestOrder]:
    fitting = [one for one in BackupSet.objects.filter(stream=stream, state=BackupSet.State.MADE) if str(one.pk).startswith(set_id)]
    if len(fitting) != 1:
        raise NotTested(f"{len(fitting)} sets of {stream.name} begin with {set_id!r}. 'manage.py restore_points' lists them.")
    [found] = fitting
    tier = tier_of(found)
    rows = {cell.location_id: cell for cell in cells}
    wanted = [_cell_like(cell, tier) for cell in rows.values()]
    if not wanted:
        raise NotTested(f"No location in force has a set of {stream.name}.")
    return order(wanted, secrets.token_hex(16), now, reason=reason, set_id=found.pk, at=at)


def _cell_like(cell: TestCell, tier: str) -> TestCell:
    return TestCell(stream_id=cell.stream_id, tier=tier, location_id=cell.location_id)


def tier_of(backup_set: BackupSet) -> str:
    """The longest that the set is kept for."""
    keys = list(Slot.objects.filter(backup_set=backup_set).values_list("key", flat=True))
    for tier in (TestTier.MONTHLY, TestTier.WEEKLY):
        if any(key.startswith(coverage.SLOTS[tier]) for key in keys):
            return tier.value
    return TestTier.NIGHTLY.value


def waiting() -> list[TestOrder]:
    """All that nobody has begun, the oldest first."""
    return list(TestOrder.objects.filter(state=State.WAITING).order_by("asked_at", "pk"))


def unqueued(now: datetime, most: int) -> list[int]:
    """The ids of those that wait and have no message in the queue, as far as we know, the oldest first."""
    lost = Q(queued_at=None) | Q(queued_at__lte=now - QUEUED_FOR)
    found = TestOrder.objects.filter(lost, state=State.WAITING).order_by("asked_at", "pk")
    return list(found.values_list("pk", flat=True)[:most])


def forget_old(now: datetime) -> None:
    """What became of old orders stands in the results; of nights the seed is in those too."""
    TestOrder.objects.filter(state__in=(State.DONE, State.NOT_TESTED), asked_at__lt=now - KEPT).delete()
    TestNight.objects.filter(planned_at__lt=now - KEPT * 3).delete()
