"""How our own telling stands, minute by minute: heads over all chains made and sent outside (P8), alarms and digests that arrive (P13)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from django.conf import settings
from django.utils.timezone import localdate

from audit import controls
from audit.anchors import anchoring
from audit.controls import Control, Flaw, Measured, counted, judged
from audit.events import Event as Kind
from audit.models import Event, Telling
from audit.moments import in_utc, span
from audit.promises import Standing
from l2l import staff_mail, ways
from l2l.digest.sending import last_day

# An anchor is made a day, a message is sent a week.
MADE_WITHIN, MADE_AT_LAST = timedelta(hours=36), timedelta(days=3)
SENT_WITHIN, SENT_AT_LAST = timedelta(days=8), timedelta(days=15)
FAILING, FAILING_LONG = timedelta(hours=1), timedelta(hours=24)
SEE_WORKER = "See what the worker says: the queue's failed tasks name the reason."
SEE_MAIL = "See whether the mail server takes messages, and whether the address is right."
CALLED = {
    ways.MAIL: "Mail of alarms",
    ways.WEBHOOK: "The webhook",
    ways.DIGEST: "The weekly digest",
    ways.ANCHOR: "The message to the auditor",
}


def measure_anchors(now: datetime) -> Measured:
    """The newest signed head over all chains, and the newest one that left the house."""
    newest = anchoring.newest()
    since = newest.at if newest else Event.objects.order_by("number").values_list("at", flat=True).first()
    age = max(now - since, timedelta()) if since else timedelta()
    outside = (settings.L2L_AUDITOR_ADDRESS,) if settings.L2L_AUDITOR_ADDRESS else ()
    names_somebody = staff_mail.way_to(outside) == staff_mail.MAIL
    sent = last_day(Kind.ANCHORED)
    figure = f"newest head made {span(age)} ago" if newest else "no head made yet"
    figure += f", last sent outside on {sent}" if sent else ", none sent outside" if names_somebody else "; nobody outside is named"
    flaws = [*_of_age(age), *(_of_day("Heads over all chains were", sent, now) if names_somebody and newest else ())]
    return judged(figure, flaws, age.total_seconds() / 3600)


def _of_age(age: timedelta) -> Iterator[Flaw]:
    """Before the first one is made the age is that of the evidence trail."""
    if age > MADE_WITHIN:
        state = Standing.BROKEN if age > MADE_AT_LAST else Standing.AT_RISK
        yield Flaw(state, f"No head over all chains was made for {span(age)}.", SEE_WORKER)


def _of_day(what: str, sent: date | None, now: datetime) -> Iterator[Flaw]:
    if sent is None:
        yield Flaw(Standing.AT_RISK, f"{what} never sent.", SEE_MAIL)
        return
    age = localdate(now, ZoneInfo(settings.L2L_ZONE)) - sent
    if age > SENT_WITHIN:
        yield Flaw(Standing.BROKEN if age > SENT_AT_LAST else Standing.AT_RISK, f"{what} last sent on {sent}.", SEE_MAIL)


def measure_telling(now: datetime) -> Measured:
    """The ways by which people are told: those that do not get through, and a digest that is late."""
    rows = list(Telling.objects.order_by("way"))
    failing = [row for row in rows if row.attempts]
    sent = last_day(Kind.DIGEST_SENT)
    figure = f"{len(rows) - len(failing)} of {counted(len(rows), 'way')} of telling get through"
    figure += f", the last digest of {sent}" if sent else ", no digest yet"
    late = _of_day("The weekly digest was", sent, now) if sent else ()
    return judged(figure, [*(flaw for row in failing for flaw in _of_way(row, now)), *late], len(failing))


def _of_way(row: Telling, now: datetime) -> Iterator[Flaw]:
    since = row.told_at or row.since
    if now - since > FAILING:
        state = Standing.BROKEN if now - since > FAILING_LONG else Standing.AT_RISK
        text = f"{CALLED.get(row.way, row.way)} does not get through: {counted(row.attempts, 'try', 'tries')} in vain, none worked since "
        yield Flaw(state, f"{text}{in_utc(since)}.", "The alarms say what stood in the way; see the server and the settings.")


EVENTS = "admin:l2l_audit_event_changelist"
CONTROLS = (
    Control(
        name="anchors",
        promise="P8",
        title="Heads over all chains, sent outside",
        threshold=(
            "At risk: none was made for 36 hours, or, where somebody outside is named, none was sent for 8 days. Broken: none made for 3 "
            "days, or none sent for 15."
        ),
        unit="hours since the newest",
        measure=measure_anchors,
        evidence=EVENTS,
        query=f"event={Kind.ANCHORED.value}",
        populations=("anchors",),
    ),
    Control(
        name="telling",
        promise="P13",
        title="Alarms and digests arrive",
        threshold="At risk: a way does not get through for an hour, or no digest went out for 8 days. Broken: for 24 hours, or 15 days.",
        unit="ways that fail",
        measure=measure_telling,
        evidence=EVENTS,
        query=f"event={Kind.ALARM_TOLD.value}",
        populations=("control_changes",),
    ),
)


def register() -> None:
    """Once, when the app is ready."""
    for control in CONTROLS:
        controls.register(control)
