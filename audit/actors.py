"""Who is acting, why and from where. Every tracked change asks here; nobody acting is an error, never a silent "system" (P8)."""

from __future__ import annotations

import getpass
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

from django.http import HttpRequest, HttpResponse

from audit.errors import NoActor


@dataclass(frozen=True, slots=True)
class Acting:
    """`name` as text survives the user; `source` is `web`, a command's name or a task's; `reason` in the actor's words."""

    name: str
    user_id: str | None = None
    reason: str = ""
    source: str = ""


_acting: ContextVar[Acting | None] = ContextVar("l2l_acting", default=None)
_request: ContextVar[HttpRequest | None] = ContextVar("l2l_request", default=None)


def current() -> Acting:
    """Who is acting here and now; `NoActor` when nobody is."""
    acting_now = _acting.get() or _signed_in()
    if acting_now is None:
        raise NoActor("Nobody is acting: wrap the change in 'with audit.acting(name, reason=..., source=...)'.")
    return acting_now


def _signed_in() -> Acting | None:
    request = _request.get()
    user = getattr(request, "user", None)
    return of_user(user, source="web") if user is not None and user.is_authenticated else None


def of_user(user: Any, *, reason: str = "", source: str = "web") -> Acting:
    """The signed-in person as an actor."""
    return Acting(name=user.get_username(), user_id=str(user.pk), reason=reason, source=source)


def of_shell(source: str, reason: str = "") -> Acting:
    """The person at the command line, by the operating system's name for them."""
    return Acting(name=f"shell:{getpass.getuser()}", reason=reason, source=source)


@contextmanager
def acting(who: str | Acting, *, reason: str | None = None, source: str | None = None) -> Iterator[Acting]:
    """Everything tracked inside is done by `who`, because of `reason`, through `source`."""
    acting_now = Acting(name=who) if isinstance(who, str) else who
    changes = {name: value for name, value in (("reason", reason), ("source", source)) if value is not None}
    with _held(replace(acting_now, **changes)) as held:
        yield held


@contextmanager
def because(reason: str) -> Iterator[Acting]:
    """The same actor, with this reason."""
    with _held(replace(current(), reason=reason)) as held:
        yield held


@contextmanager
def _held(acting_now: Acting) -> Iterator[Acting]:
    token = _acting.set(acting_now)
    try:
        yield acting_now
    finally:
        _acting.reset(token)


class ActingUserMiddleware:
    """The signed-in user acts for the length of the request. Stands after the authentication middleware."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        token = _request.set(request)
        try:
            return self.get_response(request)
        finally:
            _request.reset(token)
