"""P6 and P9: whether what should be kept is kept, and what should have gone is gone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Exists, Min, OuterRef, Q, QuerySet, Sum

from audit.controls import Control, Flaw, Measured, counted, judged
from audit.promises import Standing
from backups.controls.nights import NO_CUSTOMERS
from backups.models import BackupSet, ReadLease, RetentionLook, Slot, TermLook
from backups.prune import clock_doubt
from backups.prune.deciding import ON_HOLD
from subscriptions import holds
from subscriptions.ending import standing
from subscriptions.models import Customer

# A week or month without a set cannot be mended: it breaks the promise for so long after it was decided, and stays in the ledger.
MISSED_FOR = timedelta(days=7)
# The destroyer looks each hour; what is due longer does not go.
GONE_WITHIN = timedelta(days=2)
SEE_RETENTION = "Retention says what it waits for."


def measure_slots(now: datetime) -> Measured:
    """Weeks and months without a set, sets whose time is over, and what keeps them."""
    lacking = Slot.objects.filter(state__in=(Slot.State.MISSED, Slot.State.STOOD_IN), decided_at__gt=now - MISSED_FOR)
    states = dict(lacking.order_by().values_list("state").annotate(Count("pk")))
    missed, stood_in = states.get(Slot.State.MISSED, 0), states.get(Slot.State.STOOD_IN, 0)
    overdue = kept_too_long(now).count()
    alone = standing.left_alone()
    waiting = RetentionLook.objects.exclude(waits="").exclude(waits=ON_HOLD).exclude(stream__in=alone).count()
    undecided = RetentionLook.objects.filter(look_at__lt=now - GONE_WITHIN).exclude(stream__in=alone).count()
    doubted = sum(1 for _, cleared in clock_doubt.standing(now) if not cleared)
    undated = BackupSet.objects.filter(state=BackupSet.State.MADE, goes_at=None, started_at__lt=now - GONE_WITHIN).exclude(stream__in=alone)
    without = f"{counted(missed, 'week or month', 'weeks or months')} missed, {stood_in:,} stood in for in the last 7 days"
    flaws = [*_of_slots(missed, stood_in), *_of_removal(overdue, waiting, undecided + undated.count(), doubted)]
    return judged(f"{without}; {counted(overdue, 'set')} kept too long", flaws, missed + overdue)


def kept_too_long(now: datetime) -> QuerySet[BackupSet]:
    """The sets whose time has been over for two days and that nothing keeps: no hold, reader or end under way, and a newer good, proved set
    stands."""
    newer = BackupSet.objects.filter(
        stream=OuterRef("stream"),
        started_at__gt=OuterRef("started_at"),
        state=BackupSet.State.MADE,
        protected_at__isnull=False,
        damaged_at=None,
        proof=BackupSet.Proof.PROVED,
    )
    read = ReadLease.objects.filter(backup_set=OuterRef("pk"), expires_at__gt=now)
    due = BackupSet.objects.filter(state=BackupSet.State.MADE, goes_at__lt=now - GONE_WITHIN)
    return due.exclude(stream__in=holds.held() | standing.left_alone()).filter(Exists(newer), ~Exists(read))


def _of_slots(missed: int, stood_in: int) -> Iterator[Flaw]:
    if missed:
        text = f"{counted(missed, 'week or month', 'weeks or months')} had no good set."
        yield Flaw(Standing.BROKEN, text, "It cannot be made up for: the nights say why; see that the next one has a set.")
    if stood_in:
        text = f"For {counted(stood_in, 'week or month', 'weeks or months')} a set of another one stands in."
        yield Flaw(Standing.AT_RISK, text, "The nights say why there was none.")


def _of_removal(overdue: int, waiting: int, undecided: int, doubted: int) -> Iterator[Flaw]:
    if overdue:
        text = f"{counted(overdue, 'set')} should have gone more than 2 days ago."
        yield Flaw(Standing.BROKEN, text, "See whether the destroyer runs. " + SEE_RETENTION)
    if waiting:
        yield Flaw(Standing.AT_RISK, f"Of {counted(waiting, 'customer')} sets wait whose time is over.", SEE_RETENTION)
    if undecided:
        text = f"{counted(undecided, 'customer or set', 'customers and sets')} not decided on for 2 days."
        yield Flaw(Standing.AT_RISK, text, "See whether the destroyer runs.")
    if doubted:
        yield Flaw(Standing.AT_RISK, "The clock is in doubt, so nothing is removed.", "Set it right, or vouch for it: Retention says how.")


def measure_terms(now: datetime) -> Measured:
    """What an agreed term let go and is there still, as each day's look found it; customers that nobody looked at; those without terms."""
    customers = Customer.objects.exclude(pk__in=standing.ended())
    if not customers.exists():
        return judged(NO_CUSTOMERS, value=0)
    seen = now - GONE_WITHIN
    found: dict[str, Any] = TermLook.objects.filter(stream__in=customers.values("pk")).aggregate(
        items=Sum("overdue"), streams=Count("pk", filter=Q(overdue__gt=0)), since=Min("overdue_since"), looked=Count("pk")
    )
    stale = TermLook.objects.filter(looked_at__lt=seen, stream__in=customers.values("pk")).count()
    looked = TermLook.objects.filter(stream=OuterRef("pk"))
    stale += customers.filter(~Exists(looked), created_at__lt=seen).count()
    without = customers.filter(subscriptions=None).count()
    items = found["items"] or 0
    figure = f"{counted(items, 'item')} past an agreed term, of {counted(customers.count(), 'customer')}"
    return judged(figure, _of_terms(items, found["streams"], found["since"], stale, without), items)


def _of_terms(items: int, streams: int, since: Any, stale: int, without: int) -> Iterator[Flaw]:
    if items:
        text = f"{counted(items, 'item')} of {counted(streams, 'customer')} should have gone by an agreed term, the first on {since}."
        yield Flaw(Standing.BROKEN, text, "Past term names them: have the purge approved, or place a hold.")
    if stale:
        text = f"Of {counted(stale, 'customer')} nobody looked for 2 days at what is past its term."
        yield Flaw(Standing.AT_RISK, text, "See whether the destroyer runs.")
    if without:
        text = f"{counted(without, 'customer')} {'has' if without == 1 else 'have'} no subscription: nothing says until when data is kept."
        yield Flaw(Standing.AT_RISK, text, "Enter what was agreed.")


CONTROLS = (
    Control(
        name="slots",
        promise="P6",
        title="Sets kept, and gone in time",
        threshold=(
            "Broken: a week or month that was decided in the last 7 days has no good set, or a set that nothing keeps should have gone 2 "
            "days ago. At risk: another set stands in for one, removal waits for something, or nothing was decided for 2 days."
        ),
        unit="missed or kept too long",
        measure=measure_slots,
        evidence="admin:l2l_backups_retentionlook_changelist",
        populations=("kept", "removals"),
    ),
    Control(
        name="terms",
        promise="P9",
        title="Content kept for its term",
        threshold=(
            "Broken: an item is there though its agreed term is over. At risk: nobody looked at a customer's terms for 2 days, or a "
            "customer has none."
        ),
        unit="items overdue",
        measure=measure_terms,
        evidence="admin:l2l_backups_purgerequest_changelist",
        populations=("purges", "agreements", "holds"),
    ),
)
