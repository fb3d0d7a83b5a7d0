"""All about one customer on one page: terms, content, sets and slots, tests, holds, what waits, and until when it is kept. A constant
number of queries."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from urllib.parse import urlencode

from django.db.models import Q
from django.urls import NoReverseMatch, reverse

from audit import registry
from audit.models import JournalRow, Stream
from audit.roles import HANDS_CUSTOMERS_OVER
from backups import policies
from backups.admin.charts import Shape, counts
from backups.admin.kept import kept_url
from backups.admin.locations import Owed, owed_by_location
from backups.admin.sets import STANDINGS, standing_of, whole_at
from backups.hot import seeking
from backups.ledger import reading
from backups.ledger.picture import Cell, Says
from backups.models import BackupSet, LiveRestore, LiveRestoreRequest, Location, Run, TestCell
from backups.test_restores import coverage
from backups.test_restores.coverage import rto
from l2l.admin import zoom as zooms
from l2l.admin.handing_over import hand_over_url
from subscriptions import holds, terms
from subscriptions.admin import change_terms_url, open_requests, renew_url, state_of
from subscriptions.ending.states import ASKS
from subscriptions.ending.states import State as Ending
from subscriptions.models import Customer, DeletionRequest, Export, LegalHold, Subscription

SETS_SHOWN = 7
EXPORTS_SHOWN = 5
NIGHTS_SHOWN, WEEKS_SHOWN, MONTHS_SHOWN = 28, 26, 24
RUN_BACKUP = "l2l_backups.add_backupset"
SEES_HOLDS = "l2l_subscriptions.view_legalhold"
SEES_SETS = "l2l_backups.view_backupset"


@dataclass(frozen=True, slots=True)
class ContentCount:
    """How many rows of one protected model a customer has, and the list of them."""

    label: str
    count: int
    url: str


@dataclass(frozen=True, slots=True)
class SlotRow:
    """The newest slots of one tier, the oldest first, and the page that has them all."""

    name: str
    cells: list[tuple[Cell, str]]
    missed: int


@dataclass(frozen=True, slots=True)
class TestOf:
    """When one tier was last tested at one location: text, and the badge's kind."""

    tier: str
    location: str
    words: str
    kind: str


def page_of(customer: Customer, user: Any, now: datetime) -> dict[str, Any]:
    """The context of the page for one person."""
    open_holds = list(LegalHold.objects.filter(customer=customer, released_at=None))
    ending = _ending(customer, user)
    return {
        "customer": customer,
        "stream": Stream.objects.filter(pk=customer.pk).first(),
        "term_requests": open_requests(customer, user),
        "contents": content_counts(customer, user),
        "at_work": _at_work(customer),
        "open_holds": open_holds,
        "may_see_holds": user.has_perm(SEES_HOLDS),
        "ending": ending,
        "end_url": _end_url(customer, ending, user),
        "hold_url": _hold_url(customer, user),
        "hand_over_url": hand_over_url(customer=customer.pk) if user.has_perm(HANDS_CUSTOMERS_OVER) else "",
        "live_restore": _live_restore(customer, user),
        "restore_live_url": _restore_live_url(customer, user),
        "exports": Export.objects.filter(customer=customer)[:EXPORTS_SHOWN],
        "may_back_up": user.has_perm(RUN_BACKUP),
        **_terms_of(customer, user, on_hold=bool(open_holds)),
        **_backups_of(customer, user, now),
        **_changes_of(customer, now),
    }


def _terms_of(customer: Customer, user: Any, *, on_hold: bool) -> dict[str, Any]:
    subscriptions = list(customer.subscriptions.all())
    last_change = JournalRow.objects.filter(stream=customer.pk).order_by("-id").values_list("written_at", flat=True).first()
    latest = max((one.end or date.max for one in subscriptions), default=None)
    return {
        "subscriptions": [
            (one, state_of(one), change_terms_url(one, user), renew_url(one, user) if one.end == latest else "") for one in subscriptions
        ],
        "kept": kept(subscriptions, last_change.date() if last_change else None, on_hold=on_hold),
        "last_change": last_change,
    }


def _backups_of(customer: Customer, user: Any, now: datetime) -> dict[str, Any]:
    there = BackupSet.objects.filter(stream=customer.pk).exclude(state=BackupSet.State.REMOVED)
    sets = list(there.defer("blob_ids").order_by("-started_at")[:SETS_SHOWN])
    places = list(Location.objects.filter(in_force=True))
    return {
        "sets": [_shown_set(one, held) for held in (whole_at(sets),) for one in sets],
        "slots": list(slots_of(customer, now)) if user.has_perm(SEES_SETS) else [],
        "kept_url": kept_url(customer.pk) if user.has_perm(SEES_SETS) else "",
        "restores": rto(customer.pk),
        "tests": list(tests_of(customer, now)) if user.has_perm("l2l_backups.view_testcell") else [],
        "owed": _owed_of(places, owed_by_location(customer.pk)),
    }


def slots_of(customer: Customer, now: datetime) -> Iterator[SlotRow]:
    """The newest nights, weeks and months as the picture of what is kept has them; nothing before there is a policy."""
    if not policies.versions():
        return
    drawn = reading.read(customer.pk, now).picture
    nights = [cell for month in reversed(drawn.months) for week in month.weeks for cell in week if cell.label]
    weeks = [cell for year in reversed(drawn.years) for cell in year.weeks]
    months = [cell for year in reversed(drawn.years) for cell in year.months]
    for name, cells, most in (("Nights", nights, NIGHTS_SHOWN), ("Weeks", weeks, WEEKS_SHOWN), ("Months", months, MONTHS_SHOWN)):
        owed = [cell for cell in cells if cell.says is not Says.NOTHING][-most:]
        if owed:
            yield SlotRow(name, [(cell, _set_page(cell)) for cell in owed], sum(cell.says is Says.MISSED for cell in owed))


def _set_page(cell: Cell) -> str:
    return reverse("admin:l2l_backups_backupset_change", args=[cell.set_id]) if cell.set_id else ""


def tests_of(customer: Customer, now: datetime) -> Iterator[TestOf]:
    """Each tier at each location at which a set of it is, with its last test restore (P7)."""
    for cell in coverage.owed().filter(stream=customer.pk).select_related("location").order_by("tier", "location__name"):
        yield TestOf(cell.tier, cell.location.name, *_tested(cell, now))


def _tested(cell: TestCell, now: datetime) -> tuple[str, str]:
    if cell.failed:
        return "failed", "bad"
    if cell.due_at < now:
        return "overdue", "bad"
    return (f"passed {cell.tested_at:%-d %b %Y}", "good") if cell.tested_at else (f"due {cell.due_at:%-d %b %Y}", "info")


def _changes_of(customer: Customer, now: datetime) -> dict[str, Any]:
    """The changes of the last four weeks by day; each day leads to its place on the timeline."""
    zoom, timeline = zooms.weeks(now), reverse("admin:l2l_subscriptions_customer_timeline", args=[customer.pk])
    found = seeking.changes_between(customer.pk, seeking.changes_from(customer.pk, zoom.bounds))
    days = [
        (
            count,
            f"{zoom.label_of(start)}: {count:,} change{'' if count == 1 else 's'}",
            f"{timeline}?{urlencode({'in': zoom.key_of(start)})}",
        )
        for start, count in zip(zoom.bounds, found, strict=False)
    ]
    bars: tuple[Shape, ...] = counts(days)
    return {"change_bars": bars, "changes": sum(found), "change_labels": [zoom.label_of(bound) for bound in zoom.bounds[:-1:7]]}


def _at_work(customer: Customer) -> Run | None:
    """The run that works on the customer now, or else one that somebody asked for and that waits."""
    open_runs = Run.objects.filter(stream=customer.pk).select_related("stream")
    asked = Q(state=Run.State.OWED, kind=Run.Kind.ASKED)
    return open_runs.filter(Q(state=Run.State.RUNNING) | asked).order_by("-state").first()


def _live_restore(customer: Customer, user: Any) -> LiveRestoreRequest | None:
    """The request that is being carried out now, for who may see it."""
    running = LiveRestoreRequest.objects.filter(customer=customer, carrying_out__state=LiveRestore.State.RUNNING)
    return running.first() if user.has_perm(LiveRestoreRequest.permission("view")) else None


def _restore_live_url(customer: Customer, user: Any) -> str:
    if not user.has_perm(LiveRestoreRequest.permission("add")):
        return ""
    return f"{reverse('admin:l2l_backups_liverestorerequest_add')}?customer={customer.pk}"


def _ending(customer: Customer, user: Any) -> DeletionRequest | None:
    """The customer's end, under way or over, for who may see it; not one that was cancelled."""
    found = DeletionRequest.objects.filter(customer=customer).exclude(state=Ending.CANCELLED.value).first()
    return found if user.has_perm("l2l_subscriptions.view_deletionrequest") else None


def _end_url(customer: Customer, ending: DeletionRequest | None, user: Any) -> str:
    if ending is not None or not user.has_perm(ASKS):
        return ""
    return f"{reverse('admin:l2l_subscriptions_deletionrequest_add')}?customer={customer.pk}"


def _hold_url(customer: Customer, user: Any) -> str:
    return f"{reverse('admin:l2l_subscriptions_legalhold_add')}?customer={customer.pk}" if user.has_perm(holds.PLACES) else ""


def kept(
    subscriptions: Iterable[Subscription], last_change: date | None, *, on_hold: bool
) -> tuple[terms.KeptUntil, terms.DestructionDays] | None:
    """Until when the newest content is kept, and when it is destroyed, each with its reason; None without a subscription."""
    agreed = [
        terms.SubscriptionTerms(one.agreement_number, one.start, one.end, one.agreed_retention_years, one.agreed_destruction_days)
        for one in subscriptions
    ]
    if not agreed:
        return None
    changed = last_change or max(one.start for one in agreed)
    return terms.kept_until(agreed, last_changed=changed, on_hold=on_hold), terms.destruction_days(agreed)


def content_counts(customer: Customer, user: Any) -> list[ContentCount]:
    """One count for each protected model whose rows belong to customers, a vendor's own too."""
    return [_content_count(one, customer, user) for one in registry.of_stream(customer.pk)]


def _content_count(protected: registry.Protected, customer: Customer, user: Any) -> ContentCount:
    opts = protected.model._meta
    try:
        address = reverse(f"admin:{opts.app_label}_{opts.model_name}_changelist")
    except NoReverseMatch:
        address = ""
    may_see = user.has_perm(f"{opts.app_label}.view_{opts.model_name}")
    url = f"{address}?customer={customer.pk}" if address and may_see else ""
    return ContentCount(str(opts.verbose_name_plural), protected.rows(customer.pk).count(), url)


def _shown_set(backup_set: BackupSet, held: dict[Any, list[str]]) -> tuple[BackupSet, str, str, list[str]]:
    standing = standing_of(backup_set)
    return backup_set, standing, STANDINGS[standing][0], held.get(backup_set.pk, [])


def _owed_of(places: list[Location], owed: dict[int, Owed]) -> list[tuple[Location, Owed]]:
    return [(place, owed.get(place.pk, Owed())) for place in places]
