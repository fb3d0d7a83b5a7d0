"""Carrying out approved requests: some items at a time, each time all or nothing, and resumed after a kill (design section 7)."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from django.core.files.storage import Storage
from django.db import InterfaceError, OperationalError, connection, transaction

from audit import actors, events, two_person
from audit.errors import AuditError, Frozen
from audit.events import Event
from audit.models import JournalRow, Stream
from audit.moments import in_utc
from audit.registry import Protected
from audit.states import State
from backups import leases
from backups.errors import BackupError, Busy, LeaseLost, NoLocation, NotPurgeable
from backups.leases import Held
from backups.models import DoomedFile, ItemExport, Purge, PurgeRequest, PurgeTry
from backups.purge import looks, removing, suppression
from backups.purge.planning import Doomed, Plan, as_text, batched, plan_of, pointing, total_of, versions_of
from backups.purge.reading_back import check_gone, storage_of
from backups.purge.suppression import Digester
from backups.vault import Vault
from subscriptions import holds, past_term
from subscriptions.ending import standing
from subscriptions.holds import OnHold

logger = logging.getLogger(__name__)

# Items that go in one transaction; fewer when they have many versions.
ITEMS_AT_ONCE = 500
VERSIONS_AT_ONCE = 5000
# What another time may bring.
PASSING: tuple[type[Exception], ...] = (Busy, LeaseLost, NoLocation, OperationalError, InterfaceError, Frozen)

Progress = Callable[[str], None]


class NotShipped(NotPurgeable):
    """Changes of the items are not at every location yet: whoever removed them now would leave a gap in the chain there."""


@dataclass(slots=True)
class Report:
    """What one look came to: items that went by customer's code, and trouble by request."""

    items: dict[str, int] = field(default_factory=dict)
    troubles: dict[int, str] = field(default_factory=dict)


def look(vault: Vault, *, only: Iterable[uuid.UUID] | None = None, progress: Progress = lambda _: None) -> Report:
    """Carries out whatever is approved and due, and finishes what a killed process left; of these customers alone when they are given.
    One request's trouble stops no other: it is kept with the request."""
    report = Report()
    for asked in _approved(only):
        try:
            gone = carry_out(vault, asked.pk, progress=progress)
        except Exception as problem:
            if not isinstance(problem, BackupError | AuditError):
                logger.exception("Purge request %s failed", asked.pk)
            report.troubles[asked.pk] = _note(asked, vault.clock(), problem)
        else:
            _note(asked, vault.clock())
            if gone:
                looks.look_at(asked.customer, vault.clock())
            report.items[asked.customer.code] = report.items.get(asked.customer.code, 0) + gone
    for purge in _unfinished(only):
        try:
            _finish_left(vault, purge)
        except (BackupError, AuditError, OSError) as problem:
            report.troubles[purge.request_id] = _note(purge.request, vault.clock(), problem)
    return report


def carry_out(vault: Vault, request_id: int, *, progress: Progress = lambda _: None) -> int:
    """Removes the request's items whose day has come; how many. Once none is left the request is executed.

    Raises `OnHold`, `Frozen`, `PlanChanged` (the request is void), `NotPurgeable`, `StillThere`, `Busy`, `LeaseLost`, `KeysMissing`,
    `NoLocation`, `UploadsUnavailable` and `OSError`; what had gone before stays gone, and the next look goes on.
    """
    asked = PurgeRequest.objects.select_related("customer", "requested_by", "approved_by").get(pk=request_id)
    if asked.state != State.APPROVED:
        raise NotPurgeable(f"The request is {asked.state}: nothing of it goes.")
    with (
        actors.acting(_actor(asked)),
        leases.holding(leases.lease_name(asked.customer_id), doing="purge", clock=vault.clock) as lease,
    ):
        _finish_parts(lease, Purge.objects.filter(customer=asked.customer_id, finished_at=None), vault)
        plan = plan_of(asked)
        two_person.check_plan(asked, plan.document, vault.clock())
        return _Work(vault, asked, plan, lease, progress).done()


@dataclass(slots=True)
class _Work:
    """One try. `left` are the items of the plan that have not gone, by model."""

    vault: Vault
    asked: PurgeRequest
    plan: Plan
    lease: Held
    progress: Progress
    removed: int = 0

    def done(self) -> int:
        today = past_term.today_of(self.asked.customer, self.vault.clock())
        if not any(True for _ in self.plan.due(today)):
            return 0
        digester = suppression.digester_for(self.vault.keys, self.vault.usable()[0], self.asked.customer_id)
        while self._pass(today, digester):
            pass
        stuck = sum(len(due) for _, due in self.plan.due(today))
        if stuck:
            raise NotPurgeable(f"{stuck:,} items stay for now, because rows that do not go point at them.")
        return self.removed

    def _pass(self, today: date, digester: Digester) -> int:
        """Once through the models, children before their parents; how many items went."""
        before = self.removed
        for protected, due in list(self.plan.due(today)):
            for batch in batched(due, ITEMS_AT_ONCE):
                self._remove(protected, batch, digester)
                self.progress(f"{self.removed:,} items gone, {self.plan.items:,} to go")
        return self.removed - before

    def _remove(self, protected: Protected, batch: Sequence[Doomed], digester: Digester) -> None:
        for some in _of_few_versions(protected, self.asked.customer_id, batch):
            self.lease.keep()
            purge = self._remove_together(protected, some, digester)
            if purge is not None:
                _finish_parts(self.lease, [purge], self.vault)

    def _remove_together(self, protected: Protected, some: Sequence[Doomed], digester: Digester) -> Purge | None:
        """The one transaction. None when each of the items has to wait for what points at it."""
        stream = self.asked.customer_id
        with leases.fenced(self.lease):
            _take(stream)
            free = _unpointed(protected, some)
            if not free:
                return None
            _refuse_changed(protected, stream, free)
            found = removing.found(protected, stream, [one.key for one in free])
            _refuse_unshipped(stream, found)
            gone = len(free)
            if gone == self.plan.items:
                two_person.executed(self.asked, plan=self.plan.document, now=self.vault.clock())
            purge = self._recorded(protected, free, found, digester)
            removing.remove(protected, stream, found)
            removing.forget_names(protected, stream, found.keys)
            _end_exports(protected, stream, free, self.vault.clock())
            DoomedFile.objects.bulk_create(
                DoomedFile(purge=purge, model=protected.label, field=one.field, name=one.name) for one in found.files
            )
            self._tell(purge, found, gone)
        for one in free:
            self.plan.going[protected.label].pop(one.key)  # type: ignore[attr-defined]
        self.removed += gone
        return purge

    def _recorded(self, protected: Protected, free: Sequence[Doomed], found: removing.Found, digester: Digester) -> Purge:
        """The row, and in it the part of the suppression list: before the rows go."""
        keys = [digester.item(protected.label, one) for one in found.keys]
        files = [digester.file(one.name) for one in found.files]
        return Purge.objects.create(
            customer_id=self.asked.customer_id,
            request_id=self.asked.pk,
            part=Purge.objects.filter(request=self.asked.pk).count() + 1,
            purged_at=self.vault.clock(),
            counts={protected.label: [len(free), len(found.history_ids), len(found.files)]},
            file_bytes=sum(one.size for one in found.files),
            newest_history=max(found.history_ids),
            key_number=digester.number,
            total=as_text(total_of((protected.label, one) for one in free)),
            digests=suppression.joined([*keys, *files]),
            numbers=found.numbers,
        )

    def _tell(self, purge: Purge, found: removing.Found, gone: int) -> None:
        facts = {"purge": purge.pk, "items": gone, "history": len(found.history_ids), "files": len(found.files), "bytes": purge.file_bytes}
        events.record(Event.PURGED, subject=purge, customer=purge.customer_id, facts=facts)


def _take(stream: uuid.UUID) -> None:
    """Alone with the customer's rows until the commit: writers wait, and a hold or a freeze was there before or comes after."""
    row = Stream.objects.select_for_update().get(pk=stream)
    if row.frozen_at is not None:
        raise Frozen(
            f"The data of {row.name} is frozen since {in_utc(row.frozen_at)}: {row.frozen_reason}. Nothing goes until it is thawed."
        )
    holds.refuse_held(stream)


def _unpointed(protected: Protected, some: Sequence[Doomed]) -> list[Doomed]:
    """Those that no row outside of them points at."""
    keys = {one.key for one in some}
    kept = {target for model, key, target in pointing(protected.model, list(keys)) if model is not protected.model or key not in keys}
    return [one for one in some if one.key not in kept]


def _refuse_changed(protected: Protected, stream: uuid.UUID, free: Sequence[Doomed]) -> None:
    """The plan was checked a moment ago, and before the customer's rows were ours alone."""
    pk = str(protected.model._meta.pk.attname)
    newest: dict[Any, int] = {}
    for key, history_id in versions_of(protected, stream, [one.key for one in free]).values_list(pk, "history_id"):
        newest[key] = max(history_id, newest.get(key, 0))
    if any(newest.get(one.key) != one.newest for one in free):
        raise Busy("Somebody is changing some of these items right now: what is to go is looked at anew.")


def _refuse_unshipped(stream: uuid.UUID, found: removing.Found) -> None:
    """Whatever is made again from history must not be needed any more: each change has its number, and its segment is at every location."""
    waits = removing.waiting_files(stream, [one.name for one in found.files])
    for ids in batched(found.journal_ids, removing.BATCH):
        rows = JournalRow.objects.filter(pk__in=ids)
        segments = {one for one in rows.values_list("segment", flat=True).distinct() if one is not None}
        waits = waits or rows.filter(number=None).exists() or removing.owed_segments(segments)
    if waits:
        raise NotShipped("Changes of these items are not at every location yet: they go once the hot backup has caught up.")


def _end_exports(protected: Protected, stream: uuid.UUID, free: Sequence[Doomed], now: datetime) -> None:
    """What somebody took of them from the backups and may still download goes with the worker's next look."""
    ready = ItemExport.objects.filter(stream=stream, model=protected.label, state=ItemExport.State.READY, expires_at__gt=now)
    ready.filter(key__in=[str(one.key) for one in free]).update(expires_at=now)


def _of_few_versions(protected: Protected, stream: uuid.UUID, batch: Sequence[Doomed]) -> Iterable[list[Doomed]]:
    """The items in runs of about so many versions as one transaction takes. One item is never divided."""
    pk = str(protected.model._meta.pk.attname)
    counts: dict[Any, int] = {}
    for key in versions_of(protected, stream, [one.key for one in batch]).values_list(pk, flat=True).iterator(chunk_size=2000):
        counts[key] = counts.get(key, 0) + 1
    run: list[Doomed] = []
    versions = 0
    for one in batch:
        if run and versions + counts.get(one.key, 0) > VERSIONS_AT_ONCE:
            yield run
            run, versions = [], 0
        run.append(one)
        versions += counts.get(one.key, 0)
    yield run


def _finish_parts(lease: Held, purges: Iterable[Purge], vault: Vault) -> None:
    """After the commit: the files go, and everything is read back. Safe to repeat."""
    for purge in purges:
        for doomed in DoomedFile.objects.filter(purge=purge).order_by("id"):
            lease.keep()
            _remove_file(storage_of(doomed), doomed)
        check_gone(purge)
        with leases.fenced(lease):
            purge.finished_at = vault.clock()
            purge.save()
    _let_sqlite_forget()


def _remove_file(storage: Storage, doomed: DoomedFile) -> None:
    storage.delete(doomed.name)
    if storage.exists(doomed.name):
        raise OSError(f"The upload storage keeps {doomed.name} although it was removed. Look at the rights there.")
    doomed.delete()


def _let_sqlite_forget() -> None:
    """What the write-ahead log still says; `secure_delete` has overwritten it in the file. Readers may hold it up: the next time, then."""
    if connection.vendor == "sqlite" and not connection.in_atomic_block:
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _finish_left(vault: Vault, purge: Purge) -> None:
    with (
        actors.acting(_actor(purge.request)),
        leases.holding(leases.lease_name(purge.customer_id), doing="purge", clock=vault.clock) as lease,
    ):
        _finish_parts(lease, Purge.objects.filter(pk=purge.pk, finished_at=None), vault)


def _approved(only: Iterable[uuid.UUID] | None) -> list[PurgeRequest]:
    found = PurgeRequest.objects.filter(state=State.APPROVED.value).select_related("customer").order_by("requested_at")
    found = found.exclude(customer__in=standing.ended())  # all of it goes, or went
    return list(found if only is None else found.filter(customer__in=list(only)))


def _unfinished(only: Iterable[uuid.UUID] | None) -> list[Purge]:
    found = (
        Purge.objects.filter(finished_at=None).select_related("request__requested_by", "request__approved_by").defer("digests", "numbers")
    )
    return list(found if only is None else found.filter(customer__in=list(only)))


def _note(asked: PurgeRequest, now: datetime, problem: Exception | None = None) -> str:
    """Keeps what stood in the way with the request. A hold is no trouble: it is what keeps the items."""
    trouble = "" if problem is None else _words(problem)
    values = {"tried_at": now, "trouble": trouble, "passing": isinstance(problem, (*PASSING, NotShipped, OnHold))}
    with transaction.atomic():
        PurgeTry.objects.update_or_create(request_id=asked.pk, defaults=values)
    return trouble


def _words(problem: Exception) -> str:
    """What is kept of it. The database's own words may quote values."""
    known = isinstance(problem, BackupError | AuditError | OSError)
    return (str(problem) if known else f"{type(problem).__name__}; the log says more.")[:1000]


def _actor(asked: PurgeRequest) -> actors.Acting:
    """Who approved it acts, for who asked."""
    approver = asked.approved_by
    name = approver.get_username() if approver is not None else "nobody"
    return actors.Acting(
        name=f"{name}, asked by {asked.requested_by.get_username()}",
        user_id=str(approver.pk) if approver is not None else None,
        reason=f"past its term (purge request {asked.pk}): {asked.why}",
        source=f"purge:{asked.pk}",
    )
