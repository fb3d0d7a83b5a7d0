"""P3: whether what is backed up lies in several places, and one of them is elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from audit.controls import Control, Flaw, Measured, counted, judged
from audit.moments import in_utc, span
from audit.promises import Standing
from backups import nights, policies
from backups.controls.nights import NO_CUSTOMERS
from backups.models import BackupSet, Location, Run
from backups.owed import owed_copies
from subscriptions.models import Customer

# A location may be restarted or moved; what is away for longer keeps nothing for us.
AWAY = timedelta(hours=1)
# More are not counted: a location that was away for long may be owed a million.
MOST_OWED = 10_000
MEND = "Mend the location; it is brought what it lacks by itself."


def measure_copies(now: datetime) -> Measured:
    """Locations in force, sets of nights that are not at all the required ones, and copies that are owed."""
    if not Customer.objects.exists():
        return judged(NO_CUSTOMERS, value=0)
    places = list(Location.objects.filter(in_force=True))
    unprotected = _unprotected(now)
    owed = owed_by_now()
    flaws = [*_of_locations(places, now), *_of_sets(*unprotected), *_of_copies(owed)]
    there = sum(1 for one in places if not one.trouble)
    offsite = sum(1 for one in places if one.offsite and not one.trouble)
    figure = f"{there} of {counted(len(places), 'location')} can be used, {offsite} of them offsite; {_more(owed)} owed"
    return judged(figure, flaws, owed)


def owed_by_now() -> int:
    """Copies that a location lacks and another has, but for those of sets that are just being made and of uploads on their way (P2's)."""
    at_work = BackupSet.objects.filter(state=BackupSet.State.MAKING).values("pk")
    owed = owed_copies().filter(blob__hot=False, location__in_force=True).exclude(blob__made_by__in=at_work)
    return owed[: MOST_OWED + 1].count()


def _unprotected(now: datetime) -> tuple[int, int]:
    """Backups that are whole somewhere and not everywhere: of nights that are over, and of this one."""
    versions = policies.versions()
    if not versions:
        return 0, 0
    current = nights.current_night(versions, now).label
    waiting = Run.objects.filter(kind=Run.Kind.BACKUP, state=Run.State.COMPLETE)
    return waiting.filter(night__lt=current).count(), waiting.filter(night__gte=current).count()


def _of_locations(places: list[Location], now: datetime) -> Iterator[Flaw]:
    if len(places) < 2:
        yield Flaw(Standing.BROKEN, f"There is {counted(len(places), 'location')}; promised are several.", "Name another in L2L_LOCATIONS.")
    if not any(one.offsite for one in places):
        yield Flaw(Standing.BROKEN, "No location is offsite.", "Name one elsewhere in L2L_LOCATIONS and L2L_OFFSITE.")
    for place in (one for one in places if one.trouble):
        seen = place.last_seen_at
        away = now - seen if seen is not None else None
        state = Standing.BROKEN if away is None or away > AWAY else Standing.AT_RISK
        since = f"since {in_utc(seen)} ({span(away)})" if seen is not None and away is not None else "and never could be"
        yield Flaw(state, f"{place.name} cannot be used {since}.", MEND)


def _of_sets(over: int, tonight: int) -> Iterator[Flaw]:
    if over:
        text = f"{counted(over, 'set')} of nights that are over {'is' if over == 1 else 'are'} not at every required location."
        yield Flaw(Standing.BROKEN, text, MEND)
    if tonight:
        text = f"{counted(tonight, 'set')} of this night {'is' if tonight == 1 else 'are'} not at every required location."
        yield Flaw(Standing.AT_RISK, text, MEND)


def _of_copies(owed: int) -> Iterator[Flaw]:
    if owed:
        text = f"{_more(owed)} {'is' if owed == 1 else 'are'} owed to a location."
        yield Flaw(Standing.AT_RISK, text, "The next backup of those customers puts them there.")


def _more(owed: int) -> str:
    return counted(owed, "copy", "copies") if owed <= MOST_OWED else f"more than {MOST_OWED:,} copies"


CONTROLS = (
    Control(
        name="copies",
        promise="P3",
        title="Copies in several locations",
        threshold=(
            "At risk: a location cannot be used, a copy is owed, or a set of this night is not everywhere. Broken: a location is away for "
            "more than an hour, a set of a night that is over is not at every required location, there are fewer than two locations, or "
            "none is offsite."
        ),
        unit="copies owed",
        measure=measure_copies,
        evidence="admin:l2l_backups_location_changelist",
        populations=("copies",),
    ),
)
