"""How the promises about customers and their end stand, minute by minute (P1's list of customers, P10 to P12)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from django.db.models import Max

from audit import controls, findings
from audit.controls import Control, Flaw, Measured, counted, judged
from audit.findings import Kind
from audit.moments import in_utc, span
from audit.promises import Standing
from subscriptions import reconciling
from subscriptions.ending import clock, contracts, deadlines, requests
from subscriptions.ending.deadlines import Clock
from subscriptions.ending.states import State
from subscriptions.models import Customer, DataReturn, DeletionRequest, Reconciliation

DAY = timedelta(days=1)
RECONCILED_WITHIN = timedelta(days=35)
# The worker opens requests each hour.
OPENED_WITHIN = timedelta(hours=2)
RETURNED_SOON = timedelta(days=7)
RECEIVED_SOON = timedelta(days=14)
APPROVED_SOON = timedelta(days=7)
NEAR, VERY_NEAR = timedelta(days=7), timedelta(days=3)
SEE_ENDS = "Ends of customers says what each waits for."


# P1: whom we do not know, nobody backs up


def measure_reconciled(now: datetime) -> Measured:
    """The newest comparison with billing."""
    newest = Reconciliation.objects.order_by("-at").first()
    if newest is None:
        figure = f"{counted(Customer.objects.count(), 'customer')}, never compared with billing"
        if not Customer.objects.exists():
            return judged("no customers yet", value=0)
        return judged(figure, [Flaw(Standing.AT_RISK, "The customers were never compared with billing.", _COMPARE)])
    differ = reconciling.differing(newest)
    age = max(now - newest.at, timedelta())
    figure = f"{newest.matched:,} of {newest.billed:,} billed customers are ours, compared {span(age)} ago; {counted(differ, 'difference')}"
    return judged(figure, _of_reconciliation(differ, age, newest.at), differ)


_COMPARE = "Run manage.py reconcile_customers with billing's list."


def _of_reconciliation(differ: int, age: timedelta, at: datetime) -> Iterator[Flaw]:
    if differ:
        text = f"{counted(differ, 'difference')} to billing's list."
        yield Flaw(Standing.BROKEN, text, "Reconciliations names them, and what to do about each; then compare again.")
    if age > RECONCILED_WITHIN:
        yield Flaw(Standing.AT_RISK, f"The customers were last compared with billing {in_utc(at)}.", _COMPARE)


# P10


def measure_ends(now: datetime) -> Measured:
    """Customers that ended without a request, and requests without a package."""
    owed = requests.owed(now)
    late = [one for one in owed if contracts.is_over(one, now - OPENED_WITHIN)]
    waiting = _of_states(State.REQUESTED, State.RETURNING)
    ages = {one: now - since for one in waiting if (since := _return_owed_since(one)) is not None and since <= now}
    figure = f"{counted(len(owed), 'customer')} ended without a request, {counted(len(ages), 'return')} owed"
    return judged(figure, [*_of_owed(len(owed), len(late)), *_of_returns(ages)], len(owed) + len(ages))


def _return_owed_since(request: DeletionRequest) -> datetime | None:
    """From when its data is to be returned: from the end of the last day, or from when it was asked for, whichever is later."""
    if request.ends_on is None:
        return None
    over = datetime.combine(request.ends_on + DAY, time.min, ZoneInfo(request.customer.zone))
    return max(over.astimezone(UTC), request.requested_at)


def _of_owed(owed: int, late: int) -> Iterator[Flaw]:
    if owed:
        text = f"{counted(owed, 'customer')} ended, and nobody asked for the end."
        state = Standing.BROKEN if late else Standing.AT_RISK
        yield Flaw(state, text, "Ask for it on the customer's page, or enter the subscription that goes on.")


def _of_returns(ages: dict[DeletionRequest, timedelta]) -> Iterator[Flaw]:
    promised = dict(
        DeletionRequest.objects.filter(pk__in=[one.pk for one in ages]).values_list("pk", Max("customer__subscriptions__return_days"))
    )
    late = sum(1 for one, age in ages.items() if age > timedelta(days=promised.get(one.pk) or 30))
    if late:
        yield Flaw(Standing.BROKEN, f"{counted(late, 'return')} not made within the days that were agreed.", SEE_ENDS)
    slow = sum(1 for age in ages.values() if age > RETURNED_SOON) - late
    if slow > 0:
        yield Flaw(Standing.AT_RISK, f"{counted(slow, 'return')} not made for {RETURNED_SOON.days} days.", SEE_ENDS)


# P11


def measure_receipts(now: datetime) -> Measured:
    """Packages without a receipt by their age, and receipts that wait for an approval."""
    packages = DataReturn.objects.filter(request__state=State.RETURNED.value, fault_at=None).values_list("delivered_at", "made_at")
    handed = [delivered or made for delivered, made in packages]
    received = _of_states(State.ACKNOWLEDGED)
    unapproved = [one for one in received if one.acknowledged_at is not None and now - one.acknowledged_at > APPROVED_SOON]
    oldest = max((now - at for at in handed), default=timedelta())
    age = f", the oldest for {span(max(oldest, timedelta()))}" if handed else ""
    figure = f"{counted(len(handed), 'receipt')} outstanding{age}; {counted(len(received), 'receipt')} to approve"
    return judged(figure, _of_receipts(handed, len(unapproved), now), oldest / DAY)


def _of_receipts(handed: Iterable[datetime], unapproved: int, now: datetime) -> Iterator[Flaw]:
    escalated = sum(1 for at in handed if deadlines.is_escalated(at, now))
    old = sum(1 for at in handed if now - at > RECEIVED_SOON) - escalated
    if escalated:
        text = f"{counted(escalated, 'receipt')} outstanding for {deadlines.ESCALATION_DAYS} days."
        todo = "Reach the customer another way; where the agreement lets silence count, two approvers may decide on a deemed receipt."
        yield Flaw(Standing.BROKEN, text, todo)
    if old > 0:
        yield Flaw(
            Standing.AT_RISK, f"{counted(old, 'receipt')} outstanding for {RECEIVED_SOON.days} days.", "Remind the customer by telephone."
        )
    if unapproved:
        text = f"{counted(unapproved, 'receipt')} {'waits' if unapproved == 1 else 'wait'} for an approval for {APPROVED_SOON.days} days."
        yield Flaw(Standing.AT_RISK, text, "An approver decides.")


# P12


def measure_destruction(now: datetime) -> Measured:
    """The clocks of all ends whose receipt is there, and what was found after a destruction."""
    begun = _of_states(State.ACKNOWLEDGED, State.WAIVED, State.APPROVED, State.DESTROYING)
    clocks = list(clock.of_all(begun, now).values())
    found = findings.open_findings().filter(kind=Kind.FOUND_AFTER_DESTRUCTION).count()
    overdue, paused = sum(one.overdue for one in clocks), sum(one.paused for one in clocks)
    figure = f"{counted(len(clocks), 'customer')} to be destroyed, {overdue} overdue, {paused} on hold"
    return judged(figure, _of_clocks(clocks, found, now), overdue)


def _of_clocks(clocks: list[Clock], found: int, now: datetime) -> Iterator[Flaw]:
    if late := sum(one.overdue for one in clocks):
        yield Flaw(Standing.BROKEN, f"{counted(late, 'customer')} should be destroyed by now.", SEE_ENDS)
    if found:
        todo = "The findings say what was found where; the case is open again."
        yield Flaw(Standing.BROKEN, f"After {counted(found, 'destruction')} something was found.", todo)
    left = [one.due_at - now for one in clocks if one.due_at is not None and not one.overdue]
    if very := sum(rest < VERY_NEAR for rest in left):
        yield Flaw(Standing.AT_RISK, f"{counted(very, 'customer')} must be destroyed within 3 days.", SEE_ENDS)
    if near := sum(VERY_NEAR <= rest < NEAR for rest in left):
        yield Flaw(Standing.AT_RISK, f"{counted(near, 'customer')} must be destroyed within 7 days.", SEE_ENDS)


def _of_states(*states: State) -> list[DeletionRequest]:
    """Few customers end at a time."""
    return list(DeletionRequest.objects.filter(state__in=[one.value for one in states]).select_related("customer"))


ENDS = "admin:l2l_subscriptions_deletionrequest_changelist"
CONTROLS = (
    Control(
        name="reconciled",
        promise="P1",
        title="Customers compared with billing",
        threshold="At risk: never compared, or not for 35 days. Broken: the newest comparison found a difference.",
        unit="differences",
        measure=measure_reconciled,
        evidence="admin:l2l_subscriptions_reconciliation_changelist",
        populations=("reconciliations", "customers"),
    ),
    Control(
        name="ends",
        promise="P10",
        title="Data returned at the end",
        threshold=(
            "Broken: a customer ended two hours ago and has no request, or a return is not made within the days agreed (30). At risk: a "
            "return is not made for 7 days."
        ),
        unit="ends and returns owed",
        measure=measure_ends,
        evidence=ENDS,
        populations=("terminations",),
    ),
    Control(
        name="receipts",
        promise="P11",
        title="Receipts of returned data",
        threshold="At risk: a receipt is outstanding for 14 days, or one waits 7 days for its approval. Broken: outstanding for 30 days.",
        unit="days outstanding",
        measure=measure_receipts,
        evidence=ENDS,
        populations=("terminations",),
    ),
    Control(
        name="destruction",
        promise="P12",
        title="Destroyed in time",
        threshold="At risk: due within 7 days. Broken: overdue, or something was found after a destruction.",
        unit="customers overdue",
        measure=measure_destruction,
        evidence=ENDS,
        populations=("terminations", "removals"),
    ),
)


def register() -> None:
    """Once, when the app is ready."""
    for control in CONTROLS:
        controls.register(control)
