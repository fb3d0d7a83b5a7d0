"""How the audit app's own promises stand, minute by minute (P5, P8, P13): rights, the evidence trail, findings, the measuring itself."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from django.contrib.auth import get_user_model
from django.db import connection
from django.utils.timezone import localdate

from audit import chain, controls, findings, grants
from audit.chain import Head
from audit.controls import Control, Flaw, Measured, counted, judged
from audit.models import Event, Grant, Reading, SignedHead
from audit.moments import in_utc, span
from audit.promises import Standing
from audit.two_person import TwoPersonRequest

# Roles are ended every five minutes.
ENDED_WITHIN = timedelta(minutes=15)
# A superuser is for the day on which nothing else works.
IN_USE = timedelta(days=30)
SIGNED_WITHIN, SIGNED_AT_LAST = timedelta(hours=2), timedelta(hours=24)
# So many of the newest events are recomputed each minute; the nightly proof of the system stream reads all.
RECOMPUTED = 200
WATCHED_BACK = timedelta(days=7)
MOST_MISSING = 24
HOUR = timedelta(hours=1)
VERY_LATE = timedelta(days=30)
TELL = "Find out who did that and how; manage.py verify_audit names what does not fit."


# P5


def measure_access(now: datetime) -> Measured:
    """Rights beyond the grants, grants in force beyond their end, and superusers who sign in."""
    expired = Grant.objects.filter(ended_at=None, until__lte=now - ENDED_WITHIN).count()
    users = get_user_model()._default_manager.filter(is_active=True)
    supers = users.filter(is_superuser=True)
    used = supers.filter(last_login__gt=now - IN_USE).count()
    beyond = [one for one in grants.ungranted() if not one.what.startswith("is a superuser")]
    given = Grant.objects.filter(ended_at=None).count()
    figure = f"{counted(given, 'grant')} in force, {len(beyond)} rights beyond them, {counted(supers.count(), 'superuser')}"
    return judged(figure, _of_rights(expired, len(beyond), used), len(beyond) + expired)


def _of_rights(expired: int, beyond: int, used: int) -> Iterator[Flaw]:
    if beyond:
        text = f"{counted(beyond, 'right')} {'stands' if beyond == 1 else 'stand'} on no grant."
        yield Flaw(Standing.BROKEN, text, "People's pages name them: take the right away, and give a role instead.")
    if expired:
        text = f"{counted(expired, 'role')} {'is' if expired == 1 else 'are'} in force though the time is over."
        yield Flaw(Standing.BROKEN, text, "The worker ends them every five minutes: see whether it runs.")
    if used:
        text = f"{counted(used, 'superuser')} signed in within {span(IN_USE)}."
        yield Flaw(Standing.AT_RISK, text, "Work with roles; deactivate the superuser until nothing else helps.")


def measure_guards(now: datetime) -> Measured:
    """Whether the database itself still refuses that one person asks and approves: one constraint for each kind of request."""
    kinds = [kind for kind in _kinds() if not kind._meta.abstract]
    missing = sum(1 for guarded in _guards(kinds) if not guarded)
    figure = f"{len(kinds) - missing} of {counted(len(kinds), 'kind')} of requests guarded by the database"
    if not missing:
        return judged(figure, value=0)
    text = f"The database no longer refuses one person's double part in {counted(missing, 'kind')} of requests."
    return judged(
        figure, [Flaw(Standing.BROKEN, text, "Put the constraints back (manage.py migrate), and look at what was approved.")], missing
    )


def _kinds() -> Iterator[type[TwoPersonRequest]]:
    waiting = list(TwoPersonRequest.__subclasses__())
    for kind in waiting:
        waiting += kind.__subclasses__()
        yield kind


def _guards(kinds: list[type[TwoPersonRequest]]) -> list[bool]:
    """For each kind whether its constraint stands. One statement: Django's own way takes dozens for each table on SQLite."""
    wanted = {kind._meta.db_table: f"{kind._meta.app_label}_{kind._meta.model_name}_two_people" for kind in kinds}
    marks = ", ".join(["%s"] * len(wanted))
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(f"SELECT conname FROM pg_constraint WHERE convalidated AND conname IN ({marks})", list(wanted.values()))  # noqa: S608
            standing = {name for (name,) in cursor.fetchall()}
            return [name in standing for name in wanted.values()]
        cursor.execute(f"SELECT name, sql FROM sqlite_master WHERE type = 'table' AND name IN ({marks})", list(wanted))  # noqa: S608
        made = dict(cursor.fetchall())
    return [f'CONSTRAINT "{name}" CHECK' in made.get(table, "") for table, name in wanted.items()]


# P8


def measure_chain(now: datetime) -> Measured:
    """The newest events recomputed, the newest signed head held against the trail, and how old it is."""
    newest = Event.objects.order_by("-number").first()
    if newest is None:
        return judged("nothing is recorded yet", value=0)
    head = SignedHead.objects.order_by("-id").first()
    signed_at = head.at if head is not None else Event.objects.order_by("number").values_list("at", flat=True)[0]
    age = max(now - signed_at, timedelta())
    flaws = [*_of_links(), *_of_head(head, newest.number), *_of_age(head, age)]
    return judged(
        f"{counted(newest.number, 'event')}, signed {span(age)} ago" if head else f"{counted(newest.number, 'event')}, not signed", flaws
    )


def _of_links() -> Iterator[Flaw]:
    rows = list(Event.objects.order_by("-number")[: RECOMPUTED + 1])[::-1]
    wrong = [row.number for row in rows if not _unedited(row)]
    wrong += [
        row.number
        for before, row in pairwise(rows)
        if chain.misfit(Head(before.number, before.digest), Head(row.number, row.digest), row.leaf)
    ]
    if wrong:
        yield Flaw(
            Standing.BROKEN, f"{counted(len(set(wrong)), 'event')} of the newest {RECOMPUTED} do not fit, from {min(wrong)} on.", TELL
        )


def _unedited(row: Event) -> bool:
    try:
        return row.leaf_now() == row.leaf
    except ValueError:
        return False


def _of_head(head: SignedHead | None, newest: int) -> Iterator[Flaw]:
    if head is None or not head.number:
        return
    there = Event.objects.filter(number=head.number).values_list("digest", flat=True).first()
    if there != head.digest:
        what = "is gone" if there is None else "has another digest"
        yield Flaw(Standing.BROKEN, f"Event {head.number}, up to which the trail is signed, {what}; it ends at {newest}.", TELL)


def _of_age(head: SignedHead | None, age: timedelta) -> Iterator[Flaw]:
    if age > SIGNED_WITHIN:
        text = f"The evidence trail was last signed {in_utc(head.at)}." if head else "The evidence trail was never signed."
        state = Standing.BROKEN if age > SIGNED_AT_LAST else Standing.AT_RISK
        yield Flaw(state, text, "The worker signs it each hour: see whether it runs.")


# P13


def measure_readings(now: datetime) -> Measured:
    """Hours of the last week without a reading, the one that goes on now included."""
    found = list(Reading.objects.filter(hour__gt=now - WATCHED_BACK).order_by("-hour").values_list("hour", "gap_since"))
    if not found:
        newest = Reading.objects.order_by("-hour").values_list("hour", flat=True).first()
        missing = 0 if newest is None else int(WATCHED_BACK / HOUR)
    else:
        current = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        missing = max(int((current - found[0][0]) / HOUR) - 1, 0)
        missing += sum(_missing(hour, since, now) for hour, since in found if since is not None)
    figure = f"{counted(missing, 'hour')} of the last 7 days without a reading"
    if not missing:
        return judged(figure, value=0)
    state = Standing.BROKEN if missing > MOST_MISSING else Standing.AT_RISK
    return judged(
        figure, [Flaw(state, "Of those hours nobody can say how the promises stood.", "See why the worker did not run.")], missing
    )


def _missing(hour: datetime, since: datetime, now: datetime) -> int:
    """Of the gap before that hour what lies in the last week."""
    begin = max(since + HOUR, now - WATCHED_BACK)
    return max(int((hour - begin) / HOUR), 0)


def measure_findings(now: datetime) -> Measured:
    """Findings that are not cleared up by their day."""
    today = localdate(now)
    opened = findings.open_findings()
    late, very = opened.filter(due_on__lt=today).count(), opened.filter(due_on__lt=today - VERY_LATE).count()
    figure = f"{counted(opened.count(), 'finding')} open, {late} overdue"
    flaws = [
        Flaw(Standing.AT_RISK, "Not all were cleared up by their day.", "Findings names them: clear them up, or say why it takes longer.")
    ]
    if very:
        flaws.append(Flaw(Standing.BROKEN, f"{counted(very, 'finding')} overdue for more than {VERY_LATE.days} days."))
    return judged(figure, flaws if late else (), late)


CONTROLS = (
    Control(
        name="access",
        promise="P5",
        title="Rights stand on grants",
        threshold=(
            "Broken: a right stands on no grant, or a role is in force 15 minutes after its end. At risk: a superuser signed in within 30 "
            "days."
        ),
        unit="rights without a grant",
        measure=measure_access,
        evidence="admin:l2l_audit_grant_changelist",
        populations=("grants",),
    ),
    Control(
        name="two_people",
        promise="P5",
        title="What destroys takes two people",
        threshold="Broken: the database does not refuse, for some kind of request, that one person asks and approves.",
        unit="unguarded kinds",
        measure=measure_guards,
        evidence="admin:l2l_audit_event_changelist",
        query="event__exact=request:approved",
        populations=("approvals",),
    ),
    Control(
        name="evidence_trail",
        promise="P8",
        title="Evidence trail whole and signed",
        threshold=(
            f"At risk: not signed for 2 hours. Broken: not for 24 hours, the signed head is not in the trail, or one of the newest "
            f"{RECOMPUTED} events does not fit its digest."
        ),
        unit="",
        measure=measure_chain,
        evidence="admin:l2l_audit_event_changelist",
        populations=("signed_heads", "anchors"),
    ),
    Control(
        name="readings",
        promise="P13",
        title="Controls measured every hour",
        threshold="At risk: an hour of the last 7 days has no reading. Broken: more than 24 hours have none.",
        unit="hours without a reading",
        measure=measure_readings,
        evidence="admin:l2l_audit_reading_changelist",
        populations=("control_changes",),
    ),
    Control(
        name="findings",
        promise="P13",
        title="Findings cleared up in time",
        threshold="At risk: a finding is overdue. Broken: one is overdue for more than 30 days.",
        unit="findings overdue",
        measure=measure_findings,
        evidence="admin:l2l_audit_finding_changelist",
        query="standing=overdue",
        populations=("deviations",),
    ),
)


def register() -> None:
    """Once, when the app is ready."""
    for control in CONTROLS:
        controls.register(control)
