"""P7 and P14: whether restores are tried, and whether an item that is asked for comes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Avg, Count, Exists, F, Max, Min, OuterRef, Q

from audit.controls import Control, Flaw, Measured, counted, judged
from audit.moments import in_utc, length
from audit.promises import Standing
from backups.models import BackupSet, ItemExport, TestNight, TestRestore
from backups.test_restores import coverage
from backups.test_restores.sign_off import unsigned
from subscriptions.ending import standing

# What is due is tried each night until it passes.
LATE_AT_LAST = timedelta(days=7)
PLANNED_WITHIN = timedelta(days=3)
SIGNED_OFF_WITHIN = timedelta(days=30)
ASKED_BACK = timedelta(days=30)
ANSWERED_WITHIN, ANSWERED_AT_LAST = timedelta(hours=1), timedelta(hours=24)
MEASURED_BACK = timedelta(days=100)
# From the question to a database that holds everything.
RESTORED_WITHIN = timedelta(hours=4)
State = ItemExport.State


def measure_test_restores(now: datetime) -> Measured:
    """The debt of customers, tiers and locations, and what nobody signed off."""
    debt, unplanned = coverage.debt(now), list(_unplanned(now))
    waiting = unsigned(TestRestore.objects.filter(ended_at__lt=now - SIGNED_OFF_WITHIN)).count()
    if not debt.owed:
        return judged("nothing to test yet", [*unplanned, *_unsigned(waiting)], 0)
    figure = f"{debt.tested:,} of {debt.owed:,} customers' tiers and locations tested, {debt.late:,} late, {debt.failed:,} failed"
    return judged(figure, [*_of_debt(debt, now), *unplanned, *_unsigned(waiting)], debt.late + debt.failed)


def _of_debt(debt: coverage.Debt, now: datetime) -> Iterator[Flaw]:
    if debt.failed:
        yield Flaw(
            Standing.BROKEN,
            f"{counted(debt.failed, 'test')} failed.",
            "The findings say what was not as it should be: mend it, and test again.",
        )
    if debt.late and debt.oldest is not None:
        state = Standing.BROKEN if now - debt.oldest > LATE_AT_LAST else Standing.AT_RISK
        text = f"{counted(debt.late, 'test')} late, the oldest due {in_utc(debt.oldest)}."
        yield Flaw(state, text, "Test restores says why; choose more tests a night, or start them by hand.")


def _unplanned(now: datetime) -> Iterator[Flaw]:
    """What is owed is only known from each night's plan: without one every figure here would stay as good as it was."""
    since = now - PLANNED_WITHIN
    old = BackupSet.objects.filter(state=BackupSet.State.MADE, protected_at__lt=since).exclude(stream__in=standing.left_alone())
    if not TestNight.objects.filter(planned_at__gt=since).exists() and old.exists():
        text = f"No night's tests were planned for {PLANNED_WITHIN.days} days: what is owed by now nobody knows."
        yield Flaw(Standing.AT_RISK, text, "See whether the worker runs.")


def _unsigned(count: int) -> Iterator[Flaw]:
    if count:
        text = f"{counted(count, 'test')} not signed off for {SIGNED_OFF_WITHIN.days} days."
        yield Flaw(Standing.AT_RISK, text, "Somebody else than who started them reads and signs them off.")


def measure_item_exports(now: datetime) -> Measured:
    """What people asked for in the last 30 days, and how long it took."""
    asked = ItemExport.objects.filter(asked_at__gt=now - ASKED_BACK)
    again = ItemExport.objects.filter(
        stream=OuterRef("stream"), model=OuterRef("model"), key=OuterRef("key"), asked_at__gt=OuterRef("asked_at")
    )
    failed = asked.filter(~Exists(again), state=State.FAILED).count()
    answered = Q(state__in=(State.READY, State.REMOVED))
    waiting = Q(state__in=(State.WAITING, State.RUNNING))
    taken = F("ended_at") - F("asked_at")
    found: dict[str, Any] = asked.aggregate(
        asked=Count("pk"),
        answered=Count("pk", filter=answered),
        longest=Max(taken, filter=answered),
        mean=Avg(taken, filter=answered),
        since=Min("asked_at", filter=waiting),
    )
    if not found["asked"]:
        return judged("nothing was asked for in the last 30 days", value=0)
    took = f", {length(found['mean'])} on average and {length(found['longest'])} at most" if found["answered"] else ""
    minutes = found["longest"].total_seconds() / 60 if found["answered"] else None
    figure = f"{found['answered']:,} of {counted(found['asked'], 'item')} brought in the last 30 days{took}"
    return judged(figure, _of_items(failed, found["since"], now), minutes)


def _of_items(failed: int, since: datetime | None, now: datetime) -> Iterator[Flaw]:
    if failed:
        text = f"{counted(failed, 'item')} that somebody asked for could not be brought."
        yield Flaw(Standing.BROKEN, text, "Item exports says why; ask again when it is mended.")
    if since is not None and now - since > ANSWERED_WITHIN:
        state = Standing.BROKEN if now - since > ANSWERED_AT_LAST else Standing.AT_RISK
        yield Flaw(state, f"An item waits since {in_utc(since)}.", "See whether the worker runs.")


def measure_recovery_time(now: datetime) -> Measured:
    """How long a restore took, at most, in the test restores of a period of the policy."""
    passed = TestRestore.objects.filter(ended_at__gt=now - MEASURED_BACK, result=TestRestore.Result.PASSED)
    found = passed.aggregate(count=Count("pk"), longest=Max(F("list_ms") + F("restore_ms")))
    if not found["count"]:
        return judged("no restore was measured yet")
    took = timedelta(milliseconds=found["longest"])
    figure = f"{length(took)} at most in {counted(found['count'], 'test restore')}; the target is {length(RESTORED_WITHIN)}"
    flaws = []
    if took > RESTORED_WITHIN / 2:
        state = Standing.BROKEN if took > RESTORED_WITHIN else Standing.AT_RISK
        flaws = [
            Flaw(state, f"A restore took {length(took)}.", "Test restores shows which: see what is slow, the location or this machine.")
        ]
    return judged(figure, flaws, took.total_seconds() / 60)


CONTROLS = (
    Control(
        name="test_restores",
        promise="P7",
        title="Test restores",
        threshold=(
            "Broken: the newest test of a customer's tier at a location failed, or one is late by more than 7 days. At risk: one is late, "
            "nobody signed one off for 30 days, or no night's tests were planned for 3 days."
        ),
        unit="late or failed",
        measure=measure_test_restores,
        evidence="admin:l2l_backups_testcell_changelist",
        populations=("test_restores", "tests_owed"),
    ),
    Control(
        name="item_exports",
        promise="P14",
        title="Single items brought back",
        threshold="Broken: an item that was asked for could not be brought, or waits for 24 hours. At risk: it waits for an hour.",
        unit="minutes",
        measure=measure_item_exports,
        evidence="admin:l2l_backups_itemexport_changelist",
        populations=("items_taken", "exports"),
    ),
    Control(
        name="recovery_time",
        promise="P14",
        title="Time to restore a customer",
        threshold="At risk: a test restore took more than 2 hours. Broken: more than 4 hours.",
        unit="minutes",
        measure=measure_recovery_time,
        evidence="admin:l2l_backups_testrestore_changelist",
        populations=("test_restores",),
    ),
)
