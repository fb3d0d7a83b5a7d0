"""That nothing of an ended customer is left, and that nothing of it can be made again: tried, not assumed (P12; design section 9).

Each line of a proof is one thing that was done just then, with what was seen. A line holds only when the very thing was seen that proves
it: a restore that fails because a location is down proves nothing, and is a line that does not hold. The negative drill does what must be
impossible (a restore, a new key, the same customer, the same stream) and takes back whatever should have come of it.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.apps import apps
from django.core.exceptions import ValidationError
from django.db import DatabaseError, IntegrityError, transaction

from audit import capture, registry
from audit.errors import AuditError, Frozen
from audit.models import Stream
from backups import catching_up, customerkeys, leases
from backups.catalogue import Inventory
from backups.choosing import At
from backups.customerkeys import key_at
from backups.destroy import catalogue_rows, content_rows, disk, inventory, texts
from backups.destroy.forgetting import points_at_customer
from backups.destroy.upload_files import files_of
from backups.errors import BackupError, NoLocation, StreamEnded
from backups.locations import Place
from backups.reading import find_sets
from backups.restore import restore
from backups.stores.contract import StoreError
from backups.vault import Vault
from subscriptions.models import Customer, DeletionRequest
from subscriptions.onboarding import add_customer

TROUBLES: tuple[type[Exception], ...] = (BackupError, StoreError, AuditError, OSError, DatabaseError, ValidationError)
SHOWN = 3


class Disproved(Exception):
    """What was seen is not what proves it."""


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that was done: `what`, where (a location's name, or `database`), and what was seen."""

    what: str
    where: str
    began_at: datetime
    ended_at: datetime
    result: bool
    said: str

    def document(self) -> dict[str, Any]:
        return {
            "what": self.what,
            "where": self.where,
            "began_at": self.began_at.isoformat(timespec="seconds"),
            "ended_at": self.ended_at.isoformat(timespec="seconds"),
            "result": self.result,
            "said": self.said,
        }


@dataclass(frozen=True, slots=True)
class Proof:
    """All lines; it holds when every one does."""

    lines: Sequence[Line]

    @property
    def holds(self) -> bool:
        return bool(self.lines) and all(line.result for line in self.lines)

    @property
    def troubles(self) -> list[str]:
        return [f"{line.where}: {line.what}: {line.said}" for line in self.lines if not line.result]

    def verified_at(self, where: str) -> datetime | None:
        """When the listing there held; None when it did not."""
        return next((line.ended_at for line in self.lines if line.where == where and line.what == LISTED and line.result), None)

    def document(self) -> dict[str, Any]:
        return {"holds": self.holds, "lines": [line.document() for line in self.lines]}


LISTED = "listed again, every version, marker and unfinished upload"
RESTORED = "negative drill: a restore from this location alone"
READ_PAST = "negative drill: sets and keys looked for past the marker"
KEY_MADE = "negative drill: a new key for the customer"
ADDED = "negative drill: a customer with the same code"
STREAM_MADE = "negative drill: a stream with the same id"
WRITTEN = "negative drill: the customer's stream is closed to writers"
ROWS = "rows of every protected model, history and journal counted"
CATALOGUE = "rows about stored objects, and texts, counted"
OTHERS = "tables that point at the customer looked through"
UPLOADS = "stored files of every version listed"
ON_DISK = "packages, exports, scratch databases and spool looked for"


def prove(vault: Vault, request: DeletionRequest) -> Proof:
    """Everything tried now. Raises nothing of what it meets: a line that could not be tried is a line that does not hold. Stands inside
    `audit.acting(...)`, outside of every transaction."""
    stream, customer = request.stream, request.customer
    lines = []
    for place in vault.places:
        lines += [
            _tried(vault, LISTED, place.name, lambda place=place: _listed(vault, place, stream)),  # type: ignore[misc]
            _tried(vault, RESTORED, place.name, lambda place=place: _restored(vault, place, customer)),  # type: ignore[misc]
            _tried(vault, READ_PAST, place.name, lambda place=place: _read_past(vault, place, stream)),  # type: ignore[misc]
            _tried(vault, KEY_MADE, place.name, lambda place=place: _key_made(vault, place, stream)),  # type: ignore[misc]
        ]
    at_home: tuple[tuple[str, str, Callable[[], str]], ...] = (
        (ADDED, "database", lambda: _added(customer)),
        (STREAM_MADE, "database", lambda: _stream_made(customer)),
        (WRITTEN, "database", lambda: _written(stream)),
        (ROWS, "database", lambda: _none(content_rows.left(stream), f"none in {len(registry.of_stream(stream))} models")),
        (
            CATALOGUE,
            "database",
            lambda: _none([*catalogue_rows.left(stream), *catalogue_rows.keys_left(stream), *texts.left(stream)], "none"),
        ),
        (OTHERS, "database", lambda: _none(list(undecided(stream)), "nothing that nobody decided to keep")),
        (UPLOADS, "uploads", lambda: _none([name for name, _ in files_of(stream)], "none")),
        (ON_DISK, "this machine", lambda: _none([*disk.package_left(customer), *disk.exports_left(vault, customer)], "none")),
    )
    lines += [_tried(vault, what, where, look) for what, where, look in at_home]
    return Proof(tuple(lines))


def _tried(vault: Vault, what: str, where: str, look: Callable[[], str]) -> Line:
    began = vault.clock()
    try:
        said, result = look(), True
    except Disproved as problem:
        said, result = str(problem), False
    except TROUBLES as problem:
        said, result = f"it could not be tried ({type(problem).__name__}: {_short(problem)})", False
    return Line(what, where, began, vault.clock(), result, said)


def _short(problem: Exception) -> str:
    """The database's own words may quote values."""
    return "the log says more" if isinstance(problem, DatabaseError) else str(problem)[:300]


def _none(found: Sequence[str], said: str) -> str:
    if found:
        more = f" and {len(found) - SHOWN:,} more" if len(found) > SHOWN else ""
        raise Disproved(f"found: {'; '.join(found[:SHOWN])}{more}")
    return said


def _listed(vault: Vault, place: Place, stream: uuid.UUID) -> str:
    found = inventory.at_place(place, stream, vault.fingerprint, read_all=True)
    if found.count:
        names = [*found.objects, *found.keys, *(f"{kind} of {name}" for name, kind in found.hidden), *(one.name for one in found.hot)]
        return _none(names, "")
    if not place.store.exists(f"ended/{stream}.json"):
        raise Disproved("its marker (ended/) is not there")
    return "nothing under the customer's folder and keys, no segment or kept segment that names it; its marker stands"


def _restored(vault: Vault, place: Place, customer: Customer) -> str:
    """Both ways: the newest set, and the newest second. Whatever should come out goes at once."""
    said = []
    for at in (None, At(None)):
        folder = vault.spool / f"drill-{uuid.uuid4().hex}"
        vault.spool.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            restore(vault.only(place.name), customer, folder, at=at, reason="negative drill after a destruction")
        except StreamEnded as refusal:
            said.append(str(refusal))
        else:
            raise Disproved("it was restored: the data is still there")
        finally:
            if folder.exists():  # what cannot be removed makes the line fail: it would be a copy
                shutil.rmtree(folder)
    return f"refused: {said[0]}"


def _read_past(vault: Vault, place: Place, stream: uuid.UUID) -> str:
    """The marker alone would make every restore fail: so what it keeps people from is looked for without asking it."""
    notes: list[str] = []
    place.store.check()
    sets = find_sets([place], str(stream), vault.fingerprint, notes)
    if sets or notes:
        raise Disproved(f"{len(sets)} sets are there; {'; '.join(notes[:SHOWN])}")
    try:
        key_at(vault.keys, [place], str(stream), 1, [])
    except NoLocation:
        return "no set and no key is there"
    raise Disproved("its key is there, and opens")


def _key_made(vault: Vault, place: Place, stream: uuid.UUID) -> str:
    """Under a lease of its own name: the drill must be refused by the marker, not because somebody works on the customer."""
    with leases.holding(f"drill:{stream}", doing="drill", clock=vault.clock) as lease:
        shelves = catching_up.look([place], stream)
        if shelves.troubles:
            raise Disproved(f"it could not be tried: {shelves.troubles[place.name]}")
        try:
            customerkeys.make_key(vault, shelves, stream, lease, Inventory())
        except StreamEnded as refusal:
            return f"refused: {refusal}"
    raise Disproved("a key was made for a destroyed customer: the next look removes it")


def _added(customer: Customer) -> str:
    try:
        with transaction.atomic():
            add_customer(customer.code, "negative drill", start=customer.created_at.date())
            raise Disproved("a customer with this code could be added again")
    except ValidationError as refusal:
        return f"refused: {'; '.join(refusal.messages)}"


def _stream_made(customer: Customer) -> str:
    try:
        with transaction.atomic():
            Stream.objects.create(id=customer.pk, name=f"drill-{uuid.uuid4().hex[:16]}")
            raise Disproved("a stream with this id could be made again")
    except IntegrityError:
        return "refused by the database: the id is taken for ever"


def _written(stream: uuid.UUID) -> str:
    row = Stream.objects.get(pk=stream)
    if row.frozen_at is None:
        raise Disproved("the stream is not frozen")
    try:
        with transaction.atomic():
            capture.enter_streams({row.pk})  # as any writer of the customer's content begins
            raise Disproved("a change of the customer could be written")
    except Frozen as refusal:
        return f"refused: {refusal}"


# Bookkeeping that points at the customer and whose rows stay, as ids, dates and counts; what they might quote is blanked by `texts` and
# `catalogue_rows`. (What people decide, the system stream, stays too: the evidence trail.) Any other table must be empty.
KEPT = frozenset(
    {
        "l2l_audit.chainhead",
        "l2l_backups.backupset",
        "l2l_backups.damage",
        "l2l_backups.itemexport",
        "l2l_backups.recoveredstream",
        "l2l_backups.run",
        "l2l_backups.slot",
        "l2l_subscriptions.export",
    }
)


def undecided(stream: uuid.UUID) -> Iterator[str]:
    """Rows that point at the customer, in tables of which nobody decided that they stay."""
    decided = {model for one in registry.protected() for model in (one.model, one.history_model)}
    for model in apps.get_models():
        if model in decided or model._meta.label_lower in KEPT or not points_at_customer(model):
            continue
        fields: Any = model._meta.concrete_fields
        for field in fields:
            if field.is_relation and field.related_model in (Stream, Customer):
                count = model._base_manager.filter(**{field.attname: stream}).count()
                if count:
                    yield f"{count:,} rows of {model._meta.label_lower}"
