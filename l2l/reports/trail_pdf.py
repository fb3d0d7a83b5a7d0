"""The audit trail on paper: each change with who, when, why and a table of its values, none of them cut. A long one is refused: nobody
reads ten thousand pages, and a CSV has them all."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from audit.errors import AuditError
from audit.printing import Document, unshown
from l2l.reports.periods import on_the_clock
from l2l.reports.trail import NOTES, WORDS, Change, Trail

# About a third of a page and a sixtieth of a second each.
MOST_CHANGES = 1000
MOST_CHARACTERS = 500_000
PROOF = (
    "Each change has a number in the customer's own chain, a digest of all its values (leaf) and a digest that covers it and every change "
    "before it (chain). The chain's head is signed with each night's backup. To check it: 'manage.py verify_audit' computes every digest "
    "anew and holds it against the signed heads; the package that is returned at the end of the subscription carries the same numbers and "
    "digests with the values, and a program that checks them without us. A digest here that differs from the one there is another change."
)
# Where the clocks of database and service agree nobody needs both.
CLOCKS_APART = timedelta(minutes=1)
WAITS = "not shipped yet: it has no number and no digest so far"


class TooLong(AuditError):
    """More than paper takes."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} is more than a PDF is made for. Take CSV, or choose a shorter period or one item.")


def printed(trail: Trail, *, sample: bool, told: Callable[[Change], None] = lambda _: None) -> bytes:
    """The PDF; `told` hears of each change. Raises `TooLong`."""
    count = trail.count()
    if count > MOST_CHANGES:
        raise TooLong(f"A trail of {count:,} changes")
    title = f"Audit trail of {trail.customer.name}"
    paper = Document(
        title, sample=sample, foot=(f"{title} ({trail.customer.code}), {trail.days.words}", _made(trail)), subject=_made(trail)
    )
    _head(paper, trail, count)
    lacking = length = 0
    for change in trail.changes():
        told(change)
        length += sum(len(one) for value in change.values for one in (value.field, value.old, value.new))
        if length > MOST_CHARACTERS:
            raise TooLong(f"A trail with more than {MOST_CHARACTERS:,} characters")
        _change(paper, change, trail.customer.zone)
        lacking += _unshown(change)
    _end(paper, count, lacking)
    return paper.pdf()


def _made(trail: Trail) -> str:
    return f"Made {on_the_clock(trail.at, 'UTC')}"


def _head(paper: Document, trail: Trail, count: int) -> None:
    paper.facts(
        [
            ("Customer", f"{trail.customer.name} ({trail.customer.code})"),
            ("Of what", trail.words),
            *([("Objects of that name", f"{len(trail.item.keys)}")] if trail.item and len(trail.item.keys) > 1 else []),
            ("Period", trail.days.words),
            ("Changes", f"{count:,}"),
            *([("Not shown", f"{', '.join(trail.left_out)}: whoever made this report may not see them")] if trail.left_out else []),
            ("Made", f"{on_the_clock(trail.at, trail.customer.zone)} ({on_the_clock(trail.at, 'UTC')})"),
        ]
    )
    paper.paragraph(
        "Every change of these items in the period, in the order in which they were written: computer-made, with the database's time. "
        f"“—” stands for no value; “↵” for a line break of the value itself. Times are those of {trail.customer.zone} and UTC.",
        small=True,
    )


def _change(paper: Document, change: Change, zone: str) -> None:
    number = f"No. {change.number}" if change.number is not None else "Not numbered yet"
    paper.heading(f"{number}: {change.model} {change.item or 'without its name'} {change.what}")
    note = NOTES.get(change.what, "")
    paper.facts(
        [
            ("When", _when(change, zone)),
            *([("What", note)] if note else [("Who", _who(change)), ("Why", change.reason or "no reason was given")]),
        ]
    )
    _values(paper, change)
    if not change.values and not note:
        paper.paragraph("It was saved, and no value differs from the one before.", small=True)
    paper.paragraph(_proof(change), small=True)


def _values(paper: Document, change: Change) -> None:
    """What was added had nothing before, and what was deleted has nothing now: one column less."""
    if change.what == WORDS["+"]:
        paper.table(("value", "new"), [(one.field, one.new) for one in change.values], (44, 130))
    elif change.what == WORDS["-"]:
        paper.table(("value", "last value, now gone"), [(one.field, one.old) for one in change.values], (44, 130))
    else:
        paper.table(("value", "old", "new"), [(one.field, one.old, one.new) for one in change.values], (44, 65, 65))


def _when(change: Change, zone: str) -> str:
    when = f"{on_the_clock(change.at, zone)} ({on_the_clock(change.at, 'UTC')})"
    off = change.dated is not None and abs(change.dated - change.at) > CLOCKS_APART
    return f"{when}; by the service's clock {on_the_clock(change.dated, 'UTC')}" if change.dated and off else when


def _who(change: Change) -> str:
    return f"{change.actor}, through {change.source}" if change.source else change.actor


def _proof(change: Change) -> str:
    if change.number is None:
        return f"Proof: {WAITS}"
    where = f"segment {change.segment}, " if change.segment is not None else ""
    return f"Proof: {where}leaf {change.leaf}, chain {change.digest}; transaction {change.transaction[:8]}"


def _unshown(change: Change) -> int:
    words = (change.item, change.actor, change.reason, *(one for value in change.values for one in (value.field, value.old, value.new)))
    return sum(unshown(one) for one in words)


def _end(paper: Document, count: int, lacking: int) -> None:
    if not count:
        paper.paragraph("Nothing was changed in that period.")
    paper.heading("How this is proved")
    paper.paragraph(PROOF, small=True)
    if lacking:
        paper.paragraph(
            f"{lacking:,} characters of the values stand here as their code points ([U+81EA]): the paper's font lacks them, or they are "
            "written from right to left. The CSV of the same report has them as they are.",
            small=True,
        )
    paper.paragraph("End of the report.", small=True)
