"""What the statement says of what was agreed: terms, how long all is kept and why, what went, holds, and the end (P9 to P12)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from django.utils.text import capfirst

from audit import registry
from audit.models import JournalRow
from audit.sizes import in_units
from backups.ledger import reading
from backups.ledger.picture import plain
from backups.models import Purge
from backups.policies import versions
from l2l.reports.periods import Days, on_the_clock, said
from l2l.reports.sections import Section
from subscriptions import past_term, terms
from subscriptions.ending import clock as clocks
from subscriptions.ending.states import State
from subscriptions.models import Customer, DeletionRequest, LegalHold
from subscriptions.past_term import HORIZONS


def agreements(customer: Customer) -> Section:
    found = list(customer.subscriptions.order_by("start", "pk"))
    return Section(
        "agreements",
        "What was agreed",
        ("P9", "P12"),
        columns=("agreement", "first day", "last day", "data is kept", "destroyed within"),
        rows=[
            (
                one.agreement_number,
                said(one.start),
                said(one.end) if one.end else "open-ended",
                f"{one.agreed_retention_years} years, as agreed" if one.agreed_retention_years else "for the subscription or 20 years",
                terms.destruction_days([one.terms]).reason,
            )
            for one in found
        ],
        widths=(30, 30, 30, 44, 40),
        empty="There is no agreement on record.",
    )


def content(customer: Customer, days: Days) -> Section:
    """Counted now; the changes are those of the period."""
    rows = JournalRow.objects.filter(stream=customer.pk)
    if days.start:
        rows = rows.filter(written_at__gte=days.start)
    if days.end:
        rows = rows.filter(written_at__lt=days.end)
    models = registry.of_stream(customer.pk)
    changes = [rows.filter(model=one.label).count() for one in models]
    return Section(
        "content",
        "What is kept for you",
        ("P8",),
        ("Items as they are now, and how many changes of them were tracked in the period: who, what, when and why.",),
        {"items now": sum(one.rows(customer.pk).count() for one in models), "changes in the period": sum(changes)},
        ("kind", "items now", "changes in the period"),
        [
            (capfirst(str(one.model._meta.verbose_name_plural)), one.rows(customer.pk).count(), count)
            for one, count in zip(models, changes, strict=True)
        ],
        (90, 42, 42),
    )


def kept(customer: Customer, now: datetime) -> Section:
    """Live data: until when the item changed last is kept, and what is past its term soon."""
    agreed, holds = past_term.terms_of(customer.pk), _open_holds(customer)
    figures: dict[str, int | str] = {}
    if agreed:
        newest = JournalRow.objects.filter(stream=customer.pk).order_by("-id").values_list("written_at", flat=True).first()
        day = past_term.today_of(customer, newest) if newest else max(one.start for one in agreed)
        until, after = terms.kept_until(agreed, last_changed=day, on_hold=bool(holds)), terms.destruction_days(agreed)
        figures = {
            "last change": said(day),
            "data as it is now is kept until": said(until.until) if until.until else "no date",
            "because": until.reason,
            "after the end": f"all data and every copy is destroyed within {after.reason}",
        }
    today = past_term.today_of(customer, now)
    return Section(
        "kept",
        "Kept until when, and why",
        ("P9",),
        ("An item's term is counted from its last change. Below: items that are past their term, or will be within a year.",),
        figures,
        ("kind", "term", *(f"by {said(today + timedelta(days=ahead))}" for ahead in HORIZONS)),
        [
            (capfirst(str(one.protected.model._meta.verbose_name_plural)), one.rule.value, *one.by)
            for one in past_term.listed(customer, now)
        ],
        (34, 40, 25, 25, 25, 25),
        "No item is past its term, nor will be within a year.",
    )


def sets(customer: Customer, now: datetime) -> Section:
    """The backups that are there, when each goes and why."""
    found = reading.read(customer.pk, now).sets if versions() else ()
    return Section(
        "sets",
        "Your backups, until when each is kept, and why",
        ("P6", "P9"),
        ("Each is a full backup of all your data at one moment, with its whole history.",),
        {"backups kept now": len(found)},
        ("night", "kept until", "because"),
        [
            (said(one.stored.night), _until(one, customer.zone), "; ".join(plain(reason.words) for reason in one.decision.reasons))
            for one in reversed(found)
        ],
        (32, 44, 98),
        "There is no backup yet.",
    )


def _until(one: reading.Kept, zone: str) -> str:
    return f"{on_the_clock(one.decision.goes_at, zone)}{', or longer' if one.undated else ''}"


def purges(customer: Customer, days: Days) -> Section:
    rows = Purge.objects.filter(customer=customer).defer("digests", "numbers").select_related("request").order_by("purged_at")
    if days.start:
        rows = rows.filter(purged_at__gte=days.start)
    if days.end:
        rows = rows.filter(purged_at__lt=days.end)
    return Section(
        "purges",
        "What went because its term was over",
        ("P9",),
        ("Each was asked for by one person and approved by another. What went is left out of every restore from then on.",),
        columns=("when", "items", "files", "by which term"),
        rows=[
            (
                on_the_clock(one.purged_at, customer.zone),
                sum(of[0] for of in one.counts.values()),
                f"{sum(of[2] for of in one.counts.values()):,} ({in_units(one.file_bytes)})",
                one.request.rule.value,
            )
            for one in rows
        ],
        widths=(60, 24, 30, 60),
        empty="Nothing went in the period.",
    )


def holds(customer: Customer) -> Section:
    """Who demands a hold, and why, is not told here: it may be what nobody may tell."""
    found = LegalHold.objects.filter(customer=customer).order_by("placed_at")
    return Section(
        "holds",
        "Legal holds",
        ("P9",),
        ("While a hold is open nothing is removed, whatever was agreed. Your account manager may tell what it is about.",),
        {"open now": len(_open_holds(customer))},
        ("placed", "to be looked at again", "released"),
        [
            (
                on_the_clock(one.placed_at, customer.zone),
                said(one.review_on),
                on_the_clock(one.released_at, customer.zone) if one.released_at else "open",
            )
            for one in found
        ],
        (58, 58, 58),
        "There was never a hold.",
    )


def _open_holds(customer: Customer) -> list[LegalHold]:
    return list(LegalHold.objects.filter(customer=customer, released_at=None))


def end(customer: Customer, now: datetime) -> Section:
    asked = DeletionRequest.objects.filter(customer=customer).exclude(state=State.CANCELLED.value).first()
    return Section(
        "end",
        "The end of your subscription",
        ("P10", "P11", "P12"),
        ()
        if asked
        else (
            "It is not under way. When it comes, for whatever reason, your data is returned, you confirm that you have it, "
            "and then all of it and every copy is destroyed.",
        ),
        dict(_steps(asked, now)) if asked else {},
    )


def _steps(asked: DeletionRequest, now: datetime) -> Iterator[tuple[str, str]]:
    zone, clock = asked.customer.zone, clocks.of(asked, now)
    yield "asked for", on_the_clock(asked.requested_at, zone)
    yield "state", asked.state
    for name, at in (
        ("no more changes since", asked.frozen_at),
        ("return waived", asked.waived_at),
        ("clock began", asked.acknowledged_at),
        ("approved", asked.approved_at),
        ("destruction began", asked.begun_at),
        ("destroyed", asked.destroyed_at),
    ):
        if at:
            yield name, on_the_clock(at, zone)
    if clock is not None and asked.destroyed_at is None:
        yield "to be destroyed by", on_the_clock(clock.due_at, zone) if clock.due_at else "paused while a legal hold is open"
