"""What needs a person now, the most urgent first: of what this person may see, and each kind but a few of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from django.db.models import Count, Exists, Min, OuterRef
from django.urls import reverse
from django.utils import timezone

from audit import clock
from audit.findings import open_findings
from audit.moments import in_utc
from backups import heartbeats, queueing
from backups.admin.charts import KINDS
from backups.admin.kept import kept_url
from backups.admin.locations import copies_text
from backups.hot.standing import Standing
from backups.keys import drilling
from backups.ledger.picture import name_of
from backups.models import BackupSet, RetentionLook, Run, Slot, TestRestore
from backups.prune import clock_doubt
from backups.prune.deciding import ON_HOLD
from backups.slots import period_called
from backups.test_restores.sign_off import SIGNS_OFF, unsigned
from l2l.admin.access import review_todos
from l2l.admin.customer_todos import unmanaged_todos
from l2l.admin.ending_todos import ending_todos
from l2l.admin.findings import label_of_kind
from l2l.admin.front.coverage import Grid
from l2l.admin.front.nights import last_night
from l2l.admin.front.places import Place
from l2l.admin.front.protection import Protection
from l2l.admin.front.requests import Waiting
from l2l.admin.front.term_todos import hold_todos, term_todos
from l2l.admin.todos import Todo
from subscriptions.admin import of_visible_customers
from subscriptions.models import DeletionRequest

URGENCY = ("bad", "warn", "info")
SHOWN = 5
# Weeks and months that were missed are told of so long; the picture shows them for good.
MISSED_SHOWN = timedelta(days=35)
# Three looks at what is due.
WORKER_SILENT = timedelta(minutes=3)
RED_STATES = (Run.State.FAILED, Run.State.MISSED, Run.State.STOPPED)


@dataclass(frozen=True, slots=True)
class Found:
    """What other blocks of the page have read already."""

    protection: Protection
    standing: Standing | None
    places: Sequence[Place]
    tests: Grid | None
    waiting: Sequence[Waiting]
    under_way: list[DeletionRequest]


def todos(user: Any, found: Found) -> list[Todo]:
    """What to do next, the most urgent first; what is alike stands together."""
    every = (todo for part in _parts(user, found) for todo in part)
    return sorted(every, key=lambda todo: URGENCY.index(todo.kind))


def _parts(user: Any, found: Found) -> Iterator[Iterator[Todo]]:
    yield _hot_todos(found.standing)
    yield _queue_todos(user)
    yield ending_todos(user, found.under_way)
    yield unmanaged_todos(user)
    yield _night_todos(user)
    yield _finding_todos(user)
    yield _test_todos(user, found.tests)
    yield _drill_todos(user)
    yield _proof_todos(user)
    yield _retention_todos(user)
    yield term_todos(user)
    yield (Todo("warn", "Decide", f"{one.by} asks {one.asks}{one.what}", one.link) for one in found.waiting if one.mine)
    yield hold_todos(user)
    yield review_todos(user)
    yield _place_todos(found.places)
    yield _protection_todos(user, found.protection)


def _place_todos(places: Sequence[Place]) -> Iterator[Todo]:
    for one in places:
        if one.location.trouble:
            link = reverse("admin:l2l_backups_location_change", args=[one.location.pk])
            yield Todo("bad", "Location", f"{one.location.name} could not be used: {one.location.trouble}", link)
        elif one.owed.copies:
            copies = copies_text(one.owed.copies)
            yield Todo("warn", "Copies", f"{one.location.name} is owed {copies}; the next backup of those customers puts them there.")


def _protection_todos(user: Any, protection: Protection) -> Iterator[Todo]:
    if not protection.customers:
        if user.has_perm("l2l_subscriptions.view_customer"):
            yield _first_customer(user)
    elif protection.without:
        some = "One customer has" if protection.without == 1 else f"{protection.without:,} customers have"
        yield Todo(
            "bad",
            "Backup",
            f"{some} no whole set since {protection.since:%-d %B}: see its night under Nights, or press “Back up now” on its page.",
            _customers(),
        )
    if protection.complete:
        some = "One customer's newest set is" if protection.complete == 1 else f"The newest sets of {protection.complete:,} customers are"
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
    for night, state, count in bad.order_by("-night", "state").values_list("night", "state").annotate(Count("pk"))[:SHOWN]:
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


def _test_todos(user: Any, tests: Grid | None) -> Iterator[Todo]:
    """Test restores that are overdue, and results that this person may sign off."""
    if tests is not None and tests.late:
        text = f"{_tests(tests.late)} overdue, or failed and to be made again: see what stood in the way."
        yield Todo("bad", "Test restores", text, reverse("admin:l2l_backups_testcell_changelist") + "?late=1")
    if user.has_perm(SIGNS_OFF):
        open_ones = of_visible_customers(user, unsigned(TestRestore.objects.exclude(asked_by=user.get_username())), "stream").count()
        if open_ones:
            text = f"{_tests(open_ones)} waiting to be signed off by somebody else than who started them."
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
    for backup_set in broken.order_by("-started_at")[:SHOWN]:
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
        for slot in missed.select_related("stream").order_by("-first", "key")[:SHOWN]:
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
