"""The customer statement: what is kept for one customer, how it is protected, who took what, until when all is kept and why (P1 to P14).

Of one customer alone, in its own zone, without content: counts, dates, names of staff. Where a figure is of the whole service (the loss
window) the statement says so, and tells no counts. It is a document first, canonical JSON and signed; paper and CSV show that document and
name its digest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from audit.promises import PROMISES
from audit.signing import Signer
from backups.destroy.checking import sha256_of, text_of
from l2l.reports import agreed, guarded, taken_out
from l2l.reports.periods import Days, on_the_clock
from l2l.reports.sections import Section
from subscriptions.models import Customer

FORMAT = "l2l-statement-1"
WORDS = (
    ("Customer", "You, whose data it is. Everything here is about your data alone."),
    ("Backup", "All your data at one moment, with its whole history and every file, encrypted with your own key."),
    ("Filled, late, missed, excused", "A night with a backup in time; with one that came later; without one; one that was not owed."),
    ("Stood in for", "A week or month without a good backup of its own, for which the nearest good one is kept."),
    ("Location", "Where copies are kept. Offsite: in another place than the service itself. Required: no backup counts without it."),
    ("Loss window", "The time in which a change stood in one place alone: what would be lost if that place burned then."),
    ("Test restore", "A backup that was really restored, and compared row by row."),
    ("Purge", "Content goes because its term is over. Destroy: the end, when everything goes."),
    ("Legal hold", "Somebody with the right to it demands that nothing is removed."),
    ("Digest (SHA-256)", "A number made of a file's every byte: with another byte it is another number."),
)


@dataclass(frozen=True, slots=True)
class Statement:
    """What it says, before it is signed."""

    customer: Customer
    days: Days
    at: datetime
    sections: tuple[Section, ...]

    def document(self, *, sample: bool, software: str) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "title": f"Data protection statement for {self.customer.name}",
            "sample": sample,
            "software": software,
            "customer": {"code": self.customer.code, "name": self.customer.name, "zone": self.customer.zone},
            "made_at": self.at.astimezone(UTC).isoformat(timespec="seconds"),
            "made": on_the_clock(self.at, self.customer.zone),
            "period": {
                "first": self.days.first.isoformat() if self.days.first else None,
                "last": self.days.last.isoformat() if self.days.last else None,
                "words": self.days.words,
            },
            "sections": [one.document() for one in self.sections],
            "promises": {one.number: one.sentence for one in PROMISES.values() if one.number in self._told_of()},
            "words": [list(one) for one in WORDS],
        }

    def _told_of(self) -> set[str]:
        return {promise for one in self.sections for promise in one.promises}


@dataclass(frozen=True, slots=True)
class Signed:
    """A statement as it is handed out: `text` is the JSON to the byte, `sha256` its digest."""

    document: Mapping[str, Any]
    text: str
    sha256: str

    @property
    def fingerprint(self) -> str:
        return str(self.document["signed_by"]["fingerprint"])


def statement_of(customer: Customer, days: Days, *, now: datetime) -> Statement:
    """Figures of the period, and what stands now. Reads only."""
    return Statement(customer, days, now, tuple(_sections(customer, days, now)))


def _sections(customer: Customer, days: Days, now: datetime) -> Iterator[Section]:
    about = guarded.asked(customer, days, now)
    yield agreed.agreements(customer)
    yield agreed.content(customer, days)
    yield agreed.kept(customer, now)
    yield from guarded.all_of(about)
    yield from taken_out.all_of(about)
    yield agreed.purges(customer, days)
    yield agreed.holds(customer)
    yield agreed.end(customer, now)
    yield agreed.sets(customer, now)


def signed(statement: Statement, signer: Signer, *, sample: bool, software: str) -> Signed:
    document = signer.sign(statement.document(sample=sample, software=software))
    text = text_of(document)
    return Signed(document, text, sha256_of(text))
