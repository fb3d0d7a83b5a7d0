"""`manage.py access`: who may do what now, and how the quarter's review stands. It changes nothing; the admin signs off."""

from __future__ import annotations

from typing import Any

from audit import clock
from audit.commands import BackOfficeCommand
from audit.reviews import reviewing
from audit.reviews.reviewing import Duty
from audit.reviews.rights import PersonRights, differences, digest_of, documents, rights_now
from l2l.access import locations_in_force


class Command(BackOfficeCommand):
    help = "Lists who has which role, since when and by whom, what changed since the last review, and what the quarter still asks for."

    def work(self, **options: Any) -> None:
        now, locations, last = clock.now(), locations_in_force(), reviewing.last_review()
        people = rights_now(now)
        changes = differences(last.rights, documents(people)) if last else {}
        duties = [reviewing.duty(quarter, locations) for quarter in reviewing.open_quarters(now)]
        lines = [line for one in people for line in _lines(one, changes.get(one.person, []))]
        document = {
            "people": documents(people),
            "digest": digest_of(documents(people)),
            "changes": changes,
            "quarters": [_document(duty) for duty in duties],
        }
        self.report([*lines, *map(_line, duties)], document)


def _lines(one: PersonRights, changes: list[str]) -> list[str]:
    marks = [mark for mark, so in (("shut out", not one.active), ("may approve", one.approves), ("may destroy", one.destroys)) if so]
    about = f"{one.person}: last sign-in {one.last_sign_in or 'never'}" + "".join(f", {mark}" for mark in [*marks, *changes])
    roles = [f"  {held.role} since {held.since}, by {held.by}" + (f", until {held.until}" if held.until else "") for held in one.roles]
    return [about, *roles, *(f"  {beyond}" for beyond in one.beyond)]


def _line(duty: Duty) -> str:
    return f"{duty.quarter}, due {duty.quarter.due_on}: {duty.lacking or 'reviewed and attested'}"


def _document(duty: Duty) -> dict[str, Any]:
    return {
        "quarter": str(duty.quarter),
        "due_on": duty.quarter.due_on.isoformat(),
        "reviewed": duty.reviewed,
        "signed_off_by": [review.signed_off_by for review in duty.reviews],
        "unseen": duty.unseen,
        "unattested": [{"about": about, "location": location} for about, location in duty.unattested],
    }
