"""The pages of requests that take two people: what is asked, by whom and why, and the buttons for the second one (P5).

A subclass says how its plan is shown as it would be carried out now (`plan_template`, `plan_context`), and how it is carried out
(`carry_out`, `finish`); the rules are `audit.two_person`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from django import forms
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse

from audit import clock, grants, two_person
from audit.admin import BackOfficeAdmin, code, display, moment
from audit.badges import badge
from audit.decisions import Decision, PasswordForm, ReasonForm, decide
from audit.states import NEXT, State
from audit.two_person import TwoPersonRequest

KINDS = {State.REQUESTED: "warn", State.APPROVED: "info", State.EXECUTED: "good", State.REFUSED: "bad", State.VOID: "bad"}


class TwoPersonAdmin(BackOfficeAdmin):
    plan_template = ""
    approval_does = "With your approval it is done at once."
    refusals: tuple[type[Exception], ...] = ()  # what carrying it out may answer, beside the audit app's own
    list_display: tuple[Any, ...] = (
        "what",
        "standing",
        "requested_by",
        moment("requested_at", "asked"),
        "approved_by",
        moment("approved_at", "approved"),
        moment("executed_at", "done"),
    )
    list_filter: tuple[Any, ...] = ("state",)
    list_select_related: tuple[str, ...] = ("requested_by", "approved_by")
    ordering: tuple[str, ...] = ("-requested_at",)
    change_form_outer_before_template = "back_office/request.html"
    fieldsets: tuple[tuple[str, dict[str, tuple[Any, ...]]], ...] = (
        ("Asked", {"fields": ("requested_by", moment("requested_at", "when"), "why")}),
        (
            "Decided",
            {
                "fields": (
                    "approved_by",
                    moment("approved_at", "approved"),
                    "refused_by",
                    moment("executed_at", "done"),
                    moment("ended_at", "ended without being done"),
                )
            },
        ),
        ("Plan", {"fields": ("digest",)}),
    )

    def plan_context(self, asked: TwoPersonRequest, user: Any) -> dict[str, Any]:
        """What `plan_template` shows to this person."""
        raise NotImplementedError

    def steps(self, asked: TwoPersonRequest, user: Any) -> list[tuple[str, str, bool]]:
        """What this person may do with it now: name, label, whether it ends the request."""
        return _steps(asked, user)

    def effect_of_approval(self, asked: TwoPersonRequest) -> str:
        """What the second person is told before deciding."""
        return self.approval_does

    def carry_out(self, asked: TwoPersonRequest, *, by: Any, password: str) -> str:
        """Approves, and does what was asked for; what to tell of it."""
        raise NotImplementedError

    def finish(self, asked: TwoPersonRequest) -> str:
        """Does what was approved and not yet done, because the service went down in between; what to tell of it."""
        raise NotImplementedError

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [field for _, options in self.fieldsets for field in options["fields"]]

    @display(description="state")
    def standing(self, asked: TwoPersonRequest) -> str:
        return badge(asked.state, KINDS.get(State(asked.state), ""))

    @display(description="SHA-256")
    def digest(self, asked: TwoPersonRequest) -> str:
        return code(asked.plan_digest)

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        asked = self.visible_object(request, object_id)
        context = {
            "asked": asked,
            "standing_kind": KINDS.get(State(asked.state), ""),
            "is_open": asked.state == State.REQUESTED,
            "steps": [(label, self.url(name, asked.pk), danger) for name, label, danger in self.steps(asked, request.user)],
            "why_not": grants.why_not(request.user, asked.permission("approve"), clock.now()),
            "may_approve": request.user.has_perm(asked.permission("approve")),
            **(self.plan_context(asked, request.user) if asked.state == State.REQUESTED else {}),
        }
        return super().change_view(request, object_id, form_url, {**context, **(extra_context or {})})

    def get_urls(self) -> list[Any]:
        return [
            self.view_path("<path:object_id>/approve/", self.approve_view, "approve"),
            self.view_path("<path:object_id>/finish/", self.finish_view, "finish"),
            self.view_path("<path:object_id>/refuse/", self.refuse_view, "refuse"),
            self.view_path("<path:object_id>/cancel/", self.cancel_view, "cancel"),
            *super().get_urls(),
        ]

    def approve_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Shows once more what will be done; its POST, with the person's password, does it."""
        asked = self._asked(request, object_id, "approve")
        decision = Decision(
            f"Approve: {asked.what}?",
            (f"{asked.requested_by} asked for this: {asked.why}", self.effect_of_approval(asked)),
            "Approve",
            self.url("change", asked.pk),
            details=self.plan_template,
        )

        def act(values: Mapping[str, Any]) -> str:
            return self.carry_out(asked, by=request.user, password=values["password"])

        return decide(
            self, request, decision, PasswordForm, act, refusals=self.refusals, original=asked, **self.plan_context(asked, request.user)
        )

    def finish_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """For a request that was approved and not carried out: the service went down in between."""
        asked = self._asked(request, object_id, "finish")
        effect = (f"{asked.approved_by} approved this, and it was not done yet. It is done now, if it would still do what was approved.",)
        decision = Decision(f"Carry out: {asked.what}?", effect, "Carry it out", self.url("change", asked.pk))
        return decide(self, request, decision, forms.Form, lambda _: self.finish(asked), refusals=self.refusals, original=asked)

    def refuse_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The one who may approve says no."""
        asked = self._asked(request, object_id, "refuse")
        effect = ("The request is refused for good. It can be asked for again, as a new one.",)
        decision = Decision(f"Refuse: {asked.what}?", effect, "Refuse", self.url("change", asked.pk), danger=True)
        return decide(self, request, decision, ReasonForm, _ending(two_person.refuse, asked, request, "refused"), original=asked)

    def cancel_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """One person is enough to stop something."""
        asked = self._asked(request, object_id, "cancel")
        effect = ("Nothing of it will be done. It can be asked for again, as a new request.",)
        decision = Decision(f"Cancel: {asked.what}?", effect, "Cancel the request", self.url("change", asked.pk), "Keep it", danger=True)
        return decide(self, request, decision, ReasonForm, _ending(two_person.cancel, asked, request, "cancelled"), original=asked)

    def _asked(self, request: HttpRequest, object_id: str, step: str) -> Any:
        asked = self.visible_object(request, object_id)
        if step not in [name for name, _, _ in self.steps(asked, request.user)]:
            raise PermissionDenied
        return asked


def _ending(verb: Callable[..., Any], asked: TwoPersonRequest, request: HttpRequest, word: str) -> Callable[[Mapping[str, Any]], str]:
    def act(values: Mapping[str, Any]) -> str:
        verb(asked, by=request.user, why=values["reason"], now=clock.now())
        return f"The request is {word}."

    return act


def _steps(asked: TwoPersonRequest, user: Any) -> list[tuple[str, str, bool]]:
    follows = NEXT[State(asked.state)]
    own, entitled = user == asked.requested_by, user.has_perm(asked.permission("approve"))
    steps = [("approve", "Approve …", False)] if State.APPROVED in follows and entitled and not own else []
    steps += [("finish", "Carry it out …", False)] if State.EXECUTED in follows and (own or entitled) else []
    steps += [("refuse", "Refuse …", True)] if State.REFUSED in follows and entitled and not own else []
    return steps + ([("cancel", "Cancel the request …", True)] if State.CANCELLED in follows and (own or entitled) else [])
