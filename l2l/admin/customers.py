"""The customers: the list, the customer's page, and "Back up now"."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import models
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import NoReverseMatch, reverse
from django.utils.timezone import localdate
from unfold.widgets import UnfoldAdminSingleDateWidget, UnfoldAdminTextInputWidget

from audit import clock, registry
from audit.admin import TrackedForm, display
from audit.badges import badge, badges
from audit.decisions import Decision, ReasonForm, decide
from audit.models import JournalRow, Stream
from audit.moments import in_utc
from backups import run_acts
from backups.admin.locations import Owed, owed_by_location
from backups.admin.sets import STANDINGS, standing_of, whole_at
from backups.errors import BackupError
from backups.models import BackupSet, LiveRestore, LiveRestoreRequest, Location, Run
from backups.test_restores.coverage import rto
from l2l.admin.reports import ReportPages
from l2l.admin.timeline import page_of
from subscriptions import holds, terms
from subscriptions.admin import change_terms_url, open_requests, state_of
from subscriptions.ending.states import ASKS
from subscriptions.ending.states import State as Ending
from subscriptions.models import Customer, DeletionRequest, Export, LegalHold, Subscription
from subscriptions.onboarding import add_customer

SETS_SHOWN = 7
EXPORTS_SHOWN = 5
RUN_BACKUP = "l2l_backups.add_backupset"
SEES_HOLDS = "l2l_subscriptions.view_legalhold"


@dataclass(frozen=True, slots=True)
class ContentCount:
    """How many rows of one protected model a customer has, and the list of them."""

    label: str
    count: int
    url: str


class CustomerForm(TrackedForm):
    def clean_zone(self) -> str:
        zone = self.cleaned_data["zone"]
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError):
            raise ValidationError("There is no such time zone. Use a name such as Europe/Berlin, America/New_York or UTC.") from None
        return zone


class NewCustomerForm(CustomerForm):
    """A customer begins with a subscription."""

    start = forms.DateField(label="First day", widget=UnfoldAdminSingleDateWidget, initial=localdate)
    agreement_number = forms.CharField(
        max_length=64, required=False, widget=UnfoldAdminTextInputWidget, help_text="Empty: the short code with -1."
    )


@admin.register(Customer)
class CustomerAdmin(ReportPages):
    """A customer is added and changed, never deleted: how it ends is a matter of its own, with its own steps."""

    form = CustomerForm
    allows = frozenset({"add", "change"})
    fixed_fields = ("code",)
    autocomplete_fields = ("account_manager",)
    list_display = ("name", "code", "account_manager", "contracts", "newest_set", "protection")
    list_select_related = ("account_manager",)
    list_before_template = None
    search_fields = ("name", "code")
    search_help_text = "Name or short code"
    ordering = ("code",)
    fields: tuple[str, ...] = ("code", "name", "zone", "account_manager")
    change_form_outer_before_template = "back_office/customer_link.html"

    # Whose

    def visible_to(self, user: Any, rows: Any) -> Any:
        return rows & Customer.objects.visible_to(user) if not user.has_perm("l2l_subscriptions.view_all_customers") else rows

    def visible_history(self, user: Any, rows: Any) -> Any:
        return (
            rows
            if user.has_perm("l2l_subscriptions.view_all_customers")
            else rows.filter(id__in=Customer.objects.visible_to(user).values("pk"))
        )

    # List

    def get_queryset(self, request: HttpRequest) -> Any:
        rows = super().get_queryset(request)
        if not getattr(request.resolver_match, "url_name", "").endswith("_changelist"):
            return rows
        newest = BackupSet.objects.filter(stream_id=models.OuterRef("pk"), state=BackupSet.State.MADE).order_by("-started_at")
        return rows.prefetch_related("subscriptions").annotate(
            newest_at=models.Subquery(newest.values("started_at")[:1]),
            newest_protected_at=models.Subquery(newest.values("protected_at")[:1]),
        )

    def row_url(self, row: Customer) -> str:
        return self.url("overview", row.pk)

    @display(description="subscriptions")
    def contracts(self, customer: Customer) -> str:
        kinds = {"runs": "good", "ended": "bad", "begins later": "info"}
        return badges((state_of(one), kinds[state_of(one)], str(one)) for one in customer.subscriptions.all()) or badge("none", "warn")

    @display(description="newest set", ordering="newest_at")
    def newest_set(self, customer: Any) -> str:
        return in_utc(customer.newest_at) if customer.newest_at else "–"

    @display(description="backup")
    def protection(self, customer: Any) -> str:
        if not customer.newest_at:
            return badge("no set", "bad", "No backup set was ever made")
        standing = "protected" if customer.newest_protected_at else "complete only"
        return badge(standing, *STANDINGS[standing])

    # Forms

    def get_urls(self) -> list[Any]:
        return [
            self.view_path("<path:object_id>/overview/", self.overview_view, "overview"),
            self.view_path("<path:object_id>/back-up/", self.back_up_view, "back_up"),
            self.view_path("<path:object_id>/timeline/", self.timeline_view, "timeline"),
            *super().get_urls(),
        ]

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        return super().get_form(request, obj, change, **({} if obj else {"form": NewCustomerForm}) | kwargs)

    def shown_fieldsets(self, request: HttpRequest, obj: Any, writes: bool) -> list[Any]:
        first = [] if obj else [("First subscription", {"fields": ("start", "agreement_number")})]
        return [(None, {"fields": self.fields}), *first]

    def store(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if change:
            obj.save()
            return
        values = {name: form.cleaned_data[name] for name in ("name", "zone", "account_manager", "start", "agreement_number")}
        obj.pk = add_customer(form.cleaned_data["code"], **values).pk
        obj._state.adding = False

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        response = super().response_add(request, obj, post_url_continue)
        return redirect(self.url("overview", obj.pk)) if "_save" in request.POST else response

    def response_change(self, request: HttpRequest, obj: Any) -> HttpResponse:
        response = super().response_change(request, obj)
        return redirect(self.url("overview", obj.pk)) if "_save" in request.POST else response

    # The customer's page

    def overview_view(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """All about one customer: terms, content, sets, what is owed, exports."""
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        customer = self.visible_object(request, object_id)
        subscriptions = list(customer.subscriptions.all())
        there = BackupSet.objects.filter(stream=customer.pk).exclude(state=BackupSet.State.REMOVED)
        sets = list(there.defer("blob_ids").order_by("-started_at")[:SETS_SHOWN])
        places = list(Location.objects.filter(in_force=True))
        open_holds = list(LegalHold.objects.filter(customer=customer, released_at=None))
        last_change = JournalRow.objects.filter(stream=customer.pk).order_by("-id").values_list("written_at", flat=True).first()
        return self.page(
            request,
            "back_office/customer.html",
            str(customer),
            original=customer,
            customer=customer,
            stream=Stream.objects.filter(pk=customer.pk).first(),
            subscriptions=[(one, state_of(one), change_terms_url(one, request.user)) for one in subscriptions],
            term_requests=open_requests(customer, request.user),
            kept=kept(subscriptions, last_change.date() if last_change else None, on_hold=bool(open_holds)),
            last_change=last_change,
            contents=content_counts(customer, request.user),
            sets=[_shown_set(one, held) for held in (whole_at(sets),) for one in sets],
            at_work=_at_work(customer),
            open_holds=open_holds,
            may_see_holds=request.user.has_perm(SEES_HOLDS),
            ending=(ending := _ending(customer, request.user)),
            end_url=_end_url(customer, ending, request.user),
            hold_url=_hold_url(customer, request.user),
            live_restore=_live_restore(customer, request.user),
            restore_live_url=_restore_live_url(customer, request.user),
            restores=rto(customer.pk),
            owed=_owed_of(places, owed_by_location(customer.pk)),
            exports=Export.objects.filter(customer=customer)[:EXPORTS_SHOWN],
            may_back_up=request.user.has_perm(RUN_BACKUP),
            may_change=self.has_change_permission(request, customer),
        )

    def timeline_view(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """Sets, covered seconds and every change, from which a moment is picked."""
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        customer = self.visible_object(request, object_id)
        context = page_of(customer, request.user, request.GET, clock.now())
        return self.page(request, "back_office/timeline.html", f"Timeline of {customer}", original=customer, **context)

    def back_up_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Asks first; its POST queues a run, on whose page one sees it work."""
        customer = self.visible_object(request, object_id)
        if not request.user.has_perm(RUN_BACKUP):
            raise PermissionDenied
        newest = BackupSet.objects.filter(stream=customer.pk, state=BackupSet.State.MADE).defer("blob_ids").order_by("-started_at").first()
        decision = Decision(
            f"Back up {customer.name} now?",
            (
                "All rows, their whole history and every stored file are read as they are at one moment, encrypted with the customer's own "
                "key, stored, and read back. What was stored before is reused. Nobody has to stop working.",
                "The worker begins at once, and its page shows how far it is. What the night owes is not touched by it.",
            ),
            "Back up now",
            self.url("overview", customer.pk),
            details="back_office/back_up.html",
        )
        asked: list[Run] = []

        def act(values: Mapping[str, Any]) -> str:
            asked.append(run_acts.ask(customer.pk, clock.now(), reason=values["reason"]))
            return "A set is asked for; this page shows what comes of it."

        context = {"original": customer, "customer": customer, "newest": newest, "places": Location.objects.filter(in_force=True)}
        response = decide(self, request, decision, ReasonForm, act, refusals=(BackupError,), **context)
        return redirect("admin:l2l_backups_run_change", asked[0].pk) if asked else response


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
