"""How each control and each promise stands now, as far as a person may see it (P13).

What was measured too long ago is never shown as kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Any

from django.urls import reverse

from audit import controls
from audit.controls import Control
from audit.models import ControlState
from audit.moments import in_utc, span
from audit.promises import PROMISES, Promise, Standing
from backups.admin.charts import KINDS
from l2l.admin.site import right_of

SEES = "l2l_audit.view_controlstate"
SEES_FIGURES = "l2l_subscriptions.view_all_customers"
SEES_TROUBLE = "l2l_backups.view_location"
# Measured every minute: five missed are no hiccup.
STALE = timedelta(minutes=5)
START = "Start manage.py work; manage.py controls measures once."


class Bad(IntEnum):
    """How far a promise is from being known to be kept; the worst of its controls decides."""

    KEPT = 0
    UNMEASURED = 1
    UNKNOWN = 2
    AT_RISK = 3
    BROKEN = 4


KNOWN = {Standing.KEPT: Bad.KEPT, Standing.AT_RISK: Bad.AT_RISK, Standing.BROKEN: Bad.BROKEN}


@dataclass(frozen=True, slots=True)
class Shown:
    """One control now; `standing` is None where that is not known. `figure`, `why` and `todo` are empty for who does not see every
    customer: they count all of them."""

    control: Control
    bad: Bad
    word: str
    kind: str
    figure: str = ""
    why: str = ""
    todo: str = ""
    since: datetime | None = None
    measured_at: datetime | None = None
    trouble: str = ""
    standing: Standing | None = None

    @property
    def link(self) -> str:
        return reverse("admin:control", args=[self.control.name])

    @property
    def since_words(self) -> str:
        return f"since {in_utc(self.since)}" if self.since else ""


@dataclass(frozen=True, slots=True)
class Sentence:
    """One promise. `told` are the controls that the front page names: those that are not kept, or else the first; `more` are the others."""

    promise: Promise
    bad: Bad
    word: str
    kind: str
    controls: tuple[Shown, ...]

    @property
    def told(self) -> tuple[Shown, ...]:
        amiss = tuple(sorted((one for one in self.controls if one.bad is not Bad.KEPT), key=lambda one: -one.bad))
        return amiss or self.controls[:1]

    @property
    def more(self) -> int:
        return len(self.controls) - len(self.told)


def shown(user: Any, now: datetime) -> list[Shown]:
    """All controls, in the order of the promises; one query."""
    states = {state.control: state for state in ControlState.objects.all()}
    return [_shown(control, states.get(control.name), user, now) for control in controls.all_controls()]


def sentences(found: Sequence[Shown]) -> list[Sentence]:
    return [_sentence(promise, tuple(one for one in found if one.control.promise == promise.number)) for promise in PROMISES.values()]


def _sentence(promise: Promise, found: tuple[Shown, ...]) -> Sentence:
    if not found:
        return Sentence(promise, Bad.UNMEASURED, "no control", "", ())
    worst = max(found, key=lambda one: one.bad)
    return Sentence(promise, worst.bad, worst.word, worst.kind, found)


def is_stale(measured_at: datetime, now: datetime) -> bool:
    return now - measured_at > STALE


def _shown(control: Control, state: ControlState | None, user: Any, now: datetime) -> Shown:
    if state is None:
        return Shown(control, Bad.UNMEASURED, "not measured", "")
    standing = Standing(state.state)
    bad, word, kind = KNOWN[standing], standing.value, KINDS[standing]
    if state.trouble or is_stale(state.measured_at, now):
        word, kind = f"was {word}", "bad" if standing is Standing.BROKEN else "warn"
        bad = max(bad, Bad.UNKNOWN)
    figures, trouble = user.has_perm(SEES_FIGURES), user.has_perm(SEES_TROUBLE)
    return Shown(
        control=control,
        bad=bad,
        word=word,
        kind=kind,
        figure=state.figure if figures else "",
        why=state.why if figures else "",
        todo=state.todo if figures else "",
        since=state.since,
        measured_at=state.measured_at,
        trouble=(state.trouble if trouble else "what was wrong is shown to operators") if state.trouble else "",
        standing=standing if word == standing.value else None,
    )


def overall(found: Sequence[Sentence]) -> tuple[str, str]:
    """In one line, and its colour: `All 14 promises are kept`, `2 broken, 1 at risk, 11 kept`."""
    counts = {bad: sum(one.bad is bad for one in found) for bad in Bad}
    if counts[Bad.KEPT] == len(found):
        return f"All {len(found)} promises are kept", "good"
    told = {Bad.BROKEN: "broken", Bad.AT_RISK: "at risk", Bad.UNKNOWN: "not known", Bad.UNMEASURED: "not measured", Bad.KEPT: "kept"}
    words = ", ".join(f"{counts[bad]} {word}" for bad, word in told.items() if counts[bad])
    worst = max(one.bad for one in found)
    return words, {Bad.BROKEN: "bad", Bad.AT_RISK: "warn", Bad.UNKNOWN: "warn"}.get(worst, "")


def amiss(found: Sequence[Sentence]) -> tuple[Sentence, ...]:
    """Those of which it is known or feared that they are not kept, the worst first."""
    return tuple(sorted((one for one in found if one.bad >= Bad.UNKNOWN), key=lambda one: -one.bad))


def staleness(found: Sequence[Shown], now: datetime) -> str:
    """What is said loudly when the newest measurement is too old, or there is none; empty when all is well."""
    newest = max((one.measured_at for one in found if one.measured_at), default=None)
    if newest is None:
        return f"Nothing was measured yet: the worker does so every minute. {START}"
    if not is_stale(newest, now):
        return ""
    return f"Last measured {in_utc(newest)}, {span(now - newest)} ago: nobody knows how the promises stand now. {START}"


def evidence_of(control: Control, user: Any) -> str:
    """The address of the page that shows it; empty where there is none, or this person may not open it."""
    right = right_of(control.evidence)
    if not control.evidence or (right and not user.has_perm(right)):
        return ""
    return reverse(control.evidence) + (f"?{control.query}" if control.query else "")
