"""`manage.py controls`: how does each promise of the policy stand now? (P13)"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.core.management.base import CommandError

from audit import actors, clock
from audit.commands import BackOfficeCommand
from audit.controls import Control, measuring
from audit.models import ControlState
from audit.moments import in_utc
from audit.promises import PROMISES, Standing
from backups import vault as vaults
from backups.errors import BackupError
from backups.stores.contract import StoreError


class Command(BackOfficeCommand):
    help = (
        "Measures every control now, keeps what came of it, and tells by promise how it stands: state, figure, since when, what to do. "
        "Ends with 0 only if every promise is kept."
    )
    known = (BackupError, StoreError)

    def work(self, **options: Any) -> None:
        vaults.from_settings().usable()  # a location that is away is noted, for the measuring to tell
        now = clock.now()
        with actors.acting(actors.of_shell("controls", reason="the controls, measured")):
            measuring.measure_all(now)
        found = [(control, state, measuring.standing_of(state, now)) for control, state in measuring.states()]
        self.report(_lines(found), _document(found, now))
        amiss = [control.promise for control, _, standing in found if standing is not Standing.KEPT]
        if amiss:
            raise CommandError(f"Not kept: {', '.join(number for number in PROMISES if number in amiss)}.")


Found = tuple[Control, ControlState | None, Standing]


def _lines(found: list[Found]) -> list[str]:
    lines: list[str] = []
    for promise in PROMISES.values():
        lines.append(f"{promise.number}  {promise.sentence}")
        for control, state, standing in (one for one in found if one[0].promise == promise.number):
            lines += _of_control(control, state, standing)
    return lines


def _of_control(control: Control, state: ControlState | None, standing: Standing) -> list[str]:
    if state is None:
        return [f"     {standing.value:8} {control.title}: never measured"]
    first = f"     {standing.value:8} {control.title}: {state.figure}, since {in_utc(state.since)}"
    told = (state.trouble, state.why, state.todo) if standing is not Standing.KEPT else (state.trouble,)
    return [first, *(f"              {text}" for text in told if text)]


def _document(found: list[Found], now: datetime) -> dict[str, Any]:
    return {
        "at": now,
        "kept": all(standing is Standing.KEPT for _, _, standing in found),
        "promises": {
            promise.number: {
                "sentence": promise.sentence,
                "state": measuring.worst(standing for control, _, standing in found if control.promise == promise.number),
                "controls": [_told(*one) for one in found if one[0].promise == promise.number],
            }
            for promise in PROMISES.values()
        },
    }


def _told(control: Control, state: ControlState | None, standing: Standing) -> dict[str, Any]:
    fields = ("figure", "value", "why", "todo", "since", "measured_at", "trouble")
    kept = {name: getattr(state, name) for name in fields} if state is not None else {}
    return {
        "control": control.name,
        "title": control.title,
        "state": standing,
        "threshold": control.threshold,
        "unit": control.unit,
        **kept,
    }
