"""The path of a customer's end as people see it: where it is, whose turn it is, what this person may do, and the clock as a picture."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import Q

from audit import grants, moments
from audit.events import Event
from audit.models import Event as Recorded
from subscriptions.ending import approving, contracts, receipts, returns
from subscriptions.ending.deadlines import Clock, is_escalated, merged
from subscriptions.ending.states import APPROVES, ENDED, MOVES, RETURNS, WORDS, Move, State
from subscriptions.models import DataReturn, DeemedReceiptRequest, DeletionRequest, LegalHold, Receipt

KINDS = {
    State.RETURNED: "warn",
    State.ACKNOWLEDGED: "warn",
    State.WAIVED: "warn",
    State.APPROVED: "warn",
    State.DESTROYING: "bad",
    State.DESTROYED: "good",
    State.CANCELLED: "",
}
NAMED = 4
EVERY_CUSTOMER = "l2l_subscriptions.view_all_customers"
ASKS_DEEMED = DeemedReceiptRequest.permission("add")
BACKEND = "django.contrib.auth.backends.ModelBackend"
# What is told beside the changes of state.
TOLD: dict[Event, str] = {
    Event.RETURN_HANDED_OVER: "Package handed over",
    Event.RETURN_REMINDED: "Customer reminded",
    Event.RETURN_OUTSTANDING: "Receipt outstanding",
    Event.RECEIPT_REFUSED: "Wrong digest given on the customer's page",
    Event.DELETION_VOIDED: "Approval void",
    Event.DESTRUCTION_NEARS: "Day of destruction nears",
    Event.DESTRUCTION_LATE: "Destruction overdue",
    Event.CERTIFIED: "Certificate issued",
}


def kind_of(request: DeletionRequest) -> str:
    return KINDS.get(State(request.state), "info")


# Where it is


@dataclass(frozen=True, slots=True)
class Station:
    """One step of the path: `done`, `now`, `ahead`, or `left out` where the customer waived the return or the end was cancelled."""

    name: str
    standing: str
    at: datetime | None = None
    note: str = ""


def stations(request: DeletionRequest, package: DataReturn | None, receipt: Receipt | None, certified_at: datetime | None) -> list[Station]:
    """The eight steps from the request to the certificate."""
    waived, state = request.waived_at is not None, State(request.state)
    found: list[tuple[str, datetime | None, str]] = [
        ("Asked for", request.requested_at, str(request.requested_by or "by itself")),
        ("Data frozen", request.frozen_at, ""),
        ("Package", package.made_at if package else None, f"number {package.number}" if package and package.number > 1 else ""),
        ("Verified by the customer", receipt.recorded_at if receipt else None, receipt.get_kind_display() if receipt else ""),
        ("Approved", request.approved_at, str(request.approved_by or "")),
        ("Cooled off", request.begun_at, ""),
        ("Destroyed", request.destroyed_at, ""),
        ("Certified", certified_at, ""),
    ]
    shown, now_seen = [], False
    for name, at, note in found:
        if at is not None:
            shown.append(Station(name, "done", at, note))
        elif (waived and name in ("Package", "Verified by the customer")) or state == State.CANCELLED:
            shown.append(Station(name, "left out", note="waived by the customer" if waived and state != State.CANCELLED else ""))
        else:
            shown.append(Station(name, "ahead" if now_seen else "now"))
            now_seen = True
    return shown


# Whose turn it is


@dataclass(frozen=True, slots=True)
class Turn:
    """Who does what next. `right`: what a person needs for it; empty while it is the back office's or the customer's."""

    who: str
    what: str
    right: str = ""


def turn_of(request: DeletionRequest, now: datetime, last_days: Mapping[uuid.UUID, date | None] | None = None) -> Turn:
    """In words; the list and the page say the same. `last_days` are those of many customers, who asks for many."""
    state = State(request.state)
    if state == State.REQUESTED:
        last = contracts.last_day(request.customer) if last_days is None else last_days.get(request.customer_id)
        if last is None or not contracts.is_past(last, request.customer.zone, now):
            return Turn("nobody yet", f"The last subscription runs until {last:%-d %B %Y}." if last else "A subscription has no last day.")
    return TURNS[state] if state != State.APPROVED else _cooling(request, now)


def last_days_of(requests: Iterable[DeletionRequest]) -> dict[uuid.UUID, date | None]:
    """For `turn_of` of these requests; one query."""
    return contracts.last_days(one.customer_id for one in requests if one.state == State.REQUESTED)


TURNS = {
    State.REQUESTED: Turn(
        "the back office", "It begins the return within the hour; somebody may begin it now, or record a waiver.", RETURNS
    ),
    State.RETURNING: Turn("the back office", "It freezes the data, makes the final set, and the package from it."),
    State.RETURNED: Turn("the customer", "It verifies the package, on its page or by telling the account manager.", RETURNS),
    State.ACKNOWLEDGED: Turn("an approver", "Somebody who took no part approves the destruction, after looking at the plan.", APPROVES),
    State.WAIVED: Turn("an approver", "Somebody who took no part approves the destruction, after looking at the plan.", APPROVES),
    State.DESTROYING: Turn("the destroyer", "It destroys everything, lists every place again, and then certifies it."),
    State.DESTROYED: Turn("nobody", "Everything is destroyed."),
    State.CANCELLED: Turn("nobody", "It was cancelled: the customer goes on."),
}
APPROVERS_TURN = (State.ACKNOWLEDGED, State.WAIVED)


def _cooling(request: DeletionRequest, now: datetime) -> Turn:
    if request.may_begin_at is not None and now < request.may_begin_at:
        until = moments.in_zone(request.may_begin_at, request.customer.zone)
        return Turn("nobody", f"It cools off until {until}; until then one person is enough to stop it.", APPROVES)
    return Turn("the destroyer", "It has cooled off: the destroyer begins when it next looks.", APPROVES)


def people_for(request: DeletionRequest, right: str) -> str:
    """Who may do it, by name where they are few: those with the right who see this customer, but for those who took part."""
    if not right:
        return ""
    users: Any = get_user_model()._default_manager
    about = {"backend": BACKEND, "include_superusers": False}
    seeing = users.with_perm(EVERY_CUSTOMER, **about)
    found = users.with_perm(right, **about).filter(Q(pk=request.customer.account_manager_id) | Q(pk__in=seeing.values("pk")))
    if right == APPROVES and request.state in APPROVERS_TURN:
        found = found.exclude(pk__in=[one.pk for one in approving.took_part(request)])
    names = [one.get_full_name() or one.get_username() for one in found.order_by("username")[: NAMED + 1]]
    if not names:
        return "nobody has that right for this customer: give somebody the role"
    return ", ".join(names) if len(names) <= NAMED else f"{found.count()} people"


def why_not(request: DeletionRequest, user: Any, now: datetime) -> str:
    """Why this person cannot approve what waits for an approval; empty where they can, or where nothing waits for one."""
    if request.state not in APPROVERS_TURN:
        return ""
    if not user.has_perm(APPROVES):
        return "You may not approve this: it takes the role of a receipt approver."
    if user in approving.took_part(request):
        return "You asked for it, waived the return, or recorded the receipt: another person must approve."
    return grants.why_not(user, APPROVES, now)


# What this person may do


@dataclass(frozen=True, slots=True)
class Act:
    """A button: the name of its page, its label, and how it looks."""

    name: str
    label: str
    look: str = ""


def acts_for(request: DeletionRequest, package: DataReturn | None, user: Any, now: datetime) -> list[Act]:
    """The buttons of this person now; each page asks here again."""
    return [act for act, allowed in _acts(request, package, user, now) if allowed]


def may(user: Any, request: DeletionRequest, move: Move) -> bool:
    """By right and state; that they see the customer is the admin's to know."""
    return State(request.state) in MOVES[move].before and user.has_perm(MOVES[move].right)


def _acts(request: DeletionRequest, package: DataReturn | None, user: Any, now: datetime) -> Iterator[tuple[Act, bool]]:
    over = contracts.is_over(request.customer, now)
    fetched = package is not None and state_in(request, State.RETURNED, State.ACKNOWLEDGED) and user.has_perm(RETURNS)
    yield Act("begin_return", "Return the data now …", "primary"), over and may(user, request, Move.RETURN)
    yield Act("waive", "Record a waiver …"), over and may(user, request, Move.WAIVE)
    yield Act("receipt", "Record the receipt …", "primary"), may(user, request, Move.ACKNOWLEDGE)
    yield Act("link", "Make a link for the customer …"), fetched
    yield Act("fault", "Report a fault …"), may(user, request, Move.FAULT)
    yield Act("ask_deemed", "Let silence count …"), may_ask_deemed(request, package, user, now)
    yield Act("approve", "Look at the plan and approve …", "primary"), may(user, request, Move.APPROVE) and not why_not(request, user, now)
    yield Act("take_back", "Take the approval back …"), state_in(request, State.APPROVED) and user.has_perm(APPROVES)
    yield Act("cancel", "Cancel the end …"), may(user, request, Move.CANCEL)


def may_ask_deemed(request: DeletionRequest, package: DataReturn | None, user: Any, now: datetime) -> bool:
    """Where the agreement allows it, nobody answered for so long, and it is not asked for yet."""
    if package is None or not state_in(request, State.RETURNED) or not user.has_perm(ASKS_DEEMED) or package.delivered_at is None:
        return False
    if package.deemed_requests.filter(state__in=("requested", "approved")).exists():
        return False
    return is_escalated(package.delivered_at, now) and receipts.is_deemed_allowed(request)


def state_in(request: DeletionRequest, *states: State) -> bool:
    return State(request.state) in states


def package_of(request: DeletionRequest) -> DataReturn | None:
    """The package that the path shows: the one to be verified, or that was."""
    return returns.current(request)


# The clock as a picture


@dataclass(frozen=True, slots=True)
class Bar:
    """The way from the receipt to the day of destruction, 1000 wide: how much is over, holds, our own aim, and the approval's pause."""

    over: float
    holds: list[tuple[float, float]]
    target: float | None
    begins: float | None
    kind: str


def bar_of(request: DeletionRequest, clock: Clock, now: datetime) -> Bar:
    """Until the due date, or until now where that is over or a hold pauses it."""
    end = max(clock.due_at or now, now)
    length = max((end - clock.began_at).total_seconds(), 1.0)

    def x(at: datetime) -> float:
        return round(min(max((at - clock.began_at).total_seconds() / length, 0.0), 1.0) * 1000, 1)

    holds = LegalHold.objects.filter(customer=request.customer_id).values_list("placed_at", "released_at")
    spans = [(x(start), x(stop or now) - x(start)) for start, stop in merged(holds) if (stop or now) > clock.began_at and start < end]
    late = clock.overdue or clock.due_at is None
    kind = "bad" if clock.overdue else "warn" if late or (clock.target_at is not None and now > clock.target_at) else "good"
    begins = x(request.may_begin_at) if request.may_begin_at else None
    return Bar(x(now), spans, x(clock.target_at) if clock.target_at else None, begins, kind)


def due_words(request: DeletionRequest, clock: Clock | None, now: datetime) -> tuple[str, str]:
    """When it is due and how long that is, with the colour of it: `overdue since 2 days`, `paused by a legal hold`."""
    if request.state == State.DESTROYED and request.destroyed_at is not None:
        return f"destroyed {moments.in_zone(request.destroyed_at, request.customer.zone)}", "good"
    if clock is None or State(request.state) in ENDED:
        return "", ""
    if clock.due_at is None:
        return f"paused by a legal hold, {moments.span(clock.rest)} left", "warn"
    due = moments.in_zone(clock.due_at, request.customer.zone)
    if clock.overdue:
        return f"OVERDUE since {moments.span(now - clock.due_at)}: {due}", "bad"
    late = clock.target_at is not None and now > clock.target_at
    return f"{moments.span(clock.rest)} left, until {due}", "warn" if late else ""


# Who did what and when


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of what happened; `state` is what it led to, where it was a move."""

    at: datetime
    who: str
    what: str
    why: str = ""
    state: str = ""


def entries(request: DeletionRequest) -> list[Entry]:
    """Every move with its person and reason, and what was told beside; the oldest first."""
    found = [*_moves(request), *_told(request)]
    return sorted(found, key=lambda one: one.at)


def _moves(request: DeletionRequest) -> Iterator[Entry]:
    before = ""
    for row in DeletionRequest.history.filter(id=request.pk).order_by("history_id"):
        if row.state != before:
            yield Entry(row.history_date, row.history_actor, WORDS[State(row.state)], row.history_change_reason or "", row.state)
        before = row.state


def _told(request: DeletionRequest) -> Iterator[Entry]:
    until = request.cancelled_at
    rows = Recorded.objects.filter(customer=request.customer_id, event__in=list(TOLD), at__gte=request.requested_at)
    for row in rows.filter(at__lte=until) if until else rows:
        yield Entry(row.at, row.actor, TOLD[Event(row.event)], _fact_words(Event(row.event), row.facts))


def _fact_words(event: Event, facts: dict[str, Any]) -> str:
    """What of an event's facts says something to people."""
    numbered = "number {}" if event == Event.CERTIFIED else "package {}"
    names = (("number", numbered), ("way", "by {}"), ("day", "day {}"), ("kind", "{}"), ("addresses", "{} addresses"))
    return ", ".join(words.format(facts[name]) for name, words in names if name in facts)
