"""What would go: a request's items as they are now, together with those that went for it already (P9)."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from itertools import islice
from typing import Any

from django.db import models

from audit import canonical, registry
from audit.registry import Protected
from backups.live_restore.live import key_of, plain
from backups.models import Purge, PurgeRequest
from subscriptions import past_term
from subscriptions.models import Customer
from subscriptions.terms import Rule, Span

BATCH = 500
_MASK = 2**256 - 1


@dataclass(frozen=True, slots=True)
class Doomed:
    """One object that goes: its newest version, and when that was made."""

    key: Any
    newest: int
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose items, by which rule, past their term on which day."""

    customer: Customer
    term: str
    day: date

    @property
    def rule(self) -> Rule:
        return Rule(PurgeRequest.Term(self.term).label)

    @property
    def spans(self) -> list[Span]:
        return past_term.spans_on(self.customer, self.day, (self.rule,))


@dataclass(frozen=True)
class Plan:
    """`going` has the objects by model, children before their parents; `waiting` counts those that stay for now because a row that does not
    go points at them, by model and the pointing model. `gone` are the parts that went already."""

    scope: Scope
    going: Mapping[str, Mapping[Any, Doomed]]
    waiting: Mapping[tuple[str, str], int]
    gone: Sequence[Purge]

    @property
    def items(self) -> int:
        """How many are still to go."""
        return sum(len(found) for found in self.going.values())

    @property
    def counts(self) -> dict[str, int]:
        """Items by model, those that went already included."""
        counts = {label: len(found) for label, found in self.going.items() if found}
        for part in self.gone:
            for label, (items, *_) in part.counts.items():
                counts[label] = counts.get(label, 0) + items
        return dict(sorted(counts.items()))

    @cached_property
    def document(self) -> dict[str, Any]:
        """What an approval binds to: which items, each in its newest version. A part that went leaves its share of the sum."""
        total = total_of((label, one) for label, found in self.going.items() for one in found.values())
        for part in self.gone:
            total += int(part.total, 16)
        return {
            "customer": str(self.scope.customer.pk),
            "term": self.scope.term,
            "day": self.scope.day.isoformat(),
            "models": self.counts,
            "sum": as_text(total),
        }

    def due(self, today: date) -> Iterator[tuple[Protected, list[Doomed]]]:
        """Those whose own last day is over."""
        spans = Scope(self.scope.customer, self.scope.term, min(today, self.scope.day)).spans
        for label, found in self.going.items():
            due = [one for one in found.values() if past_term.is_within(one.changed_at, self.scope.customer, spans)]
            if due:
                yield _protected(label), due


def total_of(items: Iterable[tuple[str, Doomed]]) -> int:
    """The sum of the items' SHA-256, each of its model, key and newest version: whichever order they come or go in. Not yet cut to 256
    bits."""
    total = 0
    for label, one in items:
        key = canonical.dump_bytes(key_of(_protected(label), one.key))
        total += int.from_bytes(hashlib.sha256(b"\0".join((label.encode(), key, str(one.newest).encode()))).digest(), "big")
    return total


def as_text(total: int) -> str:
    """64 hex digits: the sum modulo 2^256."""
    return f"{total & _MASK:064x}"


def make_plan(scope: Scope, gone: Sequence[Purge] = ()) -> Plan:
    """The plan as it is now. About 200 bytes of memory an item."""
    going = {one.label: _doomed(one, scope) for one in reversed(registry.of_stream(scope.customer.pk))}
    return Plan(scope, going, _keep_pointed_at(going), tuple(gone))


def plan_of(asked: PurgeRequest) -> Plan:
    """What the request would do now, and did."""
    scope = Scope(Customer.objects.get(pk=asked.customer_id), asked.term, asked.day)
    return make_plan(scope, list(Purge.objects.filter(request=asked).defer("digests", "numbers")))


def pointing(model: type[models.Model], keys: Sequence[Any]) -> Iterator[tuple[type[models.Model], Any, Any]]:
    """The rows, protected or not, that point at live rows of these primary keys: their model, their key, and the key that they point at."""
    for field in _pointing_fields(model):
        for batch in batched(keys, BATCH):
            found = plain(field.model).filter(**{f"{field.name}__pk__in": batch})
            for key, target in found.values_list("pk", f"{field.name}__pk"):
                yield field.model, key, target


def batched(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    remaining = iter(items)
    while batch := list(islice(remaining, size)):
        yield batch


def _doomed(protected: Protected, scope: Scope) -> dict[Any, Doomed]:
    pk = str(protected.model._meta.pk.attname)
    found = past_term.objects_in(protected, scope.customer, scope.spans)
    return {row[pk]: Doomed(row[pk], row["history_newest"], row["history_changed"]) for row in found.iterator(chunk_size=2000)}


def _keep_pointed_at(going: dict[str, dict[Any, Doomed]]) -> dict[tuple[str, str], int]:
    """Takes out what a row that stays points at, until nothing more has to stay; returns how many, by model and pointing model."""
    waiting: dict[tuple[str, str], int] = {}
    moved = True
    while moved:
        moved = False
        for label, found in going.items():
            for by, kept in _pointed_at(_protected(label), found, lambda model, key: _goes(going, model, key)).items():
                moved = True
                waiting[label, by] = waiting.get((label, by), 0) + len(kept)
                for key in kept:
                    found.pop(key, None)
    return waiting


def _pointed_at(protected: Protected, found: Mapping[Any, Doomed], goes: Callable[[type[models.Model], Any], bool]) -> dict[str, set[Any]]:
    kept: dict[str, set[Any]] = {}
    for model, key, target in pointing(protected.model, list(found)):
        if not goes(model, key):
            kept.setdefault(model._meta.label_lower, set()).add(target)
    return kept


def _goes(going: Mapping[str, Mapping[Any, Doomed]], model: type[models.Model], key: Any) -> bool:
    return key in going.get(model._meta.label_lower, {})


def _pointing_fields(model: type[models.Model]) -> Iterator[Any]:
    for relation in model._meta.get_fields(include_hidden=True):
        if not relation.auto_created or relation.concrete or not (relation.one_to_many or relation.one_to_one):
            continue
        field: Any = relation.field  # type: ignore[union-attr]
        if field.remote_field.on_delete is models.DO_NOTHING and not field.db_constraint:
            continue  # as history rows point: at what may be gone
        yield field


def _protected(label: str) -> Protected:
    found = registry.by_label(label)
    assert found is not None
    return found


def versions_of(protected: Protected, stream: uuid.UUID, keys: Sequence[Any]) -> models.QuerySet[Any, Any]:
    """All history rows of these objects of the stream, unordered."""
    history: models.QuerySet[Any, Any] = models.QuerySet(protected.history_model).order_by()
    return history.filter(**{f"{protected.model._meta.pk.attname}__in": keys}, history_stream=stream)
