"""Roles are given and ended here, and nowhere else (P5): a grant is tracked, is an event, and sets the person's groups.

Nobody gives a role to themselves. A right that is younger than a day approves nothing, so that somebody has time to see a role that was
given to get an approval through. Being a superuser gives no approval at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db import transaction
from django.db.models import Q

import audit
from audit import actors
from audit.errors import AuditError
from audit.events import Event, record
from audit.models import Event as Recorded
from audit.models import Grant
from audit.roles import RIGHTS, Role, ensure_roles

RIPE_AFTER = timedelta(hours=24)


class GrantRefused(AuditError):
    """The role cannot be given or ended as asked; the message says why."""


def grant_role(user: Any, role: Role, *, reason: str, now: datetime, since: datetime | None = None, until: datetime | None = None) -> Grant:
    """The new grant, with the person's groups set; the actor gives it. `since` lies in the past in a sample home alone.

    Raises `GrantRefused`. Stands inside `audit.acting(...)`.
    """
    giver = actors.current()
    _check_giver(giver, user)
    _check_dates(since or now, until, now)
    with transaction.atomic(), audit.because(reason):
        _take(user)
        if _open_grants(user).filter(role=role).exists():
            raise GrantRefused(f"{user} is {role.value} already.")
        grant = Grant.objects.create(user=user, role=role.value, since=since or now, until=until, by=giver.name[:200])
        _set_groups(user)
        facts = {"role": role.word, "since": grant.since.isoformat(), "until": until.isoformat() if until else None}
        record(Event.GRANT_GIVEN, subject=grant, facts={"person": user.get_username(), **facts})
    return grant


def _check_giver(giver: actors.Acting, user: Any) -> None:
    if giver.user_id == str(user.pk):
        raise GrantRefused("Nobody gives a role to themselves: ask another administrator.")
    if not user.is_active:
        raise GrantRefused(f"{user} is deactivated.")


def _check_dates(since: datetime, until: datetime | None, now: datetime) -> None:
    if since > now or (since < now and not settings.L2L_SAMPLE):
        raise GrantRefused("A role begins now. Only in a sample home ('init --sample') may it have begun before.")
    if until is not None and until <= now:
        raise GrantRefused("The role would end before it begins.")


def end_role(user: Any, role: Role, *, reason: str, now: datetime) -> Grant:
    """Ends the open grant of that role at once, with the groups set. Raises `GrantRefused` when there is none."""
    with transaction.atomic(), audit.because(reason):
        _take(user)
        grant = _open_grants(user).filter(role=role).first()
        if grant is None:
            raise GrantRefused(f"{user} is no {role.value}.")
        return _end(grant, now, expired=False)


def expire_grants(now: datetime) -> list[Grant]:
    """Ends every grant whose time is over, person by person; safe to run again. Stands inside `audit.acting(...)`."""
    ended: list[Grant] = []
    due = Grant.objects.filter(ended_at=None, until__lte=now).order_by("pk").values_list("pk", "user_id")
    for pk, user_id in list(due):
        with transaction.atomic(), audit.because("its time is over"):
            _take(get_user_model()(pk=user_id))
            ended += [_end(grant, now, expired=True) for grant in Grant.objects.filter(pk=pk, ended_at=None)]
    return ended


def _end(grant: Grant, now: datetime, *, expired: bool) -> Grant:
    grant.ended_at, grant.ended_by = now, actors.current().name[:200]
    grant.save()
    _set_groups(grant.user)
    facts = {"person": grant.user.get_username(), "role": Role(grant.role).word, "expired": expired}
    record(Event.GRANT_ENDED, subject=grant, facts=facts)
    return grant


def _take(user: Any) -> None:
    """One verb at a time for each person."""
    get_user_model()._default_manager.select_for_update(no_key=True).get(pk=user.pk)


def _open_grants(user: Any) -> Any:
    return Grant.objects.filter(user=user.pk, ended_at=None)


def _set_groups(user: Any) -> None:
    """Exactly the groups of the open grants; and the way into the admin as long as there is one."""
    roles = set(_open_grants(user).values_list("role", flat=True))
    if Group.objects.filter(name__in=roles).count() < len(roles):
        ensure_roles()
    user.groups.set(Group.objects.filter(name__in=roles))
    staff = bool(roles) or user.is_superuser
    if user.is_staff != staff:
        user.is_staff = staff
        user.save(update_fields=["is_staff"])
    for cached in ("_perm_cache", "_group_perm_cache", "_user_perm_cache"):
        vars(user).pop(cached, None)


def may_approve(user: Any, permission: str, now: datetime) -> bool:
    """Whether this person may be the second one now, where `app.approve_model` is asked."""
    return not why_not(user, permission, now)


def why_not(user: Any, permission: str, now: datetime) -> str:
    """Why this person may not approve; empty when they may."""
    if not user.is_active:
        return f"{user} is deactivated."
    giving = [grant for grant in _open_grants(user) if permission in RIGHTS[Role(grant.role)] and grant.in_force(now)]
    if not giving:
        return f"{user} has no role that approves this (being a superuser is none)."
    if all(now - grant.since < RIPE_AFTER for grant in giving):
        return f"{user} has that role for less than {RIPE_AFTER.total_seconds() / 3600:.0f} hours: a right that young approves nothing."
    if _password_set_by_another(user, now):
        hours = RIPE_AFTER.total_seconds() / 3600
        return f"Somebody else set the password of {user} less than {hours:.0f} hours ago: until then it approves nothing."
    return ""


def _password_set_by_another(user: Any, now: datetime) -> bool:
    """Whoever sets another person's password could sign in as them and be both persons of a request."""
    name = f"{user._meta.label_lower}:{user.pk}"
    told = Recorded.objects.filter(event=Event.PASSWORD_SET.value, subject=name, at__gt=now - RIPE_AFTER)
    return told.exclude(actor_id=str(user.pk)).exists()


@dataclass(frozen=True, slots=True)
class Ungranted:
    """A right that stands on no grant."""

    person: str
    what: str

    def __str__(self) -> str:
        return f"{self.person} {self.what}"


def ungranted() -> Iterator[Ungranted]:
    """Everybody who may do something without a grant: superusers, rights given to a person, groups set by hand."""
    direct = Q(is_superuser=True) | Q(user_permissions__isnull=False) | Q(groups__isnull=False)
    users = get_user_model()._default_manager.filter(direct, is_active=True).distinct().order_by("pk")
    for user in users.prefetch_related("groups", "user_permissions", "grants"):
        yield from beyond_grants(user)


def beyond_grants(user: Any) -> Iterator[Ungranted]:
    """What this person may do without a grant."""
    yield from (Ungranted(user.get_username(), what) for what in _beyond_grants(user))


def _beyond_grants(user: Any) -> Iterator[str]:
    if user.is_superuser:
        yield "is a superuser: every right, without a grant"
    for permission in user.user_permissions.all():
        yield f"has the right {permission.codename} without a grant"
    granted = {grant.role for grant in user.grants.all() if grant.ended_at is None}
    for group in user.groups.all():
        if group.name not in granted:
            yield f"is in the group {group.name!r} without a grant"
