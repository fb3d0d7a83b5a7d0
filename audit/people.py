"""People: taken on with a role, together or not at all; what is told when their sign-in is changed; and how they stand in the backups.

Users are Django's own rows, without history: what somebody does to another's account is an event. `Person` is what the system stream has
of them (never a password), kept with every save of a user's row; `bring_back` makes the users of a recovered database from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from django.conf import settings
from django.contrib.auth import authenticate, get_user_model
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import Group
from django.contrib.auth.password_validation import validate_password
from django.db import transaction
from django.db.models.signals import post_delete, post_save
from django.dispatch import receiver

import audit
from audit import actors
from audit.errors import NoActor, SignInRefused
from audit.events import Event, record
from audit.grants import grant_role
from audit.models import Grant, Person
from audit.roles import Role, ensure_roles


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
    with audit.acting(_whoever("password")):
        record(Event.PASSWORD_SET, subject=instance, facts={"person": instance.get_username()})


# What a `Person` has of its user, and what a user that comes back has by it.
KEPT = ("username", "first_name", "last_name", "email", "is_active", "is_superuser", "date_joined")


@receiver(post_save, sender=settings.AUTH_USER_MODEL, dispatch_uid="l2l_person_kept")
def person_saved(sender: Any, instance: Any, raw: bool, update_fields: Any = None, **kwargs: Any) -> None:
    """Every save of a user's row, by whatever way; a mere sign-in (`last_login`) changes nothing of it."""
    if not raw and (update_fields is None or set(update_fields) & set(KEPT)):
        keep([instance.pk])


@receiver(post_delete, sender=settings.AUTH_USER_MODEL, dispatch_uid="l2l_person_deleted")
def person_deleted(sender: Any, instance: Any, **kwargs: Any) -> None:
    """Nobody deletes people in the admin; who is deleted elsewhere does not come back from a backup."""
    with audit.acting(_whoever("person")):
        Person.objects.filter(username=instance.get_username()).tracked_delete()


def keep(users: Iterable[Any] | None = None) -> int:
    """Makes the `Person` of each of these users (None: of all) say what is stored of the user; returns how many said something else."""
    stored = get_user_model()._default_manager.order_by("pk")
    stored = stored if users is None else stored.filter(pk__in=list(users))
    with audit.acting(_whoever("person")), transaction.atomic():
        known = {person.pk: person for person in Person.objects.filter(pk__in=[pk for (pk,) in stored.values_list("pk")])}
        changed = [_kept(known.get(values["pk"]) or Person(pk=values["pk"]), values) for values in stored.values("pk", *KEPT)]
        return sum(changed)


def _kept(person: Person, values: Mapping[str, Any]) -> bool:
    if not person._state.adding and all(getattr(person, name) == values[name] for name in KEPT):
        return False
    for name in KEPT:
        setattr(person, name, values[name])
    person.save()
    return True


def bring_back() -> int:
    """Makes the users of a database that has the people and their grants, and no user yet: none has a password that works. Returns how
    many. No event and no history is made: it was all told when it happened."""
    users, now_granted = get_user_model(), set(Grant.objects.filter(ended_at=None).values_list("user_id", flat=True))
    ensure_roles()
    made = users._default_manager.bulk_create(
        users(pk=person.pk, password=make_password(None), is_staff=person.is_superuser or person.pk in now_granted, **_values(person))
        for person in Person.objects.order_by("pk")
    )
    groups = {group.name: group for group in Group.objects.all()}
    for user, role in Grant.objects.filter(ended_at=None).values_list("user_id", "role"):
        groups[role].user_set.add(user)
    return len(made)


def _values(person: Person) -> dict[str, Any]:
    return {name: getattr(person, name) for name in KEPT}


def _whoever(source: str) -> actors.Acting:
    """Who acts; outside of everything the person at the command line (`createsuperuser`)."""
    try:
        return actors.current()
    except NoActor:
        return actors.of_shell(source)
