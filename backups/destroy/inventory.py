"""All that there is of one stream, by listing: at a location, in the database, among the uploads, on this machine's disk. Nothing is
written. The plan, each step's look afterwards and the sweeps ask here, and nowhere else."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import models

from audit import registry
from audit.models import JournalRow
from audit.registry import Protected
from backups import item_exports
from backups.destroy import hot_objects
from backups.destroy.hot_objects import HotObject, Keep
from backups.destroy.upload_files import files_of
from backups.live_restore.live import live_rows
from backups.locations import Place
from backups.manifest import stream_folder
from backups.models import Blob, Copy, ItemExport, Location
from subscriptions.models import Customer, DataReturn, Export


@dataclass(frozen=True, slots=True)
class AtPlace:
    """One location. `objects` are whole ones with their sizes, under the customer's folder; `keys` its wrapped keys; `hidden` are names
    that only a version, marker, temporary file or unfinished upload has, or has beside the object, with its kind."""

    place: str
    url: str
    objects: Mapping[str, int]
    keys: Mapping[str, int]
    hidden: frozenset[tuple[str, str]]
    hot: tuple[HotObject, ...]

    @property
    def count(self) -> int:
        return len(self.objects) + len(self.keys) + len(self.hidden) + len(self.hot)

    @property
    def bytes(self) -> int:
        return sum(self.objects.values()) + sum(self.keys.values()) + sum(one.size for one in self.hot)


@dataclass(frozen=True, slots=True)
class InDatabase:
    """Rows by model's label. `unnumbered` changes were not shipped yet; `newest` is the largest number of the journal."""

    live: Mapping[str, int]
    history: Mapping[str, int]
    journal: int
    unnumbered: int
    newest: int

    @property
    def rows(self) -> int:
        return sum(self.live.values()) + sum(self.history.values()) + self.journal


@dataclass(frozen=True, slots=True)
class OnDisk:
    """What lies beside the locations, by path: packages by number, exports by their row's key, what is in the spool."""

    packages: Mapping[int, str] = field(default_factory=dict)
    exports: Mapping[int, str] = field(default_factory=dict)
    spool: tuple[str, ...] = ()


def key_folder(stream: uuid.UUID) -> str:
    return f"keys/{stream}/"


def at_place(place: Place, stream: uuid.UUID, trusted: str, *, read_all: bool = False, keep: Keep = lambda: None) -> AtPlace:
    """Raises what the store raises. `read_all` and `keep`: see `hot_objects.of_stream`."""
    objects, keys = (_listed(place, folder, keep) for folder in (stream_folder(str(stream)), key_folder(stream)))
    hot = hot_objects.of_stream(place, stream, trusted, read_all=read_all, keep=keep)
    return AtPlace(place.name, place.store.url, objects, keys, frozenset(hidden(place, stream)), tuple(hot))


def _listed(place: Place, folder: str, keep: Keep) -> dict[str, int]:
    found = {}
    for one in place.store.list(folder):
        keep()
        found[one.name] = one.size
    return found


def hidden(place: Place, stream: uuid.UUID) -> Iterator[tuple[str, str]]:
    """(name, kind) of what a listing hides under the customer's two folders."""
    for folder in (stream_folder(str(stream)), key_folder(stream)):
        yield from ((one.name, one.kind) for one in place.store.leftovers(folder))


def in_database(stream: uuid.UUID) -> InDatabase:
    protected = registry.of_stream(stream)
    journal = JournalRow.objects.filter(stream=stream)
    return InDatabase(
        {one.label: live_rows(one, stream).count() for one in protected},
        {one.label: history_rows(one, stream).count() for one in protected},
        journal.count(),
        journal.filter(number=None).count(),
        journal.aggregate(newest=models.Max("number"))["newest"] or 0,
    )


def history_rows(protected: Protected, stream: uuid.UUID) -> models.QuerySet[Any, Any]:
    rows: models.QuerySet[Any, Any] = models.QuerySet(protected.history_model)
    return rows.order_by().filter(history_stream=stream)


def missing_at(place: Place, found: AtPlace, stream: uuid.UUID) -> list[str]:
    """The names that rows call durable there and the listing does not have: what vanished without a recorded act."""
    copies = Copy.objects.filter(location=place.location, state=Copy.State.PRESENT, blob__stream=stream, blob__state=Blob.State.STORED)
    names = copies.order_by().values_list("blob__name", flat=True)
    return sorted(name for name in names.iterator(chunk_size=2000) if name not in found.objects and name not in found.keys)


def out_of_reach(stream: uuid.UUID) -> dict[str, int]:
    """Locations that the environment names no more and that still have copies by our rows, with how many: nobody can look there."""
    there = Location.objects.filter(in_force=False, copies__blob__stream=stream, copies__state=Copy.State.PRESENT)
    return dict(there.order_by().annotate(n=models.Count("copies")).values_list("name", "n"))


def uploads(stream: uuid.UUID) -> dict[str, int]:
    """Names and sizes of the stored files of every version."""
    return dict(files_of(stream))


def on_disk(customer: Customer, spool: Path) -> OnDisk:
    packages = {one.number: one.path for one in DataReturn.objects.filter(request__customer=customer) if Path(one.path).exists()}
    exports = {one.pk: one.path for one in Export.objects.filter(customer=customer) if is_export_of(customer, one)}
    for one in ItemExport.objects.filter(stream=customer.pk):
        if item_exports.folder_of(one).exists():
            exports[-one.pk] = str(item_exports.folder_of(one))
    return OnDisk(packages, exports, tuple(sorted(str(path) for path in spool_of(spool, customer.pk))))


def is_export_of(customer: Customer, export: Export) -> bool:
    """Whether what lies at the export's path now is that export: below the exports' folder, or a folder whose `restore.json` names the
    customer. A path of another machine, or one that somebody used again for something else, is not ours to touch."""
    path = Path(export.path)
    if not export.path or not path.is_absolute() or not path.exists():
        return False
    if path.resolve().is_relative_to(Path(settings.L2L_EXPORTS).resolve()):
        return True
    return _told_in(path / "restore.json") == str(customer.pk)


def _told_in(summary: Path) -> str:
    try:
        return str(json.loads(summary.read_text(encoding="utf-8"))["customer"]["id"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def spool_of(spool: Path, stream: uuid.UUID) -> list[Path]:
    """What a run of the stream left there."""
    return list(spool.glob(f"{stream}+*"))
