"""What people do to a customer's end: each step has a page that says what will happen, and does it by POST (P10 to P12)."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.functional import SimpleLazyObject

from audit import canonical, clock
from audit.admin import TrackedAdmin
from audit.decisions import Decision, ReasonForm, decide
from audit.moments import in_utc, span
from backups import queueing
from backups import vault as vaults
from backups.destroy import planning
from backups.errors import BackupError, NotHandedOver
from backups.returning import encrypting, handing_over
from backups.stores.contract import StoreError
from l2l.admin import ending_path
from l2l.admin.ending_forms import ApproveForm, AskForm, FaultForm, NoticeForm, ReceiptForm, ReturnForm, WaiverForm
from l2l.admin.ending_plan import plan_shown
from l2l.door import links
from subscriptions.admin import as_uuid
from subscriptions.ending import approving, contracts, deadlines, receipts, requests, returns
from subscriptions.ending.states import ENDED, State
from subscriptions.models import Customer, DataReturn, DeletionRequest

Doing = Callable[[Mapping[str, Any]], str]


class EndingActs(TrackedAdmin):
    """The steps; each asks `ending_path.acts_for` whether this person may do it now, and the verb asks once more."""

    def get_urls(self) -> list[Any]:
        steps = {
            "begin_return": self.begin_return_view,
            "waive": self.waive_view,
            "receipt": self.receipt_view,
            "link": self.link_view,
            "fault": self.fault_view,
            "ask_deemed": self.ask_deemed_view,
            "plan": self.plan_view,
            "plan_document": self.plan_document_view,
            "approve": self.approve_view,
            "take_back": self.take_back_view,
            "cancel": self.cancel_view,
        }
        return [
            *(self.view_path(f"<path:object_id>/{name.replace('_', '-')}/", view, name) for name, view in steps.items()),
            self.view_path("<path:object_id>/download/", self.download_view, "download"),
            *super().get_urls(),
        ]

    # Asking for the end

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """From the customer's page: what will happen, and when; its POST opens the request."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        if "customer" not in request.GET:
            messages.info(request, "Open the customer, and press “Ask for its end”.")
            return redirect("admin:l2l_subscriptions_customer_changelist")
        customer = _visible_customer(request)
        last = contracts.last_day(customer)
        when = f"on the day after {last:%-d %B %Y}, its last one" if last else "once its subscriptions have a last day, which one has not"
        decision = Decision(
            f"Ask for the end of {customer.name}",
            (
                f"Nothing happens to the data before the last subscription is over: the return begins {when}.",
                "Then its data is frozen and returned, the customer acknowledges the receipt, another person approves, and everything is "
                "destroyed: live data, every backup copy, and the keys. Until that begins, one person is enough to cancel it.",
            ),
            "Ask for the end",
            reverse("admin:l2l_subscriptions_customer_overview", args=[customer.pk]),
        )
        opened: list[DeletionRequest] = []

        def act(values: Mapping[str, Any]) -> str:
            opened.append(requests.open_request(customer, by=request.user, why=values["why"], now=clock.now()))
            return "Asked for. This page shows what comes next, and whose turn it is."

        response = decide(self, request, decision, AskForm, act, original=customer)
        return redirect(self.url("change", opened[0].pk)) if opened else response

    # Returning the data

    def begin_return_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        ending = self._for_step(request, object_id, "begin_return")
        effect = (
            "From now on nobody changes the customer's data. A final set is made, and from it the package for the customer.",
            "It would begin by itself within the hour. Cancelling the end thaws the data again.",
        )

        def act(values: Mapping[str, Any]) -> str:
            if values["recipient"]:
                encrypting.choose(ending, values["recipient"], by=request.user)
            returns.begin(ending, by=request.user, now=clock.now())
            queueing.look_at_returns_now()
            return "The return has begun: the worker freezes the data and makes the package."

        title = f"Return the data of {ending.customer.name} now?"
        return self._decide(request, ending, title, effect, "Return it", ReturnForm, act, refusals=(BackupError,))

    def waive_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        ending = self._for_step(request, object_id, "waive")
        effect = (
            "The customer wants no data back: no package is made. Its data is frozen, and the clock of the destruction begins now.",
            "You will not be able to approve the destruction: another person does.",
        )

        def act(values: Mapping[str, Any]) -> str:
            about = {"document": values["document"], "why": values["reason"]}
            requests.waive(ending, by=request.user, now=clock.now(), **about)
            return "The waiver is on record. Somebody else approves the destruction: tell them."

        return self._decide(request, ending, f"{ending.customer.name} waives the return", effect, "Record the waiver", WaiverForm, act)

    def download_view(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """The package, for somebody who hands it over; recorded each time."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        ending = self._for_step(request, object_id, "link")
        try:
            return handing_over.by_staff(self._package(ending), by=request.user, now=clock.now())
        except NotHandedOver as refusal:
            self.message_user(request, str(refusal), messages.ERROR)
            return redirect(self.url("change", ending.pk))

    def link_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Makes a link, and shows it once: it is kept nowhere."""
        ending = self._for_step(request, object_id, "link")
        current = self._package(ending)
        if request.method == "POST":
            try:
                address, until = links.link_to(current, now=clock.now())
            except NotHandedOver as refusal:
                self.message_user(request, str(refusal), messages.ERROR)
                return redirect(self.url("change", ending.pk))
            address = address if address.startswith("http") else request.build_absolute_uri(address)
            context = {"address": address, "until": until, "back": self.url("change", ending.pk), "original": ending, "package": current}
            return self.page(request, "back_office/ending_link.html", f"Link for {ending.customer.name}", **context)
        effect = (
            f"Whoever has the link can fetch package {current.number}, verify and acknowledge it, or report a fault. It needs no sign-in.",
            f"It works for {links.VALID.days} days, and no longer than the package is kept ({in_utc(current.expires_at)}). It is shown "
            "once and kept nowhere: send it only to whom the data belongs.",
        )
        return self._decide(request, ending, f"Make a link for {ending.customer.name}", effect, "Make a link", forms.Form, _nothing)

    def receipt_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        ending = self._for_step(request, object_id, "receipt")
        current = self._package(ending)
        effect = (
            "With the receipt the clock of the destruction begins. You will not be able to approve that: another person does.",
            f"A receipt of another file than package {current.number} is refused: ask the customer for the digest of the file that it has.",
        )

        def act(values: Mapping[str, Any]) -> str:
            verified_at = receipts.of_minute(values["verified_at"], current)
            receipts.acknowledge(current, **{**values, "verified_at": verified_at}, by=request.user, now=clock.now())
            return "The receipt is on record. Somebody else approves the destruction: tell them."

        title = f"Record the receipt of {ending.customer.name}"
        return self._decide(request, ending, title, effect, "Record the receipt", ReceiptForm, act)

    def fault_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        ending = self._for_step(request, object_id, "fault")
        current = self._package(ending)
        effect = (
            f"Package {current.number} counts no more, links to it open nothing, and another one is made from the final set.",
            "Reminders begin anew with that one.",
        )

        def act(values: Mapping[str, Any]) -> str:
            if values["recipient"]:
                encrypting.choose(ending, values["recipient"], by=request.user)
            returns.report_fault(current, what=values["what"], by_name=values["by_name"], by=request.user, now=clock.now())
            return "The fault is on record, and another package is made."

        return self._decide(request, ending, f"A fault of {current}", effect, "Report the fault", FaultForm, act, refusals=(BackupError,))

    def ask_deemed_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        ending = self._for_step(request, object_id, "ask_deemed")
        effect = (
            f"The package was handed over more than {deadlines.ESCALATION_DAYS} days ago, nobody answered, and the agreement lets silence "
            "count. Add the proof that notice was given.",
            "It counts once a second approver agrees with the password; then the clock of the destruction begins.",
        )
        asked: list[Any] = []

        def act(values: Mapping[str, Any]) -> str:
            about = {"notice": values["notice"], "why": values["reason"]}
            asked.append(receipts.ask_deemed(self._package(ending), by=request.user, now=clock.now(), **about))
            return "Asked. It counts once another approver agrees: tell them."

        title = f"Let the silence of {ending.customer.name} count as receipt"
        response = self._decide(request, ending, title, effect, "Ask for it", NoticeForm, act)
        return redirect("admin:l2l_subscriptions_deemedreceiptrequest_change", asked[0].pk) if asked else response

    # Approving

    def plan_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """A dry run: every location is listed."""
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        ending = self._planned(request, object_id)
        title = f"Plan: the end of {ending.customer.name}"
        return self.page(request, "back_office/ending_plan.html", title, original=ending, ending=ending, shown=plan_shown(ending))

    def plan_document_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Every name in it, as it is now: what the digest is of."""
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        ending = self._planned(request, object_id)
        shown = plan_shown(ending)
        if shown.plan is None:
            self.message_user(request, shown.trouble, messages.ERROR)
            return redirect(self.url("change", ending.pk))
        name = f"plan-{ending.customer.code}-{shown.digest[:12]}.json"
        headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "private, no-store"}
        return HttpResponse(canonical.dump_bytes(shown.plan.document), content_type="application/json", headers=headers)

    def approve_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Shows the plan; its POST approves exactly the one that was shown."""
        ending = self._for_step(request, object_id, "approve")
        shown = SimpleLazyObject(lambda: plan_shown(ending))  # not before a POST has planned by itself
        decision = Decision(
            f"Approve the destruction of everything of {ending.customer.name}",
            (
                "With your approval it cools off, for 72 hours or a third of the time that is left; until then one person can stop "
                "it. Then the destroyer removes everything below, at every place, and after that nobody can bring it back.",
                "You approve exactly this plan: when anything else of the customer turns up, the approval is void.",
            ),
            "Approve the destruction",
            self.url("change", ending.pk),
            danger=True,
            details="back_office/ending_plan_tables.html",
        )

        def act(values: Mapping[str, Any]) -> str:
            about = {"seen": request.POST.get("plan", ""), "by": request.user, "now": clock.now(), **values}
            planning.approve(vaults.from_settings(), ending, **about)
            return "Approved. It cools off now; this page shows until when, and how to stop it."

        carried = SimpleLazyObject(lambda: [("plan", shown.digest)])
        context = {"original": ending, "ending": ending, "shown": shown, "carried": carried}
        return decide(self, request, decision, ApproveForm, act, refusals=(BackupError, StoreError, OSError), **context)

    # Stopping

    def take_back_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        ending = self._for_step(request, object_id, "take_back")
        left = span(ending.may_begin_at - clock.now()) if ending.may_begin_at and ending.may_begin_at > clock.now() else "no time"
        effect = (
            f"{ending.approved_by} approved the destruction; it cools off, with {left} left. Taken back, nothing is destroyed.",
            "The customer stays ended and its clock runs on: somebody looks, and approves anew.",
        )

        def act(values: Mapping[str, Any]) -> str:
            approving.take_back(ending, by=request.user, why=values["reason"], now=clock.now())
            return "The approval is taken back."

        return self._decide(request, ending, "Take the approval back", effect, "Take it back", ReasonForm, act)

    def cancel_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        ending = self._for_step(request, object_id, "cancel")
        effect = (
            "The customer goes on: its data is thawed, nights are owed again, and nothing is destroyed. Its package is removed.",
            "While no other subscription runs, the front page names the customer as one whose end nobody has asked for.",
        )

        def act(values: Mapping[str, Any]) -> str:
            requests.cancel(ending, by=request.user, why=values["reason"], now=clock.now())
            return "Cancelled: the customer goes on."

        title = f"Cancel the end of {ending.customer.name}"
        return self._decide(request, ending, title, effect, "Cancel the end", ReasonForm, act, keep="Keep it", danger=True)

    # Parts of the above

    def _for_step(self, request: HttpRequest, object_id: str, step: str) -> DeletionRequest:
        ending: DeletionRequest = self.visible_object(request, object_id)
        acts = ending_path.acts_for(ending, ending_path.package_of(ending), request.user, clock.now())
        if step not in [act.name for act in acts]:
            raise PermissionDenied
        return ending

    def _planned(self, request: HttpRequest, object_id: str) -> DeletionRequest:
        """Of which a plan can be made."""
        ending: DeletionRequest = self.visible_object(request, object_id)
        if State(ending.state) in ENDED:
            raise Http404("Nothing of it is to be destroyed.")
        return ending

    def _package(self, ending: DeletionRequest) -> DataReturn:
        found = ending_path.package_of(ending)
        if found is None:
            raise Http404("There is no package.")
        return found

    def _decide(
        self,
        request: HttpRequest,
        ending: DeletionRequest,
        title: str,
        effect: tuple[str, ...],
        button: str,
        form: type[forms.Form],
        act: Doing,
        *,
        keep: str = "Not now",
        danger: bool = False,
        refusals: tuple[type[Exception], ...] = (),
    ) -> HttpResponse:
        decision = Decision(title, effect, button, self.url("change", ending.pk), keep, danger)
        return decide(self, request, decision, form, act, refusals=refusals, original=ending)


def _nothing(values: Mapping[str, Any]) -> str:
    return ""


def _visible_customer(request: HttpRequest) -> Customer:
    found = Customer.objects.visible_to(request.user).filter(pk=as_uuid(request.GET.get("customer")) or uuid.UUID(int=0)).first()
    if found is None:
        raise Http404("There is no such customer.")
    return found
