"""The destroyer's look: what is approved and cooled off begins, what has begun goes on, what is done is looked at again (P12).

Nothing here trusts the one before: each look lists anew, each step is safe to repeat, and a killed process is gone on with.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import DatabaseError, transaction

import audit
from audit import actors, findings, freezes
from audit.errors import AuditError
from audit.events import Event, record
from audit.two_person import PlanChanged
from backups import leases
from backups.destroy import catalogue_rows, content_rows, disk, inventory, marker, segments, stages, steps, stored_objects, sweeping, texts
from backups.destroy import upload_files as uploads
from backups.destroy.planning import plan_of, still_holds, stored_plan
from backups.destroy.steps import Gone, Step
from backups.errors import BackupError, Busy, LeaseLost, NoLocation, NotDestroyed, NotPlanned
from backups.hot import timelines
from backups.leases import Held, fenced
from backups.locations import Place
from backups.models import DestructionSweep, DestructionTry
from backups.prune import clock_doubt
from backups.stores.contract import StoreError
from backups.vault import Vault
from subscriptions.ending import approving, clock, destroying
from subscriptions.ending.states import State
from subscriptions.holds import OnHold
from subscriptions.models import DeletionRequest

logger = logging.getLogger(__name__)

ENDED = "destroyed: nothing is written for this customer any more"
# What one request's data or locations can cause; it stops no other request.
TROUBLES: tuple[type[Exception], ...] = (BackupError, StoreError, AuditError, OSError, DatabaseError)
DAY = timedelta(days=1)

Progress = Callable[[str], None]


@dataclass(slots=True)
class Report:
    """What one look came to, by customer's code: which began, which had an approval that holds no more (with the reasons), what stands in
    the way, and of which everything is gone by now."""

    begun: list[str] = field(default_factory=list)
    void: dict[str, list[str]] = field(default_factory=dict)
    troubles: dict[str, str] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)


def look(vault: Vault, now: datetime, *, only: Iterable[uuid.UUID] | None = None, progress: Progress = lambda _: None) -> Report:
    """One look at all requests (of these customers alone when they are given). One request's trouble stops no other: it is kept with it.

    Raises `Stopped` while the database is behind a location, `ClockInDoubt`: then nothing is destroyed at all.
    """
    timelines.refuse_stopped()
    clock_doubt.refuse_doubtful(vault, now)
    wanted = None if only is None else set(only)
    report = Report()
    for request in _concerned(now):
        if wanted is None or request.stream in wanted:
            _look_at(vault, request, now, report, progress)
    return report


def _concerned(now: datetime) -> list[DeletionRequest]:
    under_way = DeletionRequest.objects.filter(state=State.DESTROYING.value).select_related("customer").order_by("begun_at")
    swept = DestructionSweep.objects.filter(stage=DestructionSweep.Stage.WEEK, clean=True).values("request")
    destroyed = DeletionRequest.objects.filter(state=State.DESTROYED.value).exclude(pk__in=swept).select_related("customer")
    return [*under_way, *destroying.ready(now), *destroyed.order_by("destroyed_at")]


def _look_at(vault: Vault, request: DeletionRequest, now: datetime, report: Report, progress: Progress) -> None:
    code, trouble = request.customer.code, ""
    _count(request, now)
    with audit.acting(_actor(request)):
        try:
            if request.state == State.APPROVED:
                reasons = begin(vault, request, progress)
                if reasons:
                    report.void[code] = reasons
                    return
                report.begun.append(code)
            trouble = go_on(vault, request, progress)
        except TROUBLES as problem:
            if not isinstance(problem, BackupError | StoreError | AuditError | OSError):
                logger.exception("Destruction %s failed", request.pk)
            trouble = _told(problem)
        if _note(request, trouble, vault.clock()):
            _state_what_remains(vault, request, trouble)
    if trouble:
        report.troubles[code] = trouble
    elif DestructionSweep.objects.filter(request=request, round=steps.round_of(request), clean=True).exists():
        report.gone.append(code)


def begin(vault: Vault, request: DeletionRequest, progress: Progress = lambda _: None) -> list[str]:
    """The point of no return: planned anew, held against what was approved, and begun in one fenced transaction. Returns why the approval
    holds no more; it is void then, and nothing was touched.

    Raises `NoLocation` unless every location answers, `OnHold`, `MoveRefused`, `Busy`, `LeaseLost`.
    """
    with leases.holding(leases.lease_name(request.stream), doing="destroy", clock=vault.clock) as lease:
        reasons, then = _why_void(vault, request, lease, progress)
        if not reasons:
            try:
                with fenced(lease):
                    begun = destroying.begin(request, plan=then, now=vault.clock())
                    freezes.freeze(request.stream, reason=ENDED)
                    if not _unwritten(request, then):
                        raise PlanChanged
            except PlanChanged:
                reasons = ["What would be destroyed changed at the last moment."]
            else:
                request.state, request.begun_at = begun.state, begun.begun_at
    if reasons:
        with audit.because(f"the approval holds no more: {reasons[0]}"[:500]):
            approving.void(request, why=" ".join(reasons)[:1000], now=vault.clock())
    return reasons


def _why_void(vault: Vault, request: DeletionRequest, lease: Held, progress: Progress) -> tuple[list[str], dict[str, Any]]:
    try:
        then = stored_plan(request)
    except NotPlanned as problem:
        return [str(problem)], {}
    now = plan_of(vault, request, progress, lease.keep)
    return [*still_holds(then, now.document), *now.waits], then


def _unwritten(request: DeletionRequest, then: dict[str, Any]) -> bool:
    """Asked again with the customer's stream in our hands: nobody wrote between the comparison and the begin."""
    rows = inventory.in_database(request.stream)
    return rows.journal <= then["journal"] and all(rows.live[label] <= then["live"].get(label, 0) for label in rows.live)


def go_on(vault: Vault, request: DeletionRequest, progress: Progress = lambda _: None) -> str:
    """Every step that is not done, then the sweep that is due. Returns what still stands in the way; empty when there is nothing.

    Raises `Busy`, `LeaseLost`, `NoLocation`, and what the certificate raises.
    """
    if request.state == State.DESTROYING:
        with leases.holding(leases.lease_name(request.stream), doing="destroy", clock=vault.clock) as lease:
            trouble = _Work(vault, request, lease, progress).carry_out()
        if trouble:
            return trouble
    return sweeping.sweep_due(vault, request, lambda: wanted(vault, request), progress)


def wanted(vault: Vault, request: DeletionRequest) -> list[tuple[str, str]]:
    """(step, location) of everything that must be done in a round."""
    names = [place.name for place in vault.places]
    return [(step.value, name) for step in Step for name in (names if step in steps.AT_LOCATIONS else [""])]


@dataclass(slots=True)
class _Work:
    """One look at one request whose destruction has begun, under the customer's lease."""

    vault: Vault
    request: DeletionRequest
    lease: Held
    progress: Progress
    down: dict[str, str] = field(default_factory=dict)

    def carry_out(self) -> str:
        """What stands in the way still, in words; a hold stops everything at once."""
        _, self.down = self.vault.usable()
        self._note_out_of_reach()
        places = [place for place in self.vault.places if self._mark(place)]
        if not places:
            raise NoLocation("No location can be used: " + "; ".join(f"{name}: {why}" for name, why in self.down.items()))
        self._step(Step.ROWS, self._rows)
        self._step(Step.UPLOADS, self._uploads)
        self._step(Step.TEXTS, self._texts)
        self._step(Step.SEGMENTS, self._segments)
        for place in self.vault.places:
            self._at(Step.ASIDE, place, self._aside)
            self._at(Step.OBJECTS, place, self._objects)
        self._step(Step.PACKAGE, self._package)
        self._step(Step.EXPORTS, self._exports)
        self._step(Step.CATALOGUE, self._catalogue)
        for place in self.vault.places:
            if steps.is_done(self.request, Step.OBJECTS, place.name):
                self._at(Step.KEYS, place, self._keys)
        return self._troubles()

    @property
    def now(self) -> datetime:
        return self.vault.clock()

    def _mark(self, place: Place) -> bool:
        """Whether the place has the marker: without it nothing is removed there, or on its account."""
        self._at(Step.MARKER, place, self._marker)
        return steps.is_done(self.request, Step.MARKER, place.name)

    def _at(self, step: str, place: Place, deed: Callable[[Place], Gone]) -> None:
        if place.name in self.down:
            self._step(step, lambda: self._refuse_down(place), place.name)
        elif step == Step.MARKER or steps.is_done(self.request, Step.MARKER, place.name):
            self._step(step, lambda: deed(place), place.name)

    def _refuse_down(self, place: Place) -> Gone:
        raise NoLocation(f"{place.name}: {self.down[place.name]}")

    def _step(self, step: str, deed: Callable[[], Gone], location: str = "") -> None:
        """One try, unless it is done. Raises `OnHold`, `LeaseLost` and `Busy`; every other trouble is the step's own."""
        if steps.is_done(self.request, step, location):
            return
        row = steps.begun(self.request, step, location, self.lease, self.now)
        self.progress(f"{row}: going")
        try:
            gone = deed()
        except (LeaseLost, OnHold, Busy):
            raise
        except TROUBLES as problem:
            steps.in_trouble(row, _told(problem), self.lease)
            return
        steps.tried(row, gone, self.lease, self.now)

    def _marker(self, place: Place) -> Gone:
        marker.put(self.vault, place, self.request)
        return Gone()

    def _rows(self) -> Gone:
        gone = content_rows.remove(self.request.stream, self.lease)
        return Gone(sum(gone.values()), 0, tuple(content_rows.left(self.request.stream)), dict(gone))

    def _uploads(self) -> Gone:
        gone = uploads.remove(self.request.stream, self.lease.keep)
        return Gone(*gone, tuple(f"{name} is stored" for name, _ in uploads.files_of(self.request.stream)))

    def _texts(self) -> Gone:
        gone = texts.remove(self.request.stream, self.lease, self.now)
        return Gone(sum(gone.values()), 0, tuple(texts.left(self.request.stream)), dict(gone))

    def _segments(self) -> Gone:
        gone = segments.remove(self.vault, self.request.stream, self.lease, self.now)
        return Gone(*gone, tuple(segments.left(self.vault, self.request.stream, self.lease)))

    def _package(self) -> Gone:
        return Gone(*disk.remove_package(self.request.customer, self.now), tuple(disk.package_left(self.request.customer)))

    def _exports(self) -> Gone:
        gone = disk.remove_exports(self.vault, self.request.customer, self.now)
        return Gone(*gone, tuple(disk.exports_left(self.vault, self.request.customer)))

    def _aside(self, place: Place) -> Gone:
        gone = segments.remove_aside(self.vault, place, self.request.stream, self.lease)
        return Gone(*gone, tuple(segments.aside_left(self.vault, place, self.request.stream)))

    def _objects(self, place: Place) -> Gone:
        gone = stored_objects.remove_objects(place, self.request.stream, self.lease)
        return Gone(*gone, tuple(stored_objects.objects_left(place, self.request.stream)))

    def _catalogue(self) -> Gone:
        """Only once the objects are gone everywhere: the rows say what a location that is down still has."""
        waits = [one for one in steps.of_round(self.request) if one.step == Step.OBJECTS and one.done_at is None]
        if waits:
            raise NotDestroyed(f"It waits for the objects at {', '.join(one.location for one in waits)}.")
        gone = catalogue_rows.remove(self.request.stream, self.lease, self.now)
        return Gone(sum(gone.values()), 0, tuple(catalogue_rows.left(self.request.stream)), dict(gone))

    def _keys(self, place: Place) -> Gone:
        gone = stored_objects.remove_keys(place, self.request.stream, self.lease)
        left = stored_objects.keys_left(place, self.request.stream)
        others = [one for one in self.vault.places if one.name != place.name]
        if not left and all(steps.is_done(self.request, Step.KEYS, one.name) for one in others):
            catalogue_rows.remove_keys(self.request.stream, self.lease)
        return Gone(*gone, tuple(left))

    def _note_out_of_reach(self) -> None:
        """A location that is used no more has its step too: it waits until the environment names it again, or a person states that it is
        gone."""
        for name, count in inventory.out_of_reach(self.request.stream).items():
            row = steps.begun(self.request, Step.OBJECTS, name, self.lease, self.now)
            if row.done_at is None:
                words = (
                    f"{count:,} copies are at {name}, which the environment names no more: name it again, or state that it is destroyed."
                )
                steps.in_trouble(row, words, self.lease)

    def _troubles(self) -> str:
        open_ones = [one for one in steps.of_round(self.request) if one.done_at is None]
        began = {(one.step, one.location) for one in steps.of_round(self.request)}
        waiting = [f"{step} {location}".strip() for step, location in wanted(self.vault, self.request) if (step, location) not in began]
        told = [f"{one}: {one.trouble or 'not done yet'}" for one in open_ones]
        return "; ".join([*told, *([f"not begun: {', '.join(waiting)}"] if waiting else [])])


def _told(problem: Exception) -> str:
    """The database's own words may quote values."""
    known = isinstance(problem, BackupError | StoreError | AuditError | OSError)
    return (str(problem) if known else f"{type(problem).__name__}; the log says more.")[:1000]


def _count(request: DeletionRequest, now: datetime) -> None:
    with transaction.atomic():
        row, _ = DestructionTry.objects.get_or_create(request=request, defaults={"looked_at": now})
        row.looked_at, row.tries = now, row.tries + 1
        row.save(update_fields=["looked_at", "tries"])


def _note(request: DeletionRequest, trouble: str, now: datetime) -> bool:
    """Keeps it with the request. What has begun and is stuck, or is overdue, is told once a day. Returns whether it just got stuck."""
    stuck = request.state == State.DESTROYING and bool(trouble)
    with transaction.atomic():
        row = DestructionTry.objects.select_for_update().get(request=request)
        row.trouble = trouble[:1000]
        stands = clock.of(request, now)
        late = stuck or bool(stands and stands.overdue and request.state != State.DESTROYED)
        newly = stuck and row.told_at is None
        if late and (row.told_at is None or now - row.told_at >= DAY):
            row.told_at = now
            due = stands.due_at.isoformat(timespec="seconds") if stands and stands.due_at else ""
            text = f"The destruction of {request.customer.code} is stuck: {trouble}" if trouble else "A destruction is overdue."
            findings.open_finding(findings.Kind.DESTRUCTION_LATE, subject=request, customer=request.stream, text=text[:2000], now=now)
            record(Event.DESTRUCTION_LATE, subject=request, customer=request.stream, facts={"due": due})
        elif not trouble and row.told_at is not None and not late:
            row.told_at = None
            findings.close_as_mended(findings.Kind.DESTRUCTION_LATE, subject=request, resolution="It goes on.", now=now)
        row.save()
    return newly


def _state_what_remains(vault: Vault, request: DeletionRequest, trouble: str) -> None:
    """An interim statement, for the customer has a right to know; what keeps it from being made stands with the request."""
    for deed in stages.deeds(stages.STUCK):
        try:
            deed(vault, request, vault.clock())
        except TROUBLES as problem:
            told = f"{trouble}; no interim statement could be made: {_told(problem)}"
            DestructionTry.objects.filter(request=request).update(trouble=told[:1000])


def _actor(request: DeletionRequest) -> actors.Acting:
    """Who approved it acts, for who asked; of a request that opened by itself nobody asked."""
    approver = request.approved_by
    asker = request.requested_by.get_username() if request.requested_by else "the end of the subscription"
    return actors.Acting(
        name=f"{approver.get_username() if approver else 'nobody'}, asked by {asker}"[:200],
        user_id=str(approver.pk) if approver else None,
        reason=f"the end of the customer (request {request.pk})",
        source=f"destruction:{request.pk}",
    )
