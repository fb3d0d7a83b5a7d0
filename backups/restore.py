"""Restoring one customer, or one item, from a set into a folder (P14; design section 8).

The folder appears under its name only when everything in it was checked; until then it is called `<name>.incomplete-…`, and a failure
removes it. Every restore that leaves is an `Export` row.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.db import transaction

from audit import access, actors
from backups.customerkeys import refuse_ended
from backups.errors import NoLocation, NoSet, TargetInTheWay
from backups.manifest import BadManifest, Part
from backups.reading import FoundSet, SetReader, choose, find_sets, open_set
from backups.vault import Vault
from subscriptions.models import Customer, Export

EXPORT_KEPT = timedelta(days=30)
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Only:
    """One model's rows, or one item of it; `reference` is what people call it."""

    model: str
    reference: str | None = None

    @classmethod
    def of_text(cls, text: str) -> Only:
        model, colon, reference = text.partition(":")
        return cls(model.lower(), reference if colon else None)

    def wants(self, part: Part) -> bool:
        return self.model in (part.model, part.model.rpartition(".")[2])


@dataclass(slots=True)
class Report:
    """What was restored: counts by part, files by number and bytes, and what had to be said on the way."""

    folder: Path
    found: FoundSet
    counts: dict[str, int] = field(default_factory=dict)
    files: int = 0
    file_bytes: int = 0
    absent: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return not self.absent


def restore(
    vault: Vault,
    customer: Customer,
    folder: Path,
    *,
    only: Only | None = None,
    set_id: str | None = None,
    reason: str = "",
    progress: Progress = lambda _: None,
) -> Report:
    """The customer's content from the newest set or the named one, under `folder`: rows/, history/, journal/, files/, restore.json.

    Raises `TargetInTheWay`, `NoLocation`, `NoSet`, `StreamEnded`, `KeysMissing`, `NowhereWhole` (what no location has whole),
    `BadManifest`, `OSError` (the disk). Nothing stands under `folder` unless it returns.
    """
    _refuse_target(folder)
    places, troubles = vault.usable()
    if not places:
        raise NoLocation("No location can be used: " + "; ".join(f"{name}: {why}" for name, why in troubles.items()))
    refuse_ended(places, customer.pk)
    notes = [f"{name} cannot be used ({why})" for name, why in troubles.items()]
    found = choose(find_sets(places, str(customer.pk), vault.fingerprint, notes), set_id, notes)
    reader = open_set(places, vault.keys, str(customer.pk), found, notes)
    report = Report(folder, found, notes=notes)
    partial = folder.with_name(f"{folder.name}.incomplete-{os.getpid()}")
    try:
        _Writer(reader, partial, report, only, progress).write()
        digest = _write_summary(partial, customer, reader, report, only)
        _hand_over(vault, customer, partial, folder, report, only, reason, digest)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return report


def _refuse_target(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise TargetInTheWay(f"{folder} exists and is not an empty folder. Name a new one, or empty it.")
    if not folder.parent.is_dir():
        raise TargetInTheWay(f"{folder.parent} is no folder. Make it first, or name another.")


class _Writer:
    """Writes a set's parts under a folder, checking each as it goes."""

    def __init__(self, reader: SetReader, folder: Path, report: Report, only: Only | None, progress: Progress) -> None:
        self.reader, self.folder, self.report, self.only, self.progress = reader, folder, report, only, progress
        self.wanted_files: dict[str, set[str]] = {}

    def write(self) -> None:
        self.folder.mkdir(mode=0o700)
        parts = [part for part in self.reader.parts if self.only is None or self.only.wants(part)]
        if not parts:
            raise NoSet(f"The set holds no model {self.only.model if self.only else ''!r}; it holds {', '.join(_models(self.reader))}.")
        chosen = self._choose_keys(parts)
        for part in parts:
            if part.what == "files":
                self._write_files(part)
            else:
                self._write_rows(part, chosen)
        if chosen is not None and not any(self.report.counts.values()):
            raise NoSet(f"The set holds no {self.only.model} called {self.only.reference!r}, not even in its history.")  # type: ignore[union-attr]

    def _choose_keys(self, parts: list[Part]) -> set[Any] | None:
        """For one item: the primary keys that its reference ever stood with, so that its whole history comes along."""
        if self.only is None or self.only.reference is None:
            return None
        keys = set()
        for part in parts:
            for row in self._rows(part) if part.what in ("rows", "history") else ():
                if str(row.get(part.reference)) == self.only.reference:
                    keys.add(row[self._row_key(part)])
        return keys

    def _row_key(self, part: Part) -> str:
        rows = self.reader.part("rows", part.model)
        return rows.key if rows is not None else part.key

    def _rows(self, part: Part) -> Iterator[dict[str, Any]]:
        return (json.loads(line) for line in self.reader.lines(part))

    def _write_rows(self, part: Part, chosen: set[Any] | None) -> None:
        path = self.folder / part.what / f"{part.model}.ndjson"
        path.parent.mkdir(exist_ok=True, mode=0o700)
        self.progress(f"{part.what} of {part.model}: {part.rows:,} rows")
        with path.open("wb") as file:
            if chosen is None:
                for piece in self.reader.pieces(part):
                    file.write(piece)
                count = part.rows
            else:
                count = self._write_chosen(part, chosen, file)
        self.report.counts[f"{part.what}/{part.model}"] = count

    def _write_chosen(self, part: Part, chosen: set[Any], file: Any) -> int:
        key, count, names = self._row_key(part), 0, self.wanted_files.setdefault(part.model, set())
        for line in self.reader.lines(part):
            row = json.loads(line)
            if row[key] in chosen:
                file.write(line + b"\n")
                names.update(row[columns[0]] for columns in part.files if row[columns[0]])
                count += 1
        return count

    def _write_files(self, part: Part) -> None:
        wanted = self.wanted_files.get(part.model)
        self.progress(f"files of {part.model}: {part.rows:,}")
        for entry in self._rows(part):
            if wanted is None or entry["name"] in wanted:
                self._write_file(entry)

    def _write_file(self, entry: dict[str, Any]) -> None:
        if entry.get("absent"):
            self.report.absent.append(entry["name"])
            return
        path = self._inside(entry["name"])
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        sha256, size = hashlib.sha256(), 0
        with path.open("wb") as file:
            for piece in self.reader.file_pieces(entry["parts"]):
                sha256.update(piece)
                size += len(piece)
                file.write(piece)
        if (sha256.hexdigest(), size) != (entry["sha256"], entry["size"]):
            raise BadManifest(f"the file {entry['name']} does not come out of its blobs as it went in")
        self.report.files += 1
        self.report.file_bytes += size

    def _inside(self, name: str) -> Path:
        root = (self.folder / "files").resolve()
        path = (root / name).resolve()
        if not path.is_relative_to(root):
            raise BadManifest(f"the set names a file outside of its folder: {name!r}")
        return path


def _models(reader: SetReader) -> list[str]:
    return sorted({part.model for part in reader.parts if part.what == "rows"})


def _write_summary(partial: Path, customer: Customer, reader: SetReader, report: Report, only: Only | None) -> str:
    """Writes `restore.json`, the last file; returns its SHA-256."""
    envelope = report.found.envelope
    summary = {
        "customer": {"id": str(customer.pk), "code": customer.code},
        "set": envelope["set"],
        "night": envelope["night"],
        "state_at": envelope["snapshot_at"],
        "taken_from": list(report.found.places),
        "only": f"{only.model}:{only.reference}" if only and only.reference is not None else only.model if only else None,
        "rows": report.counts,
        "files": report.files,
        "file_bytes": report.file_bytes,
        "absent_files": report.absent,
        "notes": report.notes,
        "columns": {f"{part.what}/{part.model}": part.columns for part in reader.parts if part.what != "files"},
    }
    data = (json.dumps(summary, indent=2, ensure_ascii=False) + "\n").encode()
    (partial / "restore.json").write_bytes(data)
    os.sync()
    return hashlib.sha256(data).hexdigest()


def _hand_over(
    vault: Vault, customer: Customer, partial: Path, folder: Path, report: Report, only: Only | None, reason: str, digest: str
) -> None:
    """Records the export, then gives the folder its name: nothing leaves unrecorded."""
    now = vault.clock()
    with transaction.atomic():
        export = Export.objects.create(
            customer=customer,
            what=f"restore of {only.model if only else 'everything'} from the set of {report.found.envelope['night']}",
            by=actors.current().name,
            reason=reason,
            path=str(folder),
            sha256=digest,
            made_at=now,
            expires_at=now + EXPORT_KEPT,
        )
        taken = {"sha256": digest, "rows": sum(report.counts.values()), "files": report.files, "bytes": report.file_bytes}
        access.exported(export, customer=customer.pk, set=str(report.found.envelope["set"]), **taken)
        if folder.exists():
            folder.rmdir()
        partial.rename(folder)
