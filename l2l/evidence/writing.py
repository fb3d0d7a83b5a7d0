"""The lists of a pack as files: each population with its condition and its equations, the controls hour by hour, the evidence trail."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from heapq import nsmallest
from typing import Any

from django.db.models import Max, Min

from audit import canonical
from audit.models import Anchor, Event, Reading, SignedHead
from audit.populations import Period, Population, Reconciled
from audit.populations.sql import As, count, plain, statement
from backups.errors import BackupError
from l2l.evidence.verify_evidence import APART, rank, sample_size

HOUR = timedelta(hours=1)
ROWS_A_PIECE = 500
EVENT_COLUMNS = ("number", "event", "at", "actor", "actor_id", "source", "subject", "customer", "facts", "salt", "leaf", "digest")
READING_COLUMNS = ("hour", "measured_at", "control", "state", "worst", "figure", "value", "threshold", "why", "trouble", "software")
CHANGE_COLUMNS = ("hour", "control", "before", "after", "figure", "why")


class NoHead(BackupError):
    """The evidence trail has no signed head."""


def csv_pieces(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[bytes]:
    """CSV as RFC 4180 has it, but for its line ends (LF), in UTF-8."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    for number, row in enumerate(rows, 1):
        writer.writerow(row)
        if number % ROWS_A_PIECE == 0:
            yield _taken(out)
    yield _taken(out)


def _taken(out: io.StringIO) -> bytes:
    data = out.getvalue().encode()
    out.seek(0)
    out.truncate()
    return data


def json_pieces(document: Any) -> list[bytes]:
    return [(json.dumps(document, indent=1, ensure_ascii=False, sort_keys=True) + "\n").encode()]


class Listed:
    """One population on its way into its file: counts its rows and draws the sample while they pass. The `most` smallest ranks are kept,
    which is as many as a sample ever has."""

    def __init__(self, population: Population, period: Period, seed: str, most: int = 40) -> None:
        self.population, self.period, self.seed, self.most = population, period, seed, most
        self.count = 0
        self.reconciled: list[Reconciled] = []
        self._ranked: list[tuple[str, str]] = []

    def pieces(self) -> Iterator[bytes]:
        return csv_pieces(self.population.columns, self._passing())

    def _passing(self) -> Iterator[tuple[Any, ...]]:
        some: list[tuple[str, str]] = []
        for row in self.population.rows(self.period):
            self.count += 1
            some.append((rank(self.seed, self.population.name, str(row[0])), str(row[0])))
            if len(some) >= ROWS_A_PIECE:
                self._keep(some)
                some = []
            yield row
        self._keep(some)

    def _keep(self, some: Iterable[tuple[str, str]]) -> None:
        self._ranked = nsmallest(self.most, [*self._ranked, *some])

    @property
    def sample(self) -> list[str]:
        return [key for _, key in self._ranked[: sample_size(self.count)]]

    def reconcile(self) -> None:
        counted = count(self.population.filter, self.period)
        said = Reconciled("what the database counts by the same condition = rows", counted, self.count)
        self.reconciled = [said, *self.population.reconcile(self.period)]

    @property
    def unreconciled(self) -> list[Reconciled]:
        return [one for one in self.reconciled if not one.holds]

    @property
    def document(self) -> dict[str, Any]:
        """What stands beside the rows."""
        one = self.population
        return {
            "name": one.name,
            "title": one.title,
            "promises": list(one.promises),
            "columns": list(one.columns),
            "rows": self.count,
            "chosen_by": "SELECT ... " + statement(one.filter, self.period),
            "reconciled": [{**asdict(equation), "holds": equation.holds} for equation in self.reconciled],
            "sample": self.sample,
            "has_evidence": one.evidence is not None,
        }


# Controls


def readings(period: Period) -> Iterator[tuple[Any, ...]]:
    """Each control in each hour that was measured."""
    for one in _hours(period):
        for name, said in sorted(one.controls.items()):
            yield (
                plain(one.hour, As.TIME),
                plain(one.at, As.TIME),
                name,
                *(_told(said, field) for field in READING_COLUMNS[3:-1]),
                one.software,
            )


def _told(said: Mapping[str, Any], field: str) -> Any:
    """One field of what was read; the worst state of an hour is its state where nothing else was noted."""
    value = said.get(field) or said.get("state") if field == "worst" else said.get(field)
    return "" if value is None else value


def changes(period: Period) -> Iterator[tuple[Any, ...]]:
    """Where a control stood otherwise, at its worst, than in the reading before."""
    before: dict[str, str] = {}
    for one in _hours(period):
        for name, said in sorted(one.controls.items()):
            state = _told(said, "worst")
            if before.get(name, state) != state or name not in before:
                yield plain(one.hour, As.TIME), name, before.get(name, ""), state, said.get("figure", ""), said.get("why", "")
            before[name] = state


def gaps(period: Period, until: Any) -> Iterator[tuple[Any, ...]]:
    """The stretches of the period, up to `until`, without a reading: from, to, hours."""
    at, over = period.widened()
    ends = min(over, until)
    for hour in _hour_starts(period):
        if hour - at >= HOUR:
            yield plain(at, As.TIME), plain(hour, As.TIME), int((hour - at) / HOUR)
        at = max(at, hour + HOUR)
    if ends - at >= HOUR:
        yield plain(at, As.TIME), plain(ends, As.TIME), int((ends - at) / HOUR)


def _hours(period: Period) -> Iterator[Reading]:
    return Reading.objects.filter(hour__gte=period.begins, hour__lt=period.ends).order_by("hour").iterator()


def _hour_starts(period: Period) -> Iterator[Any]:
    return Reading.objects.filter(hour__gte=period.begins, hour__lt=period.ends).order_by("hour").values_list("hour", flat=True).iterator()


# The evidence trail


@dataclass(frozen=True, slots=True)
class Span:
    """Events `after` up to `last`, both of which signed heads vouch for (`after` 0 is where the trail begins)."""

    after: int
    after_digest: str
    last: int
    digest: str

    @property
    def document(self) -> dict[str, Any]:
        return {"after": self.after, "after_digest": self.after_digest, "last": self.last, "digest": self.digest}


def span_of(period: Period) -> Span:
    """All events of the period, and an hour beside it, between two signed heads. Raises `NoHead`."""
    begins, ends = period.widened(APART)
    events = Event.objects.filter(at__gte=begins, at__lt=ends)
    found = events.aggregate(first=Min("number"), last=Max("number"))
    newest = SignedHead.objects.order_by("-number", "-id").first()
    if newest is None:
        raise NoHead("No head of the evidence trail is signed: 'manage.py init' was never run, or all heads were removed.")
    first, last = found["first"] or newest.number + 1, found["last"] or newest.number
    before = SignedHead.objects.filter(number__lt=first).order_by("-number", "id").first()
    behind = SignedHead.objects.filter(number__gte=last).order_by("number", "id").first() or newest
    after, digest = (before.number, before.digest) if before else (0, "0" * 64)
    return Span(after, digest, behind.number, behind.digest)


def events_of(span: Span) -> Iterator[tuple[Any, ...]]:
    for one in Event.objects.filter(number__gt=span.after, number__lte=span.last).order_by("number").iterator():
        said = one.content()
        yield (
            *(said[name] if said[name] is not None else "" for name in EVENT_COLUMNS[:8]),
            canonical.dumps(one.facts),
            one.salt,
            one.leaf,
            one.digest,
        )


def heads_of(span: Span) -> Iterator[bytes]:
    """The signed heads between, and the one where the span begins, a line each."""
    heads = SignedHead.objects.filter(number__gte=span.after, number__lte=span.last).order_by("number", "id")
    yield from (canonical.dump_bytes(one.document) + b"\n" for one in heads.iterator())


def anchors_of(period: Period) -> Iterator[bytes]:
    """The heads over all chains as they were signed, a line each; events `anchor:sent` tell which left the house."""
    sent = Anchor.objects.filter(at__gte=period.begins, at__lt=period.ends).order_by("day")
    yield from (canonical.dump_bytes(one.document) + b"\n" for one in sent.iterator())
