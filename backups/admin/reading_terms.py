"""How a location is read again: the form, and what choosing it means, said before it is chosen (P4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from unfold.widgets import UnfoldAdminDecimalFieldWidget, UnfoldAdminIntegerFieldWidget

from audit.admin import BackOfficeAdmin
from audit.decisions import Decision, ReasonForm, decide
from audit.moments import length
from audit.sizes import in_units
from backups.errors import BackupError
from backups.models import Location, VerificationPass
from backups.verification import terms
from backups.verification.cost import Cost, monthly

# Periods that people ask for, to be compared.
COMPARED_DAYS = (7, 30, 90)


def form_for(location: Location) -> type[forms.Form]:
    """The form, begun from what holds now."""
    limit = location.nightly_bytes // terms.MIB if location.nightly_bytes is not None else None

    class ReadingForm(ReasonForm):
        recheck_days = forms.IntegerField(
            label="Period in days",
            initial=location.recheck_days,
            min_value=1,
            max_value=terms.MOST_DAYS,
            widget=UnfoldAdminIntegerFieldWidget,
            help_text="Each object is read again within so many days. Promised is 30.",
        )
        nightly_mib = forms.IntegerField(
            label="At most so many MiB a night",
            initial=limit,
            min_value=1,
            required=False,
            widget=UnfoldAdminIntegerFieldWidget,
            help_text="Empty: each night reads the least that keeps every object within its period, so no limit can be too low.",
        )
        read_price = forms.DecimalField(
            label="Price of reading a GiB",
            initial=location.read_price,
            min_value=0,
            required=False,
            max_digits=10,
            decimal_places=4,
            widget=UnfoldAdminDecimalFieldWidget,
            help_text="From the store's price list, in your currency: only to show what it costs. Empty where reading is free.",
        )
        field_order = ("recheck_days", "nightly_mib", "read_price", "reason")

    return ReadingForm


def page(admin: BackOfficeAdmin, request: HttpRequest, location: Location) -> HttpResponse:
    decision = Decision(
        f"How {location.name} is read again",
        tuple(_effect(location)),
        "Change it",
        admin.url("change", location.pk),
    )

    def act(values: Mapping[str, Any]) -> str:
        mib = values["nightly_mib"]
        terms.change(
            location,
            recheck_days=values["recheck_days"],
            nightly_bytes=mib * terms.MIB if mib is not None else None,
            read_price=values["read_price"],
            by=request.user,
            reason=values["reason"],
        )
        return f"{location.name} is read within {values['recheck_days']} days from the next night on."

    return decide(admin, request, decision, form_for(location), act, refusals=(BackupError,))


def _effect(location: Location) -> list[str]:
    newest = VerificationPass.objects.filter(location=location).order_by("-night").first()
    if newest is None:
        return ["Nothing was read again there yet: after the first night this page tells what each period costs."]
    stored = f"{newest.stored_objects} objects with {in_units(newest.stored_bytes)} are stored there. Reading them again costs, a month:"
    return [stored, *(_in_words(location, newest, days) for days in COMPARED_DAYS)]


def _in_words(location: Location, newest: VerificationPass, days: int) -> str:
    speed = newest.bytes_read / newest.seconds if newest.seconds > 1 and newest.bytes_read else None
    cost: Cost = monthly(newest.stored_objects, newest.stored_bytes, days=days, speed=speed, price=location.read_price)
    money = f", {cost.money}" if cost.money is not None else ""
    return f"within {days} days: {in_units(cost.bytes)}, {cost.requests} requests, about {length(cost.time)}{money}."
