"""The versions of the backup policy: read, and added to. Nothing changes or removes one."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import transaction

import audit
from audit import actors, clock
from backups.errors import BackupError
from backups.models import BackupPolicy
from backups.policy import Policy, differences, in_force

# What a version decides; the rest says when, by whom and why it was made.
DECIDED = (
    "night_starts",
    "zone",
    "max_attempts",
    "retry_minutes",
    "nightly_days",
    "weekly_weeks",
    "longest_years",
    "test_days",
    "tests_a_night",
)


class PolicyRefused(BackupError):
    """The change of policy cannot be made as asked; the message says why."""


def versions() -> list[Policy]:
    """Every version, the first one first."""
    return [one.pure for one in BackupPolicy.objects.order_by("number")]


def ensure_first_policy() -> bool:
    """Makes version 1, with the standard periods and the zone of the settings; returns whether it was missing."""
    if BackupPolicy.objects.exists():
        return False
    with audit.acting("init", reason="the standard policy", source="init"):
        _add(1, Policy(1, clock.now()), zone=settings.L2L_ZONE, made_by="init", reason="the standard policy")
    return True


def change_policy(*, reason: str, approved_by: str = "", in_force_from: datetime | None = None, **changes: Any) -> BackupPolicy:
    """The next version, with these fields changed; stands inside `audit.acting(...)`, whose actor makes it.

    Raises `PolicyRefused` when it changes nothing, lacks a reason, or keeps, tries or tests less without another person's approval;
    `ValidationError` when a value does not fit. Who `approved_by` is, and how long a shortening must wait, is the caller's to check.
    """
    actor, now = actors.current(), clock.now()
    if not reason.strip():
        raise PolicyRefused("Say why the policy changes.")
    with transaction.atomic(), audit.because(reason):
        newest = BackupPolicy.objects.select_for_update().order_by("-number")[0]
        row = _copy_of(newest, changes, in_force_from=in_force_from or now, made_by=actor.name, approved_by=approved_by, reason=reason)
        row.clean_fields()
        row.clean()
        _check(newest.pure, row, now)
        row.full_clean()
        row.save()
    return row


def what_if(**changes: Any) -> tuple[Policy, Policy]:
    """The newest version, and what it would become; nothing is stored. Raises `ValidationError`."""
    newest = BackupPolicy.objects.order_by("-number")[0]
    row = _copy_of(newest, changes, in_force_from=clock.now(), made_by="what-if", approved_by="", reason="what-if")
    row.full_clean()
    return newest.pure, row.pure


def _check(old: Policy, row: BackupPolicy, now: datetime) -> None:
    changed = differences(old, row.pure)
    if not changed:
        raise PolicyRefused("Nothing would change.")
    if row.in_force_from < now or row.in_force_from < old.in_force_from:
        raise PolicyRefused("A version cannot begin in the past, nor before the one that it follows.")
    if any(one.shorter for one in changed) and row.approved_by in ("", row.made_by):
        shorter = ", ".join(one.name for one in changed if one.shorter)
        raise PolicyRefused(f"This keeps, tries or tests less ({shorter}): another person must approve it.")


def _copy_of(newest: BackupPolicy, changes: dict[str, Any], **made: Any) -> BackupPolicy:
    if unknown := changes.keys() - set(DECIDED):
        raise PolicyRefused(f"The policy has no {', '.join(sorted(unknown))}.")
    return BackupPolicy(number=newest.number + 1, **{name: getattr(newest, name) for name in DECIDED} | changes | made)


def _add(number: int, policy: Policy, *, zone: str, made_by: str, reason: str) -> None:
    BackupPolicy.objects.create(
        number=number,
        in_force_from=policy.in_force_from,
        night_starts=policy.night_starts,
        zone=zone,
        max_attempts=policy.max_attempts,
        retry_minutes=" ".join(map(str, policy.retry_minutes)),
        nightly_days=policy.nightly_days,
        weekly_weeks=policy.weekly_weeks,
        longest_years=policy.longest_years,
        test_days=policy.test_days,
        tests_a_night=policy.tests_a_night,
        made_by=made_by,
        reason=reason,
    )


def zone_at(now: datetime) -> ZoneInfo:
    """The zone that cuts the nights: the policy's, or the settings' before there is a policy."""
    found = versions()
    return in_force(found, now).zone if found else ZoneInfo(settings.L2L_ZONE)
