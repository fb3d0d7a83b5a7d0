"""What changes about the alarms, from how things stand and which alarms are open (pure).

One alarm a subject while it lasts. It gets worse at once. It gets better, and ends, only when that has lasted: what flaps would else be
told at every turn.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from audit.promises import Standing

# So long it must be better before anybody is told so.
SETTLED = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Look:
    """How one subject stands, and since when it stands so. `text` says what is the matter, `todo` what a person does about it; of one that
    is kept both may be empty. What does not `settle` is better at once: a finding that is closed stays closed."""

    subject: str
    state: Standing
    since: datetime
    text: str = ""
    todo: str = ""
    settles: bool = True


@dataclass(frozen=True, slots=True)
class Open:
    """An alarm that is open, as it stands in the database."""

    state: Standing
    text: str
    todo: str


class Deed(StrEnum):
    RAISE = "raise"
    WORSEN = "worsen"
    EASE = "ease"
    REWORD = "reword"
    END = "end"


@dataclass(frozen=True, slots=True)
class Move:
    """One change: to the alarm of `look.subject`, which becomes what the look says."""

    deed: Deed
    look: Look


def moves(looks: Iterable[Look], standing: Mapping[str, Open], now: datetime) -> Iterator[Move]:
    """What is to be done. An alarm whose subject nobody looks at any more ends: the finding is closed, the control is gone."""
    seen = {look.subject: look for look in looks}
    for subject, look in seen.items():
        deed = _deed(look, standing.get(subject), now)
        if deed is not None:
            yield Move(deed, look)
    for subject in standing.keys() - seen.keys():
        yield Move(Deed.END, Look(subject, Standing.KEPT, now))


def _deed(look: Look, alarm: Open | None, now: datetime) -> Deed | None:
    if alarm is None:
        return None if look.state is Standing.KEPT else Deed.RAISE
    if look.state.rank > alarm.state.rank:
        return Deed.WORSEN
    if look.state.rank < alarm.state.rank:
        return _better(look) if _has_settled(look, now) else None
    return Deed.REWORD if (look.text, look.todo) != (alarm.text, alarm.todo) else None


def _better(look: Look) -> Deed:
    return Deed.END if look.state is Standing.KEPT else Deed.EASE


def _has_settled(look: Look, now: datetime) -> bool:
    return not look.settles or now - look.since >= SETTLED
