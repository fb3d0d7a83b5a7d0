"""Who came in, who was refused, what was taken out: each is an event (P5). Called by Django's signals, by the middleware, and by whoever
hands content to a person."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.db.models import Model
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse

import audit
from audit import actors, events
from audit.events import Event

# What stands for an object in an address. Anything else was typed by somebody and is not quoted.
KEY = re.compile(r"[0-9a-fA-F-]{1,36}")
ADDRESS = re.compile(r"[0-9a-fA-F.:]{1,45}")
NOBODY = "nobody signed in"


@receiver(user_logged_in, dispatch_uid="l2l_signed_in")
def signed_in(sender: Any, request: HttpRequest | None, user: Any, **kwargs: Any) -> None:
    with audit.acting(actors.of_user(user)):
        events.record(Event.SIGNED_IN, subject=user, facts=_from(request))


@receiver(user_logged_out, dispatch_uid="l2l_signed_out")
def signed_out(sender: Any, request: HttpRequest | None, user: Any, **kwargs: Any) -> None:
    if user is not None:  # a session that was over already
        with audit.acting(actors.of_user(user)):
            events.record(Event.SIGNED_OUT, subject=user, facts=_from(request))


@receiver(user_login_failed, dispatch_uid="l2l_sign_in_failed")
def sign_in_failed(sender: Any, credentials: dict[str, Any], request: HttpRequest | None = None, **kwargs: Any) -> None:
    """Names the person only when there is one of that name: people type their password into the wrong field."""
    users = get_user_model()
    user = users._default_manager.filter(**{users.USERNAME_FIELD: credentials.get(users.USERNAME_FIELD) or ""}).first()
    with audit.acting(NOBODY, source="web"):
        events.record_apart(
            Event.SIGN_IN_FAILED, subject=user or "", facts={"person": user.get_username() if user else None, **_from(request)}
        )


class EvidenceMiddleware:
    """Records every answer 403, and what `record_apart` was told on the way. Stands after `ActingUserMiddleware`, around the views."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with events.apart():
            response = self.get_response(request)
            if response.status_code == 403:
                _refused(request)
        return response


def _refused(request: HttpRequest) -> None:
    user = getattr(request, "user", None)
    who = actors.of_user(user) if user is not None and user.is_authenticated else actors.Acting(NOBODY, source="web")
    with audit.acting(who):
        events.record_apart(Event.REFUSED, facts={"method": _word(request.method), **_asked(request), **_from(request)})


def _asked(request: HttpRequest) -> dict[str, Any]:
    """The name of the page and the key of the object; never the address itself, which may quote what was typed."""
    match = request.resolver_match
    if match is None:
        return {}
    keys = [str(value) for value in (*match.args, *match.kwargs.values()) if KEY.fullmatch(str(value))]
    return {"view": _word(match.view_name), "object": keys[0] if keys else None}


def _from(request: HttpRequest | None) -> dict[str, Any]:
    address = request.META.get("REMOTE_ADDR", "") if request is not None else ""
    return {"address": address if ADDRESS.fullmatch(address) else None}


def _word(text: str | None) -> str | None:
    return text if text and events.WORD.fullmatch(text) else None


def downloaded(row: Model, *, customer: uuid.UUID | None, field: str, size: int, version: int | None = None) -> None:
    """Before a stored file is handed to the person signed in; `version` is the id of the history row when it is an older one."""
    events.record(Event.DOWNLOADED, subject=row, customer=customer, facts={"field": field, "version": version, "bytes": size})


def exported(row: Model, *, customer: uuid.UUID, **facts: Any) -> None:
    """In the transaction of the `Export` row, before the folder gets its name."""
    events.record(Event.EXPORTED, subject=row, customer=customer, facts=facts)
