"""Who can open the customers' keys, where each lies, changes of that by two people, and drills of the escrow key (P3, P4, P5)."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db import models
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import redirect
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from audit import clock
from audit.admin import REFUSALS, BackOfficeAdmin, code, display, moment, refusal_text
from audit.badges import badge
from audit.models import Stream
from audit.two_person import TwoPersonRequest
from audit.two_person_admin import TwoPersonAdmin
from backups import keyfiles, queueing
from backups.errors import BackupError
from backups.keys import drilling, listing, requests, retired, rewrapping
from backups.keys.listing import OWED, PRESENT
from backups.keys.requests import NOT_UNDONE, Deed
from backups.models import EscrowDrill, KeyChangeRequest, KeyRingVersion
from subscriptions.admin import of_visible_customers

PLAN = "back_office/key_plan.html"
REFUSED: tuple[type[Exception], ...] = (*REFUSALS, BackupError)
KINDS = {PRESENT: "good", OWED: "warn"}
RESULTS = {EscrowDrill.Result.PASSED: "good", EscrowDrill.Result.INCOMPLETE: "warn", EscrowDrill.Result.FAILED: "bad"}


@admin.register(KeyRingVersion)
class KeyRingAdmin(BackOfficeAdmin):
    """Every ring stays as it was made."""

    list_display = ("wrapping", "standing", moment("since", "in force since"), "can_open", "made_by", "approved_by")
    list_before_template = "back_office/keys.html"
    fieldsets = (
        (None, {"fields": ("wrapping", "standing", moment("since", "in force since"))}),
        ("Who can open", {"fields": ("halves",)}),
        ("Why", {"fields": ("made_by", "approved_by", "reason")}),
    )

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [field for _, options in self.fieldsets for field in options["fields"]]

    def visible_to(self, user: Any, rows: models.QuerySet) -> models.QuerySet:
        return rows

    def get_urls(self) -> list[Any]:
        return [self.view_path("customers/", self.customers_view, "customers"), *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        context = standing(request.user) | {"customers_url": self.url("customers")}
        return super().changelist_view(request, context | (extra_context or {}))

    def customers_view(self, request: HttpRequest) -> HttpResponse:
        """Where each customer's keys lie, by what the catalogue knows: a page at a time."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        wanted = request.GET.get("q", "").strip()
        streams = of_visible_customers(request.user, Stream.objects.order_by("name"), "pk")
        page = Paginator(streams.filter(name__icontains=wanted) if wanted else streams, self.list_per_page).get_page(request.GET.get("p"))
        keys = [(key, [(wrapping, _copies(wrapping)) for wrapping in key.wrappings]) for key in listing.listed(list(page.object_list))]
        return self.page(request, "back_office/keys_of_customers.html", "Customers' keys", page=page, keys=keys, wanted=wanted)

    @display(description="state")
    def standing(self, ring: KeyRingVersion) -> str:
        newest = KeyRingVersion.objects.order_by("-wrapping").values_list("wrapping", flat=True).first()
        return badge("in force", "good") if ring.wrapping == newest else badge("former")

    @display(description="who can open what is wrapped for it")
    def can_open(self, ring: KeyRingVersion) -> str:
        return ", ".join(ring.names)

    @display(description="public halves")
    def halves(self, ring: KeyRingVersion) -> str:
        return code("\n".join([f"online: {ring.online}", *(f"{name}: {half}" for name, half in ring.recipients)]))


def _copies(wrapping: listing.Wrapping) -> list[tuple[str, str, Any]]:
    return [(f"{copy.location}: {copy.state}", KINDS.get(copy.state, "bad"), copy.checked_at) for copy in wrapping.copies]


def standing(user: Any) -> dict[str, Any]:
    """What there is to know, and to do, about the keys; in a constant number of queries."""
    now = clock.now()
    ring = KeyRingVersion.objects.order_by("-wrapping").first()
    if ring is None:
        return {"ring": None}
    (waiting, customers), due = rewrapping.count_pending(ring.wrapping), drilling.due_at()
    files = [file.name for file in keyfiles.retired_masters(settings.L2L_KEYS)]
    return {
        "ring": ring,
        "losses": listing.losses(ring),
        "waiting_keys": waiting,
        "waiting_customers": customers,
        "lacking": sorted(retired.lacking(ring.wrapping).items()),
        "due": due,
        "overdue": drilling.overdue(now),
        "last_drill": EscrowDrill.objects.order_by("-drilled_at").first(),
        "retired": files,
        "retired_needed": retired.still_needed(now) if files else [],
        "not_undone": NOT_UNDONE if ring.wrapping > 1 else (),
        "may_ask": user.has_perm(KeyChangeRequest.permission("add")),
    }


class AskForm(forms.Form):
    """Which change, and why. Public halves alone: nothing secret is typed into a page."""

    deed = forms.ChoiceField(label="Change", choices=Deed.choices, widget=UnfoldAdminSelectWidget)
    name = forms.CharField(
        label="Recipient's name",
        required=False,
        max_length=40,
        widget=UnfoldAdminTextInputWidget,
        help_text="To add or remove one: one word, such as bank or notary.",
    )
    recipient = forms.CharField(
        label="Recipient's public half",
        required=False,
        max_length=100,
        widget=UnfoldAdminTextInputWidget,
        help_text="To add one: age1…, which its holder prints with 'age-keygen -y FILE'. Never the secret half.",
    )
    why = forms.CharField(
        label="Why", max_length=1000, widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}), help_text="The other person reads this."
    )


@admin.register(KeyChangeRequest)
class KeyChangeRequestAdmin(TwoPersonAdmin):
    allows = frozenset({"add"})
    plan_template = PLAN
    approval_does = "With your approval the worker, which has the key files, does it and wraps every customer's key anew."
    refusals = (BackupError,)

    def visible_to(self, user: Any, rows: models.QuerySet) -> models.QuerySet:
        return rows

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> Any:
        """The form and what a change of keys does not undo; its POST stores a request and changes nothing."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        if request.method not in ("GET", "HEAD", "POST"):
            return HttpResponseNotAllowed(["GET", "HEAD", "POST"])
        form = AskForm(request.POST if request.method == "POST" else None)
        if request.method == "POST" and form.is_valid() and (asked := self._ask(request, form)) is not None:
            return redirect(self.url("change", asked.pk))
        return self.page(request, "back_office/key_change.html", "Change the keys", form=form, not_undone=NOT_UNDONE)

    def _ask(self, request: HttpRequest, form: AskForm) -> KeyChangeRequest | None:
        given = form.cleaned_data
        try:
            asked = requests.ask(
                given["deed"], by=request.user, why=given["why"], now=clock.now(), name=given["name"], recipient=given["recipient"]
            )
        except REFUSED as refusal:
            form.add_error(None, refusal_text(refusal))
            return None
        messages.success(request, "Asked. Nothing changes before another person approves it: tell them.")
        return asked

    def steps(self, asked: TwoPersonRequest, user: Any) -> list[tuple[str, str, bool]]:
        """A lost master is replaced on the machine with the key files alone, for it takes a recipient's secret half."""
        found = super().steps(asked, user)
        return [step for step in found if step[0] != "finish" or asked.deed != Deed.REPLACE]  # type: ignore[attr-defined]

    def effect_of_approval(self, asked: Any) -> str:
        if asked.deed == Deed.REPLACE:
            return "With your approval it may be done on the machine with the key files, with a recipient's secret half: " + _by_hand(asked)
        return self.approval_does

    def plan_context(self, asked: Any, user: Any) -> dict[str, Any]:
        plan = requests.plan_of(asked)
        names = [name for name, _ in plan["recipients"]]
        return {"asked": asked, "names": names, "wrapping": plan["after_wrapping"], "not_undone": NOT_UNDONE, "plan_template": PLAN}

    def carry_out(self, asked: Any, *, by: Any, password: str) -> str:
        requests.approve(asked, by=by, password=password, now=clock.now())
        if asked.deed == Deed.REPLACE:
            return "Approved. Now on the machine with the key files: " + _by_hand(asked)
        queueing.keep_keys_now()
        return "Approved: the worker does it and wraps every key anew. The page of the keys shows how far it is."

    def finish(self, asked: Any) -> str:
        queueing.keep_keys_now()
        return "The worker was told to do it."


def _by_hand(asked: Any) -> str:
    return f"manage.py keys carry-out {asked.pk} --escrow-file FILE --as USER --password-file FILE"


@admin.register(EscrowDrill)
class EscrowDrillAdmin(BackOfficeAdmin):
    """Recorded by 'manage.py keys drill-escrow': the secret half never comes near a page."""

    list_display = (
        "recipient",
        moment("drilled_at", "drilled"),
        "outcome",
        "drilled_by",
        "keys",
        "opened",
        "objects_opened",
        "failed",
        "missing",
    )
    list_filter = ("result",)
    list_before_template = "back_office/drills.html"
    fieldsets = (
        (None, {"fields": ("recipient", moment("drilled_at", "drilled"), "drilled_by", "outcome")}),
        ("What was opened", {"fields": ("drawn", "keys", "opened", "objects_opened", "failed", "missing", "wrapping")}),
        ("In detail", {"fields": ("lines",)}),
    )

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [field for _, options in self.fieldsets for field in options["fields"]]

    def visible_to(self, user: Any, rows: models.QuerySet) -> models.QuerySet:
        return rows

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        context = {"due": drilling.due_at(), "overdue": drilling.overdue(clock.now())}
        return super().changelist_view(request, context | (extra_context or {}))

    @display(description="result", ordering="result")
    def outcome(self, drill: EscrowDrill) -> str:
        return badge(drill.get_result_display(), RESULTS[EscrowDrill.Result(drill.result)])

    @display(description="which keys")
    def drawn(self, drill: EscrowDrill) -> str:
        return "every key" if drill.sample is None else f"{drill.sample:,} drawn"

    @display(description="what did not open, or could not be tried")
    def lines(self, drill: EscrowDrill) -> str:
        return code(drill.detail) if drill.detail else "–"
