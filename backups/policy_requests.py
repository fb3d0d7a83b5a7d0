"""Changing the policy by two people: one asks, another approves, and the version is made from exactly what was asked for (P5, P6).

What keeps less or tries less begins a week later. Until then a further change takes it back: it begins with it and has the higher number.
"""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.db import transaction

import audit
from audit import actors, two_person
from audit.events import Event, record
from backups.models import BackupPolicy, PolicyChangeRequest
from backups.policies import change_policy, what_if
from backups.policy import differences

SHORTER_BEGINS_AFTER = timedelta(days=7)
TIME = re.compile(r"\d\d:\d\d:00")


def plan_of(changes: dict[str, Any]) -> dict[str, Any]:
    """What the changes would do to the newest version, as JSON: another newest version is another plan. Raises as `what_if` does."""
    old, new = what_if(**changes)
    changed = [{"name": one.name, "old": _plain(one.old), "new": _plain(one.new), "shorter": one.shorter} for one in differences(old, new)]
    return {"after_version": old.number, "changes": changed}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return str(value) if isinstance(value, ZoneInfo | time | date) else value


def request_change(*, by: Any, why: str, now: datetime, **changes: Any) -> PolicyChangeRequest:
    """The new request. Raises `ApprovalRefused`, and what `what_if` raises for values that do not fit."""
    plain = {name: _plain(value) for name, value in changes.items()}
    plan = plan_of(plain)
    what = "; ".join(f"{label_of(one['name'])}: {in_words(one['old'])} → {in_words(one['new'])}" for one in plan["changes"])
    return two_person.request(PolicyChangeRequest, by=by, what=what[:200] or "nothing", why=why, plan=plan, now=now, changes=plain)


def label_of(name: str) -> str:
    """A field of the policy as people call it."""
    return str(BackupPolicy._meta.get_field(name).verbose_name)


def in_words(value: Any) -> str:
    """A value of a plan as people read it."""
    if isinstance(value, list):
        return " ".join(map(str, value))
    return value[:5] if isinstance(value, str) and TIME.fullmatch(value) else str(value)


def approve_change(asked: PolicyChangeRequest, *, by: Any, password: str, now: datetime) -> BackupPolicy:
    """The new version, approved and made. Raises what `two_person.approve` and `make_version` raise."""
    approved = two_person.approve(asked, by=by, password=password, plan=plan_of(asked.changes), now=now)
    return make_version(approved, now=now)


def make_version(approved: PolicyChangeRequest, *, now: datetime) -> BackupPolicy:
    """The version that an approved request asks for, made by who asked; once. Raises `NotAllowed`, `PlanChanged`, `PolicyRefused`."""
    plan = plan_of(approved.changes)
    approver = approved.approved_by.get_username() if approved.approved_by else ""
    with audit.acting(actors.of_user(approved.requested_by, reason=approved.why)):
        two_person.check_plan(approved, plan, now)
        with transaction.atomic():
            two_person.executed(approved, plan=plan, now=now)
            version = change_policy(reason=approved.why, approved_by=approver, in_force_from=begins(plan, now), **approved.changes)
            record(Event.POLICY_CHANGED, subject=version, facts={"version": version.number, "approved_by": approver})
    return version


def begins(plan: dict[str, Any], now: datetime) -> datetime | None:
    """When the version that the plan makes begins, never before the one that it follows; None for at once."""
    moment = now + SHORTER_BEGINS_AFTER if any(one["shorter"] for one in plan["changes"]) else now
    moment = max(moment, BackupPolicy.objects.get(number=plan["after_version"]).in_force_from)
    return moment if moment > now else None
