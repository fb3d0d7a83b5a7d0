"""The customer's receipt page: what was returned, how to verify it, the package, and the forms for a receipt or a fault (P11).

No sign-in: the signed link is what lets somebody in, to this one package. Works without a script, is not indexed, and hands its own address
to nobody else. Fetching is a POST, so that programs that follow the links of a message do not count as the customer who fetched it.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import wraps
from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

import audit
from audit import clock, events
from audit.errors import AuditError
from audit.events import Event
from audit.models import Event as Recorded
from backups.errors import NotHandedOver
from backups.returning import handing_over
from l2l.door import links
from subscriptions.ending import receipts, returns
from subscriptions.ending.states import State
from subscriptions.models import DataReturn, Receipt

CUSTOMER = "the customer (link)"
DOOR = "door"
# Wrong digests in a quarter of an hour, after which the page asks to wait: a form that a program fills in.
MOST_WRONG = 5
WRONG_COUNT_FOR = timedelta(minutes=15)
HEADERS = {
    "Cache-Control": "private, no-store",
    "X-Robots-Tag": "noindex, nofollow, noarchive",
    # Not "no-referrer": with it browsers send "Origin: null", and the form's protection against foreign sites refuses them.
    "Referrer-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
}
View = Callable[[HttpRequest, DataReturn, str], HttpResponseBase]


class MomentInput(forms.DateTimeInput):
    input_type = "datetime-local"

    def __init__(self) -> None:
        super().__init__(format="%Y-%m-%dT%H:%M")


class AcknowledgeForm(forms.Form):
    verified_by = forms.CharField(label="Your name", max_length=200, widget=forms.TextInput(attrs={"autocomplete": "name"}))
    package_sha256 = forms.CharField(
        label="SHA-256 of the file that you have",
        max_length=100,
        help_text="64 letters and digits, as one of the commands above printed them for your file. It is held against ours.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false", "autocapitalize": "none", "class": "code"}),
    )
    how = forms.CharField(
        label="How you verified it",
        max_length=1000,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text="For example: sha256sum on our server, and every file with the script in the package.",
    )
    verified_at = forms.DateTimeField(label="When", widget=MomentInput)


class FaultForm(forms.Form):
    by_name = forms.CharField(label="Your name", max_length=200, widget=forms.TextInput(attrs={"autocomplete": "name"}))
    what = forms.CharField(
        label="What is wrong",
        max_length=2000,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="What you did, and what you saw. Write none of your own data here: this stays with us as evidence.",
    )


FORMS: dict[str, type[forms.Form]] = {"acknowledge": AcknowledgeForm, "fault": FaultForm}


def of_link(view: View) -> Callable[..., HttpResponseBase]:
    """A view of the link's package, by the customer; a plain page where the link opens nothing."""

    @wraps(view)
    def answer(request: HttpRequest, token: str) -> HttpResponseBase:
        with audit.acting(CUSTOMER, source=DOOR):
            try:
                response = view(request, links.package_of(token, now=clock.now()), token)
            except NotHandedOver as refusal:
                words = f"{refusal} If you lack something, speak to your contact."
                response = render(request, "door/closed.html", {"heading": "This link opens nothing now", "words": words}, status=410)
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    return answer


@require_http_methods(["GET", "HEAD", "POST"])
@of_link
def receipt_page(request: HttpRequest, package: DataReturn, token: str) -> HttpResponse:
    """The page; its POST acknowledges the package, or reports a fault of it."""
    zone = ZoneInfo(package.request.customer.zone)
    with timezone.override(zone):
        sent = request.POST.get("act", "") if request.method == "POST" else ""
        filled: dict[str, forms.Form] = {"acknowledge": AcknowledgeForm(initial={"verified_at": clock.now()}), "fault": FaultForm()}
        if sent in FORMS and package.request.state == State.RETURNED:
            filled[sent] = FORMS[sent](request.POST)
            if _is_wrong_too_often(package, clock.now()):
                return _page(request, package, token, filled, WAIT, status=429)
            if filled[sent].is_valid():
                done = _done(request, package, token, sent, filled[sent])
                if done is not None:
                    return done
        status = 400 if any(form.is_bound for form in filled.values()) else 200
        return _page(request, package, token, filled, status=status)


@require_POST
@of_link
def package_file(request: HttpRequest, package: DataReturn, token: str) -> HttpResponseBase:
    """The package itself; that it was handed over is recorded."""
    return handing_over.by_link(token, now=clock.now())


WAIT = "The digest was wrong several times. Wait a quarter of an hour, compute it again, and report a fault if it stays another one."


def _done(request: HttpRequest, package: DataReturn, token: str, act: str, form: forms.Form) -> HttpResponse | None:
    """What the verb came to; None when it refused, which the form then says."""
    now, values = clock.now(), form.cleaned_data
    try:
        if act == "acknowledge":
            values = values | {"verified_at": receipts.of_minute(values["verified_at"], package)}
            receipts.acknowledge(package, **values, now=now)
            return redirect("receipt", token)
        returns.report_fault(package, what=values["what"], by_name=values["by_name"], now=now)
    except AuditError as refusal:
        form.add_error(None, str(refusal))
        if act == "acknowledge" and not receipts.is_digest_of(package, values["package_sha256"]):
            events.record_apart(Event.RECEIPT_REFUSED, subject=package, customer=package.request.stream, facts=_wrong(package))
        return None
    words = "We make the package anew. You get another link as soon as it is ready; this one opens nothing any more."
    return render(request, "door/closed.html", {"heading": "Thank you, the fault is reported", "words": words})


def _wrong(package: DataReturn) -> dict[str, Any]:
    return {"number": package.number, "why": "digest"}


def wrong_digests(package: DataReturn) -> Any:
    """The events of wrong digests given for this package, the newest first."""
    return Recorded.objects.filter(event=Event.RECEIPT_REFUSED, subject=events.name_of(package)).order_by("-number")


def _is_wrong_too_often(package: DataReturn, now: datetime) -> bool:
    return wrong_digests(package).filter(at__gt=now - WRONG_COUNT_FOR).count() >= MOST_WRONG


def _page(
    request: HttpRequest, package: DataReturn, token: str, filled: dict[str, forms.Form], trouble: str = "", *, status: int = 200
) -> HttpResponse:
    context = {
        "package": package,
        "token": token,
        "customer": package.request.customer,
        "receipt": Receipt.objects.filter(data_return=package).first(),
        "acknowledge": filled["acknowledge"],
        "fault": filled["fault"],
        "trouble": trouble,
        "commands": commands_for(package.file_name),
        "encrypted": bool(package.encrypted_to),
    }
    return render(request, "door/receipt.html", context, status=status)


def commands_for(file_name: str) -> list[tuple[str, str]]:
    """Where, and the line to type there that prints the file's SHA-256."""
    quoted, in_powershell = shlex.quote(file_name), "'" + file_name.replace("'", "''") + "'"
    return [
        ("Linux", f"sha256sum {quoted}"),
        ("macOS", f"shasum -a 256 {quoted}"),
        ("Windows (PowerShell)", f"(Get-FileHash -Algorithm SHA256 -LiteralPath {in_powershell}).Hash"),
    ]
