"""The nights: a calendar, the runs, and what people do to them. The queue works runs off; every deed here is a verb of `run_acts`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import PermissionDenied
from django.db import models
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from audit import clock
from audit.admin import BackOfficeAdmin, display, moment
from audit.badges import badges
from audit.decisions import Decision, MomentInput, ReasonForm, decide
from audit.moments import in_utc, length
from backups import heartbeats, nights, policies, queueing, run_acts, runs
from backups.admin.sets import PROOFS
from backups.admin.streams import StreamFilter
from backups.errors import BackupError
from backups.models import BackupSet, Run
from backups.night_calendar import WEEKS, calendar, words
from backups.nights import NightReport
from subscriptions.admin import of_visible_customers

OPERATE = "l2l_backups.operate_run"
AT_ONCE = 500
State = Run.State

# How a run stands, with the colour of its badge.
STANDINGS = {
    State.DONE: "good",
    State.RUNNING: "info",
    State.COMPLETE: "warn",
    State.FAILED: "bad",
    State.STOPPED: "bad",
    State.MISSED: "bad",
}


class PauseForm(ReasonForm):
    until = forms.DateTimeField(
        label="Until (UTC)",
        widget=MomentInput,
        help_text="A pause always ends. The nights until then count as paused, and are not made up for.",
    )
    field_order = ("until", "reason")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["until"].initial = (clock.now() + timedelta(days=1)).replace(minute=0, second=0, microsecond=0)

    def clean_until(self) -> datetime:
        until: datetime = self.cleaned_data["until"]
        return until.astimezone(UTC)


@dataclass(frozen=True, slots=True)
class RunAct:
    """Something a person may do to runs in these states. `done` tells of one run, `many` of several."""

    name: str
    label: str
    verb: Callable[..., Run]
    states: tuple[str, ...]
    effect: str
    done: str
    form: type[ReasonForm] = ReasonForm
    danger: bool = False

    def fits(self, run: Run, now: datetime) -> bool:
        """Whether a person would want it of this run."""
        if self.name == "pause" and run.kind == Run.Kind.ASKED:
            return False
        waits = run.state == State.OWED and run.next_try_at <= now
        return run.state in self.states and not (self.name == "run-now" and waits)


ACTS = (
    RunAct(
        "run-now",
        "Run now",
        run_acts.run_now,
        (State.OWED, State.COMPLETE),
        "The worker begins at once: it does not wait for the night's start, nor for the time of the next try.",
        "due now",
    ),
    RunAct(
        "retry",
        "Retry",
        run_acts.retry,
        (State.FAILED, State.STOPPED),
        "The worker begins again at once, with all the attempts that the policy allows. What was stored before is used.",
        "due now",
    ),
    RunAct(
        "stop",
        "Stop",
        run_acts.stop,
        (State.OWED, State.RUNNING),
        "A run at work ends at its next step, one that waits is not begun. The night stays unfilled, and red, until somebody retries.",
        "stopped, or will be at its next step",
        danger=True,
    ),
    RunAct(
        "pause",
        "Pause",
        run_acts.pause,
        (State.OWED, State.FAILED, State.STOPPED),
        "No backup of this customer is begun until the pause ends. Nights that pass meanwhile are never filled: they count as paused.",
        "paused",
        form=PauseForm,
        danger=True,
    ),
    RunAct("resume", "Resume", run_acts.resume, (State.PAUSED,), "The pause ends now; the worker begins at once.", "due now"),
)


@admin.register(Run)
class RunAdmin(BackOfficeAdmin):
    """What is owed, night by night; the queue works it off."""

    list_display = (
        "night_text",
        "called",
        "standing",
        moment("started_at", "begun"),
        "time_taken",
        "attempts",
        "told",
    )
    list_filter = (StreamFilter, "state", "kind", "late", "night")
    list_select_related = ("stream", "backup_set")
    list_before_template = "back_office/nights.html"
    change_form_outer_before_template = "back_office/run.html"
    search_fields = ("stream__name",)
    search_help_text = "Customer's short code"
    ordering = ("-night", "stream__name", "-pk")
    fieldsets = (
        (None, {"fields": ("night_text", "called", "kind", "standing", "attempts", "policy", "backup_set")}),
        (
            "When",
            {
                "fields": (
                    moment("due_at", "due"),
                    moment("started_at", "begun"),
                    moment("ended_at", "ended"),
                    moment("next_try_at", "next try"),
                    moment("ends_at", "late from"),
                )
            },
        ),
    )

    def narrows(self, user: Any) -> bool:
        """As for sets: everybody has a run each night."""
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [field for _, options in self.fieldsets for field in options["fields"]]

    def visible_to(self, user: Any, rows: models.QuerySet) -> models.QuerySet:
        return of_visible_customers(user, rows, "stream")

    def get_queryset(self, request: HttpRequest) -> models.QuerySet:
        return super().get_queryset(request).defer("backup_set__blob_ids")

    # List

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        now = clock.now()
        weeks = self._weeks(request, now)
        context: dict[str, Any] = {"weeks": weeks, "report": self._report(request, now) if weeks else None}
        if context["report"]:
            context["report_sum"] = words(context["report"].counts, " + ")
        return super().changelist_view(request, {**context, **(extra_context or {})})

    def _report(self, request: HttpRequest, now: datetime) -> NightReport | None:
        """The chosen night's sum over all customers, else the newest night's; only for who sees every customer."""
        if not request.user.has_perm("l2l_subscriptions.view_all_customers"):
            return None
        newest = nights.current_night(policies.versions(), now).label
        chosen = _day(request.GET.get("night", ""))
        return runs.night_report(chosen if chosen is not None and chosen <= newest else newest, now)

    def _weeks(self, request: HttpRequest, now: datetime) -> list[Any]:
        found = policies.versions()
        if not found:
            return []
        newest = nights.current_night(found, now).label
        counted = self.get_queryset(request).filter(kind=Run.Kind.BACKUP, night__gt=newest - timedelta(weeks=WEEKS))
        rows = counted.order_by().values_list("night", "state", "late").annotate(n=Count("pk"))
        broken_sets = BackupSet.objects.filter(proof=BackupSet.Proof.BROKEN).values("pk")  # few, and by an index of their own
        broken = counted.filter(backup_set__in=broken_sets).values_list("night", flat=True)
        return calendar(rows, newest, broken=set(broken))

    @display(description="night", ordering="night")
    def night_text(self, run: Run) -> str:
        return run.night.isoformat()

    @display(description="customer", ordering="stream__name")
    def called(self, run: Run) -> str:
        return run.stream.name

    @display(description="state")
    def standing(self, run: Run) -> str:
        late = [("late", "warn", "Begun after the noon that ends its night")] if run.late else []
        asked = [("asked for", "", "A set outside of the nights, asked for by a person")] if run.kind == Run.Kind.ASKED else []
        broken = [PROOFS[BackupSet.Proof.BROKEN]] if run.backup_set and run.backup_set.proof == BackupSet.Proof.BROKEN else []
        return badges([(run.get_state_display(), STANDINGS.get(State(run.state), ""), ""), *late, *asked, *broken])

    @display(description="took")
    def time_taken(self, run: Run) -> str:
        """Of its set, for a run ends only when the last owed copy was caught up, maybe days later; else of its last attempt."""
        made = run.backup_set
        began, ended = (made.started_at, made.ended_at) if made else (run.started_at, run.ended_at)
        return length(ended - began) if began and ended else "–"

    @display(description="what is told of it")
    def told(self, run: Run) -> str:
        return run.progress or (run.trouble if run.state != State.DONE else "") or "–"

    # One run

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        run, now = self.visible_object(request, object_id), clock.now()
        acts = [act for act in ACTS if act.fits(run, now)] if request.user.has_perm(OPERATE) else []
        context = {
            "run": run,
            "standing_kind": STANDINGS.get(State(run.state), ""),
            "acts": [(act, self.url("act", run.pk, act.name)) for act in acts],
            "acted": run.acts.all(),
            "last_set": _last_set(run),
            "at_work": run.state == State.RUNNING,
            "waiting": run.state == State.OWED and run.next_try_at <= now,
            "worker_seen": heartbeats.newest(queueing.WORKER),
        }
        return super().change_view(request, object_id, form_url, {**context, **(extra_context or {})})

    # Acts

    def get_urls(self) -> list[Any]:
        return [self.view_path("<path:object_id>/act/<slug:name>/", self.act_view, "act"), *super().get_urls()]

    def act_view(self, request: HttpRequest, object_id: str, name: str) -> HttpResponse:
        """Asks for the reason; its POST does the act to one run."""
        run, act = self.visible_object(request, object_id), _act_called(name)
        _check_operator(request)
        decision = self._decision(act, f"{act.label}: {run}?", self.url("change", run.pk))
        return decide(self, request, decision, act.form, lambda values: _act_on(act, run, values), refusals=(BackupError,), original=run)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """The same acts for several runs of the list."""
        if not request.user.has_perm(OPERATE):
            return {}
        return {act.name: (partial(_act_on_chosen, act), act.name, f"{act.label} …") for act in ACTS}

    def act_on_several(self, request: HttpRequest, act: RunAct, chosen: list[Run]) -> HttpResponse:
        """The confirmation for the chosen runs; its POST comes back here through the list's own action."""
        _check_operator(request)
        back = self.url("changelist")
        if len(chosen) > AT_ONCE:
            messages.error(request, f"Choose at most {AT_ONCE} runs at once.")
            return redirect(back)
        carried = [("action", act.name), ("confirmed", "yes"), *((ACTION_CHECKBOX_NAME, run.pk) for run in chosen)]
        confirmed = "confirmed" in request.POST
        form = act.form(request.POST) if confirmed else act.form()
        if confirmed and form.is_valid():
            _tell_of_several(request, act, chosen, form.cleaned_data)
            return redirect(back)
        decision = self._decision(act, f"{act.label}: {len(chosen)} runs?", back)
        return self.page(request, "back_office/decide.html", decision.title, decision=decision, form=form, carried=carried)

    def _decision(self, act: RunAct, title: str, back: str) -> Decision:
        return Decision(title, (act.effect,), act.label, back, danger=act.danger)


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _check_operator(request: HttpRequest) -> None:
    if not request.user.has_perm(OPERATE):
        raise PermissionDenied


def _act_called(name: str) -> RunAct:
    found = next((act for act in ACTS if act.name == name), None)
    if found is None:
        raise PermissionDenied
    return found


def _act_on(act: RunAct, run: Run, values: Mapping[str, Any]) -> str:
    act.verb(run.pk, clock.now(), **values)
    until = f" until {in_utc(values['until'])}" if "until" in values else ""
    return f"{run} is {act.done}{until}."


def _act_on_chosen(act: RunAct, model_admin: RunAdmin, request: HttpRequest, queryset: models.QuerySet) -> HttpResponse:
    return model_admin.act_on_several(request, act, list(queryset.select_related("stream")[: AT_ONCE + 1]))


def _tell_of_several(request: HttpRequest, act: RunAct, chosen: list[Run], values: Mapping[str, Any]) -> None:
    """Each run by itself: one that does not allow it stops no other."""
    refused, done = [], 0
    for run in chosen:
        try:
            _act_on(act, run, values)
            done += 1
        except BackupError as refusal:
            refused.append(f"{run}: {refusal}")
    if done:
        messages.success(request, f"{done} of {len(chosen)} runs: {act.done}.")
    for line in refused[:10]:
        messages.error(request, line)
    if len(refused) > 10:
        messages.error(request, f"and {len(refused) - 10} more were refused.")


def _last_set(run: Run) -> BackupSet | None:
    made = BackupSet.objects.filter(stream=run.stream_id, state=BackupSet.State.MADE).defer("blob_ids")
    return made.order_by("-started_at").first()
