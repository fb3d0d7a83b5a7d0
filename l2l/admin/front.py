"""The front page: how the customers are protected now, and what to do next. A constant number of queries."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db.models import Count, Exists, Min, OuterRef, Q, Sum
from django.urls import reverse
from django.utils import timezone

from audit import clock
from audit.findings import open_findings
from audit.moments import in_utc
from audit.states import State
from audit.two_person import TwoPersonRequest
from backups import heartbeats, queueing
from backups.admin.charts import KINDS
from backups.admin.hot import figures_for
from backups.admin.kept import kept_url
from backups.admin.locations import Owed, copies_text, owed_by_location
from backups.admin.sets import GOES_SOON, going_within
from backups.hot.standing import Standing, judged
from backups.keys import drilling
from backups.ledger.picture import name_of
from backups.models import (
    BackupSet,
    KeyChangeRequest,
    LiveRestoreRequest,
    Location,
    PolicyChangeRequest,
    PurgeRequest,
    PurgeTry,
    RetentionLook,
    Run,
    Slot,
    TermLook,
    TestRestore,
)
from backups.prune import clock_doubt
from backups.prune.deciding import ON_HOLD
from backups.slots import night_of, period_called
from backups.test_restores import coverage
from backups.test_restores.sign_off import SIGNS_OFF, unsigned
from l2l.admin.access import review_todos
from l2l.admin.ending_todos import ending_todos, receipts_waiting
from l2l.admin.findings import label_of_kind
from l2l.admin.todos import Todo
from subscriptions.admin import of_visible_customers
from subscriptions.holds import due_for_review
from subscriptions.models import Customer, DeemedReceiptRequest, HoldReleaseRequest, TermChangeRequest

NIGHTS_SHOWN = 30
NIGHT_TODOS = 5
# Weeks and months that were missed are told of so long; the picture shows them for good.
MISSED_SHOWN = timedelta(days=35)
# Three looks at what is due.
WORKER_SILENT = timedelta(minutes=3)
RED_STATES = (Run.State.FAILED, Run.State.MISSED, Run.State.STOPPED)
UNITS = (("GiB", 1024**3), ("MiB", 1024**2), ("KiB", 1024), ("B", 1))


@dataclass(frozen=True, slots=True)
class Protection:
    """Customers by their best set since the last night began; one that is damaged beyond mending is none."""

    since: date
    customers: int
    protected: int
    complete: int

    @property
    def without(self) -> int:
        return self.customers - self.protected - self.complete


def front_page(user: Any) -> dict[str, Any]:
    """The context of the front page for one person: numbers of the customers that they may see."""
    protection = protection_now(user)
    places = places_now() if user.has_perm("l2l_backups.view_location") else []
    standing = judged(figures_for(user, clock.now())) if user.has_perm("l2l_backups.view_hotstate") else None
    return {
        "protection": protection,
        "places": places,
        "standing": standing,
        "standing_kind": KINDS[standing.state] if standing else "",
        "lost_kind": KINDS[standing.lost_state] if standing else "",
        "receipts": receipts_waiting(user),
        "todos": [*_hot_todos(standing), *todos(user, protection, places)],
        "chart": stored_per_night(user),
        "going": going_soon(user) if user.has_perm("l2l_backups.view_backupset") else None,
        "may_see_sets": user.has_perm("l2l_backups.view_backupset"),
        "may_see_customers": user.has_perm("l2l_subscriptions.view_customer"),
    }


def last_night() -> date:
    """The newest night that is over or in its morning: the one that began yesterday at noon."""
    return night_of(clock.now() - timedelta(hours=12), ZoneInfo(settings.L2L_ZONE))


def protection_now(user: Any) -> Protection:
    customers, since = Customer.objects.visible_to(user), last_night()
    made = BackupSet.objects.filter(night__gte=since, state=BackupSet.State.MADE, damaged_at=None, stream_id__in=customers.values("pk"))
    counted = made.aggregate(
        any=Count("stream_id", distinct=True), protected=Count("stream_id", distinct=True, filter=Q(protected_at__isnull=False))
    )
    return Protection(since, customers.count(), counted["protected"], counted["any"] - counted["protected"])


def going_soon(user: Any) -> int:
    """How many sets age lets go within a week."""
    return going_within(BackupSet.objects.visible_to(user), GOES_SOON).count()


def places_now() -> list[tuple[Location, Owed]]:
    owed = owed_by_location()
    return [(place, owed.get(place.pk, Owed())) for place in Location.objects.filter(in_force=True)]


def todos(user: Any, protection: Protection, places: list[tuple[Location, Owed]]) -> Iterator[Todo]:
    """What to do next, the most urgent first."""
    yield from _queue_todos(user)
    yield from ending_todos(user)
    yield from _night_todos(user)
    yield from _finding_todos(user)
    yield from _test_todos(user)
    yield from _drill_todos(user)
    yield from _proof_todos(user)
    yield from _retention_todos(user)
    yield from _term_todos(user)
    yield from _requests_to_decide(user)
    yield from _hold_todos(user)
    yield from review_todos(user)
    for place, owed in places:
        if place.trouble:
            yield Todo(
                "bad",
                "Location",
                f"{place.name} could not be used: {place.trouble}",
                reverse("admin:l2l_backups_location_change", args=[place.pk]),
            )
        elif owed.copies:
            yield Todo(
                "warn", "Copies", f"{place.name} is owed {copies_text(owed.copies)}; the next backup of those customers puts them there."
            )
    if not protection.customers:
        if user.has_perm("l2l_subscriptions.view_customer"):
            yield _first_customer(user)
    elif protection.without:
        some = "One customer has" if protection.without == 1 else f"{protection.without} customers have"
        yield Todo(
            "bad",
            "Backup",
            f"{some} no whole set since {protection.since:%-d %B}: see its night under Nights, or press “Back up now” on its page.",
            _customers(),
        )
    if protection.complete:
        some = "One customer's newest set is" if protection.complete == 1 else f"The newest sets of {protection.complete} customers are"
        yield Todo("warn", "Backup", f"{some} not yet at every required location.", _customers())


def _hot_todos(standing: Standing | None) -> Iterator[Todo]:
    """Whether P2 is kept, and what to do where it is not."""
    for finding in standing.findings if standing else ():
        link = reverse("admin:l2l_backups_hotstate_changelist")
        yield Todo(KINDS[finding.state], "Hot backups", f"{finding.reason} {finding.todo}", link)


def _queue_todos(user: Any) -> Iterator[Todo]:
    """Whether the worker lives, for those who run it: without it no night is filled."""
    if not user.has_perm("l2l_backups.operate_run"):
        return
    seen = heartbeats.newest(queueing.WORKER)
    if seen is None:
        yield Todo("bad", "Queue", "The worker has never given a sign of life, and no night is filled without it: run manage.py work.")
    elif timezone.now() - seen > WORKER_SILENT:
        yield Todo("bad", "Queue", f"The worker gave its last sign of life at {in_utc(seen)}: start manage.py work, or see what it says.")


def _night_todos(user: Any) -> Iterator[Todo]:
    """Nights of the last week that a person must look at, of the customers that they may see."""
    if not user.has_perm("l2l_backups.view_run"):
        return
    visible = of_visible_customers(user, Run.objects.filter(kind=Run.Kind.BACKUP), "stream")
    bad = visible.filter(state__in=RED_STATES, night__gt=last_night() - timedelta(days=7))
    nights = reverse("admin:l2l_backups_run_changelist")
    for night, state, count in bad.order_by("-night", "state").values_list("night", "state").annotate(Count("pk"))[:NIGHT_TODOS]:
        some = "One run" if count == 1 else f"{count} runs"
        yield Todo(
            "bad",
            "Night",
            f"{some} of the night of {night:%-d %B}: {Run.State(state).label}.",
            f"{nights}?night={night}&state__exact={state}",
        )


def _finding_todos(user: Any) -> Iterator[Todo]:
    """Open findings about customers that the person may see, a line for each kind, the soonest due first."""
    if not user.has_perm("l2l_audit.view_finding"):
        return
    seen = of_visible_customers(user, open_findings(), "customer").order_by().values("kind")
    for one in seen.annotate(due=Min("due_on"), count=Count("pk"), taken=Count("owner")).order_by("due", "kind"):
        yield _findings_todo(**one)


def _findings_todo(kind: str, due: date, count: int, taken: int) -> Todo:
    """All open findings of one kind in one line: their texts stand on their own pages."""
    late = due < timezone.localdate(clock.now())
    when = f"{'overdue since' if late else 'due'} {due:%-d %B %Y}"
    if count == 1:
        text = f"{label_of_kind(kind).capitalize()}: {when}; {'it has an owner' if taken else 'nobody has taken it'}."
    else:
        owners = "nobody has taken any" if not taken else "all have owners" if taken == count else f"{count - taken} without an owner"
        text = f"{label_of_kind(kind).capitalize()}: {count:,} findings, the first {when}; {owners}."
    page = reverse("admin:l2l_audit_finding_changelist")
    return Todo("bad" if late else "warn", "Findings", text, f"{page}?standing=open&kind={kind}")


def _test_todos(user: Any) -> Iterator[Todo]:
    """Test restores that are overdue, and results that this person may sign off."""
    if user.has_perm("l2l_backups.view_testcell"):
        late = coverage.debt(clock.now(), of_visible_customers(user, coverage.owed(), "stream")).late
        if late:
            text = f"{_tests(late)} overdue, or failed and to be made again: see what stood in the way."
            yield Todo("bad", "Test restores", text, reverse("admin:l2l_backups_testcell_changelist") + "?late=1")
    if user.has_perm(SIGNS_OFF):
        tests = of_visible_customers(user, unsigned(TestRestore.objects.exclude(asked_by=user.get_username())), "stream").count()
        if tests:
            text = f"{_tests(tests)} waiting to be signed off by somebody else than who started them."
            yield Todo("info", "Test restores", text, reverse("admin:l2l_backups_testrestore_changelist") + "?signed_off=no")


def _drill_todos(user: Any) -> Iterator[Todo]:
    """Whether somebody must take the escrow key out of its vault and try it."""
    due = drilling.due_at() if user.has_perm(drilling.DRILLS) else None
    if due is not None and due < clock.now():
        text = f"The escrow key should have been tried by {in_utc(due)}: take it out of its vault; Escrow drills says how."
        yield Todo("bad", "Keys", text, reverse("admin:l2l_backups_escrowdrill_changelist"))


def _tests(count: int) -> str:
    return "One test restore is" if count == 1 else f"{count} test restores are"


def _proof_todos(user: Any) -> Iterator[Todo]:
    """Customers whose newest proof of the last week is broken, of those that the person may see."""
    if not user.has_perm("l2l_backups.view_backupset"):
        return
    made = BackupSet.objects.filter(state=BackupSet.State.MADE)
    newer = made.filter(stream=OuterRef("stream"), started_at__gt=OuterRef("started_at")).exclude(proof="")
    recent = of_visible_customers(user, made, "stream").filter(night__gt=last_night() - timedelta(days=7))
    broken = recent.filter(~Exists(newer), proof=BackupSet.Proof.BROKEN).select_related("stream").defer("blob_ids")
    for backup_set in broken.order_by("-started_at")[:NIGHT_TODOS]:
        yield Todo(
            "bad",
            "Proof",
            f"{backup_set.stream.name}: rows are not what history says. The newest set's page names them, and what to do.",
            reverse("admin:l2l_backups_backupset_change", args=[backup_set.pk]),
        )


def _retention_todos(user: Any) -> Iterator[Todo]:
    """Weeks and months of late without a set, and what does not go though its time is over, of the customers that the person may see."""
    if user.has_perm("l2l_backups.view_backupset"):
        since = clock.now() - MISSED_SHOWN
        missed = of_visible_customers(user, Slot.objects.filter(state=Slot.State.MISSED, decided_at__gt=since), "stream")
        for slot in missed.select_related("stream").order_by("-first", "key")[:NIGHT_TODOS]:
            text = f"{slot.stream.name}: {name_of(period_called(slot.key))} is missed: there was no good set. The nights say why."
            yield Todo("bad", "Kept", text, f"{kept_url(slot.stream_id)}?nights={slot.first.year}#nights")
    if not user.has_perm("l2l_backups.view_retentionlook"):
        return
    page = reverse("admin:l2l_backups_retentionlook_changelist")
    for words, cleared in clock_doubt.standing(clock.now()):
        if not cleared:
            yield Todo("bad", "Clock", f"Nothing is removed while the clock is in doubt. {words}.", page)
    waiting = of_visible_customers(user, RetentionLook.objects.exclude(waits=""), "stream").exclude(waits=ON_HOLD).count()
    if waiting:
        some = "One customer keeps sets" if waiting == 1 else f"{waiting} customers keep sets"
        yield Todo("warn", "Kept", f"{some} whose time is over, for pruning waits: see why under Retention.", f"{page}?waits=yes")


def _term_todos(user: Any) -> Iterator[Todo]:
    """What an agreement let go and is there still; purges that failed; what waits for the account manager's decision."""
    if not user.has_perm(PurgeRequest.permission("view")):
        return
    looks = TermLook.objects.visible_to(user).select_related("stream")
    for look in looks.filter(overdue__gt=0).order_by("overdue_since")[:NIGHT_TODOS]:
        text = f"{look.stream.name}: {_items(look.overdue)} should have gone by an agreed term, the first on {look.overdue_since}."
        yield Todo("bad", "Term", text, _past_term(look))
    failed = PurgeTry.objects.filter(request__state=State.APPROVED.value, passing=False).exclude(trouble="")
    for one in of_visible_customers(user, failed, "request__customer").select_related("request__customer")[:NIGHT_TODOS]:
        link = reverse("admin:l2l_backups_purgerequest_change", args=[one.pk])
        yield Todo("bad", "Purge", f"{one.request.customer.code}: {one.trouble}", link)
    if user.has_perm(PurgeRequest.permission("add")):
        yield from _undecided_todos(looks)


def _undecided_todos(looks: Any) -> Iterator[Todo]:
    """What the account manager has not asked for, of what somebody must decide on."""
    for term, kind, says in (
        (PurgeRequest.Term.AGREED, "warn", "an agreed term lets {items} go within 90 days: ask for it ahead."),
        (PurgeRequest.Term.STANDARD, "info", "{items} past 20 years; decide whether to purge."),
    ):
        asked = PurgeRequest.objects.filter(state__in=(State.REQUESTED.value, State.APPROVED.value), term=term)
        waiting = looks.filter(**{f"{term}__gt": 0}).exclude(stream__in=asked.values("customer"))
        for look in waiting.order_by("stream__name")[:NIGHT_TODOS]:
            text = says.format(items=_items(getattr(look, term)))
            yield Todo(kind, "Term", f"{look.stream.name}: {text}", _past_term(look))


def _items(count: int) -> str:
    return "one item" if count == 1 else f"{count:,} items"


def _past_term(look: TermLook) -> str:
    return reverse("admin:l2l_subscriptions_customer_past_term", args=[look.pk])


def _requests_to_decide(user: Any) -> Iterator[Todo]:
    """What waits for this person as the second one."""
    yield from _to_decide(user, PolicyChangeRequest, PolicyChangeRequest.objects.all(), "to change the backup policy: ")
    yield from _to_decide(user, KeyChangeRequest, KeyChangeRequest.objects.all(), "to change who can open the backups: ")
    yield from _to_decide(user, LiveRestoreRequest, of_visible_customers(user, LiveRestoreRequest.objects.all(), "customer"), "to ")
    yield from _to_decide(user, HoldReleaseRequest, of_visible_customers(user, HoldReleaseRequest.objects.all(), "hold__customer"), "to ")
    terms = of_visible_customers(user, TermChangeRequest.objects.all(), "subscription__customer")
    yield from _to_decide(user, TermChangeRequest, terms, "to change what was agreed: ")
    deemed = of_visible_customers(user, DeemedReceiptRequest.objects.all(), "data_return__request__customer")
    yield from _to_decide(user, DeemedReceiptRequest, deemed, "that ")


def _hold_todos(user: Any) -> Iterator[Todo]:
    """Legal holds that somebody must look at, of the customers that the person may see."""
    if not user.has_perm("l2l_subscriptions.view_legalhold"):
        return
    for hold in of_visible_customers(user, due_for_review(timezone.localdate(clock.now())), "customer")[:NIGHT_TODOS]:
        yield Todo(
            "bad",
            "Legal hold",
            f"{hold.customer.name}: the review of the hold of {hold.holder} is due since {hold.review_on:%-d %B %Y}. "
            "Find out whether it must stay, then postpone the review or ask for its release.",
            reverse("admin:l2l_subscriptions_legalhold_change", args=[hold.pk]),
        )
    yield from _to_decide(user, PurgeRequest, of_visible_customers(user, PurgeRequest.objects.all(), "customer"), "for the ")


def _to_decide(user: Any, kind: type[TwoPersonRequest], visible: Any, asks: str) -> Iterator[Todo]:
    if not user.has_perm(kind.permission("approve")):
        return
    for asked in visible.filter(state=State.REQUESTED.value).exclude(requested_by=user)[:NIGHT_TODOS]:
        link = reverse(f"admin:{kind._meta.app_label}_{kind._meta.model_name}_change", args=[asked.pk])
        yield Todo("warn", "Decide", f"{asked.requested_by} asks {asks}{asked.what}", link)


def _first_customer(user: Any) -> Todo:
    if user.has_perm("l2l_subscriptions.add_customer"):
        return Todo(
            "info",
            "Begin",
            "No customers yet: add one here, or run manage.py add_customer.",
            reverse("admin:l2l_subscriptions_customer_add"),
        )
    return Todo("info", "Begin", "You look after no customer yet. An administrator names you as the account manager.")


def _customers() -> str:
    return reverse("admin:l2l_subscriptions_customer_changelist")


def stored_per_night(user: Any) -> str:
    """The chart's data as JSON, a bar for each night since the first set of the period; empty when there is none."""
    newest = night_of(clock.now(), ZoneInfo(settings.L2L_ZONE))
    sets = BackupSet.objects.visible_to(user).filter(night__gt=newest - timedelta(days=NIGHTS_SHOWN), state=BackupSet.State.MADE)
    stored = dict(sets.order_by("night").values_list("night").annotate(Sum("new_bytes")))
    if not stored:
        return ""
    first = min(stored)
    nights = [first + timedelta(days=day) for day in range((max(newest, *stored) - first).days + 1)]
    name, divisor = _unit(max(stored.values()))
    bars = {"label": "Newly stored", "data": [round(stored.get(night, 0) / divisor, 1) for night in nights], "maxBarThickness": 22}
    look = {"backgroundColor": "var(--color-primary-600)", "displayYAxis": True, "suffixYAxis": name, "maxTicksXLimit": 10}
    return json.dumps({"labels": [f"{night:%-d %b}" for night in nights], "datasets": [bars | look]})


def _unit(largest: int) -> tuple[str, int]:
    """One unit for all bars, so that the largest has at least one digit before the point."""
    return next(((name, size) for name, size in UNITS if largest >= size), UNITS[-1])
