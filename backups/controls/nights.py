"""P1 and P2: whether every customer has the sets of its nights, and how much would be lost now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta

from audit.controls import Control, Flaw, Measured, counted, judged
from audit.promises import Standing
from backups import nights, policies, runs
from backups.hot import figures
from backups.hot import standing as hot
from backups.nights import Night, NightReport
from subscriptions.models import Customer

NO_CUSTOMERS = "no customers yet"
# A night that is not filled so long after its beginning, while it goes on, is late for certain on most machines.
MORNING = timedelta(hours=8)
NIGHTS_PAGE = "See Nights for what stood in the way; retry, or press “Back up now”."
# Of a night that is over these are no backup; what is complete and not everywhere is P3's.
LACKING = ("missed", "failed", "stopped", "waiting", "running", "unaccounted")


def measure_nights(now: datetime) -> Measured:
    """The newest night that is over, against everybody to whom it was owed; and the one that goes on."""
    versions = policies.versions()
    if not versions:
        return judged("no backup policy", [Flaw(Standing.AT_RISK, "There is no backup policy.", "Run manage.py init.")])
    current = nights.current_night(versions, now)
    report = runs.night_report(current.label - nights.DAY, now)
    flaws = [*_of_the_last(report), *_of_this_one(current, runs.counts_of(current.label), now)]
    return judged(_figure(report), flaws, sum(report.counts.get(column, 0) for column in LACKING))


def _figure(report: NightReport) -> str:
    if not report.owed:
        return f"night of {_day(report.night)}: none was owed" if Customer.objects.exists() else NO_CUSTOMERS
    done = report.counts.get("filled", 0) + report.counts.get("late", 0)
    others = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in sorted(report.counts.items()) if name != "filled" and count)
    return f"night of {_day(report.night)}: {done:,} of {report.owed:,} backed up" + (f" ({others})" if others else "")


def _of_the_last(report: NightReport) -> Iterator[Flaw]:
    counts, night = report.counts, f"of the night of {_day(report.night)}"
    if lacking := sum(counts.get(column, 0) for column in LACKING):
        yield Flaw(Standing.BROKEN, f"{counted(lacking, 'backup')} {night} {_were(lacking)} not made.", NIGHTS_PAGE)
    if late := counts.get("late", 0):
        yield Flaw(Standing.AT_RISK, f"{counted(late, 'backup')} {night} came late.", "See Nights for why.")
    if elsewhere := counts.get("not_everywhere", 0):
        yield Flaw(Standing.AT_RISK, f"{counted(elsewhere, 'set')} {night} {_were(elsewhere)} not at every required location.")
    if paused := counts.get("paused", 0):
        yield Flaw(Standing.AT_RISK, f"{counted(paused, 'backup')} {night} {_were(paused)} paused.", "Resume what need not wait.")
    if report.flawed:
        text = f"{counted(report.flawed, 'set')} {night} lack files that the upload storage had lost before."
        yield Flaw(Standing.AT_RISK, text, "The sets' pages name them: put them back, or state that they are lost.")


def _of_this_one(night: Night, counts: Mapping[str, int], now: datetime) -> Iterator[Flaw]:
    if troubled := sum(counts.get(column, 0) for column in ("failed", "stopped", "missed")):
        yield Flaw(Standing.AT_RISK, f"{counted(troubled, 'backup')} of this night failed or {_were(troubled)} stopped.", NIGHTS_PAGE)
    waiting = counts.get("waiting", 0) + counts.get("running", 0)
    if waiting and now > night.due_at + MORNING:
        hours = int(MORNING.total_seconds() // 3600)
        yield Flaw(Standing.AT_RISK, f"{counted(waiting, 'backup')} of this night still owed {hours} hours after it began.", NIGHTS_PAGE)


def _were(count: int) -> str:
    return "was" if count == 1 else "were"


def _day(night: date) -> str:
    return f"{night:%-d %b %Y}"


def measure_loss_window(now: datetime) -> Measured:
    """What would be lost if this machine burned now, and who ships: as the front page and `hotbackup --status` judge it."""
    if not Customer.objects.exists():
        return judged(NO_CUSTOMERS, value=0)
    found = figures.now(now).without_addresses()
    standing = hot.judged(found)
    age = found.nowhere_else.age(now).total_seconds() if found.nowhere_else is not None else None
    flaws = [Flaw(one.state, one.reason, one.todo) for one in standing.findings]
    return judged(f"{standing.lost} would be lost now ({standing.lost_words})", flaws, age)


CONTROLS = (
    Control(
        name="nights",
        promise="P1",
        title="Nightly backups",
        threshold=(
            "Broken: of the newest night that is over somebody has no backup. At risk: one came late, is paused or not everywhere, or this "
            "night has one that failed or is owed 8 hours after it began."
        ),
        unit="backups lacking",
        measure=measure_nights,
        evidence="admin:l2l_backups_run_changelist",
        populations=("nights", "sets", "customers", "policies"),
    ),
    Control(
        name="loss_window",
        promise="P2",
        title="Loss window",
        threshold=(
            "At risk: a change is not durable at a location for more than 5 seconds, or in the last hour 99 % took more than 1 second. "
            "Broken: for more than 60 seconds, nobody ships, or no location is offsite."
        ),
        unit="seconds",
        measure=measure_loss_window,
        evidence="admin:l2l_backups_hotstate_changelist",
        populations=("hot_hours",),
    ),
)
