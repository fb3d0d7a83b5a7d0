"""Populations that one SQL statement gives: what chooses the rows is the very text that the auditor reads (P13).

Both databases read the same text. Values come out in one form: times in UTC with a `Z`, ids with their dashes, flags as yes and no.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Any

from django.db import connection, transaction

from audit import canonical
from audit.formulas import as_text
from audit.models import Event
from audit.populations import Period, Population, Reconciled, Told

FETCH_ROWS = 2000
APART = timedelta(hours=1)
_NAMES = re.compile(r"(?<![:\w]):(begins|ends|first|last)\b")


class As(StrEnum):
    """What a column holds."""

    TEXT = "text"
    NUMBER = "number"
    TIME = "time"
    DAY = "day"
    ID = "id"
    FLAG = "flag"


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    sql: str
    kind: As = As.TEXT


@dataclass(frozen=True)
class Listing:
    """`key` are the columns whose values, joined by `joint`, are a key; rows come in their order. `source` is FROM ... WHERE ...; without
    `evidence` of its own, a member of what events tell of (`told`) has these."""

    name: str
    title: str
    promises: tuple[str, ...]
    key: tuple[Column, ...]
    columns: tuple[Column, ...]
    source: str
    told: tuple[Told, ...] = ()
    more: Callable[[Period], list[Reconciled]] | None = None
    evidence: Callable[[str], dict[str, bytes]] | None = field(default=None, compare=False)
    joint: str = "/"

    @property
    def population(self) -> Population:
        return Population(
            name=self.name,
            title=self.title,
            promises=self.promises,
            filter=self.source,
            columns=("key", *(column.name for column in self.columns)),
            rows=self.rows,
            reconcile=self.reconcile,
            evidence=self.evidence or (self.events_of if self.told else None),
        )

    def events_of(self, key: str) -> dict[str, bytes]:
        """Every event about that row, of whatever time, as it stands in the evidence trail."""
        subjects = {f"{one.label}:{key}" if one.label else key for one in self.told}
        events = Event.objects.filter(subject__in=subjects).order_by("number")
        chained = [{**one.content(), "salt": one.salt, "leaf": one.leaf, "digest": one.digest} for one in events]
        return {"events.json": canonical.dump_bytes({"events": chained})}

    def rows(self, period: Period) -> Iterator[tuple[Any, ...]]:
        asked = (*self.key, *self.columns)
        order = ", ".join(column.sql for column in self.key)
        text = f"SELECT {', '.join(column.sql for column in asked)} {self.source} ORDER BY {order}"
        for values in fetched(text, period):
            told = [plain(value, column.kind) for value, column in zip(values, asked, strict=True)]
            yield (self.joint.join(str(part) for part in told[: len(self.key)]), *told[len(self.key) :])

    def reconcile(self, period: Period) -> list[Reconciled]:
        return [*both_ways(self.rows, self.columns, self.told, period), *(self.more(period) if self.more else ())]


def statement(text: str, period: Period) -> str:
    """The text with the period's moments and days put in, as PostgreSQL reads it."""
    return _NAMES.sub(lambda found: _literal(found[1], period), text)


def _literal(name: str, period: Period) -> str:
    value = getattr(period, name)
    if isinstance(value, datetime):
        return f"TIMESTAMPTZ '{value.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}+00:00'"
    return f"DATE '{value.isoformat()}'"


def fetched(text: str, period: Period) -> Iterator[tuple[Any, ...]]:
    """The rows as the database gives them; memory is bounded."""
    names = _NAMES.findall(text)
    with connection.chunked_cursor() as cursor:
        cursor.execute(_NAMES.sub("%s", text.replace("%", "%%")), [_parameter(name, period) for name in names])
        while rows := cursor.fetchmany(FETCH_ROWS):
            yield from rows


def count(source: str, period: Period) -> int:
    ((found,),) = fetched(f"SELECT count(*) {source}", period)
    return int(found)


def _parameter(name: str, period: Period) -> Any:
    value = getattr(period, name)
    if isinstance(value, datetime):
        return connection.ops.adapt_datetimefield_value(value.astimezone(UTC))
    return connection.ops.adapt_datefield_value(value)


def plain(value: Any, kind: As) -> Any:
    """One value as the pack writes it; empty where there is none."""
    if value is None:
        return ""
    return _PLAIN[kind](value)


def _time(value: Any) -> str:
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


_PLAIN: dict[As, Callable[[Any], Any]] = {
    As.TEXT: as_text,
    As.NUMBER: lambda value: int(value) if float(value).is_integer() else float(value),
    As.TIME: _time,
    As.DAY: lambda value: value.isoformat() if isinstance(value, date) else str(value)[:10],
    As.ID: lambda value: str(value if isinstance(value, uuid.UUID) else uuid.UUID(str(value))),
    As.FLAG: lambda value: "yes" if value else "no",
}


def both_ways(
    rows: Callable[[Period], Iterator[tuple[Any, ...]]], columns: Sequence[Column], told: Sequence[Told], period: Period
) -> list[Reconciled]:
    """Each row has its event, and each event of the period its row."""
    found = []
    for one in told:
        at = [column.name for column in columns].index(one.column) + 1
        found += _both_ways(one, {row[0]: row[at] for row in rows(period)}, period)
    return found


def _both_ways(one: Told, keys: dict[str, str], period: Period) -> list[Reconciled]:
    """The clocks of a row and of its event are two: an event may lie an hour beside the period, and the row of an event within
    the first or the last hour of it may too."""
    subjects, (after, before) = _subjects(one, period), period.widened(-APART)
    inside = {key for key, at in keys.items() if plain(period.begins, As.TIME) <= at < plain(period.ends, As.TIME)}
    well_inside = {key for key, at in subjects.items() if after <= at < before}
    return [
        Reconciled(
            f"rows of which {one.column} lies in the period = those of which an event {one.event} tells",
            len(inside),
            len(inside & subjects.keys()),
            one,
        ),
        Reconciled(
            f"events {one.event} of the period, but of its first and last hour = those with a row",
            len(well_inside),
            len(well_inside & keys.keys()),
            one,
        ),
    ]


def _subjects(one: Told, period: Period) -> dict[str, datetime]:
    """The keys that such events name, with when."""
    label = f"{one.label}:" if one.label else ""
    begins, ends = period.widened(APART)
    events = Event.objects.filter(event=one.event, at__gte=begins, at__lt=ends, subject__startswith=label)
    return {subject.removeprefix(label): at for subject, at in events.order_by("number").values_list("subject", "at").iterator()}


@contextmanager
def one_moment() -> Iterator[None]:
    """All that is read within the block is of one moment; nothing may be written. (Inside a transaction that is open already, of that.)"""
    if connection.in_atomic_block:
        yield
    elif connection.vendor == "postgresql":
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            yield
    else:
        with connection.cursor() as cursor:
            cursor.execute("BEGIN")  # Django's own would be IMMEDIATE, and keep writers out
            try:
                yield
            finally:
                cursor.execute("ROLLBACK")
