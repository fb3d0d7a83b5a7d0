"""The clock. Only in a sample home may `L2L_NOW` set it (design section 10): it begins there when the process does, and goes on."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.db import connections
from django.utils import timezone

_began = time.monotonic()
_DATABASE_NOW = {"postgresql": "SELECT clock_timestamp()", "sqlite": "SELECT strftime('%Y-%m-%d %H:%M:%f', 'now')"}


class ClockRefused(ValueError):
    """`L2L_NOW` is set outside of a sample home, or is no time with a zone."""


def now() -> datetime:
    """The present moment, in UTC. Raises `ClockRefused`."""
    began = set_to()
    return timezone.now() if began is None else began + timedelta(seconds=time.monotonic() - _began)


def database_now(alias: str = "default") -> datetime:
    """As the database's clock has it, which is one for all writers; in a sample home the moment that was set."""
    return written_now(alias) if set_to() is None else now()


def written_now(alias: str = "default") -> datetime:
    """By the clock that journal rows are written with, whatever `L2L_NOW` says."""
    with connections[alias].cursor() as cursor:
        cursor.execute(_DATABASE_NOW[connections[alias].vendor])
        (found,) = cursor.fetchone()
    return found if isinstance(found, datetime) else datetime.fromisoformat(found).replace(tzinfo=UTC)


def set_to() -> datetime | None:
    """What `L2L_NOW` says; None when it is not set. Raises `ClockRefused`."""
    text = getattr(settings, "L2L_NOW", "")
    if not text:
        return None
    if not settings.L2L_SAMPLE:
        raise ClockRefused("L2L_NOW is set, but this is not a sample home: unset it.")
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ClockRefused(f"L2L_NOW is no time: {text!r}. Write it like 2026-11-24T12:00:00+00:00.") from None
    if found.tzinfo is None:
        raise ClockRefused(f"L2L_NOW has no zone: {text!r}. Write it like 2026-11-24T12:00:00+00:00.")
    return found.astimezone(UTC)
