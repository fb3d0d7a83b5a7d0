"""People: taken on with a role, together or not at all; and what is told when their sign-in is changed.

Users are Django's own rows, without history: what somebody does to another's account is an event.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.conf import settings
from django.contrib.auth import authenticate, get_user_model
from django.contrib.auth.password_validation import validate_password
from django.db import transaction
from django.db.models.signals import post_save
from django.dispatch import receiver

import audit
from audit import actors
from audit.errors import NoActor, SignInRefused
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
    person_added(user)
    return user


def at_the_command_line(name: str, password: str, permission: str) -> Any:
    """The person of that name, who gave that password and has that permission (`app.codename`); `SignInRefused` else."""
    user = authenticate(username=name, password=password)
    if user is None:
        raise SignInRefused(f"{name}: there is no such person, or that is not their password.")
    if not user.has_perm(permission):
        raise SignInRefused(f"{name} may not do this: it needs the right {permission}.")
    return user


def person_added(user: Any) -> None:
    """Tells of a new user, in the transaction that made the row."""
    record(Event.PERSON_ADDED, subject=user, facts={"person": user.get_username()})


def person_changed(user: Any) -> None:
    """Tells that somebody let a person in, shut them out, or gave or took every right, in the transaction of the change."""
    facts = {"person": user.get_username(), "active": int(user.is_active), "superuser": int(user.is_superuser)}
    record(Event.PERSON_CHANGED, subject=user, facts=facts)


@receiver(post_save, sender=settings.AUTH_USER_MODEL, dispatch_uid="l2l_password_set")
def password_set(sender: Any, instance: Any, created: bool, raw: bool, **kwargs: Any) -> None:
    """A new password, by whatever way: `set_password` leaves it on the instance until the save is over, and a mere rehash does not."""
    if created or raw or instance._password is None:
        return
    try:
        who = actors.current()
    except NoActor:
        who = actors.of_shell("password")
    with audit.acting(who):
        record(Event.PASSWORD_SET, subject=instance, facts={"person": instance.get_username()})
