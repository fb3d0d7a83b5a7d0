"""Restoring one customer, or one item, from a set or as it was at any second, into a folder (P14; design section 8).

The folder appears under its name only when everything in it was checked; until then it is called `<name>.incomplete-…`, and a failure
removes it. Every restore that leaves is an `Export` row.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backups.choosing import At, Only, Selection, UnknownCustomer, opened
from backups.errors import TargetInTheWay
from backups.exports import UNRECORDED, hand_over, origin, purges_of
from backups.manifest import BadManifest, Part
from backups.reading import FoundSet, Moment, Reader
from backups.vault import Vault
from subscriptions.models import Customer

Progress = Callable[[str], None]


@dataclass(slots=True)
class Report:
    """What was restored: counts by part, files by number and bytes, and what had to be said on the way. `moment` is None for a set's own
    state."""

    folder: Path
    found: FoundSet
    moment: Moment | None = None
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
    customer: Customer | UnknownCustomer,
    folder: Path,
    *,
    only: Only | None = None,
    set_id: str | None = None,
    at: At | None = None,
    reason: str = "",
    progress: Progress = lambda _: None,
) -> Report:
    """The customer's content from the newest set or the named one, or as it was `at` a moment, under `folder`: rows/, history/, journal/,
    files/, restore.json.

    Raises `TargetInTheWay`, `NoLocation`, `NoSet`, `StreamEnded`, `KeysMissing`, `NowhereWhole` (what no location has whole),
    `BadManifest`, `PurgedMeanwhile`, with `at` also `NotCovered` and `Gap`, `OSError` (the disk). Nothing stands under `folder` unless it
    returns.
    """
    _refuse_target(folder)
    purges = purges_of(customer.pk)
    with opened(vault, customer.pk, set_id=set_id, at=at, only=only, progress=progress) as (found, reader):
        report = Report(folder, found, reader.moment, notes=reader.notes)
        if isinstance(customer, UnknownCustomer):
            report.notes.append(UNRECORDED)
        partial = folder.with_name(f"{folder.name}.incomplete-{os.getpid()}")
        try:
            _Writer(reader, partial, report, Selection(reader, only), progress).write()
            digest = _write_summary(partial, customer, reader, report, only)
            _hand_over(vault, customer, partial, report, only, reason, digest, purges)
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

    def __init__(self, reader: Reader, folder: Path, report: Report, selection: Selection, progress: Progress) -> None:
        self.reader, self.folder, self.report, self.selection, self.progress = reader, folder, report, selection, progress

    def write(self) -> None:
        self.folder.mkdir(mode=0o700)
        for part in self.selection.parts:
            if part.what == "files":
                self._write_files(part)
            else:
                self._write_rows(part)

    def _write_rows(self, part: Part) -> None:
        path = self.folder / part.what / f"{part.model}.ndjson"
        path.parent.mkdir(exist_ok=True, mode=0o700)
        self.progress(f"{part.what} of {part.model}: {part.rows:,} rows")
        with path.open("wb") as file:
            count = self._copy_pieces(part, file) if self.selection.takes_all else self._write_chosen(part, file)
        self.report.counts[f"{part.what}/{part.model}"] = count

    def _copy_pieces(self, part: Part, file: Any) -> int:
        count = 0
        for piece in self.reader.pieces(part):
            file.write(piece)
            count += piece.count(b"\n")
        return count

    def _write_chosen(self, part: Part, file: Any) -> int:
        count = 0
        for line in self.selection.lines(part):
            file.write(line + b"\n")
            count += 1
        return count

    def _write_files(self, part: Part) -> None:
        self.progress(f"files of {part.model}: {part.rows:,}")
        for entry in self.selection.files(part):
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


def _write_summary(partial: Path, customer: Customer | UnknownCustomer, reader: Reader, report: Report, only: Only | None) -> str:
    """Writes `restore.json`, the last file; returns its SHA-256."""
    envelope = report.found.envelope
    summary = {
        "customer": {"id": str(customer.pk), "code": customer.code},
        "set": envelope["set"],
        "night": envelope["night"],
        "state_at": report.moment.at.isoformat() if report.moment else envelope["snapshot_at"],
        "moment": report.moment.document() if report.moment else None,
        "taken_from": list(report.found.places),
        "only": str(only) if only else None,
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
    vault: Vault,
    customer: Customer | UnknownCustomer,
    partial: Path,
    report: Report,
    only: Only | None,
    reason: str,
    digest: str,
    purges: int,
) -> None:
    """Records the export and gives the folder its name."""

    def release() -> None:
        if report.folder.exists():
            report.folder.rmdir()
        partial.rename(report.folder)

    hand_over(
        vault,
        customer,
        release,
        what=f"restore of {only.model if only else 'everything'} {origin(report.found, report.moment)}",
        path=str(report.folder),
        sha256=digest,
        reason=reason,
        set_id=report.found.id,
        purges=purges,
        rows=sum(report.counts.values()),
        files=report.files,
        bytes=report.file_bytes,
    )
