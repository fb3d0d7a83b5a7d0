"""Test restores: what is owed, as a picture; each result with its signature; signing it off, and asking for one (P7)."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db import models
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.urls import reverse
from unfold.widgets import UnfoldAdminTextareaWidget

from audit import clock
from audit.admin import BackOfficeAdmin, display, moment, size
from audit.badges import badge
from audit.decisions import Decision, ReasonForm, decide
from audit.models import Stream
from audit.moments import in_utc_to_the_second, length
from backups import keyfiles, policies
from backups import vault as vaults
from backups.admin.streams import StreamFilter
from backups.errors import BackupError, KeysMissing
from backups.models import Location, TestCell, TestNight, TestOrder, TestRestore, TestTier
from backups.policy import in_force
from backups.test_restores import coverage, documents, matrix, orders, planning, sign_off
from subscriptions.admin import of_visible_customers

ROWS_SHOWN, NEXT_SHOWN, NIGHTS_AHEAD = 50, 12, 14
STARTS = orders.STARTS_TESTS
CHECKS = {
    "counts": "Counts of rows, against the signed envelope",
    "digests": "Rows read back from the database, against the set's digests",
    "files": "Bytes of each file, against its digest and size",
    "parents": "Foreign keys: the row that is named is there",
    "history": "Rows and their newest history images, against each other",
    "chain": "The chain of digests, made anew up to the signed head",
    "moment": "Whole transactions, and the live journal's digest",
}


class CommentForm(forms.Form):
    comment = forms.CharField(
        label="What you looked at",
        max_length=2000,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        help_text="Stands beside the result for good, with your name and the time.",
    )


class SignedOffFilter(admin.SimpleListFilter):
    title = "sign-off"
    parameter_name = "signed_off"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("no", "Not signed off"), ("yes", "Signed off")]

    def queryset(self, request: HttpRequest, queryset: models.QuerySet) -> models.QuerySet:
        if self.value() in ("yes", "no"):
            return queryset.filter(sign_off__isnull=self.value() == "no")
        return queryset


@admin.register(TestRestore)
class TestRestoreAdmin(BackOfficeAdmin):
    list_display = (
        "called",
        "standing",
        "tier",
        "location",
        "night",
        moment("second", "second"),
        "took",
        moment("ended_at", "tested"),
        "signed",
    )
    list_filter = (StreamFilter, "result", SignedOffFilter, "tier")
    list_select_related = ("sign_off__by",)
    list_before_template = "back_office/test_restores.html"
    search_fields = ("called", "location")
    search_help_text = "Customer's short code, or a location"
    ordering = ("-ended_at",)
    change_form_outer_before_template = "back_office/test_restore.html"
    fieldsets = (
        ("Tested", {"fields": ("called", "kind", "location", "set_id", "night", "exact_second", "seed")}),
        ("By", {"fields": ("asked_by", "reason", "software", "policy", moment("begun_at", "begun"), moment("ended_at", "ended"))}),
        ("Measured", {"fields": ("took", "judged", size("read_bytes", "read"), size("content_bytes", "restored"))}),
    )

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [field for _, options in self.fieldsets for field in options["fields"]]

    def visible_to(self, user: Any, rows: models.QuerySet) -> models.QuerySet:
        return of_visible_customers(user, rows, "stream")

    @display(description="result", ordering="result")
    def standing(self, test: TestRestore) -> str:
        return badge(test.result, "good" if test.passed else "bad")

    @display(description="tier", ordering="tier")
    def kind(self, test: TestRestore) -> str:
        return f"{test.tier}, the oldest that there was" if test.oldest else str(test.tier)

    @display(description="random second")
    def exact_second(self, test: TestRestore) -> str:
        return in_utc_to_the_second(test.second) if test.second else "none is covered there"

    @display(description="restored in")
    def took(self, test: TestRestore) -> str:
        return "–" if not test.content_bytes else length(timedelta(milliseconds=test.rto_ms))

    @display(description="judged in")
    def judged(self, test: TestRestore) -> str:
        return length(timedelta(milliseconds=test.judge_ms))

    @display(description="signed off by")
    def signed(self, test: Any) -> str:
        found = getattr(test, "sign_off", None)
        return found.by.get_username() if found else "–"

    def get_urls(self) -> list[Any]:
        return [
            self.view_path("ask/<uuid:stream>/", self.ask_view, "ask"),
            self.view_path("<path:object_id>/sign-off/", self.sign_off_view, "sign_off"),
            *super().get_urls(),
        ]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        waiting = sign_off.unsigned(self.get_queryset(request)).count()
        return super().changelist_view(request, {"unsigned": waiting, "matrix_url": _matrix_url(request), **(extra_context or {})})

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        test = self.visible_object(request, object_id)
        why_not = sign_off.why_not(test, request.user)
        signed = getattr(test, "sign_off", None)
        context = {
            "test": test,
            "signed": signed,
            "trials": _trials(test),
            "elsewhere": test.document.get("elsewhere", []),
            "signature": _signature(test),
            "sign_off_url": "" if signed or why_not else self.url("sign_off", test.pk),
            "why_not": "" if signed else why_not,
            "set_url": _set_url(request, test),
            "matrix_url": _matrix_url(request),
        }
        return super().change_view(request, object_id, form_url, {**context, **(extra_context or {})})

    def sign_off_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        test: TestRestore = self.visible_object(request, object_id)
        if not request.user.has_perm(sign_off.SIGNS_OFF):
            raise PermissionDenied
        decision = Decision(
            "Sign this test restore off",
            (
                f"{test.called}, {test.tier}, from {test.location}: {test.result}.",
                "You say that you have read what was found, and that what it asks for is done or has an owner.",
                "A sign-off cannot be taken back. It changes nothing of the result.",
            ),
            "Sign off",
            self.url("change", test.pk),
        )

        def act(values: Mapping[str, Any]) -> str:
            trusted = keyfiles.signer(settings.L2L_KEYS).fingerprint
            sign_off.sign_off(test, by=request.user, comment=values["comment"], trusted=trusted, now=clock.now())
            return "Signed off."

        return decide(self, request, decision, CommentForm, act, refusals=(BackupError,), original=test)

    def ask_view(self, request: HttpRequest, stream: uuid.UUID) -> HttpResponse:
        """A person has a customer's sets tested at once, at each location."""
        if not request.user.has_perm(STARTS):
            raise PermissionDenied
        found = of_visible_customers(request.user, Stream.objects.filter(pk=stream), "pk").first()
        if found is None:
            raise Http404("There is no such customer.")
        decision = Decision(
            f"Test the backups of {found.name} now",
            (
                "From each location the tier that is due first, and a random second, are restored, judged, and removed.",
                "Nothing of the customer changes, and nobody can open what is restored. Somebody else signs the results off.",
            ),
            "Test now",
            _matrix_url(request) or self.url("changelist"),
        )

        def act(values: Mapping[str, Any]) -> str:
            made = orders.ask(vaults.from_settings(), found, clock.now(), reason=values["reason"])
            return f"{len(made)} tests are waiting for the worker, which takes them within minutes."

        return decide(self, request, decision, ReasonForm, act, refusals=(BackupError,))


@admin.register(TestCell)
class TestCellAdmin(BackOfficeAdmin):
    """The list is the picture; a constant number of queries, however many customers there are."""

    fields = (
        "customer",
        "tier",
        "location",
        moment("since", "a set is there since"),
        moment("tested_at", "last passed", never="never"),
        moment("due_at", "to be tested by"),
        moment("tried_at", "last tried"),
        "trouble",
    )
    readonly_fields = fields

    def visible_to(self, user: Any, rows: models.QuerySet) -> models.QuerySet:
        return of_visible_customers(user, rows, "stream")

    @display(description="customer")
    def customer(self, cell: TestCell) -> str:
        return cell.stream.name

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        if request.method not in ("GET", "HEAD", "POST"):
            return HttpResponseNotAllowed(["GET", "HEAD", "POST"])
        if not self.has_view_permission(request):
            raise PermissionDenied
        versions = policies.versions()
        if not versions:
            return self.page(request, "back_office/test_matrix.html", "Test restores that are owed", no_policy=True)
        now, policy = clock.now(), in_force(versions, clock.now())
        cells = of_visible_customers(request.user, coverage.owed(), "stream")
        search, only_late = request.GET.get("q", "").strip(), request.GET.get("late") == "1"
        streams = self._streams(cells, search, only_late, now)
        page = Paginator(streams, ROWS_SHOWN).get_page(request.GET.get("p"))
        columns = _columns()
        shown = list(page)
        here = cells.filter(stream__in=[pk for pk, _ in shown])
        debt = coverage.debt(now, cells)
        nights = planning.forecast(coverage.due_hours(cells), policy.tests_a_night, now, NIGHTS_AHEAD, debt.failed)
        context = {
            "policy": policy,
            "now": now,
            "debt": debt,
            "columns": columns,
            "heads": _heads(columns),
            "rows": matrix.rows(shown, here, [(tier, pk) for tier, pk, _ in columns], now),
            "page": page,
            "search": search,
            "only_late": only_late,
            "tonight": nights[0][1],
            "nights": [((now + timedelta(days=ahead)).date(), *one) for ahead, one in enumerate(nights)],
            "next": cells.select_related("stream", "location")[:NEXT_SHOWN],
            "at_work": TestOrder.objects.filter(
                stream__in=cells.values("stream"), state__in=(TestOrder.State.WAITING, TestOrder.State.RUNNING)
            ).select_related("stream", "location")[:NEXT_SHOWN],
            "last_night": TestNight.objects.first(),
            "may_ask": request.user.has_perm(STARTS),
            "tests_url": reverse("admin:l2l_backups_testrestore_changelist"),
        }
        return self.page(request, "back_office/test_matrix.html", "Test restores that are owed", **context)

    def _streams(self, cells: models.QuerySet, search: str, only_late: bool, now: Any) -> models.QuerySet:
        """(id, name) of those with cells; with late ones alone when that is asked."""
        wanted = cells.filter(due_at__lt=now) | cells.filter(failed=True) if only_late else cells
        found = Stream.objects.filter(pk__in=wanted.order_by().values("stream"))
        return (found.filter(name__icontains=search) if search else found).order_by("name").values_list("pk", "name")


def _columns() -> list[tuple[str, int, str]]:
    """(tier, location's id, its name) in the order of the picture."""
    places = list(Location.objects.filter(in_force=True).values_list("pk", "name"))
    return [(tier.value, pk, name) for tier in TestTier for pk, name in places]


def _heads(columns: list[tuple[str, int, str]]) -> list[tuple[str, int]]:
    """Each tier, and how many columns it has."""
    return [(tier.value, sum(of == tier.value for of, _, _ in columns)) for tier in TestTier]


def _matrix_url(request: HttpRequest) -> str:
    return reverse("admin:l2l_backups_testcell_changelist") if request.user.has_perm("l2l_backups.view_testcell") else ""


def _set_url(request: HttpRequest, test: TestRestore) -> str:
    from backups.models import BackupSet

    known = request.user.has_perm("l2l_backups.view_backupset") and BackupSet.objects.filter(pk=test.set_id).exists()
    return reverse("admin:l2l_backups_backupset_change", args=[test.set_id]) if known else ""


def _signature(test: TestRestore) -> tuple[str, str]:
    """Its state in words, and how good that is."""
    try:
        trouble = documents.trouble_of(test, keyfiles.signer(settings.L2L_KEYS).fingerprint)
    except KeysMissing as problem:
        return f"cannot be checked here: {problem}", "warn"
    return (trouble, "bad") if trouble else ("signed by our key, and the row says the same", "good")


def _trials(test: TestRestore) -> list[dict[str, Any]]:
    """The set's and the second's, as the page shows them."""
    named = (("The set", test.document.get("set_test")), ("The random second", test.document.get("second_test")))
    return [{"title": title, **_trial(trial)} for title, trial in named if trial]


def _when(stored: str) -> str:
    return in_utc_to_the_second(datetime.fromisoformat(stored)) if stored else ""


def _trial(trial: dict[str, Any]) -> dict[str, Any]:
    judgement = trial["judgement"] or {"counts": {}, "checks": {}, "notes": []}
    return {
        "at": _when(trial["at"] or trial["found"].get("state_at", "")),
        "passed": trial["passed"],
        "trouble": trial["trouble"],
        "restored_in": length(timedelta(milliseconds=trial["list_ms"] + trial["restore_ms"])),
        "judged_in": length(timedelta(milliseconds=trial["judge_ms"])),
        "read_bytes": trial["read_bytes"],
        "counts": [(name.replace("_", " "), count) for name, count in sorted(judgement["counts"].items())],
        "checks": [(CHECKS.get(name, name), one["looked_at"], one["wrong"], one["examples"]) for name, one in judgement["checks"].items()],
        "notes": [*trial["notes"], *judgement["notes"]],
    }
