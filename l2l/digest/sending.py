"""The digest goes out once a week to management, and with the signed heads to somebody outside: two messages, each recorded for itself, so
that a mailbox that is full here does not keep the heads in the house."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import transaction
from django.utils.timezone import localdate

from audit import events
from audit.events import Event as Kind
from audit.models import Anchor, ControlState, Event, Telling
from l2l import staff_mail, ways
from l2l.digest import due, figures
from l2l.digest.text import subject_of, text_of

WEEK = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Addressed:
    """One of the two: how its way and its event are called, and who gets it."""

    way: str
    event: Kind
    addresses: tuple[str, ...]


def all_addressed() -> list[Addressed]:
    """The digest always (to the log where mail reaches nobody); the heads where somebody outside is named and mail can be sent."""
    found = [Addressed(ways.DIGEST, Kind.DIGEST_SENT, tuple(settings.L2L_DIGEST_TO))]
    outside = (settings.L2L_AUDITOR_ADDRESS,) if settings.L2L_AUDITOR_ADDRESS else ()
    if staff_mail.way_to(outside) == staff_mail.MAIL:
        found.append(Addressed(ways.ANCHOR, Kind.ANCHORED, outside))
    return found


def send_due(now: datetime) -> dict[str, str]:
    """Sends what is due; the heads with the day's own. Gives for each of the two that was tried what stood in the way, empty when it went
    out. Stands inside `audit.acting(...)`."""
    zone = ZoneInfo(settings.L2L_ZONE)
    today = localdate(now, zone)
    wanted = [one for one in all_addressed() if due.is_due(last_day(one.event), now, zone) and _is_ready(one, today)]
    return {one.way: _sent(one, now, today) for one in wanted if ways.claim(one.way, now) is not None}


def _is_ready(one: Addressed, today: date) -> bool:
    """The heads go with the day's own. The very first digest waits until there is something to tell; later ones go whatever is lacking."""
    if one.event is Kind.DIGEST_SENT and last_day(one.event) is not None:
        return True
    is_measured = one.event is Kind.ANCHORED or ControlState.objects.exists()
    return is_measured and Anchor.objects.filter(day=today).exists()


def last_day(event: Kind) -> date | None:
    """The day of the newest event of that kind."""
    facts: Any = Event.objects.filter(event=event.value).order_by("-number").values_list("facts", flat=True).first()
    return date.fromisoformat(facts["day"]) if facts else None


def _sent(one: Addressed, now: datetime, today: date) -> str:
    told_at = Telling.objects.filter(pk=one.way).values_list("told_at", flat=True).first()
    found = figures.read(told_at or now - WEEK, now)
    anchors = _anchors(last_day(one.event), today)
    text = text_of(found, anchors, settings.L2L_ADDRESS)
    ident = hashlib.sha256(f"{one.way} {due.monday(today)}".encode()).hexdigest()[:32]
    try:
        staff_mail.send(one.addresses, subject_of(found), text, ident, _attached(anchors))
    except OSError as problem:
        ways.failed(one.way, str(problem) or type(problem).__name__, now)
        return str(problem) or type(problem).__name__
    _record(one, anchors, today, now)
    return ""


def _anchors(last: date | None, today: date) -> list[dict[str, Any]]:
    """The documents since the message before, its newest one included; of a week where there was none."""
    found: Any = Anchor.objects.filter(day__gte=last or today - WEEK).order_by("day").values_list("document", flat=True)
    return list(found)


def _attached(anchors: Sequence[dict[str, Any]]) -> list[staff_mail.Attachment]:
    if not anchors:
        return []
    name = f"anchors-{anchors[0]['day']}-to-{anchors[-1]['day']}.json"
    return [(name, json.dumps(anchors, indent=1, ensure_ascii=False).encode(), "application/json")]


def _record(one: Addressed, anchors: Sequence[dict[str, Any]], today: date, now: datetime) -> None:
    facts: dict[str, Any] = {"day": today.isoformat(), "addresses": len(one.addresses)}
    if one.event is Kind.ANCHORED:
        facts["root"] = anchors[-1]["root"]
    with transaction.atomic():
        ways.worked(one.way, now)
        events.record(one.event, subject="l2l:digest", facts=facts)
