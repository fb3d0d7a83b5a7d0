"""The controls: all of them under their promises, and a page for each with its history, its breaks and where its evidence is (P13).

Reading only. Who does not see every customer sees how each stands and stood, and not what was counted: that is over all customers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, timedelta
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import render
from django.urls import reverse

from audit import clock, controls, populations
from audit.findings import Kind
from audit.models import ControlDay, Finding
from audit.promises import Standing
from backups.admin.charts import KINDS
from l2l.admin import standings
from l2l.admin.control_history import Day, days_by_control, strip, together, until_now
from l2l.admin.findings import standing_of
from l2l.admin.standings import Shown
from subscriptions.admin import of_visible_customers

MONTH, YEAR, BREAKS_SHOWN = 30, 365, 20


@dataclass(frozen=True, slots=True)
class Share:
    """So many of the hours of a time stood so."""

    word: str
    kind: str
    hours: int
    percent: str


@dataclass(frozen=True, slots=True)
class Break:
    """One finding of a broken control, and whether it is open."""

    finding: Finding
    word: str
    kind: str
    link: str


def every(request: HttpRequest) -> HttpResponse:
    """All controls, promise by promise."""
    _check(request)
    now, user = clock.now(), request.user
    found = standings.shown(user, now)
    last = now.astimezone(UTC).date()
    first = last - timedelta(days=MONTH - 1)
    history, figures = days_by_control(first), user.has_perm(standings.SEES_FIGURES)
    past = {each.control.name: strip(_days(each, history.get(each.control.name, {}), MONTH, last), figures=figures) for each in found}
    rows = [(sentence, [(each, past[each.control.name]) for each in sentence.controls]) for sentence in standings.sentences(found)]
    return _page(request, "back_office/controls.html", "Controls", rows=rows, stale=standings.staleness(found, now), figures=figures)


def one(request: HttpRequest, name: str) -> HttpResponse:
    """One control: how it stands, how it stood, and what became of its breaks."""
    _check(request)
    if controls.by_name(name) is None:
        raise Http404("There is no such control.")
    now, user = clock.now(), request.user
    found = next(one for one in standings.shown(user, now) if one.control.name == name)
    figures, last = user.has_perm(standings.SEES_FIGURES), now.astimezone(UTC).date()
    rows = {row.day: row for row in ControlDay.objects.filter(control=name, day__gt=last - timedelta(days=YEAR))}
    month, year = (_days(found, rows, length, last) for length in (MONTH, YEAR))
    return _page(
        request,
        "back_office/control.html",
        found.control.title,
        shown=found,
        stale=standings.staleness([found], now) if found.measured_at else "",
        figures=figures,
        evidence=standings.evidence_of(found.control, user),
        populations=[one for one in populations.all_populations() if one.name in found.control.populations],
        month=strip(month, figures=figures),
        year=strip(year, figures=figures),
        month_ticks=_ticks(month, 5),
        year_ticks=_ticks(year, 6),
        shares=_shares([rows[one.day] for one in month if one.day in rows]),
        month_chart=_values(month, rows) if figures else "",
        year_chart=_values(year, rows) if figures else "",
        breaks=_breaks(user, name),
        sees_findings=user.has_perm("l2l_audit.view_finding"),
        alarms=f"{reverse('admin:l2l_audit_alarm_changelist')}?q=control:{name}" if user.has_perm("l2l_audit.view_alarm") else "",
    )


def _days(found: Shown, rows: Mapping[date, ControlDay], length: int, last: date) -> list[Day]:
    """So many of them, the last one with how it stands now."""
    days = together([rows], last - timedelta(days=length - 1), last)
    return until_now(days, [found.standing] if found.standing else [])


def _check(request: HttpRequest) -> None:
    if not request.user.has_perm(standings.SEES):
        raise PermissionDenied


def _page(request: HttpRequest, template: str, title: str, **context: Any) -> HttpResponse:
    if request.method not in ("GET", "HEAD"):
        return HttpResponseNotAllowed(["GET", "HEAD"])
    return render(request, template, {**admin.site.each_context(request), "title": title, **context})


def _shares(rows: Sequence[ControlDay]) -> list[Share]:
    """Of the hours that were measured; empty when none was."""
    hours = {
        Standing.KEPT: sum(row.kept for row in rows),
        Standing.AT_RISK: sum(row.at_risk for row in rows),
        Standing.BROKEN: sum(row.broken for row in rows),
    }
    whole = sum(hours.values())
    return [Share(state.value, KINDS[state], count, f"{count * 100 / whole:.1f} %") for state, count in hours.items()] if whole else []


def _values(days: Sequence[Day], rows: dict[date, ControlDay]) -> str:
    """A chart of each day's highest and lowest value as JSON, with a gap where nothing was measured, so that it lies below the strip day by
    day; empty where fewer than two days have a value, and where all are nought: the strip says so already."""
    shown = [(one.day, rows.get(one.day)) for one in days]
    measured = [row.most for _, row in shown if row is not None and row.most is not None]
    if len(measured) < 2 or not any(measured):
        return ""
    look = {"displayYAxis": True, "maxTicksXLimit": 8}
    highest, lowest = [row.most if row else None for _, row in shown], [row.least if row else None for _, row in shown]
    most = {"label": "Highest of the day", "data": highest, "borderColor": "var(--color-primary-600)"}
    least = {"label": "Lowest of the day", "data": lowest, "borderColor": "#94a3b8", "borderDash": [4, 4]}
    return json.dumps({"labels": [f"{day:%-d %b}" for day, _ in shown], "datasets": [most | look, least | look]})


def _ticks(days: Sequence[Day], many: int) -> list[str]:
    step = len(days) / many
    return [f"{days[round(at * step)].day:%-d %b}" for at in range(many)]


def _breaks(user: Any, name: str) -> list[Break]:
    """The newest first; empty for who may not see findings of no one customer."""
    if not user.has_perm("l2l_audit.view_finding"):
        return []
    found = Finding.objects.filter(kind=Kind.CONTROL_BROKEN, subject=f"control:{name}").select_related("owner")
    found = of_visible_customers(user, found, "customer").order_by("-opened_at", "-pk")
    return [Break(one, *standing_of(one), reverse("admin:l2l_audit_finding_change", args=[one.pk])) for one in found[:BREAKS_SHOWN]]
