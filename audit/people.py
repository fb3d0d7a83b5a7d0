"""Taking on a person: a user with a role, together or not at all."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.password_validation import validate_password
from django.db import transaction

from audit.events import Event, record
from audit.grants import grant_role
from audit.models import Grant
from audit.roles import Role


@transaction.atomic
def add_person(name: str, role: Role, *, password: str | None, now: datetime, since: datetime | None = None, reason: str = "") -> Grant:
    """The grant of a new user, or a further one of a known user, whose password stays as it is.

    Without a password nobody can sign in until one is set. Raises `ValidationError` for a name or password that will not do, and
    `GrantRefused`. Stands inside `audit.acting(...)`.
    """
    user = get_user_model()._default_manager.filter(username=name).first()
    return grant_role(user or _new_user(name, password), role, reason=reason, now=now, since=since)


def _new_user(name: str, password: str | None) -> Any:
    user = get_user_model()(username=name)
    if password is not None:
        validate_password(password, user)
    user.set_password(password)
    user.full_clean()
    user.save()
    record(Event.PERSON_ADDED, subject=user, facts={"person": name})
    return user
