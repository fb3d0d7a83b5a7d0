"""Ends of customers: the list, and the page of one as a path on which everybody sees what comes next and who may do it (P10 to P12)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.db import models
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.http.response import HttpResponseBase
from django.utils.text import capfirst

from audit import clock, registry
from audit.admin import RowList, display, moment
from audit.badges import badge
from backups.destroy import certificate_pdf
from backups.models import Certificate, ReturnWork
from l2l.admin import ending_path
from l2l.admin.ending_acts import EndingActs
from l2l.admin.ending_plan import carried_out
from l2l.door import receipt as door
from subscriptions.admin import CustomerFilter, of_visible_customers
from subscriptions.ending import clock as clocks
from subscriptions.ending import deadlines
from subscriptions.ending.contracts import last_day
from subscriptions.ending.notices import contacts_of
from subscriptions.ending.states import ENDED, WORDS, State
from subscriptions.models import DataReturn, DeletionRequest, LegalHold, Receipt

TURNS = {
    "office": ("The back office", (State.REQUESTED, State.RETURNING, State.APPROVED, State.DESTROYING)),
    "customer": ("The customer", (State.RETURNED,)),
    "approver": ("An approver", (State.ACKNOWLEDGED, State.WAIVED)),
}


COUNTED = {"history": "versions of {}", "files": "files of {}", "journal": "numbered changes"}


class StandingFilter(admin.SimpleListFilter):
    title = "state"
    parameter_name = "standing"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("open", "Under way"), ("overdue", "Overdue"), *((state.value, capfirst(state.value)) for state in State)]

    def queryset(self, request: HttpRequest, queryset: models.QuerySet) -> models.QuerySet:
        if self.value() == "open":
            return queryset.exclude(state__in=[state.value for state in ENDED])
        if self.value() == "overdue":
            return queryset.filter(pk__in=[one.pk for one, _ in overdue(queryset)])
        return queryset.filter(state=self.value()) if self.value() else queryset


class TurnFilter(admin.SimpleListFilter):
    title = "whose turn"
    parameter_name = "turn"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, words) for name, (words, _) in TURNS.items()]

    def queryset(self, request: HttpRequest, queryset: models.QuerySet) -> models.QuerySet:
        _, states = TURNS.get(self.value() or "", ("", ()))
        return queryset.filter(state__in=[state.value for state in states]) if states else queryset


class EndingList(RowList):
    """Each row with its clock, and with the last days of those whose contracts decide whose turn it is."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        found = clocks.of_all(self.result_list, clock.now())
        last_days = ending_path.last_days_of(self.result_list)
        for row in self.result_list:
            row.clock, row.last_days = found.get(row.pk), last_days


@admin.register(DeletionRequest)
class DeletionRequestAdmin(EndingActs):
    allows = frozenset({"add"})
    list_display = ("customer", "standing", "turn", "due", moment("requested_at", "asked for"))
    list_filter = (StandingFilter, TurnFilter, CustomerFilter)
    list_select_related = ("customer",)
    list_before_template = "back_office/ending_list.html"
    search_fields = ("customer__name", "customer__code")
    search_help_text = "Customer's name or short code"
    ordering = (models.Case(models.When(state__in=[one.value for one in ENDED], then=1), default=0), "acknowledged_at", "-requested_at")

    def visible_to(self, user: Any, rows: models.QuerySet) -> models.QuerySet:
        return of_visible_customers(user, rows, "customer")

    def visible_history(self, user: Any, rows: Any) -> Any:
        return of_visible_customers(user, rows, "customer_id")

    def get_queryset(self, request: HttpRequest) -> models.QuerySet:
        return super().get_queryset(request).select_related("customer", "requested_by", "approved_by", "waived_by", "cancelled_by")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[RowList]:
        return EndingList

    def download_name(self, row: Any, field: str) -> str:
        return f"{field}-{row.customer.code if hasattr(row, 'customer') else row.pk}"

    # The list

    @display(description="state")
    def standing(self, ending: DeletionRequest) -> str:
        return badge(ending.state, ending_path.kind_of(ending), WORDS[State(ending.state)])

    @display(description="whose turn")
    def turn(self, ending: Any) -> str:
        return ending_path.turn_of(ending, clock.now(), getattr(ending, "last_days", None)).who

    @display(description="to be destroyed")
    def due(self, ending: Any) -> str:
        words, kind = ending_path.due_words(ending, getattr(ending, "clock", None), clock.now())
        return badge(words, kind) if kind else words or "–"

    # One request

    def get_urls(self) -> list[Any]:
        return [
            self.view_path("<path:object_id>/certificate/<int:number>/", self.certificate_view, "certificate"),
            self.view_path("<path:object_id>/certificate/<int:number>/paper/", self.paper_view, "paper"),
            *super().get_urls(),
        ]

    def certificate_view(self, request: HttpRequest, object_id: str, number: int) -> HttpResponseBase:
        """The signed document, byte for byte: the authority, which `verify_certificate` checks without this database."""
        return self._certificate(request, object_id, number, "json", lambda found: found.document.encode())

    def paper_view(self, request: HttpRequest, object_id: str, number: int) -> HttpResponseBase:
        """The same for people to read; it names the document's digest."""
        return self._certificate(request, object_id, number, "pdf", lambda found: certificate_pdf.of_text(found.document))

    def _certificate(
        self, request: HttpRequest, object_id: str, number: int, suffix: str, content: Callable[[Certificate], bytes]
    ) -> HttpResponseBase:
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        ending = self.visible_object(request, object_id)
        found = ending.certificates.filter(number=number).first()
        if found is None:
            raise Http404("There is no such certificate.")
        name = f"{found.kind}-{ending.customer.code}-{found.number}.{suffix}"
        headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "private, no-store"}
        return HttpResponse(content(found), content_type=f"application/{suffix}", headers=headers)

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> HttpResponseBase:
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        ending = self.visible_object(request, object_id)
        return self.page(request, "back_office/ending.html", f"End of {ending.customer.name}", **self._shown(request, ending))

    def _shown(self, request: HttpRequest, ending: DeletionRequest) -> dict[str, Any]:
        now, package = clock.now(), ending_path.package_of(ending)
        acknowledged = Receipt.objects.filter(data_return__request=ending).select_related("data_return", "recorded_by").last()
        turn, stands = ending_path.turn_of(ending, now), clocks.of(ending, now)
        acts = ending_path.acts_for(ending, package, request.user, now)
        statements = list(ending.certificates.defer("document"))
        certified = next((one for one in reversed(statements) if one.kind == Certificate.Kind.CERTIFICATE), None)
        words, kind = ending_path.due_words(ending, stands, now)
        return {
            "original": ending,
            "ending": ending,
            "customer": ending.customer,
            "state_words": WORDS[State(ending.state)],
            "state_kind": ending_path.kind_of(ending),
            "is_open": ending.is_open,
            "stations": ending_path.stations(ending, package, acknowledged, certified.issued_at if certified else None),
            "turn": turn,
            "people": ending_path.people_for(ending, turn.right),
            "why_not": ending_path.why_not(ending, request.user, now),
            "acts": [(act, self.url(act.name, ending.pk)) for act in acts],
            "can_fetch": any(act.name == "link" for act in acts),
            "download_url": self.url("download", ending.pk),
            "clock": stands,
            "target_days": round((stands.target_at - stands.began_at).days) if stands and stands.target_at else None,
            "due_words": words,
            "due_kind": kind,
            "bar": ending_path.bar_of(ending, stands, now) if stands and ending.is_open else None,
            "holds": list(LegalHold.objects.filter(customer=ending.customer_id).order_by("placed_at")),
            "package": package,
            "counts": counts_shown(package),
            "commands": door.commands_for(package.file_name) if package else [],
            "former": list(DataReturn.objects.filter(request=ending).exclude(fault_at=None)),
            "wrong_digests": door.wrong_digests(package).count() if package else 0,
            "receipt": acknowledged,
            "deemed": list(package.deemed_requests.select_related("requested_by", "approved_by")) if package else [],
            "notices": list(ending.notices.order_by("-noted_at")),
            "contacts": contacts_of(ending),
            "last_day": last_day(ending.customer),
            "entries": ending_path.entries(ending),
            "refresh": 10 if ending.state in (State.RETURNING, State.DESTROYING) else 0,
            "deadline_days": deadlines.ESCALATION_DAYS,
            **carried_out(ending),
            "statements": [
                (one, self.url("certificate", ending.pk, one.number), self.url("paper", ending.pk, one.number)) for one in statements
            ],
            "work": ReturnWork.objects.filter(request=ending).first() if ending.state == State.RETURNING else None,
            "plan_url": self.url("plan", ending.pk) if ending.is_open else "",
            "waiver_url": self.url("file", ending.pk, "waiver") if ending.waiver else "",
        }


def counts_shown(package: DataReturn | None) -> list[tuple[str, int]]:
    """What is in the package, by the names that people know: live rows first, then their versions and files (`rows/<model>` and so on)."""
    found = []
    for key, count in sorted(package.counts.items(), key=lambda one: (not one[0].startswith("rows/"), one)) if package else ():
        part, _, label = key.rpartition("/")
        protected = registry.by_label(label)
        name = str(protected.model._meta.verbose_name_plural) if protected else label.rpartition(".")[2]
        found.append((capfirst(COUNTED.get(part, "{}").format(name)), count))
    return found


def overdue(endings: Any) -> list[tuple[DeletionRequest, deadlines.Clock]]:
    """Those of the requests whose day of destruction is over, each with its clock."""
    states = [state.value for state in State if state not in ENDED]
    begun = list(endings.filter(Q(state__in=states), acknowledged_at__isnull=False).select_related("customer"))
    found = clocks.of_all(begun, clock.now())
    return [(one, found[one.pk]) for one in begun if found[one.pk].overdue]
