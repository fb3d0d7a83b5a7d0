"""The quarter's review of access: the rights as they are, what changed since the last look, the sign-off, and attestations (P5)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import models
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.timezone import localdate
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget

from audit import clock
from audit.admin import BackOfficeAdmin, code, display, moment
from audit.decisions import Decision, decide
from audit.events import Event, record
from audit.formulas import as_text
from audit.models import AccessReview, Attestation
from audit.reviews import reviewing
from audit.reviews.quarters import Quarter, named, quarter_of
from audit.reviews.reviewing import About, Duty, ReviewRefused
from audit.reviews.rights import differences, digest_of, documents, rights_now
from audit.roles import ATTESTS, SIGNS_REVIEWS_OFF, Role
from backups.returning.tables import csv_pieces
from l2l.access import locations_in_force
from l2l.admin.todos import Todo

# The current quarter's duties are told of so long before its end.
TOLD_BEFORE = timedelta(days=30)
CSV_COLUMNS = (
    *("person", "name", "active", "superuser", "role", "since", "given by", "until"),
    *("without a grant", "approves", "destroys", "last sign-in"),
)


@dataclass(frozen=True, slots=True)
class Cell:
    """One person's role in the matrix, its days in UTC; `new` since the last review."""

    since: str
    by: str
    until: str
    new: bool


@dataclass(frozen=True, slots=True)
class Row:
    document: Mapping[str, Any]
    cells: tuple[Cell | None, ...]
    changes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Matrix:
    """People x roles. `gone`: who was in the last review and is not here any more."""

    roles: tuple[str, ...]
    rows: tuple[Row, ...]
    gone: tuple[str, ...]
    changed: int


def matrix(people: list[dict[str, Any]], before: list[dict[str, Any]] | None) -> Matrix:
    """The people of a review, with what changed since the one before; None: there was none."""
    changes = {} if before is None else differences(before, people)
    known = {(one["person"], held["role"], held["since"]) for one in before or () for held in one["roles"]}
    rows = tuple(Row(one, tuple(_cells(one, known, before is not None)), tuple(changes.get(one["person"], ()))) for one in people)
    gone = tuple(sorted(changes.keys() - {one["person"] for one in people}))
    return Matrix(tuple(role.value for role in Role), rows, gone, len(changes))


def _cells(one: Mapping[str, Any], known: set[tuple[str, str, str]], compared: bool) -> Iterator[Cell | None]:
    held = {role["role"]: role for role in one["roles"]}
    for role in Role:
        had = held.get(role.value)
        new = compared and had is not None and (one["person"], role.value, had["since"]) not in known
        yield Cell(_day(had["since"]), had["by"], _day(had["until"]), new) if had else None


def _day(text: str) -> str:
    return f"{datetime.fromisoformat(text):%-d %b %Y}" if text else ""


def _quarter_field() -> forms.ChoiceField:
    return forms.ChoiceField(
        label="Quarter",
        widget=UnfoldAdminSelectWidget,
        help_text="The current one, or the one before, in time until 14 days after its end.",
    )


def _quarter_choices() -> list[tuple[str, str]]:
    return [(str(one), f"{one}, due {one.due_on:%-d %B %Y}") for one in reviewing.open_quarters(clock.now())]


class SignOffForm(forms.Form):
    quarter = _quarter_field()
    remarks = forms.CharField(
        max_length=4000,
        required=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        help_text="What you decided on whom, and what you asked to be changed. Stands beside it for good.",
    )
    seen = forms.CharField(widget=forms.HiddenInput, max_length=64)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["quarter"].choices = _quarter_choices()  # type: ignore[attr-defined]


class AttestForm(forms.Form):
    quarter = _quarter_field()
    what = forms.ChoiceField(label="Who can reach", widget=UnfoldAdminSelectWidget)
    people = forms.CharField(
        label="These people",
        max_length=4000,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 4}),
        help_text="Everybody who can reach it without this back office, by name or role, and how you found out (the provider's list of "
        "keys, the server's accounts, the vault's log). Never a secret.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["quarter"].choices = _quarter_choices()  # type: ignore[attr-defined]
        buckets = [(f"{About.BUCKET.value}:{name}", reviewing.named(About.BUCKET, name)) for name in locations_in_force()]
        others = [(f"{one.value}:", reviewing.named(one, "")) for one in (About.DATABASE, About.KEYS)]
        self.fields["what"].choices = [*buckets, *others]  # type: ignore[attr-defined]


@admin.register(AccessReview)
class AccessReviewAdmin(BackOfficeAdmin):
    """Its list is of the reviews that were; `now_view` is where one is made."""

    list_display = ("quarter", moment("signed_off_at", "signed off"), "in_time", "signed_off_by", "people", "remarks")
    list_before_template = "back_office/access_reviews.html"
    change_form_outer_before_template = "back_office/access_review.html"
    fieldsets = ((None, {"fields": ("quarter", moment("signed_off_at", "signed off"), "in_time", "signed_off_by", "remarks", "seen")}),)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [field for _, options in self.fieldsets for field in options["fields"]]

    def visible_to(self, user: Any, rows: models.QuerySet) -> models.QuerySet:
        return rows

    def get_urls(self) -> list[Any]:
        return [self.view_path("now/", self.now_view, "now"), self.view_path("now.csv", self.csv_view, "csv"), *super().get_urls()]

    def now_view(self, request: HttpRequest) -> HttpResponse:
        """The rights as they are, and how the quarters stand; a POST signs them off."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        if request.method not in ("GET", "HEAD", "POST"):
            return HttpResponseNotAllowed(["GET", "HEAD", "POST"])
        may = request.user.has_perm(SIGNS_REVIEWS_OFF)
        if request.method == "POST" and not may:
            raise PermissionDenied
        form = SignOffForm(request.POST) if request.method == "POST" else None
        if form is not None and form.is_valid() and self._signed_off(request, form):
            return redirect(self.url("now"))
        return self._now_page(request, form, may)

    def _signed_off(self, request: HttpRequest, form: SignOffForm) -> bool:
        given = form.cleaned_data
        about = {"quarter": named(given["quarter"]), "seen": given["seen"], "remarks": given["remarks"]}
        try:
            review = reviewing.sign_off(by=request.user, locations=locations_in_force(), now=clock.now(), **about)
        except ReviewRefused as refusal:
            form.add_error(None, str(refusal))
            return False
        messages.success(request, f"Signed off for {review.quarter}: the rights of {len(review.rights)} people.")
        return True

    def _now_page(self, request: HttpRequest, form: SignOffForm | None, may: bool) -> HttpResponse:
        now, last = clock.now(), reviewing.last_review()
        people = documents(rights_now(now))
        # With a refusal the page shows the rights anew, so what is signed off next is what stands on it.
        data = {"seen": digest_of(people), "quarter": str(_suggested(now)), "remarks": form.data.get("remarks", "") if form else ""}
        fresh = SignOffForm(initial=data)
        return self.page(
            request,
            "back_office/access_now.html",
            "Access review",
            matrix=matrix(people, last.rights if last else None),
            last=last,
            duties=[reviewing.duty(one, locations_in_force()) for one in reviewing.open_quarters(now)],
            today=localdate(now),
            form=fresh,
            problems=[error for errors in form.errors.values() for error in errors] if form else [],
            may_sign_off=may,
            may_attest=request.user.has_perm(ATTESTS),
            csv_url=self.url("csv"),
        )

    def csv_view(self, request: HttpRequest) -> HttpResponse:
        """The matrix as it is now, a line for each role of each person."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        now = clock.now()
        lines = list(_lines(documents(rights_now(now))))
        content = b"".join(csv_pieces(CSV_COLUMNS, lines))
        facts = {"kind": "access-rights", "sha256": hashlib.sha256(content).hexdigest(), "rows": len(lines)}
        record(Event.REPORT_MADE, facts=facts)
        response = HttpResponse(content, content_type="text/csv; charset=utf-8")
        response["Content-Disposition"] = f'attachment; filename="access-{now:%Y-%m-%d}.csv"'
        response["Cache-Control"] = "private, no-store"
        return response

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        review = self.visible_object(request, object_id)
        before = AccessReview.objects.filter(signed_off_at__lt=review.signed_off_at).order_by("-signed_off_at").first()
        context = {"matrix": matrix(review.rights, before.rights if before else None), "last": before, "review": review}
        return super().change_view(request, object_id, form_url, context | (extra_context or {}))

    @display(description="people")
    def people(self, review: AccessReview) -> int:
        return len(review.rights)

    @display(description="in time")
    def in_time(self, review: AccessReview) -> str:
        due = named(review.quarter).due_on
        return "yes" if localdate(review.signed_off_at) <= due else f"no, it was due {due:%-d %B %Y}"

    @display(description="digest of what was seen")
    def seen(self, review: AccessReview) -> str:
        return code(review.digest)


def _lines(people: Iterable[Mapping[str, Any]]) -> Iterator[list[Any]]:
    for one in people:
        about = [as_text(one["person"]), as_text(one["name"]), one["active"], one["superuser"]]
        rest = [as_text("; ".join(one["beyond"])), one["approves"], one["destroys"], one["last_sign_in"]]
        for held in one["roles"] or ({"role": "", "since": "", "by": "", "until": ""},):
            yield [*about, held["role"], held["since"], as_text(held["by"]), held["until"], *rest]


def _suggested(now: datetime) -> Quarter:
    """The oldest open one that is not reviewed; else the current one."""
    open_ones = reviewing.open_quarters(now)
    return next((one for one in reversed(open_ones) if not reviewing.duty(one, ()).reviewed), open_ones[0])


@admin.register(Attestation)
class AttestationAdmin(BackOfficeAdmin):
    """Stated once, never changed; a newer one stands beside it."""

    allows = frozenset({"add"})
    list_display = ("quarter", "about_what", "people", "attested_by", moment("attested_at", "attested"))
    list_filter = ("quarter", "about")
    list_before_template = "back_office/attestations.html"
    fieldsets = ((None, {"fields": ("quarter", "about_what", "people", "attested_by", moment("attested_at", "attested"))}),)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [field for _, options in self.fieldsets for field in options["fields"]]

    def visible_to(self, user: Any, rows: models.QuerySet) -> models.QuerySet:
        return rows

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        duties = [reviewing.duty(one, locations_in_force()) for one in reviewing.open_quarters(clock.now())]
        missing = [(one.quarter, [reviewing.named(*what) for what in one.unattested]) for one in duties]
        return super().changelist_view(request, {"missing": missing} | (extra_context or {}))

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied
        effect = (
            "You state who can reach copies, the database or the keys without this back office, for no program can list that.",
            "It is never changed; you may attest again, and both stand.",
        )
        decision = Decision("Attest who has access", effect, "Attest", self.url("changelist"))

        def act(values: Mapping[str, Any]) -> str:
            about, _, location = values["what"].partition(":")
            stated = reviewing.attest(
                about,
                location,
                people=values["people"],
                by=request.user,
                quarter=named(values["quarter"]),
                locations=locations_in_force(),
                now=clock.now(),
            )
            return f"Attested for {stated.quarter}: who can reach {reviewing.named(stated.about, stated.location)}."

        return decide(self, request, decision, AttestForm, act)

    @display(description="who can reach", ordering="about")
    def about_what(self, stated: Attestation) -> str:
        return reviewing.named(stated.about, stated.location)


def review_todos(user: Any) -> Iterator[Todo]:
    """What of the quarter's review waits for this person: of the quarter before as long as it lacks something, of the current one in its
    last days."""
    may_sign, may_attest = user.has_perm(SIGNS_REVIEWS_OFF), user.has_perm(ATTESTS)
    if not (may_sign or may_attest):
        return
    now = clock.now()
    current = quarter_of(now)
    told = [one for one in reviewing.open_quarters(now) if one != current or localdate(now) > current.last_day - TOLD_BEFORE]
    locations = locations_in_force()
    for quarter in reversed(told):
        yield from _todos_of(reviewing.duty(quarter, locations), user, may_sign, may_attest, now)


def _todos_of(duty: Duty, user: Any, may_sign: bool, may_attest: bool, now: datetime) -> Iterator[Todo]:
    kind = "bad" if localdate(now) > duty.quarter.due_on else "info" if duty.quarter == quarter_of(now) else "warn"
    due = f"due {duty.quarter.due_on:%-d %B %Y}"
    if may_sign and not duty.reviewed and duty.unseen != (user.get_username(),):
        what = f"the rights of {', '.join(duty.unseen)} wait for a second person" if duty.unseen else "nobody signed the rights off yet"
        yield Todo(kind, "Access", f"Review of access {duty.quarter}: {what}, {due}.", reverse("admin:l2l_audit_accessreview_now"))
    if may_attest and duty.unattested:
        what = ", ".join(reviewing.named(*one) for one in duty.unattested)
        link = reverse("admin:l2l_audit_attestation_add")
        yield Todo(kind, "Access", f"{duty.quarter}: attest who can reach {what}, {due}.", link)
