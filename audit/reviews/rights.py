"""Who may do what, at one moment: what a review of access looks at, and what changed since the one before (P5, CC6.2, CC6.3)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import Prefetch, Q

from audit import canonical
from audit.grants import beyond_grants
from audit.models import Grant
from audit.roles import DESTROYS, RIGHTS, Role

# Of a person, what changes by their mere coming and going: shown, and no part of what is confirmed.
NOT_CONFIRMED = ("last_sign_in",)


@dataclass(frozen=True, slots=True)
class Held:
    """A role by its open grant. Times in ISO 8601, UTC; `until` is empty when it has no end."""

    role: str
    since: str
    by: str
    until: str = ""


@dataclass(frozen=True, slots=True)
class PersonRights:
    """One person. `beyond` are rights that stand on no grant, in words. `approves` and `destroys`: by a role, for a superuser approves
    nothing (`audit.grants.why_not`). `last_sign_in` in ISO 8601, empty for never."""

    person: str
    name: str
    active: bool
    superuser: bool
    roles: tuple[Held, ...]
    beyond: tuple[str, ...]
    approves: bool
    destroys: bool
    last_sign_in: str

    @property
    def document(self) -> dict[str, Any]:
        return asdict(self)


def rights_now(now: datetime) -> list[PersonRights]:
    """By name: everybody who can sign in, and everybody shut out who would have rights again if let in. A constant number of queries."""
    open_grants = Grant.objects.filter(ended_at=None).order_by("role")
    left_open = Q(pk__in=Grant.objects.filter(ended_at=None).values("user")) | Q(is_superuser=True) | Q(groups__isnull=False)
    users = get_user_model()._default_manager.filter(Q(is_active=True) | left_open).distinct().order_by("username")
    known = users.prefetch_related("groups", "user_permissions", Prefetch("grants", open_grants))
    return [_rights_of(user, now) for user in known]


def _rights_of(user: Any, now: datetime) -> PersonRights:
    in_force = [grant for grant in user.grants.all() if grant.in_force(now)]
    given = {right for grant in in_force for right in RIGHTS[Role(grant.role)]} if user.is_active else set()
    return PersonRights(
        person=user.get_username(),
        name=user.get_full_name(),
        active=user.is_active,
        superuser=user.is_superuser,
        roles=tuple(Held(grant.role, _iso(grant.since), grant.by, _iso(grant.until)) for grant in user.grants.all()),
        beyond=tuple(str(one.what) for one in beyond_grants(user)),
        approves=any(right.partition(".")[2].startswith("approve_") for right in given),
        destroys=not given.isdisjoint(DESTROYS),
        last_sign_in=_iso(user.last_login),
    )


def _iso(moment: datetime | None) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds") if moment else ""


def documents(people: Iterable[PersonRights]) -> list[dict[str, Any]]:
    """As a review keeps them."""
    return [one.document for one in people]


def digest_of(people: Iterable[Mapping[str, Any]]) -> str:
    """SHA-256 over the canonical JSON of the documents, without when each signed in last: that is no right, and changes all day."""
    confirmed = [{name: value for name, value in one.items() if name not in NOT_CONFIRMED} for one in people]
    return hashlib.sha256(canonical.dump_bytes(confirmed)).hexdigest()


def differences(before: Iterable[Mapping[str, Any]], now: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    """What changed of whom between two lists of documents, in words; people without a change are left out (pure)."""
    then, today = ({one["person"]: one for one in people} for people in (before, now))
    changed = {person: list(_changes(then.get(person), today.get(person))) for person in sorted({*then, *today})}
    return {person: words for person, words in changed.items() if words}


def _changes(then: Mapping[str, Any] | None, today: Mapping[str, Any] | None) -> Iterable[str]:
    if then is None or today is None:
        yield "new here" if then is None else "no longer here"
        return
    had, has = ({(one["role"], one["since"]) for one in document["roles"]} for document in (then, today))
    yield from (f"role given: {role}" for role, _ in sorted(has - had))
    yield from (f"role ended: {role}" for role, _ in sorted(had - has))
    for name, gained, gone in (("active", "let in again", "shut out"), ("superuser", "made a superuser", "no superuser any more")):
        if then[name] != today[name]:
            yield gained if today[name] else gone
    if set(then["beyond"]) != set(today["beyond"]) and then["superuser"] == today["superuser"]:
        yield "rights without a grant changed"
