"""The backup sets: how whole, where, how large. Reading only: sets are made by the backup, never by a form."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.contrib import admin
from django.db import models
from django.db.models import Min, Q
from django.http import HttpRequest
from django.urls import reverse
from django.utils.http import urlencode

from audit import clock
from audit.admin import display, moment, size
from audit.badges import badge, badges
from audit.moments import length
from audit.registry import SYSTEM_STREAM
from backups.admin.kept import KeptPages, customer_url, kept_url, policy_url, words_of
from backups.admin.streams import StreamFilter
from backups.ledger import reading
from backups.ledger.picture import plain
from backups.models import BackupSet, Blob, Copy, LiveRestoreRequest, Location
from backups.verdicts import WHAT_TO_DO
from subscriptions.admin import as_uuid, of_visible_customers

# How a set stands, with the colour of its badge.
STANDINGS = {
    "protected": ("good", "whole, and read back, at every required location"),
    "complete only": ("warn", "whole, and read back, at one location, but not yet at every required one"),
    "damaged": ("bad", "damaged at every location: it does not restore whole"),
    "being made": ("info", "being made now, or left behind by a run that was killed: the next run settles it"),
    "abandoned": ("bad", "given up; nothing can be restored from it"),
    "being removed": ("warn", "being removed, for its time is over; nothing can be restored from it any more"),
    "removed": ("", "removed as promised, for its time was over; nothing can be restored from it"),
}
STATES_STANDING = {
    BackupSet.State.MAKING: "being made",
    BackupSet.State.ABANDONED: "abandoned",
    BackupSet.State.LEAVING: "being removed",
    BackupSet.State.REMOVED: "removed",
}

# What its proof says of a set: text, the badge's colour, what is said on hover.
PROOFS = {
    BackupSet.Proof.PROVED: ("proved", "good", "Every row is what history says, and history continues that of the last proved set"),
    BackupSet.Proof.BROKEN: ("proof broken", "bad", "Rows are not what history says, or history was changed: see the set's page"),
    "": ("not proved", "", "It was made before sets were proved, or is not finished"),
}


def standing_of(backup_set: BackupSet) -> str:
    """How good a set is, in a word of `STANDINGS`."""
    if backup_set.state == BackupSet.State.MADE and backup_set.damaged_at is not None:
        return "damaged"
    if backup_set.state == BackupSet.State.MADE:
        return "protected" if backup_set.protected_at else "complete only"
    return STATES_STANDING[BackupSet.State(backup_set.state)]


def whole_at(sets: Iterable[BackupSet]) -> dict[uuid.UUID, list[str]]:
    """For each set the locations that hold it whole, in one query."""
    found: dict[uuid.UUID, list[str]] = {}
    copies = Copy.objects.filter(blob__kind=Blob.Kind.ENVELOPE, blob__made_by__in=[one.pk for one in sets], state=Copy.State.PRESENT)
    for pk, name in copies.order_by("location__position").values_list("blob__made_by", "location__name"):
        found.setdefault(pk, []).append(name)
    return found


def checks_of(backup_set: BackupSet) -> list[tuple[str, datetime]]:
    """For each location the oldest of the last checks of the set's own objects, its body and its envelope."""
    own = Copy.objects.filter(blob__made_by=backup_set, blob__kind__in=(Blob.Kind.BODY, Blob.Kind.ENVELOPE), state=Copy.State.PRESENT)
    oldest = own.values("location__name", "location__position").annotate(at=Min("checked_at")).order_by("location__position")
    return [(one["location__name"], one["at"]) for one in oldest if one["at"] is not None]


def standing_badge(backup_set: BackupSet) -> str:
    standing = standing_of(backup_set)
    return badge(standing, *STANDINGS[standing])


GOES_SOON = timedelta(days=7)
WITH_REMOVED = "with removed ones"


class StandingFilter(admin.SimpleListFilter):
    """What was removed is asked for by name: after years it is most of the list."""

    title = "state"
    parameter_name = "standing"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(standing, standing) for standing in (*STANDINGS, WITH_REMOVED)]

    def queryset(self, request: HttpRequest, queryset: models.QuerySet) -> models.QuerySet:
        made = queryset.filter(state=BackupSet.State.MADE)
        chosen = {
            "protected": made.filter(protected_at__isnull=False, damaged_at=None),
            "complete only": made.filter(protected_at=None, damaged_at=None),
            "damaged": made.filter(damaged_at__isnull=False),
            **{standing: queryset.filter(state=state) for state, standing in STATES_STANDING.items()},
            WITH_REMOVED: queryset,
        }
        return chosen.get(self.value() or "", queryset.exclude(state=BackupSet.State.REMOVED))


class GoesFilter(admin.SimpleListFilter):
    title = "goes"
    parameter_name = "goes"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("week", "within 7 days")]

    def queryset(self, request: HttpRequest, queryset: models.QuerySet) -> models.QuerySet:
        return going_within(queryset, GOES_SOON) if self.value() == "week" else queryset


def going_within(sets: models.QuerySet, time: timedelta) -> models.QuerySet:
    """Those that are there and that age keeps no longer than that."""
    return sets.filter(state=BackupSet.State.MADE, goes_at__lt=clock.now() + time)


@admin.register(BackupSet)
class BackupSetAdmin(KeptPages):
    list_display = (
        "called",
        "night_text",
        "standing",
        "proof_badge",
        "places",
        size("content_bytes", "content"),
        size("new_bytes", "newly stored"),
        "reused",
        "time_taken",
        moment("goes_at", "kept until"),
    )
    list_before_template = "back_office/set_links.html"
    list_filter = (StreamFilter, StandingFilter, GoesFilter, "proof", "night")
    list_select_related = ("stream",)
    search_fields = ("stream__name",)
    search_help_text = "Customer's short code"
    ordering = ("-started_at",)
    change_form_outer_before_template = "back_office/set.html"
    fieldsets = (
        (
            "When",
            {
                "fields": (
                    "night_text",
                    moment("started_at", "started"),
                    moment("snapshot_at", "holds the state of"),
                    moment("complete_at", "complete since"),
                    moment("protected_at", "protected since"),
                    moment("ended_at", "ended"),
                    "time_taken",
                    moment("goes_at", "kept until"),
                    moment("left_at", "let go"),
                    moment("removed_at", "removed"),
                )
            },
        ),
        (
            "What",
            {
                "fields": (
                    "rows",
                    "history_rows",
                    "files",
                    "absent_files",
                    size("content_bytes", "content"),
                    size("new_bytes", "newly stored"),
                    "reused",
                )
            },
        ),
        (
            "How",
            {"fields": ("software_version", "key_number", "journal_number", "journal_digest", moment("proved_at", "proof made"), "id")},
        ),
    )

    def narrows(self, user: Any) -> bool:
        """Nobody's list is sorted whole: every customer has a set each night, so whoever walks from the newest on soon has a page.
        (Measured: sorting the 20,000 sets of 200 customers took a third of a second on PostgreSQL.)"""
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [field for _, options in self.fieldsets for field in options["fields"]]

    def visible_to(self, user: Any, rows: models.QuerySet) -> models.QuerySet:
        return of_visible_customers(user, rows, "stream")

    def get_queryset(self, request: HttpRequest) -> models.QuerySet:
        present = Copy.objects.filter(state=Copy.State.PRESENT).select_related("location").order_by("location__position")
        envelopes = Blob.objects.filter(kind=Blob.Kind.ENVELOPE).prefetch_related(models.Prefetch("copies", present, to_attr="present"))
        return (
            super()
            .get_queryset(request)
            .defer("blob_ids")
            .prefetch_related(models.Prefetch("objects_made", envelopes, to_attr="envelopes"))
        )

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        chosen = as_uuid(request.GET.get("customer"))
        return super().changelist_view(request, {"kept_url": kept_url(chosen) if chosen else "", **(extra_context or {})})

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        found = self.visible_object(request, object_id)
        held = set(_places_of(found))
        standing = standing_of(found)
        context = {
            "backup_set": found,
            "standing": standing,
            "standing_kind": STANDINGS[standing][0],
            "standing_words": STANDINGS[standing][1],
            "restore_live_url": _restore_live_url(request.user, found),
            "proof_words": PROOFS[found.proof],
            "what_to_do": WHAT_TO_DO,
            "why": _why_shown(request.user, found),
            "kept_url": kept_url(found.stream_id),
            "customer_url": customer_url(request.user, found.stream),
            "is_there": found.state == BackupSet.State.MADE,
            "checks": checks_of(found),
            "places": [(place, place.name in held) for place in Location.objects.filter(Q(in_force=True) | Q(name__in=held))],
            **(extra_context or {}),
        }
        return super().change_view(request, object_id, form_url, context)

    @display(description="customer", ordering="stream__name")
    def called(self, backup_set: BackupSet) -> str:
        return backup_set.stream.name

    @display(description="night", ordering="night")
    def night_text(self, backup_set: BackupSet) -> str:
        return backup_set.night.isoformat()

    @display(description="state")
    def standing(self, backup_set: BackupSet) -> str:
        return standing_badge(backup_set)

    @display(description="proof")
    def proof_badge(self, backup_set: BackupSet) -> str:
        return badge(*PROOFS[backup_set.proof])

    @display(description="whole at")
    def places(self, backup_set: BackupSet) -> str:
        return badges((name, "good", f"Whole at {name}") for name in _places_of(backup_set)) or "–"

    @display(description="reused")
    def reused(self, backup_set: BackupSet) -> str:
        return f"{backup_set.reused_blobs} of {backup_set.reused_blobs + backup_set.new_blobs} objects"

    @display(description="took")
    def time_taken(self, backup_set: BackupSet) -> str:
        return length(backup_set.ended_at - backup_set.started_at) if backup_set.ended_at else "–"


def _places_of(backup_set: Any) -> list[str]:
    return [copy.location.name for blob in backup_set.envelopes for copy in blob.present]


def _restore_live_url(user: Any, backup_set: BackupSet) -> str:
    """Where this person asks for the set's state to be restored into the live tables; empty where that cannot be."""
    is_whole = backup_set.state == BackupSet.State.MADE and backup_set.complete_at is not None
    if not is_whole or backup_set.stream_id == SYSTEM_STREAM or not user.has_perm(LiveRestoreRequest.permission("add")):
        return ""
    about = urlencode({"customer": str(backup_set.stream_id), "state": str(backup_set.pk)})
    return f"{reverse('admin:l2l_backups_liverestorerequest_add')}?{about}"


@dataclass(frozen=True, slots=True)
class WhyShown:
    """Why a set is kept, or why it went. `reasons` are those that hold now, with their dates; `due`: none does; `left` what of it still
    lies where."""

    reasons: list[tuple[str, datetime | None]]
    due: bool
    policy: int | None
    policy_url: str
    by_age: str
    left: list[tuple[str, int, int]]


def _why_shown(user: Any, backup_set: BackupSet) -> WhyShown:
    kept, policy = reading.kept_now(backup_set, clock.now()), backup_set.kept_policy
    reasons = [(plain(reason.words), reason.until) for reason in kept.decision.reasons] if kept else []
    by_age = words_of(kept)[0] if kept else plain(backup_set.kept_why)
    left = _copies_left(backup_set) if backup_set.state == BackupSet.State.LEAVING else []
    return WhyShown(reasons, kept is not None and not reasons, policy, policy_url(user, policy), by_age, left)


def _copies_left(backup_set: BackupSet) -> list[tuple[str, int, int]]:
    """Where its own objects still lie: location, how many, how many bytes. What other sets use too stays with them."""
    own = Copy.objects.filter(blob__made_by=backup_set, blob__kind__in=(Blob.Kind.BODY, Blob.Kind.ENVELOPE))
    counted = own.order_by("location__position").values_list("location__name").annotate(models.Count("pk"), models.Sum("blob__size"))
    return list(counted)
