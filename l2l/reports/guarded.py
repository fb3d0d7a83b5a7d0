"""What the statement says of how the data is protected: nights, weeks and months, places, loss window, checks, test restores (P1 to P7)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from django.db.models import Count, Min, Q

from audit.moments import length
from audit.sizes import in_units
from backups.hot import covered
from backups.hot.durations import Counted, added
from backups.ledger import reading
from backups.ledger.picture import Cell, Picture, Says, name_of, plain
from backups.models import BackupSet, Blob, Copy, Damage, Location, LossHour, Slot, TestRestore
from backups.policies import versions
from backups.policy import in_force
from backups.slots import Period, night_of, period_called
from backups.test_restores.coverage import rto
from l2l.reports.periods import Days, on_the_clock, said
from l2l.reports.sections import Section, counted
from subscriptions.models import Customer

UNHURT = (Says.FILLED, Says.ASKED, Says.NOTHING, Says.OWED)
ENCRYPTED = (
    "Before anything is stored it is encrypted with a key of your own (age: X25519 and ChaCha20-Poly1305), and the same encrypted bytes go "
    "to every location. Keys are in no backup and no database; destroying your key makes every copy unreadable."
)


@dataclass(frozen=True, slots=True)
class Asked:
    """Whose, in which days, and when it is asked. `first` and `last` are nights that have begun."""

    customer: Customer
    days: Days
    now: datetime
    first: date
    last: date

    def of(self, rows: Any, column: str) -> Any:
        """Those of the rows whose moment lies in the period."""
        if self.days.start:
            rows = rows.filter(**{f"{column}__gte": self.days.start})
        return rows.filter(**{f"{column}__lt": self.days.end}) if self.days.end else rows

    def when(self, moment: datetime) -> str:
        return on_the_clock(moment, self.customer.zone)


def asked(customer: Customer, days: Days, now: datetime) -> Asked:
    """The nights are called by the policy's calendar; a period that is open begins with the customer's first day here."""
    known = versions()
    newest = night_of(now, in_force(known, now).zone) if known else now.date()
    begun = customer.created_at.date()
    last = min(days.last or newest, newest)
    return Asked(customer, days, now, min(max(days.first or begun, begun - timedelta(days=1)), last), last)


def nights(about: Asked) -> Section:
    cells = _nights(reading.picture_of(about.customer.pk, about.now, about.first, about.last)) if versions() else []
    exceptions = [cell for cell in cells if cell.says not in UNHURT]
    by = {says: sum(cell.says is says for cell in cells) for says in Says}
    figures = {word.value: by[word] for word in (Says.FILLED, Says.LATE, Says.MISSED, Says.EXCUSED)}
    return Section(
        "nights",
        "A full backup every night",
        ("P1",),
        (
            f"Nights from {said(about.first)} to {said(about.last)}. A night runs from noon to noon and is filled when a backup of all "
            "your data stands, read back, at every required location. Every night that was not simply filled is listed.",
        ),
        {"owed": sum(figures.values()), **figures, "not over yet": by[Says.OWED]},
        ("night", "what happened"),
        [(cell.title.partition(":")[0], cell.title.partition(": ")[2]) for cell in exceptions],
        (50, 124),
        "Every night was filled." if sum(figures.values()) else "No night was owed in the period.",
    )


def _nights(drawn: Picture) -> list[Cell]:
    """In the order of the calendar."""
    return [cell for month in reversed(drawn.months) for week in month.weeks for cell in week if cell.says is not Says.NOTHING]


def weeks_and_months(about: Asked) -> Section:
    rows = Slot.objects.filter(stream=about.customer.pk, last__gte=about.first, first__lte=about.last).select_related("backup_set")
    found = sorted(rows, key=lambda one: (one.first, one.key))
    states = {name: sum(one.state == state for one in found) for state, name in Slot.State.choices}
    return Section(
        "weeks and months",
        "Weeks and months that are kept",
        ("P6",),
        ("Of each week and each month one backup is chosen, once, when it is over, and kept longer than the nights.",),
        states,
        ("week or month", "what was chosen"),
        [(_name(period_called(one.key)), _chosen(one)) for one in found],
        (60, 114),
        "No week or month of the period is over yet.",
    )


def _name(period: Period) -> str:
    name = name_of(period)
    return name[0].upper() + name[1:]


def _chosen(slot: Slot) -> str:
    words = str(dict(Slot.State.choices)[slot.state])
    if slot.backup_set is not None:
        words += f" by the backup of the night of {said(slot.backup_set.night)}"
        words += "; removed since, for its time was over" if slot.backup_set.state == BackupSet.State.REMOVED else ""
    return "; ".join([words, *(plain(line) for line in slot.note.splitlines())])


def places(about: Asked) -> Section:
    stream, there = about.customer.pk, list(Location.objects.filter(in_force=True))
    made = Count("blob__id", filter=Q(blob__kind=Blob.Kind.ENVELOPE, state=Copy.State.PRESENT))
    sets = dict(
        Copy.objects.filter(blob__stream=stream, location__in=there)
        .order_by()
        .values("location")
        .annotate(n=made)
        .values_list("location", "n")
    )
    newest = BackupSet.objects.filter(stream=stream, protected_at__isnull=False).order_by("-snapshot_at").first()
    offsite = sum(one.offsite for one in there)
    return Section(
        "places",
        "Where the copies are",
        ("P3", "P5"),
        (ENCRYPTED,),
        {
            "locations": len(there),
            "of them offsite": offsite,
            "newest backup that stands at every required one": about.when(newest.snapshot_at)
            if newest and newest.snapshot_at
            else "none yet",
        },
        ("location", "offsite", "required", "backups whole there now"),
        [(one.name, "yes" if one.offsite else "no", "yes" if one.required else "no", sets.get(one.pk, 0)) for one in there],
        (60, 30, 30, 54),
        "No location is in use.",
    )


def loss_window(about: Asked) -> Section:
    hours = about.of(LossHour.objects.filter(location__in_force=True).select_related("location"), "hour")
    by_place: dict[str, list[Counted]] = {}
    for hour in hours.order_by("location__position"):
        by_place.setdefault(hour.location.name, []).append(Counted(tuple(hour.buckets), hour.longest))
    reaches = covered.reaches(about.customer.pk)
    return Section(
        "loss window",
        "Up to the second",
        ("P2",),
        (
            "How long a change took from its commit until it was durable at a location, measured over the whole service in the hours of "
            "the period; and which seconds of your data can be restored from each location now.",
        ),
        {f"every second can be restored from {one.place}": _reach(about, one) for one in reaches},
        ("location", "half of the changes within", "99 of 100 within", "the longest"),
        [(name, *_within(added(found))) for name, found in by_place.items()],
        (48, 42, 42, 42),
        "Nothing was measured in the period.",
    )


def _reach(about: Asked, one: covered.Reach) -> str:
    if one.since is None or one.until is None:
        return one.ends or "none yet"
    return f"{about.when(one.since)} to {about.when(one.until)}{f'; {one.ends}' if one.ends else ''}"


def _within(found: Counted) -> Iterator[str]:
    for seconds in (found.percentile(50), found.percentile(99), found.longest):
        yield length(timedelta(seconds=seconds or 0.0))


def checks(about: Asked) -> Section:
    stream, late = about.customer.pk, _late(about.now)
    present = Copy.objects.filter(blob__stream=stream, state=Copy.State.PRESENT, location__in_force=True)
    counted_ = present.order_by("location__position").values("location__name", "location__recheck_days")
    objects = list(counted_.annotate(n=Count("pk"), late=Count("pk", filter=late), oldest=Min("checked_at")))
    damages = list(about.of(Damage.objects.filter(stream=stream).select_related("location"), "found_at").order_by("found_at"))
    return Section(
        "checks",
        "Every stored byte is read again",
        ("P4",),
        tuple(
            f"{one['location__name']}: {counted(one['n'], 'object')} of yours, each read again within {one['location__recheck_days']} days"
            f"{'; ' + counted(one['late'], 'check is', 'checks are') + ' late' if one['late'] else ''}"
            f"{'; the oldest check is of ' + about.when(one['oldest']) if one['oldest'] else ''}."
            for one in objects
        ),
        {
            "objects checked": sum(one["n"] - one["late"] for one in objects),
            "late": sum(one["late"] for one in objects),
            "damage found in the period": len(damages),
            "of it mended": sum(one.mended_at is not None for one in damages),
        },
        ("found", "location", "what", "what became of it"),
        [(about.when(one.found_at), one.location.name, f"{one.kind}, {one.get_what_display()}", _mended(about, one)) for one in damages],
        (48, 30, 44, 52),
        "No damage was found in the period.",
    )


def _late(now: datetime) -> Q:
    late = Q()
    for place in Location.objects.filter(in_force=True):
        before = now - timedelta(days=place.recheck_days)
        late |= Q(location=place) & (Q(checked_at=None) | Q(checked_at__lt=before))
    return late or Q(pk=None)


def _mended(about: Asked, one: Damage) -> str:
    if one.mended_at:
        return f"mended {about.when(one.mended_at)}{f', from {one.mended_from}' if one.mended_from else ''}"
    if one.over_at:
        return f"not needed any more since {about.when(one.over_at)}"
    return "open: no location has it whole" if one.beyond_at else "open: being mended"


def test_restores(about: Asked) -> Section:
    tests = list(about.of(TestRestore.objects.filter(stream=about.customer.pk).defer("document"), "ended_at").order_by("ended_at"))
    estimates = rto(about.customer.pk)
    return Section(
        "test restores",
        "Test restores",
        ("P7", "P14"),
        (
            "Backups of yours are restored from one location alone into a database of their own, and every row, file and digest is "
            "compared. The time is from the question to a database that holds everything.",
        ),
        {
            "passed": sum(one.passed for one in tests),
            "failed": sum(not one.passed for one in tests),
            **{f"a restore of the newest backup from {one.location} would take about": one.estimated_words for one in estimates},
        },
        ("tested", "backup of", "kept as", "location", "result", "took", "content"),
        [_tested(about, one) for one in tests],
        (40, 30, 18, 24, 18, 20, 24),
        "None was made in the period.",
    )


def _tested(about: Asked, one: TestRestore) -> Sequence[str]:
    took = length(timedelta(milliseconds=one.rto_ms))
    night = said(one.night) if one.night else "–"
    return about.when(one.ended_at), night, one.tier, one.location, one.get_result_display(), took, in_units(one.content_bytes)


def all_of(about: Asked) -> Iterable[Section]:
    """In the order in which they are read."""
    yield nights(about)
    yield weeks_and_months(about)
    yield places(about)
    yield loss_window(about)
    yield checks(about)
    yield test_restores(about)
