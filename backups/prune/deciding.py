"""Weeks and months that are over get their set, and each set its date; recorded for many streams together."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from backups import retention
from backups.leases import Held, fenced
from backups.models import BackupSet, RetentionLook, Run, Slot
from backups.policy import Policy
from backups.prune.facts import Facts, Recorded
from backups.retention import CLOCKS_PART, Choice, Decision
from backups.slots import DAY, Period, Tier, night_of, periods
from backups.statements import change_each

_DATED = f"UPDATE {BackupSet._meta.db_table} SET goes_at = %s, kept_why = %s, kept_policy = %s WHERE id = %s"  # noqa: S608
# When nothing more is owed to a stream, its periods are looked at so often all the same.
AT_LEAST = timedelta(days=7)
ON_HOLD = "a legal hold is open"


@dataclass(frozen=True, slots=True)
class Decided:
    """One stream: `chosen` are the periods that close now (those in `excused` with no set), `replaced` those whose set is damaged beyond
    mending, with the damaged one's id. `waits` says why nothing may go, whatever its age; empty when nothing stands in the way."""

    facts: Facts
    policy: Policy
    at: datetime
    chosen: tuple[Choice, ...]
    excused: frozenset[str]
    replaced: tuple[tuple[Choice, str], ...]
    decisions: tuple[Decision, ...]
    look_at: datetime
    waits: str

    @property
    def going(self) -> list[Decision]:
        return [] if self.waits else [one for one in self.decisions if not one.kept]

    @property
    def overdue(self) -> list[Decision]:
        """What no age keeps any more, whether it goes or not."""
        return [one for one in self.decisions if one.goes_at < self.at]


def decide(
    facts: Facts,
    policy: Policy,
    now: datetime,
    *,
    is_excused: Callable[[uuid.UUID, Period], bool],
    read: Iterable[str] = (),
    clock_cleared: bool = False,
) -> Decided:
    """What is to be done for one stream now. Nothing is written."""
    closed, still_open = _periods(facts, policy, now)
    chosen, excused = [], set()
    for period in closed:
        choice = retention.choose(period, facts.sets, now)
        if (choice.set_id is None or choice.stands_in) and is_excused(facts.stream, period):
            choice = Choice(period, None)
            excused.add(period.key)
        chosen.append(choice)
    damaged = facts.damaged_choices
    replaced = [(retention.choose(choice.period, facts.sets, now), choice.set_id or "") for choice in damaged]
    standing = [choice for choice in facts.choices if choice not in damaged]
    choices = [*standing, *chosen, *(choice for choice, _ in replaced)]
    about = _to_decide(facts, choices, now) if facts.partial else None
    decisions = retention.decided(
        facts.sets, choices, still_open, policy, facts.term, now, held=facts.held, read=frozenset(read), about=about
    )
    look_at = min((period.closes_at(policy.zone) for period in still_open), default=now + AT_LEAST)
    waits = _waits(facts, now, clock_cleared)
    return Decided(facts, policy, now, tuple(chosen), frozenset(excused), tuple(replaced), tuple(decisions), look_at, waits)


def needs_all(facts: Facts, policy: Policy, now: datetime) -> bool:
    """Whether what was read of a stream in part does not do: the newest sets are not in it, or a period needs one that stands in."""
    if not facts.tells_the_newest:
        return True
    closed, _ = _periods(facts, policy, now)
    nights = [one.night for one in facts.sets if one.good and one.at <= now]
    return any(all(period.distance(night) for night in nights) for period in closed)


def _to_decide(facts: Facts, choices: Iterable[Choice], now: datetime) -> set[str]:
    """The sets whose date came, and those that were just chosen."""
    known = set(facts.choices)
    fresh = {choice.set_id for choice in choices if choice not in known and choice.set_id is not None}
    return fresh | {ident for ident, recorded in facts.recorded.items() if recorded.goes_at is None or recorded.goes_at < now}


def _periods(facts: Facts, policy: Policy, now: datetime) -> tuple[list[Period], list[Period]]:
    """The weeks and months that are over and not decided, and those that are not over."""
    closed: list[Period] = []
    still_open: list[Period] = []
    if facts.first is None and not facts.decided_to:
        return closed, still_open
    # A set that was labelled in a zone further east may be of a night that has not begun here.
    newest = max([night_of(now, policy.zone), *(one.night for one in facts.sets if one.at <= now)])
    for tier in (Tier.WEEK, Tier.MONTH):
        first = facts.decided_to[tier] + DAY if tier in facts.decided_to else facts.first
        if first is None:
            continue
        for period in periods(tier, first, min(facts.last or newest, newest)):
            (closed if period.closes_at(policy.zone) <= now else still_open).append(period)
    return closed, still_open


def _waits(facts: Facts, now: datetime, clock_cleared: bool) -> str:
    ahead = [one.at for one in facts.sets if one.at > now + CLOCKS_PART]
    if ahead and not clock_cleared:
        return f"the clock is in doubt: a set is dated {max(ahead):%Y-%m-%d %H:%M} UTC"
    return retention.too_old(facts.sets, now)


def is_excused(stream: uuid.UUID, period: Period) -> bool:
    """Whether a person excused every night of the period that was owed."""
    nights = Run.objects.filter(stream=stream, kind=Run.Kind.BACKUP, night__range=(period.first, period.last))
    states = set(nights.values_list("state", flat=True).distinct())
    return states == {Run.State.EXCUSED}


# Recording


def record(lease: Held, decided: Sequence[Decided]) -> int:
    """Writes the choices, dates and next looks, in one transaction of the pass; returns how many periods were decided."""
    with fenced(lease):
        slots = [_slot(one, choice) for one in decided for choice in one.chosen]
        Slot.objects.bulk_create(slots, batch_size=500, ignore_conflicts=True)
        for one in decided:
            for choice, damaged in one.replaced:
                _replace(one, choice, damaged)
        _date(decided)
        RetentionLook.objects.bulk_create(
            [_look(one) for one in decided],
            batch_size=500,
            update_conflicts=True,
            unique_fields=["stream"],
            update_fields=["look_at", "policy", "years", "weeks_to", "months_to", "waits"],
        )
    return len(slots)


def _slot(one: Decided, choice: Choice) -> Slot:
    period = choice.period
    return Slot(
        stream_id=one.facts.stream,
        key=period.key,
        first=period.first,
        last=period.last,
        state=_state(choice, period.key in one.excused),
        backup_set_id=choice.set_id,
        nights_off=choice.nights_off,
        policy=one.policy.number,
        decided_at=one.at,
    )


def _state(choice: Choice, excused: bool = False) -> str:
    if choice.set_id is None:
        return Slot.State.EXCUSED if excused else Slot.State.MISSED
    return Slot.State.STOOD_IN if choice.stands_in else Slot.State.FILLED


def _replace(one: Decided, choice: Choice, damaged: str) -> None:
    slot = Slot.objects.get(stream=one.facts.stream, key=choice.period.key)
    if choice.set_id is None and slot.state == Slot.State.MISSED:
        return
    instead = f"the set {choice.set_id[:8]} takes its place" if choice.set_id else "there is no other"
    slot.note = f"{slot.note}\n{one.at:%Y-%m-%d}: the set {damaged[:8]} was found damaged beyond mending; {instead}.".strip()
    slot.backup_set_id = uuid.UUID(choice.set_id) if choice.set_id else slot.backup_set_id
    slot.state, slot.nights_off, slot.policy = _state(choice), choice.nights_off, one.policy.number
    slot.save()


def _date(decided: Iterable[Decided]) -> None:
    """Each set's date and reason by age, where they moved."""
    moved = []
    for one in decided:
        for decision in one.decisions:
            new = Recorded(decision.goes_at, by_age(decision), one.policy.number)
            if new != one.facts.recorded[decision.set_id]:
                moved.append((new.goes_at, new.why, new.policy, uuid.UUID(decision.set_id)))
    change_each(_DATED, moved)


def by_age(decision: Decision) -> str:
    """Why its age keeps the set, in words; what holds at any age is asked when somebody looks."""
    dated = [reason.words for reason in decision.reasons if reason.until is not None]
    return ("; ".join(dict.fromkeys(dated)) or decision.why_it_goes)[:300]


def _look(one: Decided) -> RetentionLook:
    decided_to = dict(one.facts.decided_to)
    for choice in one.chosen:
        decided_to[choice.period.tier] = choice.period.last
    waits = (ON_HOLD if one.facts.held else one.waits) if one.overdue else ""
    return RetentionLook(
        stream_id=one.facts.stream,
        look_at=one.look_at,
        policy=one.policy.number,
        years=one.facts.term.years,
        weeks_to=decided_to.get(Tier.WEEK),
        months_to=decided_to.get(Tier.MONTH),
        waits=waits[:500],
    )
