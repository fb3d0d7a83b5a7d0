"""All controls measured, and what came of them kept: how each stands now, each hour's reading, a finding for each break (P13).

Nothing is decided from here: a state says what a control's own measurement said. Measuring takes no lock; what is kept is written in one
transaction behind it, in which whoever measured later wins. One measurement that fails stops no other: its trouble stands beside what was
measured last, and after ten minutes without a measurement a control counts as at risk, for nobody knows.

A break is an event when it begins and when it is over. Its finding stays open when the control is kept again: a person says what was the
cause. Stands inside `audit.acting(...)`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction

from audit import controls, findings
from audit.controls import Control, Measured
from audit.events import Event, record
from audit.findings import Kind
from audit.models import ControlState, Finding, Reading, Stream
from audit.moments import in_utc
from audit.promises import Standing
from audit.registry import SYSTEM_STREAM

logger = logging.getLogger(__name__)

UNMEASURED = timedelta(minutes=10)
HOUR = timedelta(hours=1)
# A finding that stands is said to be seen again once a day.
SEEN = timedelta(days=1)
NEVER = "never measured"
_COLUMNS = [field.name for field in ControlState._meta.concrete_fields if not field.primary_key]
SEE_LOG = "See what the worker's log says about it, and report it."


@dataclass(frozen=True, slots=True)
class Changed:
    """A control that stands otherwise than before, and since when it stood so; None when it was measured for the first time."""

    control: Control
    before: Standing | None
    state: ControlState
    before_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class _Tried:
    """A measurement, or the name of what kept it from being made."""

    control: Control
    measured: Measured | None
    trouble: str = ""


def measure_all(now: datetime) -> list[Changed]:
    """Measures every control, and keeps what came of it; the controls whose state is another one than before.

    Safe to repeat, and for several processes at once."""
    tried = [_tried(control, now) for control in controls.all_controls()]
    with transaction.atomic():
        _take_turns()
        rows = {row.pk: row for row in ControlState.objects.all()}
        changed = [one for one in (_kept(each, rows, now) for each in tried) if one is not None]
        _keep_reading([each.control for each in tried], rows, now)
        ControlState.objects.bulk_create(rows.values(), update_conflicts=True, unique_fields=["control"], update_fields=_COLUMNS)
        ControlState.objects.exclude(pk__in=[each.control.name for each in tried]).delete()
        _keep_findings(changed, rows, now)
    return changed


def states() -> list[tuple[Control, ControlState | None]]:
    """Every control as it stands now, in the order of the promises; one query."""
    rows = {row.pk: row for row in ControlState.objects.all()}
    return [(control, rows.get(control.name)) for control in controls.all_controls()]


def standing_of(row: ControlState | None, now: datetime) -> Standing:
    """How a control counts at that moment: what was measured once and not for ten minutes is at risk at best, as is what never was."""
    if row is None:
        return Standing.AT_RISK
    state = Standing(row.state)
    return max(state, Standing.AT_RISK, key=_rank) if now - row.measured_at > UNMEASURED else state


def worst(states_of: Iterable[Standing]) -> Standing:
    """The worst of them; kept when there are none."""
    return max(states_of, key=_rank, default=Standing.KEPT)


def subject_of(control: Control) -> str:
    """By which findings, alarms and events name it."""
    return f"control:{control.name}"


def _rank(state: Standing) -> int:
    return state.rank


def _tried(control: Control, now: datetime) -> _Tried:
    try:
        return _Tried(control, control.measure(now))
    except Exception as problem:
        logger.exception("The control %s could not be measured", control.name)
        return _Tried(control, None, type(problem).__name__)  # its words may quote what people wrote


def _take_turns() -> None:
    Stream.objects.select_for_update(no_key=True).get(pk=SYSTEM_STREAM)


def _kept(tried: _Tried, rows: dict[str, ControlState], now: datetime) -> Changed | None:
    row = rows.get(tried.control.name)
    if row is not None and row.measured_at > now:
        return None  # another process measured later
    before, before_since = (Standing(row.state), row.since) if row is not None else (None, None)
    new = row or ControlState(pk=tried.control.name, figure=NEVER, since=now, measured_at=now)
    state = _noted(new, tried, now)
    if state is not before:
        new.since = now
    new.state = state.value
    new.worst = worst(Standing(one) for one in (new.worst, new.state) if one).value
    rows[new.pk] = new
    return Changed(tried.control, before, new, before_since) if state is not before else None


def _noted(row: ControlState, tried: _Tried, now: datetime) -> Standing:
    """Writes what was measured, or the trouble, into the row; the state that follows."""
    if tried.measured is not None:
        found = tried.measured
        row.figure, row.value, row.why, row.todo = found.figure[:300], found.value, found.why, found.todo
        row.measured_at, row.trouble = now, ""
        return found.state
    row.trouble = f"It could not be measured ({tried.trouble})."
    if row.figure == NEVER:
        row.why, row.todo = row.trouble, SEE_LOG
        return Standing.AT_RISK
    return standing_of(row, now)


# Hour by hour


def _keep_reading(measured: Sequence[Control], rows: Mapping[str, ControlState], now: datetime) -> None:
    """At the first measurement of an hour: what was measured then, and the worst state of each since the reading before."""
    hour = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    newest = Reading.objects.order_by("-hour").values_list("hour", flat=True).first()
    if newest is not None and newest >= hour:
        return
    gap = newest if newest is not None and hour - newest > HOUR else None
    Reading.objects.create(  # type: ignore[misc]
        hour=hour,
        at=now,
        gap_since=gap,
        software=settings.SOFTWARE_VERSION[:40],
        controls={one.name: _read(one, rows[one.name]) for one in measured if one.name in rows},
    )
    for row in rows.values():
        row.worst = row.state


def _read(control: Control, row: ControlState) -> dict[str, Any]:
    return {
        "state": row.state,
        "worst": row.worst,
        "figure": row.figure,
        "value": row.value,
        "threshold": control.threshold,
        "why": row.why,
        **({"trouble": row.trouble} if row.trouble else {}),
    }


# Breaks


def _keep_findings(changed: Iterable[Changed], rows: Mapping[str, ControlState], now: datetime) -> None:
    """An event for each break that begins or is over, and one open finding for each, whose text says how it stands since when."""
    opened = {one.subject: one for one in findings.open_findings().filter(kind=Kind.CONTROL_BROKEN)}
    by_name = {one.control.name: one for one in changed}
    for control in controls.all_controls():
        row, subject = rows[control.name], subject_of(control)
        change, known = by_name.get(control.name), opened.get(subject)
        if change is not None:
            _tell(change, now)
        broken = row.state == Standing.BROKEN
        if (broken and (known is None or change is not None)) or (known is not None and change is not None):
            _found(subject, _text(control, row, known), now)
        elif broken and known is not None and now - known.seen_at >= SEEN:
            _found(subject, known.text, now)


def _found(subject: str, text: str, now: datetime) -> None:
    findings.open_finding(Kind.CONTROL_BROKEN, subject=subject, customer=None, text=text, now=now)


def _tell(change: Changed, now: datetime) -> None:
    row = change.state
    value = {"value": f"{row.value:g}"} if row.value is not None else {}
    facts: dict[str, Any] = {"control": change.control.name, **value}
    if row.state == Standing.BROKEN:
        record(Event.CONTROL_BROKEN, subject=subject_of(change.control), facts=facts)
    elif change.before is Standing.BROKEN and change.before_since is not None:
        facts |= {"seconds": round((now - change.before_since).total_seconds())}
        record(Event.CONTROL_KEPT, subject=subject_of(change.control), facts=facts)


def _text(control: Control, row: ControlState, known: Finding | None) -> str:
    """What broke, as it was when it broke; and behind it since when it does no more."""
    if row.state == Standing.BROKEN:
        return f"{control.promise}, {control.title}: broken since {in_utc(row.since)}. {row.figure}. {row.why} {row.todo}".strip()
    first = (known.text if known else "").partition("\n")[0]
    over = "Kept again" if row.state == Standing.KEPT else "No longer broken, but at risk,"
    return f"{first}\n{over} since {in_utc(row.since)}. Say what was the cause, and close it."
