"""The audit trail of a customer: every change of its content with who, when, why, old and new, and where its proof stands (P8).

Read from the live history, in the order in which it was written, some hundred changes at a time: a million need no more memory than a
thousand. What was purged is in no history any more: of such a change its number, model, time and digest are told, and that its content
went. What was destroyed with its customer is not here at all.

21 CFR 11.10(e) and Annex 11 (9) ask for this: computer-made, with the time, who, the old and the new value, why; complete, and in a form
that people can read and print.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import OuterRef, QuerySet, Subquery

from audit import registry
from audit.errors import AuditError
from audit.history_pages import names_of
from audit.models import JournalRow
from audit.old_and_new import Value, values
from audit.registry import Protected
from l2l.reports.allowed import check_sees
from l2l.reports.periods import Days
from subscriptions.ending.states import State
from subscriptions.models import Customer, DeletionRequest

# Changes read at a time: two versions of each are in memory.
BATCH = 250
WORDS = {"+": "added", "~": "changed", "-": "deleted"}
PURGED = "purged"
MISSING = "missing"
NOTES = {
    PURGED: "Its term was over and its content was purged; number and digest stay.",
    MISSING: "Its content is missing and no purge accounts for it: 'manage.py verify_audit' says more.",
}


class NoTrail(AuditError):
    """There is nothing to report on; the message says what is not there."""


@dataclass(frozen=True, slots=True)
class Item:
    """The objects of one model that were ever called so: one, or several where a name was used again."""

    protected: Protected
    text: str
    keys: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """One change. `what` is added, changed, deleted, purged or missing; `number`, `leaf`, `digest` and `segment` are None until it was
    shipped. `at` is by the database's clock, which orders the chain, `dated` by the service's, as pages about history show it.
    `transaction` is the same for all that was written together."""

    number: int | None
    at: datetime
    dated: datetime | None
    what: str
    model: str
    item: str
    key: str
    actor: str
    source: str
    reason: str
    values: tuple[Value, ...]
    transaction: str
    leaf: str | None
    digest: str | None
    segment: int | None


@dataclass(frozen=True, slots=True)
class Trail:
    """What was asked for. `models` are those that it tells of, `left_out` the names of those that the person may not see. `until` is the
    newest change that there was when it was asked for: what is written meanwhile is not in it."""

    customer: Customer
    days: Days
    models: tuple[Protected, ...]
    left_out: tuple[str, ...]
    item: Item | None
    at: datetime
    until: int

    @property
    def words(self) -> str:
        """Which changes, in words."""
        if self.item is not None:
            return f"{self.item.protected.model._meta.verbose_name} “{self.item.text}”"
        return ", ".join(str(one.model._meta.verbose_name_plural) for one in self.models)

    def count(self) -> int:
        return self._journal().count()

    def changes(self) -> Iterator[Change]:
        """In the order in which they were written."""
        rows, behind = self._journal().order_by("id"), 0
        while batch := list(rows.filter(id__gt=behind)[:BATCH]):
            behind = batch[-1].id
            yield from self._changes(batch)

    def _journal(self) -> QuerySet[JournalRow]:
        rows = JournalRow.objects.filter(stream=self.customer.pk, id__lte=self.until, model__in=[one.label for one in self.models])
        if self.days.start:
            rows = rows.filter(written_at__gte=self.days.start)
        if self.days.end:
            rows = rows.filter(written_at__lt=self.days.end)
        if self.item is not None:
            rows = rows.filter(history_id__in=_history(self.item.protected, self.customer.pk, self.item.keys).values("history_id"))
        return rows

    def _changes(self, batch: Sequence[JournalRow]) -> Iterator[Change]:
        found: dict[tuple[str, int], Change] = {}
        for protected in self.models:
            rows = {row.history_id: row for row in batch if row.model == protected.label}
            found |= {(protected.label, change): told for change, told in _told(protected, rows)} if rows else {}
        yield from (found[row.model, row.history_id] for row in batch)


def trail_of(
    customer: Customer,
    days: Days,
    *,
    by: Any,
    now: datetime,
    model: str = "",
    item: str = "",
) -> Trail:
    """The trail of one customer in those days. `by` is who asks: it tells of the models that this person sees; None is whoever is at the
    shell, who may read the database anyway. `model` is one of them by its label, `item` an object of it by its name or key. Raises
    `NotYours`, and `NoTrail` where there is no such model or item."""
    if by is not None:
        check_sees(by, customer)
    if DeletionRequest.objects.filter(customer=customer, state=State.DESTROYED.value).exists():
        raise NoTrail("Everything of this customer was destroyed, its audit trail too: that went to it with the package.")
    known = registry.of_stream(customer.pk)
    seen = visible_models(by, customer.pk) if by is not None else known
    chosen = _chosen(seen, model) if model or item else seen
    if not chosen:
        raise NoTrail("You may see none of the customer's models, so that there is no trail to show.")
    newest = JournalRow.objects.filter(stream=customer.pk).order_by("-id").values_list("id", flat=True).first()
    return Trail(
        customer=customer,
        days=days,
        models=tuple(chosen),
        left_out=tuple(str(one.model._meta.verbose_name_plural) for one in known if one not in seen),
        item=_item(chosen[0], customer.pk, item) if item else None,
        at=now,
        until=newest or 0,
    )


def visible_models(user: Any, stream: uuid.UUID) -> list[Protected]:
    """The customer's models whose rows this person may see."""
    return [one for one in registry.of_stream(stream) if user.has_perm(f"{one.model._meta.app_label}.view_{one.model._meta.model_name}")]


def _chosen(seen: Sequence[Protected], model: str) -> list[Protected]:
    found = registry.by_label(model) if model else None
    if found not in seen or found is None:
        names = ", ".join(one.label for one in seen)
        raise NoTrail(f"Choose the model too; there are: {names}." if not model else f"There is no model {model!r}; there are: {names}.")
    return [found]


def _item(protected: Protected, stream: uuid.UUID, text: str) -> Item:
    """By the name that it has or ever had, else by its key."""
    pk: Any = protected.model._meta.pk
    rows = _rows(protected, stream)
    keys = (
        ()
        if protected.reference == "pk"
        else tuple(rows.filter(**{protected.reference: text}).order_by().values_list(pk.attname, flat=True).distinct())
    )
    if not keys:
        try:
            keys = tuple(rows.filter(**{pk.attname: pk.to_python(text)}).order_by().values_list(pk.attname, flat=True).distinct())
        except (ValidationError, ValueError, OverflowError):
            keys = ()
    if not keys:
        name = protected.model._meta.verbose_name
        raise NoTrail(f"There is and was no {name} {text!r}. What was purged is in no history any more.")
    return Item(protected, text, keys)


def _rows(protected: Protected, stream: uuid.UUID) -> Any:
    history: Any = protected.history_model
    return history.objects.filter(history_stream=stream)


def _history(protected: Protected, stream: uuid.UUID, keys: Sequence[Any]) -> Any:
    return _rows(protected, stream).filter(**{f"{protected.model._meta.pk.attname}__in": keys}).order_by()


def _told(protected: Protected, journal: dict[int, JournalRow]) -> Iterator[tuple[int, Change]]:
    """The changes of one model, with what its history says of them: four queries, and one for each foreign key."""
    history: Any = protected.history_model
    key = str(protected.model._meta.pk.attname)
    earlier = history.objects.filter(**{key: OuterRef(key)}, history_id__lt=OuterRef("history_id")).order_by("-history_id")
    rows = {
        row.history_id: row
        for row in history.objects.filter(history_id__in=journal).annotate(earlier=Subquery(earlier.values("history_id")[:1]))
    }
    before = {row.history_id: row for row in history.objects.filter(history_id__in={row.earlier for row in rows.values()} - {None})}
    names = names_of(protected.model, [*rows.values(), *before.values()])
    for history_id, entry in journal.items():
        row = rows.get(history_id)
        yield history_id, _gone(protected, entry) if row is None else _change(protected, entry, row, before.get(row.earlier), names)


def _change(protected: Protected, entry: JournalRow, row: Any, before: Any, names: Any) -> Change:
    key = str(getattr(row, str(protected.model._meta.pk.attname)))
    return Change(
        what=WORDS[row.history_type],
        item=key if protected.reference == "pk" else str(getattr(row, protected.reference)),
        key=key,
        dated=row.history_date,
        actor=row.history_actor,
        source=row.history_source,
        reason=row.history_change_reason or "",
        values=tuple(values(protected.model, row, before, names)),
        **_of_journal(protected, entry),
    )


def _gone(protected: Protected, entry: JournalRow) -> Change:
    purged = entry.number is not None and entry.salt is None
    return Change(
        what=PURGED if purged else MISSING,
        item="",
        key="",
        dated=None,
        actor="",
        source="",
        reason="",
        values=(),
        **_of_journal(protected, entry),
    )


def _of_journal(protected: Protected, entry: JournalRow) -> dict[str, Any]:
    return {
        "number": entry.number,
        "at": entry.written_at,
        "model": str(protected.model._meta.verbose_name),
        "transaction": str(entry.transaction),
        "leaf": entry.leaf,
        "digest": entry.digest,
        "segment": entry.segment,
    }
