"""The recovery itself, step by step; each is skipped when it was done by a run before this one."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from django.db import DatabaseError, transaction

from audit import events, findings, people
from audit.events import Event
from audit.files import UploadsUnavailable
from audit.findings import Kind
from audit.models import Stream
from audit.registry import SYSTEM_STREAM
from audit.signing import BadSignature, verify
from backups import locations, policies
from backups.errors import BackupError, NoLocation, NowhereWhole, StreamEnded
from backups.hot.forks import Fork
from backups.hot.timelines import READ_ONLY
from backups.locations import Place
from backups.manifest import BadManifest
from backups.models import HotState, RecoveredStream, Recovery
from backups.moments.nothing import NO_SET
from backups.recovery import checking, loading, rebuilt, shipped, sources, state, uploads
from backups.recovery import key_numbers as keys
from backups.recovery.reading_once import reading_once
from backups.recovery.sources import Newest
from backups.recovery.state import NOT_BACK, RECOVERING
from backups.stores.contract import StoreError, StoreRefused
from backups.vault import Vault
from subscriptions.models import Customer

Tell = Callable[[str], None]
State = RecoveredStream.State
# What is wrong with one customer and stops no other.
_OF_ONE = (BackupError, StoreError, BadManifest, UploadsUnavailable, DatabaseError)
MOST_TROUBLE = 1000


@dataclass(frozen=True, slots=True)
class Report:
    """What came of it. `seconds` of this run; `stopped` says why nothing may be shipped; `unknown` are streams at the locations of which
    the system stream says nothing."""

    recovery: Recovery
    streams: Sequence[RecoveredStream]
    names: dict[uuid.UUID, str]
    seconds: float
    stopped: str = ""
    segment: int = 0
    unknown: Sequence[str] = ()
    notes: Sequence[str] = field(default_factory=tuple)

    @property
    def whole(self) -> bool:
        """Whether everything is back and the service runs."""
        lossless = all(one.state != State.NOT_BACK and not one.lost for one in self.streams)
        return lossless and not self.stopped and not self.unknown


def ordered(vault: Vault, first: str) -> Vault:
    """The same vault, the named location first. Raises `NoLocation` for one that cannot be used, or that there is none of."""
    places, troubles = vault.usable()
    named = vault.only(first).places[0]
    if first in troubles:
        raise NoLocation(f"{first} cannot be used: {troubles[first]}")
    return replace(vault, places=(named, *(place for place in places if place.name != first)))


def refuse_sample(place: Place, *, sample: bool) -> None:
    """`StoreRefused` for a sample's location in a real home, and the other way round."""
    is_sample = bool(json.loads(place.store.get(locations.FORMAT_FILE)).get("sample"))
    if is_sample and not sample:
        raise StoreRefused(f"{place.name} holds a sample: it is recovered into an empty home that 'recover --sample' marks as one.")
    if sample and not is_sample:
        raise StoreRefused(f"{place.name} holds real backups: they do not come back in a home that is marked as a sample.")


def recover(vault: Vault, location: str, *, accept: Iterable[str] = (), tell: Tell = lambda _: None) -> Report:
    """Brings back all that is not back yet. `accept` are short codes of customers of which an older or incomplete state is taken. Stands
    inside `audit.acting(...)`. Raises `NotEmpty`, `NoLocation`, `OtherSchema`, and for the system stream what reading it raises."""
    began = time.monotonic()
    if state.under_way() is None:
        state.refuse_full()
    recovery = state.begin(location, vault.clock())
    with reading_once(vault.places, vault.spool) as places:
        work = _Work(replace(vault, places=places), recovery, frozenset(accept), tell)
        report_notes = work.carry_out()
    names = {SYSTEM_STREAM: "system", **dict(Stream.objects.values_list("pk", "name"))}
    found = list(RecoveredStream.objects.order_by("stream__name"))
    hot = HotState.objects.get(pk=1)
    recovery.refresh_from_db()
    spent = time.monotonic() - began
    return Report(recovery, found, names, spent, hot.stopped, hot.last_segment, work.unknown(), report_notes)


@dataclass
class _Work:
    """One run of it."""

    vault: Vault
    recovery: Recovery
    accept: frozenset[str]
    tell: Tell
    forks: list[Fork] = field(default_factory=list)

    def carry_out(self) -> list[str]:
        notes: list[str] = []
        with transaction.atomic():
            self.forks = shipped.bring_timelines_back(self.vault)
        if self.recovery.system_at is None:
            self.tell("the system stream: people, customers, decisions, evidence")
            self._system()
        self.vault = replace(self.vault, zone=policies.zone_at(self.vault.clock()))  # by the policy that is back
        for customer in Customer.objects.order_by("code"):
            if not RecoveredStream.objects.filter(pk=customer.pk).exclude(state=State.NOT_BACK).exists():
                self._customer(customer)
        if self.recovery.hot_at is None:
            self.tell("what was shipped")
            notes += self._shipped()
        if self.recovery.released_at is None:
            self._release()
        self._end()
        return notes

    # The system stream

    def _system(self) -> None:
        """With people, and the rows of all streams: frozen until the service is released."""

        def bring_back(newest: Newest, *, accept: bool) -> None:
            loaded = loading.load(SYSTEM_STREAM, newest, self.forks)
            people.bring_back()
            now = self.vault.clock()
            Stream.objects.bulk_create(
                Stream(pk=pk, name=code, frozen_at=now, frozen_reason=RECOVERING) for pk, code in Customer.objects.values_list("pk", "code")
            )
            self._finish(SYSTEM_STREAM, newest, loaded, accept=accept)
            self.recovery.system_at = now
            self.recovery.save(update_fields=["system_at"])

        try:
            self._best(SYSTEM_STREAM, "system" in self.accept, bring_back)
        except (NowhereWhole, BadManifest) as problem:
            raise NowhereWhole(
                f"The system stream cannot be read whole, and nobody else knows whose the backups are: {problem} Name another location "
                "that has it in L2L_LOCATIONS, or take what is left of it with '--accept system'."
            ) from None

    def _best(self, stream: uuid.UUID, accept: bool, bring_back: Callable[..., None]) -> None:
        """From the first choice that can be read whole; each in a transaction of its own, so that nothing is left of one that cannot."""
        first: Exception | None = None
        for choice in sources.choices(self.vault, stream, accept=accept):
            try:
                with choice.opened(self.vault, stream, self.tell) as newest, transaction.atomic():
                    bring_back(newest, accept=accept)
                return
            except (NowhereWhole, BadManifest) as problem:
                first = first or problem
        if first is not None:
            raise first

    # A customer

    def _customer(self, customer: Customer) -> None:
        self.tell(f"customer {customer.code}")

        def bring_back(newest: Newest, *, accept: bool) -> None:
            RecoveredStream.objects.filter(pk=customer.pk).delete()
            rebuilt.forget(customer.pk)
            loaded = loading.load(customer.pk, newest, self.forks)
            row = self._finish(customer.pk, newest, loaded, accept=accept)
            if self.recovery.released_at is not None:
                self._let_in(row)

        try:
            if self._is_ended(customer.pk):
                self._note_ended(customer.pk)
            else:
                self._best(customer.pk, customer.code in self.accept, bring_back)
        except _OF_ONE as problem:
            self._note_not_back(customer.pk, problem)

    def _finish(self, stream: uuid.UUID, newest: Newest, loaded: loading.Loaded, *, accept: bool) -> RecoveredStream:
        """Files, catalogue, read-back: what follows the rows. In their transaction."""
        done = uploads.put_all_back(stream, newest, self.vault.spool, self.tell, accept=accept)
        made = rebuilt.rebuild(replace(self.vault), stream, newest, done.files)
        notes = checking.check(stream, newest, loaded)
        keys.go_on_behind(stream)
        return RecoveredStream.objects.create(
            pk=stream,
            state=State.BACK,
            at=self.vault.clock(),
            set_id=uuid.UUID(newest.found.id) if newest.found.id != NO_SET else None,
            number=loaded.head.number,
            until=newest.until,
            rows=loaded.of("rows"),
            history_rows=loaded.of("history"),
            files=len(done.files),
            behind=newest.behind,
            lost=[*newest.lost, *_lost_files(done)],
            notes=list(dict.fromkeys([*newest.reader.notes, *made.notes, *notes])),
        )

    def _is_ended(self, stream: uuid.UUID) -> bool:
        """Whether a location says so; one whose marker somebody else signed is refused, and the customer waits for a person."""
        name, ended = f"ended/{stream}.json", False
        for place in self.vault.places:
            if place.store.exists(name):
                try:
                    verify(json.loads(place.store.get(name)), self.vault.fingerprint)
                except (BadSignature, ValueError) as problem:
                    raise StreamEnded(
                        f"{place.name} holds a marker that this customer was destroyed, and the kit's signer did not make it ({problem}). "
                        "Find out who did; remove it there if it is false, and run it again."
                    ) from None
                ended = True
        return ended

    def _note_ended(self, stream: uuid.UUID) -> None:
        with transaction.atomic():
            RecoveredStream.objects.update_or_create(pk=stream, defaults={"state": State.ENDED, "at": self.vault.clock()})
            Stream.objects.filter(pk=stream).update(frozen_reason=state.ENDED)

    def _note_not_back(self, stream: uuid.UUID, problem: Exception) -> None:
        """Its content is not there; its sets are known, so that nothing loses sight of them."""
        with transaction.atomic():
            if not RecoveredStream.objects.filter(pk=stream).exists():
                rebuilt.rebuild(replace(self.vault), stream, None, ())
            values = {"state": State.NOT_BACK, "at": self.vault.clock(), "trouble": str(problem)[:MOST_TROUBLE]}
            RecoveredStream.objects.update_or_create(pk=stream, defaults=values)
            Stream.objects.filter(pk=stream).update(frozen_reason=NOT_BACK)

    # What was shipped, and the release

    def _shipped(self) -> list[str]:
        with transaction.atomic():
            done = shipped.bring_back(self.vault, self.forks, self.tell)
            self.recovery.hot_at = self.vault.clock()
            self.recovery.save(update_fields=["hot_at"])
        return done.notes

    def _release(self) -> None:
        """People and processes are let in. Where a location knows more, customers' content stays read-only."""
        stopped = HotState.objects.filter(pk=1).exclude(stopped="").exists()
        now = self.vault.clock()
        with transaction.atomic():
            if RecoveredStream.objects.filter(state=State.NOT_BACK).exists():
                keys.leave_room()
            Stream.objects.filter(pk=SYSTEM_STREAM).update(frozen_at=None, frozen_reason="")
            back = RecoveredStream.objects.filter(state=State.BACK).exclude(pk=SYSTEM_STREAM)
            given = {"frozen_reason": READ_ONLY} if stopped else {"frozen_at": None, "frozen_reason": ""}
            Stream.objects.filter(pk__in=back.values("pk")).update(**given)
            self.recovery.released_at = now
            self.recovery.save(update_fields=["released_at"])
            counts = {one: RecoveredStream.objects.filter(state=one).exclude(pk=SYSTEM_STREAM).count() for one in State}
            facts = {"location": self.recovery.location, "back": counts[State.BACK], "ended": counts[State.ENDED]}
            spent = int((now - self.recovery.started_at).total_seconds())
            events.record(
                Event.RECOVERED,
                subject="service:recovery",
                facts={**facts, "not_back": counts[State.NOT_BACK], "seconds": spent, "stopped": int(stopped)},
            )
        for row in RecoveredStream.objects.all():
            self._tell_finding(row, now)

    def _let_in(self, row: RecoveredStream) -> None:
        """A customer that came back after the release."""
        frozen = {"frozen_reason": READ_ONLY} if HotState.objects.exclude(stopped="").exists() else {"frozen_at": None, "frozen_reason": ""}
        Stream.objects.filter(pk=row.pk).update(**frozen)
        findings.close_as_mended(Kind.NOT_RECOVERED, subject=row.stream, resolution="recovered by a later run", now=self.vault.clock())
        self._tell_finding(row, self.vault.clock())

    def _tell_finding(self, row: RecoveredStream, now: datetime) -> None:
        if row.state == State.NOT_BACK or row.lost:
            customer = row.pk if row.pk != SYSTEM_STREAM else None
            text = row.trouble or " ".join(row.lost)
            findings.open_finding(Kind.NOT_RECOVERED, subject=row.stream, customer=customer, text=text[:2000], now=now)

    def _end(self) -> None:
        if not RecoveredStream.objects.filter(state=State.NOT_BACK).exists():
            self.recovery.ended_at = self.vault.clock()
            self.recovery.save(update_fields=["ended_at"])

    def unknown(self) -> list[str]:
        """Streams that have a key at a location, and of which nobody decided that they are customers."""
        known = {str(pk) for pk in Stream.objects.values_list("pk", flat=True)}
        found: set[str] = set()
        for place in self.vault.places:
            found |= {entry.name.split("/")[1] for entry in place.store.list("keys/")}
        return sorted(found - known)


def _lost_files(done: uploads.PutBack) -> Iterator[str]:
    if done.absent:
        yield f"The bytes of {_files(done.absent)} are in no backup: not durable yet when the machine was lost, or lost before"
    if done.damaged:
        yield f"The bytes of {_files(done.damaged)} are damaged at every location"


def _files(names: Sequence[str]) -> str:
    return "1 file" if len(names) == 1 else f"{len(names):,} files"
