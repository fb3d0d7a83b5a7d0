"""A customer's timeline: sets, covered seconds, gaps, proofs and every change, from which a moment is picked to restore (P14).

From what the database knows, and whatever there is of it: changes are counted by their numbers, and only a bounded list of them is read.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from django import forms
from django.conf import settings
from django.http import QueryDict
from django.urls import NoReverseMatch, reverse
from unfold.widgets import INPUT_CLASSES, UnfoldAdminSelectWidget

from audit import registry
from audit.history_pages import WORDS
from audit.models import JournalRow
from audit.moments import in_utc_to_the_second
from backups.admin.charts import Axis, Shape, counts
from backups.admin.sets import PROOFS, STANDINGS, standing_of, whole_at
from backups.hot import covered, seeking
from backups.hot.covered import SILENCE, Reach
from backups.models import BackupSet
from l2l.admin import zoom as zooms
from l2l.admin.zoom import DAY, HOUR, SECOND, NoMoment, Zoom, written
from subscriptions.models import Customer

MICROSECOND = timedelta(microseconds=1)
LISTED = 100
SETS_SHOWN = 200
WAITING_COUNTED = 1000
# Changes before the first one shown, among which one may have been written later than it.
LOOKED_BACK = 200


class PickForm(forms.Form):
    """A moment by the clock of a zone."""

    moment = forms.CharField(
        label="Date and time",
        widget=forms.DateTimeInput(attrs={"type": "datetime-local", "step": "1", "class": " ".join(INPUT_CLASSES)}),
    )
    zone = forms.ChoiceField(label="By the clock of", widget=UnfoldAdminSelectWidget)

    def __init__(self, customer: Customer, now: datetime, data: QueryDict | None, initial: datetime) -> None:
        zones = list(dict.fromkeys(("UTC", customer.zone, settings.L2L_ZONE)))
        super().__init__(data, initial={"moment": f"{initial:%Y-%m-%dT%H:%M:%S}", "zone": "UTC"})
        self.fields["zone"].choices = [(zone, zone) for zone in zones]  # type: ignore[attr-defined]
        self.now = now

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if "moment" in cleaned and "zone" in cleaned:
            try:
                cleaned["at"] = past(zooms.moment_of(cleaned["moment"], ZoneInfo(cleaned["zone"])), self.now)
            except NoMoment as problem:
                self.add_error("moment", str(problem))
        return cleaned


def past(at: datetime, now: datetime) -> datetime:
    """The moment; `NoMoment` when it has not come yet."""
    if at > now:
        raise NoMoment(f"{in_utc_to_the_second(at)} has not come yet.")
    return at


@dataclass(frozen=True, slots=True)
class Lane:
    """One line of the picture. `note` says why it ends where it does."""

    name: str
    shapes: tuple[Shape, ...]
    offsite: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class ShownSet:
    backup_set: BackupSet
    tier: str
    standing: str
    kind: str
    proof: str
    proof_kind: str
    places: list[str]


@dataclass(frozen=True, slots=True)
class ShownChange:
    """`at` is when it was written; `whole_at` the first moment whose state has it and its whole transaction, as far as shown.
    Without the right to see its model, who and what are empty."""

    number: int
    segment: int | None
    at: datetime
    whole_at: datetime
    label: str
    word: str = ""
    reference: str = ""
    actor: str = ""
    reason: str = ""
    url: str = ""

    @property
    def pick(self) -> str:
        """The address at which the moment after it is picked."""
        return f"?{urlencode({'at': written(self.whole_at)})}"


@dataclass(frozen=True, slots=True)
class Picked:
    """A moment, and whether each location can give it."""

    at: datetime
    text: str
    local: str
    reaches: list[tuple[Reach, bool]]
    last: ShownChange | None
    find_url: str
    live_url: str

    @property
    def anywhere(self) -> bool:
        return any(holds for _, holds in self.reaches)


def page_of(customer: Customer, user: Any, asked: QueryDict, now: datetime) -> dict[str, Any]:
    """The context of the page for one person."""
    at, problem, form = _asked(customer, asked, now)
    zoom = zooms.zoomed(asked.get("in", "")) or (zooms.part(at, HOUR) if at else _weeks(asked, now))
    axis = Axis(zoom.start, zoom.end)
    bounds = zoom.bounds
    *numbers, behind_picked = seeking.changes_from(customer.pk, [*bounds, (at or now) + MICROSECOND])
    found = seeking.changes_between(customer.pk, numbers)
    reaches = covered.reaches(customer.pk)
    quiet = covered.silences(zoom.start, min(zoom.end, now)) if zoom.start < now else []
    sets = _sets(customer.pk, zoom, user)
    first_listed = max(numbers[0], behind_picked - LISTED // 2) if at and axis.holds(at) else numbers[0]
    listed = _changes(customer.pk, first_listed, numbers[-1], user) if zoom.step < HOUR else None
    return {
        "customer": customer,
        "zoom": zoom,
        "trail": list(zooms.trail(zoom)),
        "earlier": _address(zoom.moved(-1)),
        "later": _address(zoom.moved(1)) if zoom.end <= now else "",
        "bars": counts([(count, "", "") for count in found]),
        "targets": _targets(zoom, axis, found),
        "all_changes": sum(found),
        "labels": [zoom.label_of(bound) for bound in bounds[: -1 : _every(zoom)]],
        "lanes": [_lane_of_sets(sets, axis), *(_lane(reach, axis, quiet or [], now) for reach in reaches)],
        "now_x": axis.x(now) if axis.holds(now) else None,
        "picked_x": axis.x(at) if at and axis.holds(at) else None,
        "too_many_segments": quiet is None,
        "sets": sets,
        "changes": listed,
        "more_changes": sum(found) - len(listed) if listed else 0,
        "waiting": JournalRow.objects.filter(stream=customer.pk, number=None)[: WAITING_COUNTED + 1].count(),
        "waiting_counted": WAITING_COUNTED,
        "picked": _picked(customer, at, reaches, behind_picked, user) if at else None,
        "problem": problem,
        "form": form,
    }


# What is asked for


def _asked(customer: Customer, asked: QueryDict, now: datetime) -> tuple[datetime | None, str, PickForm]:
    """The picked moment, from the form or from a link, and what is wrong with it."""
    if "moment" in asked:
        form = PickForm(customer, now, asked, now)
        return (form.cleaned_data["at"] if form.is_valid() else None), "", form
    at, problem = None, ""
    if "at" in asked:
        try:
            at = past(zooms.moment_of(str(asked["at"])), now)
        except NoMoment as refusal:
            problem = str(refusal)
    return at, problem, PickForm(customer, now, None, at or now)


def _weeks(asked: QueryDict, now: datetime) -> Zoom:
    """The four weeks that end with the day that is asked for, else with today."""
    until = zooms.zoomed(asked.get("until", ""))
    return zooms.weeks(until.start if until and until.start < now else now)


def _address(zoom: Zoom) -> str:
    return f"?{urlencode({'in': zoom.key} if zoom.key else {'until': f'{zoom.end - DAY:%Y-%m-%d}'})}"


def _every(zoom: Zoom) -> int:
    """How many parts one label of the axis stands for."""
    return {DAY: 7, HOUR: 6}.get(zoom.step, 15)


# The picture


def _targets(zoom: Zoom, axis: Axis, found: Sequence[int]) -> list[Shape]:
    """Where one clicks: the parts of the stretch, each leading further in; a second is picked."""
    shapes = []
    for start, end, count in zip(zoom.bounds, zoom.bounds[1:], found, strict=False):
        href = urlencode({"in": zoom.key_of(start)} if zoom.key_of(start) else {"in": zoom.key, "at": written(end)})
        title = f"{zoom.label_of(start)}: {count:,} change{'' if count == 1 else 's'}"
        shapes.append(Shape(axis.x(start), axis.x(end) - axis.x(start), title=title, href=f"?{href}"))
    return shapes


def _lane(reach: Reach, axis: Axis, quiet: Sequence[covered.Silence], now: datetime) -> Lane:
    """What the location covers (good), what nobody shipped until later (warn), and what it does not cover (bad)."""
    since = reach.since or now
    until = reach.until or since
    good = axis.stretch(since, until, "good", "Every second can be restored")
    late = [axis.stretch(one.start, one.end, "warn", _late(one)) for one in quiet]
    lacks = bool(reach.ends) or now - until > SILENCE
    why = reach.ends or "Nobody has shipped since"
    bad = axis.stretch(until, now, "bad", why) if lacks and now > until else None
    return Lane(reach.place, tuple(shape for shape in (good, *late, bad) if shape), reach.offsite, why if lacks else "")


def _late(one: covered.Silence) -> str:
    return (
        f"Nobody shipped from {in_utc_to_the_second(one.start)} to {in_utc_to_the_second(one.end)}: what was written meanwhile came later, "
        "and can be restored now"
    )


def _lane_of_sets(sets: Sequence[ShownSet], axis: Axis) -> Lane:
    marks = []
    for one in reversed(sets):
        moment = one.backup_set.snapshot_at or one.backup_set.started_at
        title = f"{one.tier} set of {in_utc_to_the_second(moment)}, {one.standing}, {one.proof}"
        marks.append(Shape(axis.x(moment), 0, kind="bad" if one.proof_kind == "bad" else one.kind, title=title))
    return Lane("Sets", tuple(marks))


def _sets(stream: uuid.UUID, zoom: Zoom, user: Any) -> list[ShownSet]:
    """The sets whose moment lies in the stretch, newest first."""
    if not user.has_perm("l2l_backups.view_backupset"):
        return []
    made = BackupSet.objects.filter(stream=stream, state=BackupSet.State.MADE, snapshot_at__gte=zoom.start, snapshot_at__lt=zoom.end)
    found = list(made.defer("blob_ids").order_by("-started_at")[:SETS_SHOWN])
    places = whole_at(found)
    return [_shown_set(one, places.get(one.pk, [])) for one in found]


def _shown_set(one: BackupSet, places: list[str]) -> ShownSet:
    standing, (proof, proof_kind, _) = standing_of(one), PROOFS[one.proof]
    return ShownSet(one, "nightly" if one.policy else "asked for", standing, STANDINGS[standing][0], proof, proof_kind, places)


# The changes


def _picked(customer: Customer, at: datetime, reaches: Sequence[Reach], behind: int, user: Any) -> Picked:
    before = _changes(customer.pk, behind - 1, behind, user) if behind > 1 else []
    local = f"{at.astimezone(ZoneInfo(customer.zone)):%-d %b %Y, %H:%M:%S} {customer.zone}" if customer.zone != "UTC" else ""
    held = [(reach, reach.holds(at)) for reach in reaches]
    find_url = _url("l2l_subscriptions_customer_find", customer.pk)
    return Picked(at, written(at), local, held, before[0] if before else None, find_url, _live_url(customer, at, user))


def _live_url(customer: Customer, at: datetime, user: Any) -> str:
    """Where the moment is asked for in the live tables, by whole seconds: the one that ends with or after it."""
    if not user.has_perm("l2l_backups.add_liverestorerequest"):
        return ""
    second = at if not at.microsecond else at.replace(microsecond=0) + SECOND
    asked = urlencode({"customer": str(customer.pk), "state": "at", "at": f"{second:%Y-%m-%dT%H:%M:%S}"})
    address = _url("l2l_backups_liverestorerequest_add")
    return f"{address}?{asked}" if address else ""


def _url(name: str, *arguments: Any) -> str:
    """The address of a page of the admin; empty where there is no such page."""
    try:
        return reverse(f"admin:{name}", args=arguments)
    except NoReverseMatch:
        return ""


def _changes(stream: uuid.UUID, first: int, behind: int, user: Any) -> list[ShownChange]:
    """The first changes with these numbers, in their order."""
    numbered = JournalRow.objects.filter(stream=stream, number__gte=first - LOOKED_BACK, number__lt=behind).order_by("number")
    rows = list(numbered[: LOOKED_BACK + LISTED])
    moments = _whole_at(rows)
    shown = [row for row in rows if row.number is not None and row.number >= first][:LISTED]
    told = {
        label: _told(stream, label, [row.history_id for row in shown if row.model == label], user) for label in {row.model for row in shown}
    }
    return [
        ShownChange(row.number or 0, row.segment, row.written_at, moments[row.transaction], *_words_of(row, told[row.model]))
        for row in shown
    ]


def _words_of(row: JournalRow, told: Mapping[int, tuple[str, ...]]) -> tuple[str, ...]:
    """A change whose content was purged has only its number left."""
    return told.get(row.history_id) or (f"{row.model}{', purged since: its term was over' if row.salt is None else ''}",)


def _whole_at(rows: Sequence[JournalRow]) -> dict[uuid.UUID, datetime]:
    """For each transaction its effective time: the latest at which anything up to its end was written."""
    found: dict[uuid.UUID, datetime] = {}
    newest: datetime | None = None
    for row in rows:
        newest = max(newest, row.written_at) if newest else row.written_at
        found[row.transaction] = newest
    return found


def _told(stream: uuid.UUID, label: str, ids: Sequence[int], user: Any) -> dict[int, tuple[str, ...]]:
    """Of each history row: what it is of, what was done, to which, by whom, why, and the page of its history."""
    protected = registry.by_label(label)
    if protected is None:
        return {}
    opts = protected.model._meta
    name = str(opts.verbose_name)
    if not user.has_perm(f"{opts.app_label}.view_{opts.model_name}"):
        return dict.fromkeys(ids, (name,))
    pk = str(opts.pk.attname)
    reference = pk if protected.reference == "pk" else protected.reference
    history: Any = protected.history_model
    rows = history.objects.filter(history_stream=stream, history_id__in=ids)
    columns = ("history_id", "history_type", "history_actor", "history_change_reason", pk, reference)
    return {
        key: (name, WORDS[kind].lower(), str(called), actor, reason or "", _url(f"{opts.app_label}_{opts.model_name}_history", row))
        for key, kind, actor, reason, row, called in rows.values_list(*columns)
    }
