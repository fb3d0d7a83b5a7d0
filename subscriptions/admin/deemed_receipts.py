"""Silence that counts as receipt: asked for on the page of the customer's end, decided here by a second approver (P11)."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.core.files.storage import default_storage
from django.db import models
from django.http import HttpRequest, HttpResponseNotAllowed
from django.http.response import HttpResponseBase
from django.shortcuts import redirect

from audit import access, clock, downloads
from audit.two_person import TwoPersonRequest
from audit.two_person_admin import TwoPersonAdmin
from subscriptions.admin.visible import CustomerFilter, of_visible_customers
from subscriptions.ending import deadlines, receipts
from subscriptions.models import DeemedReceiptRequest, Receipt


class OfCustomer(CustomerFilter):
    def path(self, model: type[models.Model]) -> str:
        return "data_return__request__customer"


@admin.register(DeemedReceiptRequest)
class DeemedReceiptRequestAdmin(TwoPersonAdmin):
    plan_template = "back_office/deemed_receipt_plan.html"
    approval_does = "With your approval the receipt is on record, and the clock of the destruction begins."
    list_filter = (OfCustomer, "state")
    search_fields = ("data_return__request__customer__code", "data_return__request__customer__name")
    search_help_text = "Customer's name or short code"
    fieldsets = (("What", {"fields": ("data_return",)}), *TwoPersonAdmin.fieldsets)

    def visible_to(self, user: Any, rows: models.QuerySet) -> models.QuerySet:
        return of_visible_customers(user, rows, "data_return__request__customer")

    def get_urls(self) -> list[Any]:
        return [self.view_path("<path:object_id>/notice/", self.notice_view, "notice"), *super().get_urls()]

    def notice_view(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """The proof that notice was given."""
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        asked = self.visible_object(request, object_id)
        name = f"proof-of-notice-{asked.pk}"
        try:
            answer = downloads.attachment(default_storage, asked.notice.name, size=asked.notice_size, filename=name)
        except OSError as problem:
            self.message_user(request, str(problem), messages.ERROR)
            return redirect(self.url("change", asked.pk))
        access.downloaded(asked, customer=asked.data_return.request.stream, field="notice", size=asked.notice_size)
        return answer

    def plan_context(self, asked: TwoPersonRequest, user: Any) -> dict[str, Any]:
        package = asked.data_return  # type: ignore[attr-defined]
        return {"asked": asked, "package": package, "plan_template": self.plan_template, "days": deadlines.ESCALATION_DAYS}

    def carry_out(self, asked: Any, *, by: Any, password: str) -> str:
        return self._received(receipts.approve_deemed(asked, by=by, password=password, now=clock.now()))

    def finish(self, asked: Any) -> str:
        return self._received(receipts.finish_deemed(asked, now=clock.now()))

    def _received(self, receipt: Receipt) -> str:
        return f"Silence counts as the receipt of {receipt.data_return}. Somebody who took no part approves the destruction."
