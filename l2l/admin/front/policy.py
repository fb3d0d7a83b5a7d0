"""The policy, sentence by sentence: how each promise stands now, and how it stood in the last thirty days. Two queries."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from audit.models import ControlDay
from l2l.admin import standings
from l2l.admin.control_history import Strip, days_by_control, strip, together, until_now
from l2l.admin.standings import Sentence, Shown

DAYS = 30


@dataclass(frozen=True, slots=True)
class Row:
    """One sentence; `told` are the controls that are named, each with the page of its evidence."""

    sentence: Sentence
    told: tuple[tuple[Shown, str], ...]
    strip: Strip


@dataclass(frozen=True, slots=True)
class Policy:
    """`word` and `kind` sum it up; `amiss` are the sentences that are not kept, the worst first; `stale` says why nothing is known now."""

    rows: tuple[Row, ...]
    word: str
    kind: str
    amiss: tuple[Sentence, ...]
    stale: str
    measured_at: datetime | None
    figures: bool
    first_day: date


def policy(user: Any, now: datetime) -> Policy | None:
    """None for who may not see the controls."""
    if not user.has_perm(standings.SEES):
        return None
    found = standings.shown(user, now)
    sentences = standings.sentences(found)
    word, kind = standings.overall(sentences)
    stale = standings.staleness(found, now)
    figures, last = user.has_perm(standings.SEES_FIGURES), now.astimezone(UTC).date()
    first = last - timedelta(days=DAYS - 1)
    history = days_by_control(first)
    return Policy(
        rows=tuple(_row(sentence, history, first, last, user, figures) for sentence in sentences),
        word="Nobody knows how the promises stand now" if stale else word,
        kind="bad" if stale else kind,
        amiss=() if stale else standings.amiss(sentences),
        stale=stale,
        measured_at=max((one.measured_at for one in found if one.measured_at), default=None),
        figures=figures,
        first_day=first,
    )


def _row(sentence: Sentence, history: dict[str, dict[date, ControlDay]], first: date, last: date, user: Any, figures: bool) -> Row:
    days = together([history.get(one.control.name, {}) for one in sentence.controls], first, last)
    days = until_now(days, [one.standing for one in sentence.controls if one.standing])
    told = tuple((one, standings.evidence_of(one.control, user)) for one in sentence.told)
    return Row(sentence, told, strip(days, figures=figures))
