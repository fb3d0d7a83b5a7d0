"""The backup policy: its versions, what a change would do, and the request that another person approves (P5, P6)."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial
from typing import Any
from zoneinfo import available_timezones

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import models
from django.forms import modelform_factory
from django.http import HttpRequest, HttpResponseNotAllowed
from django.shortcuts import redirect
from unfold.widgets import INPUT_CLASSES, UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget

from audit import clock
from audit.admin import REFUSALS, BackOfficeAdmin, display, moment, refusal_text
from audit.badges import badge
from audit.moments import in_utc
from audit.two_person import TwoPersonRequest
from audit.two_person_admin import TwoPersonAdmin
from backups import nights, policies, policy_requests
from backups.errors import BackupError
from backups.models import BackupPolicy, PolicyChangeRequest
from backups.policies import DECIDED
from backups.policy import PERIODS, in_force
from backups.policy_requests import in_words, label_of
from backups.prune.plan import shift

NIGHTS_SHOWN = 3
REFUSED: tuple[type[Exception], ...] = (*REFUSALS, BackupError)


class TimeOfDay(forms.TimeInput):
    """The browser's own picker of a time."""

    input_type = "time"

    def __init__(self) -> None:
        super().__init__(attrs={"class": " ".join(INPUT_CLASSES)}, format="%H:%M")


class PolicyForm(forms.ModelForm):
    """The next version as somebody would have it, begun from the newest one."""

    zone = forms.ChoiceField(label="Time zone", widget=UnfoldAdminSelectWidget, help_text="Nights run from noon to noon in this zone.")
    night_starts = forms.TimeField(
        label="Night's start", widget=TimeOfDay, help_text="When the nightly backups begin, by the clock of the zone."
    )
    why = forms.CharField(
        label="Why", max_length=1000, widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}), help_text="The other person reads this."
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["zone"].choices = [(zone, zone) for zone in sorted(available_timezones())]  # type: ignore[attr-defined]

    @property
    def changes(self) -> dict[str, Any]:
        """The fields that differ from the newest version."""
        return {name: self.cleaned_data[name] for name in DECIDED if name in self.changed_data}

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if not set(self.changed_data) & set(DECIDED):
            self.add_error(None, "Nothing would change.")
        return cleaned


@admin.register(BackupPolicy)
class BackupPolicyAdmin(BackOfficeAdmin):
    """Every version stays as it was made."""

    list_display = (
        "number",
        "standing",
        moment("in_force_from", "in force from"),
        "night",
        "kept",
        "made_by",
        "approved_by",
    )
    list_before_template = "back_office/policy_links.html"
    fieldsets = (
        (None, {"fields": ("number", "standing", moment("in_force_from", "in force from"))}),
        ("Nights", {"fields": ("night_starts", "zone", "max_attempts", "retry_minutes")}),
        ("Kept", {"fields": ("nightly_days", "weekly_weeks", "longest_years")}),
        ("Tested", {"fields": ("test_days", "tests_a_night")}),
        ("Why", {"fields": ("made_by", "approved_by", "reason")}),
    )

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [field for _, options in self.fieldsets for field in options["fields"]]

    def visible_to(self, user: Any, rows: models.QuerySet) -> models.QuerySet:
        return rows

    @display(description="state")
    def standing(self, policy: BackupPolicy) -> str:
        now = clock.now()
        if policy.number == in_force(policies.versions(), now).number:
            return badge("in force", "good")
        return badge("begins later", "info") if policy.in_force_from > now else badge("replaced")

    @display(description="sets are kept")
    def kept(self, policy: BackupPolicy) -> str:
        return policy.pure.keeps

    @display(description="nights begin", ordering="night_starts")
    def night(self, policy: BackupPolicy) -> str:
        return f"{policy.night_starts:%H:%M} {policy.zone}"


@admin.register(PolicyChangeRequest)
class PolicyChangeRequestAdmin(TwoPersonAdmin):
    allows = frozenset({"add"})
    plan_template = "back_office/policy_plan.html"
    refusals = (BackupError,)

    def visible_to(self, user: Any, rows: models.QuerySet) -> models.QuerySet:
        return rows

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> Any:
        """What if? Each POST shows what would change; only the one with the button "Ask for it" stores a request."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        if request.method not in ("GET", "HEAD", "POST"):
            return HttpResponseNotAllowed(["GET", "HEAD", "POST"])
        form = self._form(request)
        context: dict[str, Any] = {}
        if request.method == "POST" and form.is_valid():
            context = plan_shown(form.changes, clock.now())
            if "_ask" in request.POST and (asked := self._ask(request, form)) is not None:
                return redirect(self.url("change", asked.pk))
        return self.page(
            request, "back_office/policy_change.html", "Change the backup policy", form=form, plan=self.plan_template, **context
        )

    def _form(self, request: HttpRequest) -> PolicyForm:
        callback = partial(self.formfield_for_dbfield, request=request)
        form = modelform_factory(BackupPolicy, form=PolicyForm, fields=DECIDED, formfield_callback=callback)
        newest = BackupPolicy.objects.order_by("-number")[0]
        initial = {name: getattr(newest, name) for name in DECIDED}
        return form(request.POST if request.method == "POST" else None, initial=initial)  # type: ignore[return-value]

    def _ask(self, request: HttpRequest, form: PolicyForm) -> PolicyChangeRequest | None:
        try:
            asked = policy_requests.request_change(by=request.user, why=form.cleaned_data["why"], now=clock.now(), **form.changes)
        except REFUSED as refusal:
            form.add_error(None, refusal_text(refusal))
            return None
        messages.success(request, "Asked. It is done once another person approves it: tell them.")
        return asked

    def plan_context(self, asked: TwoPersonRequest, user: Any) -> dict[str, Any]:
        return plan_shown(asked.changes, clock.now()) | {"plan_template": self.plan_template}  # type: ignore[attr-defined]

    def carry_out(self, asked: Any, *, by: Any, password: str) -> str:
        return self._made(policy_requests.approve_change(asked, by=by, password=password, now=clock.now()))

    def finish(self, asked: Any) -> str:
        return self._made(policy_requests.make_version(asked, now=clock.now()))

    def _made(self, version: BackupPolicy) -> str:
        return f"Approved: version {version.number} of the policy is in force from {in_utc(version.in_force_from)}."


def plan_shown(changes: dict[str, Any], now: datetime) -> dict[str, Any]:
    """What the changes would do, for a person: values before and after, when they begin, which sets would go earlier or later, and the next
    nights under both. (Of all customers' sets, so it is computed on the pages that ask, and nowhere else.)"""
    plan = policy_requests.plan_of(changes)
    old, new = policies.what_if(**changes)
    begins = policy_requests.begins(plan, now)
    newest = nights.current_night(policies.versions(), now).label
    labels = [newest + timedelta(days=number) for number in range(1, NIGHTS_SHOWN + 1)]
    return {
        "differences": [(label_of(one["name"]), in_words(one["old"]), in_words(one["new"]), one["shorter"]) for one in plan["changes"]],
        "shorter": any(one["shorter"] for one in plan["changes"]),
        "begins": begins,
        "shift": shift(old, new, begins or now) if set(changes) & set(PERIODS) else None,
        "nights": [(label, nights.night_under(label, old).due_at, nights.night_under(label, new).due_at) for label in labels],
    }
