"""`manage.py restore_points CUSTOMER`: the sets and the seconds to restore from, as the locations themselves show them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.core.management.base import CommandParser

from audit.commands import BackOfficeCommand
from backups import vault as vaults
from backups.choosing import customer_called
from backups.coverage import Coverage, Hole, Point, Span, covered
from backups.errors import BackupError
from backups.stores.contract import StoreError


class Command(BackOfficeCommand):
    help = "Lists a customer's sets, newest first, and the seconds covered, by location. Reads the locations, not the catalogue."
    known = (BackupError, StoreError)

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("customer", metavar="CUSTOMER", help="short code, or the id when this database does not know the customer")

    def work(self, *, customer: str, **options: Any) -> None:
        found = covered(vaults.from_settings(), customer_called(customer).pk)
        lines = [_line(one) for one in found.points] or [f"No sets yet: 'manage.py backup {customer}' makes one."]
        self.report([*lines, *_seconds(found), *(f"Note: {note}" for note in found.notes)], _document(found))


def _line(one: Point) -> str:
    damaged = f"  DAMAGED beyond mending, found {one.damaged_at:%Y-%m-%d %H:%M %Z}: choose another" if one.damaged_at else ""
    return (
        f"{one.id[:8]}  night of {one.night}  state at {one.snapshot_at:%Y-%m-%d %H:%M:%S %Z}  "
        f"{one.counts['rows']:,} rows, {one.counts['files']:,} files  at {', '.join(one.places)}  {one.tier}: {one.reason}{damaged}"
    )


def _seconds(found: Coverage) -> list[str]:
    if not found.spans and not found.gaps:
        return ["No second is covered yet: 'manage.py hotbackup' ships changes, and a set made since then leads to them."]
    spans = [f"Any second from {_text(one.start)} until {_text(one.end)} at {one.place or 'all locations together'}" for one in found.spans]
    return spans + [f"GAP after {_text(one.after)} until {_text(one.before)}: {one.text}" for one in found.gaps]


def _text(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S.%f %Z}" if moment else "the first change"


def _document(found: Coverage) -> dict[str, Any]:
    return {
        "sets": [_set(one) for one in found.points],
        "seconds": [_span(one) for one in found.spans],
        "gaps": [_gap(one) for one in found.gaps],
        "covered_until": found.until.isoformat() if found.until else None,
        "notes": list(found.notes),
    }


def _set(one: Point) -> dict[str, Any]:
    return {
        "set": one.id,
        "night": one.night.isoformat(),
        "snapshot_at": one.snapshot_at.isoformat(),
        "tier": one.tier,
        "reason": one.reason,
        "counts": one.counts,
        "software": one.software,
        "schema": one.schema,
        "protected": one.protected,
        "damaged_at": one.damaged_at.isoformat() if one.damaged_at else None,
        "number": one.number,
        "timeline": one.timeline,
        "locations": list(one.places),
    }


def _span(one: Span) -> dict[str, Any]:
    return {"location": one.place or None, "from": one.start.isoformat() if one.start else None, "until": one.end.isoformat()}


def _gap(one: Hole) -> dict[str, Any]:
    moments = {name: at.isoformat() if at else None for name, at in (("after", one.after), ("before", one.before))}
    return {"location": one.place or None, "segments": [one.first, one.last], **moments}
