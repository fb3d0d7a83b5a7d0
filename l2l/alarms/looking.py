"""Reads how everything stands, and raises, changes and ends the alarms that follow from it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Count, Min

from audit import controls
from audit.findings import LABELS, Kind, open_findings
from audit.models import Alarm, ControlState
from audit.moments import in_utc
from audit.promises import Standing
from l2l.alarms.deciding import Deed, Look, Move, Open, moves

CONTROL, FINDING, MEASURING = "control:", "finding:", "measuring"
# Controls are measured every minute.
UNMEASURED = timedelta(minutes=5)

# Findings that no control measures and that cannot wait for somebody to look. The others follow from a control (a broken one opens a
# finding, and has its alarm already), or are looked at in the course of the day.
ALARMING = {
    Kind.NOT_RECOVERED: Standing.BROKEN,
    Kind.KEY_MISSING: Standing.BROKEN,
    Kind.ESCROW_DRILL: Standing.BROKEN,
    Kind.SCHEMA_UNRECORDED: Standing.AT_RISK,
    Kind.OBJECTS_UNKNOWN: Standing.AT_RISK,
}


def look(now: datetime) -> list[Move]:
    """Makes the alarms what they should be; gives what was changed. Three questions and a write for each change."""
    with transaction.atomic():
        alarms = {alarm.subject: alarm for alarm in Alarm.objects.select_for_update().filter(ended_at=None)}
        standing = {subject: Open(Standing(one.state), one.text, one.todo) for subject, one in alarms.items()}
        done = list(moves(looks(now), standing, now))
        for move in done:
            _make(move, alarms.get(move.look.subject), now)
    return done


def looks(now: datetime) -> Iterator[Look]:
    """Every subject that may have an alarm, as it stands."""
    states = list(ControlState.objects.order_by("control"))
    yield from (_of_control(row, known) for row in states if (known := controls.by_name(row.control)) is not None)
    yield from _of_measuring(states, now)
    yield from _of_findings()


def _of_control(row: ControlState, control: controls.Control) -> Look:
    text = f"{control.title}: {row.figure}{'. ' if row.why else ''}{row.why}"
    return Look(f"{CONTROL}{row.control}", Standing(row.state), row.since, text, row.todo)


def _of_measuring(states: list[ControlState], now: datetime) -> Iterator[Look]:
    """Of a single one that cannot be measured its own state tells."""
    newest = max((row.measured_at for row in states), default=now)
    if now - newest > UNMEASURED:
        text = f"No control was measured since {in_utc(newest)}: the promises may stand otherwise than is shown"
        todo = "See what the worker says: the queue's failed tasks name the reason."
        yield Look(MEASURING, Standing.AT_RISK, newest, text, todo, settles=False)


def _of_findings() -> Iterator[Look]:
    """One for each kind, however many there are of it."""
    found = open_findings().filter(kind__in=[kind.value for kind in ALARMING]).order_by().values("kind")
    for one in found.annotate(count=Count("pk"), since=Min("opened_at"), due=Min("due_on")).order_by("kind"):
        kind = Kind(one["kind"])
        label = LABELS[kind][0].upper() + LABELS[kind][1:]
        text = f"{label}: {one['count']:,} open, the first due on {one['due']}"
        todo = "Take it, and clear it up by its date: its page under Findings says what was found."
        yield Look(f"{FINDING}{kind.value}", ALARMING[kind], one["since"], text, todo, settles=False)


def _make(move: Move, alarm: Alarm | None, now: datetime) -> None:
    """The alarm as the move has it. What got worse is to be told once more."""
    new = move.look
    if alarm is None:
        Alarm.objects.bulk_create(
            [Alarm(subject=new.subject, state=new.state.value, text=new.text, todo=new.todo, raised_at=now)], ignore_conflicts=True
        )
        return
    if move.deed is Deed.END:
        alarm.ended_at = now
    else:
        alarm.state, alarm.text, alarm.todo = new.state.value, new.text, new.todo
    if move.deed is Deed.WORSEN:
        alarm.worse_at, alarm.mailed_at, alarm.posted_at = now, None, None
    alarm.save()
