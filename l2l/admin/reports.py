"""The two reports of a customer's page: the statement and the audit trail. A GET asks what is wanted; only the POST makes it, and hands it
out when it is recorded."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from datetime import date, timedelta
from pathlib import Path
from typing import IO, Any

from django import forms
from django.conf import settings
from django.http import HttpRequest, HttpResponseNotAllowed
from django.http.response import HttpResponseBase
from django.utils.text import capfirst
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from audit import clock, downloads
from audit.decisions import DayInput, ReasonForm
from audit.errors import AuditError
from audit.registry import Protected
from backups import vault as vaults
from backups.errors import BackupError
from l2l.admin.past_term import PastTermPages
from l2l.reports import making
from l2l.reports.making import DOWNLOADED, Kind, Made
from l2l.reports.periods import Days, NoPeriod
from l2l.reports.trail import Trail, trail_of, visible_models
from subscriptions.models import Customer
from subscriptions.past_term import today_of

SHOWN_DAYS = 90
# Above it a request would take minutes.
MOST_HERE = 25_000
Make = Callable[[IO[bytes]], Made]


class TooMany(AuditError):
    """More changes than a page makes a file of."""


class PeriodForm(ReasonForm):
    """Whole days by the customer's calendar."""

    first = forms.DateField(label="From", required=False, widget=DayInput)
    last = forms.DateField(label="To", required=False, widget=DayInput, help_text="Both days belong to it, by the customer's calendar.")
    field_order: tuple[str, ...] = ("first", "last", "kind", "reason")

    def __init__(self, customer: Customer, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.customer = customer
        self.fields["reason"].help_text = "Stands in the list of exports, with your name and the time."

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if "first" in cleaned and "last" in cleaned:
            try:
                cleaned["days"] = Days(self.customer.zone, cleaned["first"], cleaned["last"])
            except NoPeriod as problem:
                self.add_error("last", str(problem))
        return cleaned


class StatementForm(PeriodForm):
    kind = forms.ChoiceField(
        label="As",
        choices=((Kind.PDF, "PDF, for people"), (Kind.CSV, "CSV, for a spreadsheet"), (Kind.JSON, "JSON, signed: what the PDF shows")),
        widget=UnfoldAdminSelectWidget,
    )


class TrailForm(PeriodForm):
    model = forms.ChoiceField(label="Kind of item", required=False, widget=UnfoldAdminSelectWidget)
    item = forms.CharField(
        label="One item",
        required=False,
        max_length=500,
        widget=UnfoldAdminTextInputWidget,
        help_text="What it is or ever was called, deleted ones too, or its key. Empty: all items.",
    )
    kind = forms.ChoiceField(
        label="As",
        choices=(
            (Kind.CSV, "CSV: every value on a line, up to 25,000 changes"),
            (Kind.PDF, "PDF: for reading and printing, up to 1,000 changes"),
        ),
        widget=UnfoldAdminSelectWidget,
    )
    field_order = ("first", "last", "model", "item", "kind", "reason")

    def __init__(self, customer: Customer, models: Iterable[Protected], *args: Any, **kwargs: Any) -> None:
        super().__init__(customer, *args, **kwargs)
        named = [(one.label, capfirst(str(one.model._meta.verbose_name_plural))) for one in models]
        self.fields["model"].choices = [("", "All kinds"), *named]  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        if cleaned.get("item") and not cleaned.get("model"):
            self.add_error("model", "Choose what kind of item it is.")
        return cleaned


class ReportPages(PastTermPages):
    """The pages of a customer from which a report is taken."""

    def get_urls(self) -> list[Any]:
        return [
            self.view_path("<path:object_id>/statement/", self.statement_view, "statement"),
            self.view_path("<path:object_id>/audit-trail/", self.audit_trail_view, "audit_trail"),
            *super().get_urls(),
        ]

    def statement_view(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        customer = self.visible_object(request, object_id)
        today = today_of(customer, clock.now())
        begun: dict[str, date] = {"first": today - timedelta(days=SHOWN_DAYS - 1), "last": today}
        form = StatementForm(customer, request.POST) if request.method == "POST" else StatementForm(customer, initial=begun)

        def make(file: IO[bytes]) -> Made:
            vault, values = vaults.from_settings(), form.cleaned_data
            return making.make_statement(
                customer,
                values["days"],
                Kind(values["kind"]),
                file,
                by=request.user,
                signer=vault.signer,
                now=clock.now(),
                reason=values["reason"],
                sample=settings.L2L_SAMPLE,
                software=vault.software_version,
            )

        return self._report(request, customer, form, make, f"Statement for {customer.name}", "statement")

    def audit_trail_view(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        customer = self.visible_object(request, object_id)
        models = visible_models(request.user, customer.pk)
        begun = {"model": request.GET.get("model", ""), "item": request.GET.get("item", "")}
        form = TrailForm(customer, models, request.POST) if request.method == "POST" else TrailForm(customer, models, initial=begun)

        def make(file: IO[bytes]) -> Made:
            values = form.cleaned_data
            trail = trail_of(customer, values["days"], by=request.user, now=clock.now(), model=values["model"], item=values["item"])
            _refuse_too_many(trail)
            return making.make_trail(trail, Kind(values["kind"]), file, reason=values["reason"], sample=settings.L2L_SAMPLE)

        return self._report(request, customer, form, make, f"Audit trail of {customer.name}", "audit_trail")

    def _report(self, request: HttpRequest, customer: Customer, form: PeriodForm, make: Make, title: str, about: str) -> HttpResponseBase:
        """The form, with what stands in the way; or the file."""
        if request.method not in ("GET", "HEAD", "POST"):
            return HttpResponseNotAllowed(["GET", "HEAD", "POST"])
        if request.method == "POST" and form.is_valid():
            try:
                return _handed_out(make)
            except (AuditError, BackupError) as refusal:
                form.add_error(None, str(refusal))
        back = self.url("overview", customer.pk)
        return self.page(request, "back_office/report.html", title, original=customer, customer=customer, form=form, about=about, back=back)


def _refuse_too_many(trail: Trail) -> None:
    count = trail.count()
    if count > MOST_HERE:
        raise TooMany(
            f"{count:,} changes are too many for a page. Choose a shorter period or one item, or let an operator run "
            f"'manage.py audit_trail {trail.customer.code} --to-file FILE', which makes a file of any length."
        )


def _handed_out(make: Make) -> HttpResponseBase:
    """Made in a file without a name, which is gone with the answer: nothing of it stays on this machine."""
    folder = Path(settings.L2L_EXPORTS)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  (closed by the answer)
    try:
        made = make(file)
        made.hand_over(DOWNLOADED, clock.now(), lambda: None, kept=False)
        return downloads.of_file(file, size=made.written.size, filename=made.filename)
    except BaseException:
        file.close()
        raise
