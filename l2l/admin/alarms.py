"""Alarms: what people were told of, when, and that it is over; the readings and the anchors behind the evidence. Reading only (P13)."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db import models
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.urls import reverse
from django.utils.html import format_html, format_html_join

from audit import canonical, controls
from audit.admin import BackOfficeAdmin, code, display, moment, short_digest
from audit.badges import badge
from audit.models import Alarm, Anchor, Reading
from audit.paging import UncountedPaginator
from audit.promises import Standing
from backups.admin.charts import KINDS
from l2l.admin.findings import control_page, label_of_kind
from l2l.admin.standings import SEES_FIGURES
from l2l.alarms.looking import CONTROL, FINDING

TOLD = (
    ("mailed_at", "by mail"),
    ("posted_at", "by the webhook"),
    ("end_mailed_at", "by mail that it is over"),
    ("end_posted_at", "by the webhook that it is over"),
)
# For who sees every customer.
COUNTED = ("text", "todo", "attempts", "trouble")


class OverFilter(admin.SimpleListFilter):
    title = "state"
    parameter_name = "standing"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("open", "Still so"), ("over", "Over"), ("untold", "Nobody was told yet")]

    def queryset(self, request: HttpRequest, queryset: models.QuerySet) -> models.QuerySet:
        if self.value() == "untold":
            return queryset.filter(mailed_at=None, posted_at=None)
        return queryset.filter(ended_at__isnull=self.value() == "open") if self.value() in ("open", "over") else queryset


@admin.register(Alarm)
class AlarmAdmin(BackOfficeAdmin):
    """Who does not see every customer sees the alarms of the controls, and not what they counted."""

    list_display = ("about", "standing", "told_of", moment("raised_at", "raised"), moment("ended_at", "over", never="not yet"), "told")
    list_filter = (OverFilter, "state")
    list_before_template = "back_office/alarms.html"
    search_fields = ("subject",)
    search_help_text = "control:name, or finding:kind"
    ordering = ("-raised_at", "-pk")

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        when = (moment("raised_at", "raised"), moment("worse_at", "at risk, then broken"), moment("ended_at", "over", never="not yet"))
        told = tuple(moment(field, label, never="not yet") for field, label in TOLD)
        about = ("about", "standing", "page_link", "subject", *when)
        if not request.user.has_perm(SEES_FIGURES):
            return [(None, {"fields": about}), ("Told", {"fields": told})]
        return [(None, {"fields": (*about, "text", "what_to_do")}), ("Told", {"fields": (*told, "attempts", "trouble")})]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [field for _, options in self.get_fieldsets(request, obj) for field in options["fields"]]

    def visible_to(self, user: Any, rows: models.QuerySet) -> models.QuerySet:
        return rows if user.has_perm(SEES_FIGURES) else rows.filter(subject__startswith=CONTROL)

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """What a person may not read they may not filter by either: it could be asked for letter by letter."""
        return (lookup.partition("__")[0] not in COUNTED or request.user.has_perm(SEES_FIGURES)) and super().lookup_allowed(
            lookup, value, request
        )

    def get_list_display(self, request: HttpRequest) -> Any:
        """What was counted is over all customers."""
        return [name for name in self.list_display if name != "told_of" or request.user.has_perm(SEES_FIGURES)]

    @display(description="what")
    def about(self, alarm: Alarm) -> str:
        return called(alarm.subject)

    @display(description="look at")
    def page_link(self, alarm: Alarm) -> str:
        """The page of what it is about."""
        if not (address := page_of(alarm.subject)):
            return "–"
        return format_html('<a class="bo-link" href="{}">{}</a>', address, called(alarm.subject))

    @display(description="what to do")
    def what_to_do(self, alarm: Alarm) -> str:
        return alarm.todo or "–"

    @display(description="state")
    def standing(self, alarm: Alarm) -> str:
        if alarm.ended_at:
            return badge("over", "good", f"It was {alarm.state}")
        return badge(alarm.state, KINDS[Standing(alarm.state)])

    @display(description="told of")
    def told_of(self, alarm: Alarm) -> str:
        return alarm.text if len(alarm.text) <= 120 else f"{alarm.text[:119]}…"

    @display(description="told by")
    def told(self, alarm: Alarm) -> str:
        ways = [way for way, at in (("mail", alarm.mailed_at), ("webhook", alarm.posted_at)) if at]
        trouble = badge("trouble", "bad", f"{alarm.attempts} attempts; the last one failed") if alarm.trouble else ""
        return format_html("{} {}", " and ".join(ways) or "nobody yet", trouble)


def called(subject: str) -> str:
    """What an alarm is about, in words; a subject that this version does not know stands for itself."""
    if subject.startswith(CONTROL):
        control = controls.by_name(subject.removeprefix(CONTROL))
        return f"{control.promise}: {control.title}" if control else subject
    return label_of_kind(subject.removeprefix(FINDING)).capitalize() if subject.startswith(FINDING) else subject


def page_of(subject: str) -> str:
    """Where one looks at what an alarm is about: the control, or the open findings of that kind; empty for what has no page."""
    if subject.startswith(CONTROL):
        return control_page(subject)
    kind = subject.removeprefix(FINDING)
    return f"{reverse('admin:l2l_audit_finding_changelist')}?standing=open&kind={kind}" if kind != subject else reverse("admin:controls")


def titled(name: str) -> str:
    """A control in a reading as people call it; one that this version does not know stands for itself."""
    control = controls.by_name(name)
    return f"{control.promise} {control.title}" if control else name


def _worst_first(told: tuple[str, dict[str, Any]]) -> tuple[int, int, str]:
    control = controls.by_name(told[0])
    number = control.promise.removeprefix("P") if control else "99"
    return -Standing(told[1]["state"]).rank, int(number), told[0]


@admin.register(Reading)
class ReadingAdmin(BackOfficeAdmin):
    """Hour by hour; for who sees every customer, for the figures count all of them."""

    list_display = ("__str__", "kept", "amiss", "hours_missing", moment("at", "measured"), "software")
    list_before_template = "back_office/readings.html"
    ordering = ("-hour",)
    paginator = UncountedPaginator
    show_full_result_count = False
    list_per_page = 48
    fieldsets = ((None, {"fields": ("__str__", moment("at", "measured"), "hours_missing", "software", "every")}),)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [field for _, options in self.fieldsets for field in options["fields"]]

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_view_permission(request, obj) and request.user.has_perm(SEES_FIGURES)

    def visible_to(self, user: Any, rows: models.QuerySet) -> models.QuerySet:
        return rows

    @display(description="controls kept")
    def kept(self, reading: Reading) -> str:
        states = [told["state"] for told in reading.controls.values()]
        return f"{states.count(Standing.KEPT.value)} of {len(states)}"

    @display(description="not kept")
    def amiss(self, reading: Reading) -> str:
        """The worst first, as the page of the reading has them."""
        told = sorted(reading.controls.items(), key=_worst_first)
        return "; ".join(titled(name) for name, one in told if one["state"] != Standing.KEPT.value) or "–"

    @display(description="hours missing before it")
    def hours_missing(self, reading: Reading) -> str:
        return f"since {reading.gap_since:%-d %b, %H:00} UTC" if reading.gap_since else "–"

    @display(description="what the controls came to")
    def every(self, reading: Reading) -> str:
        """A line for each: how it stood, the figure, and what was amiss."""
        named = sorted(reading.controls.items(), key=_worst_first)
        lines = (
            (titled(name), " · ".join(told[part] for part in ("state", "figure", "why", "trouble") if told.get(part)))
            for name, told in named
        )
        return format_html_join("\n", "<p><strong>{}</strong>: {}</p>", lines)


@admin.register(Anchor)
class AnchorAdmin(BackOfficeAdmin):
    """One a day: the head over all chains, as somebody outside gets it where one is named."""

    list_display = ("day", "root_shortly", moment("at", "made"), "document_link")
    list_before_template = "back_office/anchors.html"
    ordering = ("-day",)
    fieldsets = ((None, {"fields": ("day", moment("at", "made"), "root_whole", "document_link", "every_head")}),)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [field for _, options in self.fieldsets for field in options["fields"]]

    def visible_to(self, user: Any, rows: models.QuerySet) -> models.QuerySet:
        return rows

    def get_queryset(self, request: HttpRequest) -> models.QuerySet:
        """The list needs neither the heads nor the document."""
        return super().get_queryset(request).defer("heads", "document")

    def get_urls(self) -> list[Any]:
        return [self.view_path("<path:object_id>/document/", self.document_view, "document"), *super().get_urls()]

    def document_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The signed text, byte for byte as it is stored."""
        anchor: Anchor = self.visible_object(request, object_id)
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        response = HttpResponse(canonical.dump_bytes(anchor.document), content_type="application/json")
        response["Content-Disposition"] = f'attachment; filename="anchor-{anchor.day}.json"'
        return response

    @display(description="root", ordering="root")
    def root_shortly(self, anchor: Anchor) -> str:
        return short_digest(anchor.root)

    @display(description="root")
    def root_whole(self, anchor: Anchor) -> str:
        return code(anchor.root)

    @display(description="heads: stream, number, digest")
    def every_head(self, anchor: Anchor) -> str:
        """A line for each chain, as it went into the root."""
        return format_html_join("", "<div>{}</div>", ((code(line),) for line in anchor.heads.splitlines())) or "–"

    @display(description="document")
    def document_link(self, anchor: Anchor) -> str:
        return format_html('<a class="bo-link" href="{}">Download</a>', reverse("admin:l2l_audit_anchor_document", args=[anchor.pk]))
