"""How the promise of P2 stands: judged from figures alone (pure), for the pages, the front page and `hotbackup --status`.

What counts is what stands nowhere but here: `Lag` is what is not yet durable at a location, or at none of several. Where that is older than
five seconds the promise is at risk, older than a minute it is broken, and so it is when nobody ships.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from audit.moments import in_utc_to_the_second, length
from audit.promises import Standing as State
from backups.hot.durations import UNCOUNTED, Counted

WARNING = timedelta(seconds=5)
BROKEN = timedelta(seconds=60)
# Seconds in which 99 of 100 changes of an hour are to be durable.
P99 = 1.0
# A lease may pass from one leader to the next without an alarm. A leader that holds it and records nothing has even written no idle mark.
TAKEOVER = timedelta(seconds=15)
SILENT = timedelta(minutes=2)
NOTHING = timedelta()

START = "Start it with manage.py work --only shipper; the queue ships every minute meanwhile."
DECIDE = (
    "Put the newest database back; or, if what it lacks is given up, start a new timeline: "
    "manage.py hotbackup --new-timeline --as USER --password-file FILE --reason WHY."
)


@dataclass(frozen=True, slots=True)
class Lag:
    """What is not durable there: rows that changed, and files whose row is durable while their bytes are not. `since` is when the oldest
    of it was written; None when there is nothing. `more`: there is more than was counted."""

    changes: int = 0
    files: int = 0
    since: datetime | None = None
    more: bool = False

    def age(self, now: datetime) -> timedelta:
        return max(now - self.since, NOTHING) if self.since else NOTHING

    @property
    def words(self) -> str:
        """`12 changes and 1 file`."""
        counts = [_count(self.changes, "change"), _count(self.files, "file")]
        words = " and ".join(count for count in counts if count) or "nothing"
        return f"more than {words}" if self.more else words


NO_LAG = Lag()


@dataclass(frozen=True, slots=True)
class Place:
    """One location (`key` of its row): what it lacks; how long changes took in this clock hour and the one before, and today (UTC)."""

    name: str
    offsite: bool
    lag: Lag = NO_LAG
    trouble: str = ""
    last_hour: Counted = UNCOUNTED
    today: Counted = UNCOUNTED
    key: int = 0

    def longest_today(self, now: datetime) -> timedelta:
        """What still waits has taken its time too."""
        return max(timedelta(seconds=self.today.longest), self.lag.age(now))


@dataclass(frozen=True, slots=True)
class Shipping:
    """Who ships: the process that leads (empty: nobody does), since when, when a leader last recorded something, who stands by.
    `unled_since`: the queue ships in the place of a leader since then."""

    holder: str = ""
    since: datetime | None = None
    ticked_at: datetime | None = None
    stand_bys: tuple[str, ...] = ()
    stopped: str = ""
    stopped_at: datetime | None = None
    unled_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Figures:
    """All that the judgement needs. `nowhere_else` is what is durable at no offsite location; None when none is offsite."""

    at: datetime
    places: tuple[Place, ...]
    nowhere_else: Lag | None
    shipping: Shipping

    def without_addresses(self) -> Figures:
        """For people who do not see the locations: a trouble tells an address."""
        hidden = "what was wrong is shown to operators"
        return replace(self, places=tuple(replace(one, trouble=hidden if one.trouble else "") for one in self.places))


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as promised, and what to do about it."""

    state: State
    reason: str
    todo: str


@dataclass(frozen=True, slots=True)
class Standing:
    """The worst finding decides. `lost` is what would be lost if this machine burned now, one number in words, and how bad that is."""

    state: State
    lost: str
    lost_words: str
    lost_state: State
    findings: tuple[Finding, ...]


def judged(figures: Figures) -> Standing:
    findings = tuple(sorted(_findings(figures), key=lambda finding: -finding.state.rank))
    return Standing(findings[0].state if findings else State.KEPT, *_lost(figures), findings)


def state_of_age(age: timedelta) -> State:
    """How bad it is that something waits for so long, or took so long."""
    if age > BROKEN:
        return State.BROKEN
    return State.AT_RISK if age > WARNING else State.KEPT


def _lost(figures: Figures) -> tuple[str, str, State]:
    lag = figures.nowhere_else
    if lag is None:
        return "everything", "no location is offsite", State.BROKEN
    if lag.since is None:
        return "nothing", "every change is durable offsite", State.KEPT
    age = lag.age(figures.at)
    return length(age), f"{lag.words}, the oldest written {in_utc_to_the_second(lag.since)}", state_of_age(age)


def _findings(figures: Figures) -> Iterator[Finding]:
    yield from _of_shipping(figures.shipping, figures.at)
    if not figures.places:
        yield Finding(State.BROKEN, "There is no location.", "Name them in L2L_LOCATIONS, then run manage.py init.")
    elif figures.nowhere_else is None:
        yield Finding(
            State.BROKEN,
            "No location is offsite: if this machine burned now, everything would be lost.",
            "Name a location elsewhere in L2L_LOCATIONS and L2L_OFFSITE, then run manage.py init.",
        )
    yield from _of_lags(figures)
    yield from _of_last_hour(figures.places)


def _of_shipping(shipping: Shipping, now: datetime) -> Iterator[Finding]:
    silent = now - shipping.ticked_at if shipping.ticked_at else None
    if shipping.stopped:
        since = f" since {in_utc_to_the_second(shipping.stopped_at)}" if shipping.stopped_at else ""
        yield Finding(State.BROKEN, f"Shipping is stopped{since}: {shipping.stopped.rstrip('.')}.", DECIDE)
    elif shipping.unled_since is not None:
        yield Finding(State.BROKEN, f"No shipper leads since {in_utc_to_the_second(shipping.unled_since)}.", START)
    elif not shipping.holder and silent is not None and silent <= TAKEOVER:
        yield Finding(State.AT_RISK, "No shipper leads at this moment.", "Wait: one that stands by takes over within seconds.")
    elif not shipping.holder:
        yield Finding(State.BROKEN, f"No shipper leads; {_last_sign(shipping)}.", START)
    elif silent is None or silent > SILENT:
        yield Finding(
            State.BROKEN,
            f"The shipper {shipping.holder} leads and records nothing; {_last_sign(shipping)}.",
            "See what it says, and start it again; another one takes over once its lease is over.",
        )


def _last_sign(shipping: Shipping) -> str:
    return f"the last one recorded something {in_utc_to_the_second(shipping.ticked_at)}" if shipping.ticked_at else "none ever did"


def _of_lags(figures: Figures) -> Iterator[Finding]:
    """What all lack alike has one cause, and is said once."""
    lags = {place.lag for place in figures.places}
    if len(lags) == 1 and len(figures.places) > 1 and not any(place.trouble for place in figures.places):
        yield from _of_lag("Every location", figures.places[0], figures)
    else:
        for place in figures.places:
            yield from _of_lag(place.name, place, figures)


def _of_lag(name: str, place: Place, figures: Figures) -> Iterator[Finding]:
    age = place.lag.age(figures.at)
    state = state_of_age(age)
    if state is not State.KEPT:
        why = f" It could not be used: {place.trouble.rstrip('.')}." if place.trouble else ""
        yield Finding(state, f"{name} lacks {place.lag.words}, the oldest for {length(age)}.{why}", _todo(place, figures))


def _of_last_hour(places: Sequence[Place]) -> Iterator[Finding]:
    slow = {place.name: p99 for place in places if (p99 := place.last_hour.percentile(99)) is not None and p99 > P99}
    if slow:
        took = length(timedelta(seconds=max(slow.values())))
        yield Finding(
            State.AT_RISK,
            f"In the last hour it took {took} until 99 % of the changes were durable at {' and '.join(slow)}; promised is one second.",
            "See whether it was one stretch; else the location or this machine is too slow for what is written.",
        )


def _todo(place: Place, figures: Figures) -> str:
    others = [one for one in figures.places if one.name != place.name]
    if place.trouble:
        return "Mend the location; it is brought what it lacks by itself."
    if not figures.shipping.holder:
        return "It comes when somebody ships again."
    if any(one.lag.age(figures.at) <= WARNING for one in others):
        return "The other locations keep the pace: see whether this one can be reached, and is fast enough."
    return "More is written than is shipped: see what the shipper says, and how busy this machine is."


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}" if number else ""
