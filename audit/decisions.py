"""A step that a person confirms: a page of its own says what will happen and asks for the reason; only its POST does it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import redirect
from unfold.widgets import INPUT_CLASSES, UnfoldAdminPasswordWidget, UnfoldAdminTextareaWidget

from audit.admin import REFUSALS, BackOfficeAdmin, refusal_text


class MomentInput(forms.DateTimeInput):
    """The browser's own picker of a day and a time."""

    input_type = "datetime-local"

    def __init__(self, attrs: dict[str, Any] | None = None) -> None:
        super().__init__(attrs={"class": " ".join(INPUT_CLASSES), **(attrs or {})}, format="%Y-%m-%dT%H:%M")


class DayInput(forms.DateInput):
    """The browser's own picker of a day."""

    input_type = "date"

    def __init__(self) -> None:
        super().__init__(attrs={"class": " ".join(INPUT_CLASSES)}, format="%Y-%m-%d")


class ReasonForm(forms.Form):
    reason = forms.CharField(
        label="Reason",
        max_length=500,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}),
        help_text="Stands beside it for good, with your name and the time.",
    )


class PasswordForm(forms.Form):
    """The person proves once more who they are."""

    password = forms.CharField(
        label="Your password",
        strip=False,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "current-password"}),
        help_text="Asked again, so that nobody decides at a desk that you have left.",
    )


@dataclass(frozen=True, slots=True)
class Decision:
    """What is asked: `effect` are sentences, `button` the word that does it, `back` the page for whoever does not want it."""

    title: str
    effect: tuple[str, ...]
    button: str
    back: str
    keep: str = "Not now"
    danger: bool = False
    details: str = ""  # a template that shows more of what will happen


def decide(
    admin: BackOfficeAdmin,
    request: HttpRequest,
    decision: Decision,
    form_class: type[forms.Form],
    act: Callable[[Mapping[str, Any]], str],
    *,
    refusals: tuple[type[Exception], ...] = (),
    **context: Any,
) -> HttpResponse:
    """The page, or what its POST came to: `act` takes the form's values and returns what to tell; a refusal comes back as an error.

    Whoever calls has checked the right and the object.
    """
    if request.method not in ("GET", "HEAD", "POST"):
        return HttpResponseNotAllowed(["GET", "HEAD", "POST"])
    expected: tuple[type[Exception], ...] = (*REFUSALS, *refusals)
    form = form_class(request.POST, request.FILES) if request.method == "POST" else form_class()
    if request.method == "POST" and form.is_valid():
        try:
            told = act(form.cleaned_data)
        except expected as refusal:
            form.add_error(None, refusal.messages if isinstance(refusal, ValidationError) else refusal_text(refusal))
        else:
            messages.success(request, told)
            return redirect(decision.back)
    return admin.page(request, "back_office/decide.html", decision.title, decision=decision, form=form, **context)
