"""The stretch of time that a timeline shows: four weeks, one day, one hour or one minute, cut into parts that lead further in (pure)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

DAYS = 28
YEARS = range(1970, 9000)
DAY, HOUR, MINUTE, SECOND = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1)
# The text of an address for one part, by the part's length.
FORMATS = {DAY: "%Y-%m-%d", HOUR: "%Y-%m-%dT%H", MINUTE: "%Y-%m-%dT%H:%M"}
LABELS = {DAY: "%-d %b", HOUR: "%H:00", MINUTE: "%H:%M", SECOND: ":%S"}
PARTS = {DAY: HOUR, HOUR: MINUTE, MINUTE: SECOND}


class NoMoment(ValueError):
    """A text that is no moment with a zone; the message says how to write it."""


@dataclass(frozen=True, slots=True)
class Zoom:
    """From `start` to `end` in parts of `step`; all in UTC."""

    start: datetime
    end: datetime
    step: timedelta

    @property
    def bounds(self) -> list[datetime]:
        """The beginning of each part, and the end."""
        return [self.start + at * self.step for at in range(round((self.end - self.start) / self.step) + 1)]

    @property
    def key(self) -> str:
        """What stands in the address for it; empty for the four weeks."""
        return f"{self.start:{FORMATS[self.end - self.start]}}" if self.end - self.start in FORMATS else ""

    def key_of(self, part: datetime) -> str:
        """What stands in the address for one of its parts; empty for a second, which is not cut any more."""
        return f"{part:{FORMATS[self.step]}}" if self.step in FORMATS else ""

    def label_of(self, part: datetime) -> str:
        return f"{part:{LABELS[self.step]}}"

    @property
    def title(self) -> str:
        if self.step == DAY:
            return f"{self.start:%-d %b} to {self.end - DAY:%-d %b %Y}"
        if self.step == HOUR:
            return f"{self.start:%-d %B %Y}"
        if self.step == MINUTE:
            return f"{self.start:%-d %B %Y, %H:%M} to {self.end:%H:%M} UTC"
        return f"{self.start:%-d %B %Y, %H:%M} UTC"

    @property
    def around(self) -> Zoom | None:
        """The next larger stretch that holds it; None for the day, which stands in the four weeks, and for those."""
        larger = {MINUTE: DAY, SECOND: HOUR}
        return part(self.start, larger[self.step]) if self.step in larger else None

    def moved(self, steps: int) -> Zoom:
        width = (self.end - self.start) * steps
        return Zoom(self.start + width, self.end + width, self.step)


def part(at: datetime, length: timedelta) -> Zoom:
    """The day, hour or minute that holds the moment."""
    start = at.replace(minute=0, second=0, microsecond=0) if length > MINUTE else at.replace(second=0, microsecond=0)
    start = start.replace(hour=0) if length == DAY else start
    return Zoom(start, start + length, PARTS[length])


def weeks(newest: datetime) -> Zoom:
    """The four weeks that end with that day."""
    end = part(newest, DAY).end
    return Zoom(end - DAYS * DAY, end, DAY)


def zoomed(text: str) -> Zoom | None:
    """What stands in an address; None for what is none."""
    for length, written in FORMATS.items():
        try:
            found = datetime.strptime(text, written).replace(tzinfo=UTC)
        except ValueError:
            continue
        return part(found, length) if found.year in YEARS else None
    return None


def moment_of(text: str, zone: ZoneInfo | None = None) -> datetime:
    """The moment in UTC. A text without a zone is by the clock of `zone`. Raises `NoMoment`."""
    try:
        found = datetime.fromisoformat(text.strip())
        if found.tzinfo is None and zone is None:
            raise NoMoment(f"{text!r} has no zone: write it like 2026-11-24T12:00:00Z, or choose a zone.")
        found = (found if found.tzinfo else found.replace(tzinfo=zone)).astimezone(UTC)
    except NoMoment:
        raise
    except (ValueError, OverflowError):
        raise NoMoment(f"{text!r} is no moment: write it like 2026-11-24T12:00:00Z.") from None
    if found.year not in YEARS:
        raise NoMoment(f"Nothing is known of the year {found.year}.")
    return found


def written(at: datetime) -> str:
    """As `restore --at` takes it: `2026-11-24T12:00:00Z`, with what stands behind the second where there is something."""
    return at.astimezone(UTC).isoformat(timespec="microseconds" if at.microsecond else "seconds").replace("+00:00", "Z")


def trail(zoom: Zoom) -> Iterator[Zoom]:
    """The larger stretches that hold it, the largest first."""
    around = zoom.around
    if around is not None:
        yield from trail(around)
        yield around
