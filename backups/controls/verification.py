"""P4: whether every stored byte was read again in time, and what is wrong is mended."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from django.db.models import Count, Min, Q

from audit.controls import Control, Flaw, Measured, counted, judged
from audit.moments import in_utc, span
from audit.promises import Standing
from backups.models import Damage, Location
from backups.verification import stored

# A night may read what is due on it to its end.
GRACE = timedelta(days=1)
SEE_VERIFICATION = "See Verification for what keeps it from reading more."


def measure_verification(now: datetime) -> Measured:
    """The oldest check of anything at each location, and damage that is not mended."""
    places = list(Location.objects.filter(in_force=True))
    oldest = {place: at for place in places if (at := stored.oldest(place)) is not None}
    open_ones = Damage.objects.open().aggregate(
        count=Count("pk"), beyond=Count("pk", filter=Q(beyond_at__isnull=False)), since=Min("found_at")
    )
    flaws = [*_of_damage(**open_ones), *_of_periods(oldest, now)]
    checked = min(oldest.values(), default=None)
    read = f"everything was read within {span(max(now - checked, timedelta()))}" if checked else "nothing is stored yet"
    return judged(f"{counted(open_ones['count'], 'object')} damaged; {read}", flaws, open_ones["count"])


def _of_damage(count: int, beyond: int, since: datetime | None) -> Iterator[Flaw]:
    if beyond:
        text = f"{counted(beyond, 'object')} {'is' if beyond == 1 else 'are'} damaged at every location."
        yield Flaw(Standing.BROKEN, text, "Give back a location that has the right bytes; the finding names the restore points.")
    if count > beyond and since is not None:
        text = f"{counted(count - beyond, 'object')} found damaged and not mended, the oldest since {in_utc(since)}."
        yield Flaw(Standing.BROKEN, text, "Run manage.py verify --mend, or see at Verification what it waits for.")


def _of_periods(oldest: dict[Location, datetime], now: datetime) -> Iterator[Flaw]:
    for place, at in oldest.items():
        late = now - at - timedelta(days=place.recheck_days)
        if late > timedelta():
            state = Standing.BROKEN if late > GRACE else Standing.AT_RISK
            yield Flaw(
                state, f"At {place.name} something was last read {in_utc(at)}; promised is {place.recheck_days} days.", SEE_VERIFICATION
            )


CONTROLS = (
    Control(
        name="verification",
        promise="P4",
        title="Stored bytes read again",
        threshold=(
            "At risk: at a location something was not read again within its period (30 days, unless chosen otherwise). Broken: for a day "
            "longer, or an object was found damaged and is not mended."
        ),
        unit="damaged objects",
        measure=measure_verification,
        evidence="admin:l2l_backups_verificationpass_changelist",
        populations=("verifications", "damages"),
    ),
)
