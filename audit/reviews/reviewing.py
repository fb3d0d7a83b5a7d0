"""The review of access: each quarter somebody looks at who may do what and signs it off, and somebody states who can reach what lies
outside of this program (P5, CC6.2, CC6.3).

Nobody confirms their own rights: a quarter is reviewed when everybody's rights were seen by somebody else, so whoever signs off first
needs a second person for their own row. What was signed off is bound to what was seen. A quarter's duties may be done from its beginning
to the end of the next one, in time until 14 days after its end; later they stand as late, and what was left out then cannot be made up
for. Everything here that writes stands inside `audit.acting(...)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils.timezone import localdate

from audit import findings
from audit.errors import AuditError
from audit.events import Event, record
from audit.findings import Kind
from audit.models import AccessReview, Attestation, Stream
from audit.models import Event as Recorded
from audit.registry import SYSTEM_STREAM
from audit.reviews.quarters import Quarter, quarter_of
from audit.reviews.rights import digest_of, documents, rights_now
from audit.roles import ATTESTS, SIGNS_REVIEWS_OFF

About = Attestation.About


class ReviewRefused(AuditError):
    """The review or attestation does not stand as it was given; the message says why."""


@dataclass(frozen=True, slots=True)
class Duty:
    """What a quarter asks for and has. `unseen`: whose rights nobody else has confirmed; with `reviews` empty there was no review.
    `unattested`: what nobody spoke for, as (about, location)."""

    quarter: Quarter
    reviews: tuple[AccessReview, ...]
    unseen: tuple[str, ...]
    unattested: tuple[tuple[str, str], ...]

    @property
    def reviewed(self) -> bool:
        return bool(self.reviews) and not self.unseen

    @property
    def done(self) -> bool:
        return self.reviewed and not self.unattested

    @property
    def lacking(self) -> str:
        """In words; empty when it is done."""
        said = [] if self.reviews else ["nobody signed off the rights"]
        said += [f"nobody else confirmed the rights of {', '.join(self.unseen)}"] if self.unseen else []
        said += [f"nobody attested who can reach {named(*one)}" for one in self.unattested]
        return "; ".join(said)


def named(about: str, location: str) -> str:
    """`the location offsite`, `the database and its own backups`: as people read it."""
    return f"the location {location}" if about == About.BUCKET else str(About(about).label)


def open_quarters(now: datetime) -> list[Quarter]:
    """Those for which something may be done now, the current one first: the one before only if this installation was there in it."""
    current, since = quarter_of(now), owed_since()
    return [current, current.before] if since is not None and since <= current.before else [current]


def owed_since() -> Quarter | None:
    """The quarter in which this installation began; None before anything was recorded."""
    first = Recorded.objects.order_by("number").values_list("at", flat=True).first()
    return quarter_of(first) if first else None


def duty(quarter: Quarter, locations: Sequence[str]) -> Duty:
    """How the quarter stands; `locations` are the names of those in force."""
    reviews = tuple(AccessReview.objects.filter(quarter=str(quarter)).order_by("-signed_off_at", "-pk"))
    given = set(Attestation.objects.filter(quarter=str(quarter)).values_list("about", "location"))
    wanted = [(About.BUCKET.value, name) for name in locations] + [(About.DATABASE.value, ""), (About.KEYS.value, "")]
    return Duty(quarter, reviews, unseen(reviews), tuple(one for one in wanted if one not in given))


def unseen(reviews: Sequence[AccessReview]) -> tuple[str, ...]:
    """Of those in the newest review, whose rights nobody but themselves confirmed."""
    confirmed = {one["person"] for review in reviews for one in review.rights if one["person"] != review.signed_off_by}
    return tuple(one["person"] for one in reviews[0].rights if one["person"] not in confirmed) if reviews else ()


def last_review() -> AccessReview | None:
    return AccessReview.objects.order_by("-signed_off_at", "-pk").first()


def sign_off(*, by: Any, quarter: Quarter, seen: str, remarks: str, locations: Sequence[str], now: datetime) -> AccessReview:
    """The review of that quarter by that person: of all rights as they are now, which must still be those that were seen (`seen` is the
    digest that stood on the page). Raises `ReviewRefused`."""
    _check(by, SIGNS_REVIEWS_OFF, quarter, now)
    with transaction.atomic():
        _take_turns()
        rights: Any = documents(rights_now(now))
        digest = digest_of(rights)
        if digest != seen:
            raise ReviewRefused("The rights changed after you opened the page. Nothing was signed off: look at them again.")
        review = AccessReview.objects.create(
            quarter=str(quarter),
            rights=rights,
            digest=digest,
            remarks=remarks.strip(),
            signed_off_by=by.get_username(),
            signed_off_at=now,
        )
        _close_if_done(quarter, locations, now)
        record(Event.ACCESS_REVIEWED, subject=review, facts={"quarter": str(quarter), "sha256": digest, "people": len(rights)})
    return review


def attest(about: str, location: str, *, people: str, by: Any, quarter: Quarter, locations: Sequence[str], now: datetime) -> Attestation:
    """States who can reach it from outside. `location` is the name of one in force for a bucket, and empty else. Raises `ReviewRefused`."""
    _check(by, ATTESTS, quarter, now)
    if about not in About.values:
        raise ReviewRefused(f"Attest one of {', '.join(About.values)}.")
    if (about == About.BUCKET) != bool(location):
        raise ReviewRefused("A bucket is named by its location, and nothing else is.")
    if location and location not in locations:
        raise ReviewRefused(f"There is no location {location} in force; there are {', '.join(locations) or 'none'}.")
    if not people.strip():
        raise ReviewRefused("Say who can reach it, by name or role, and how you found out.")
    with transaction.atomic():
        _take_turns()
        stated = Attestation.objects.create(
            quarter=str(quarter), about=about, location=location, people=people.strip(), attested_by=by.get_username(), attested_at=now
        )
        _close_if_done(quarter, locations, now)
        facts = {"quarter": str(quarter), "about": about} | ({"location": location} if location else {})
        record(Event.ACCESS_ATTESTED, subject=stated, facts=facts)
    return stated


def look(locations: Sequence[str], now: datetime) -> Duty | None:
    """The newest quarter whose days are over, with its finding opened where something lacks and closed where nothing does any more; None
    when none is owed yet. Safe at any time."""
    overdue = overdue_quarter(now)
    if overdue is None:
        return None
    found = duty(overdue, locations)
    if found.done:
        _close(overdue, now)
    else:
        findings.open_finding(
            Kind.ACCESS_UNREVIEWED,
            subject=_subject(overdue),
            customer=None,
            text=f"{overdue} was to be reviewed by {overdue.due_on}: {found.lacking}.",
            now=now,
        )
    return found


def overdue_quarter(now: datetime) -> Quarter | None:
    """The newest quarter whose duties had to be done by now, if this installation was there in it."""
    before, since = quarter_of(now).before, owed_since()
    newest = before if localdate(now) > before.due_on else before.before
    return newest if since is not None and newest >= since else None


def _subject(quarter: Quarter) -> str:
    return f"access:{quarter}"


def _close_if_done(quarter: Quarter, locations: Sequence[str], now: datetime) -> None:
    if duty(quarter, locations).done:
        _close(quarter, now)


def _close(quarter: Quarter, now: datetime) -> None:
    findings.close_as_mended(Kind.ACCESS_UNREVIEWED, subject=_subject(quarter), resolution="reviewed and attested late", now=now)


def _check(by: Any, right: str, quarter: Quarter, now: datetime) -> None:
    if not by.has_perm(right):
        raise ReviewRefused(f"{by} may not do this: it needs the right {right}.")
    if quarter not in open_quarters(now):
        raise ReviewRefused(f"{quarter} is not open: what may be reviewed now is {' or '.join(map(str, open_quarters(now)))}.")


def _take_turns() -> None:
    """Before anything is read that decides: two people at once see each other's work."""
    Stream.objects.select_for_update(no_key=True).get(pk=SYSTEM_STREAM)
