"""Files that wanted rows name and the upload storage has no longer: found, and put back from the backup. Nothing is overwritten."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from django.core.files.storage import Storage

from audit.fields import TrackedFileField
from audit.files import folder_of, put_back
from backups.errors import TooMuchDiffers
from backups.live_restore.plans import LostFile, ModelPlan
from backups.live_restore.sources import Source

MAX_FILES = 20_000
NAMED = 3


def lost_files(source: Source, plans: Sequence[ModelPlan]) -> tuple[tuple[LostFile, ...], list[str]]:
    """The files of all wanted rows, the unchanged ones too, that are to be put back; and why some cannot be. Raises `TooMuchDiffers`."""
    lost: list[LostFile] = []
    obstacles: list[str] = []
    for plan in plans:
        missing = {name: (storage, sha256, size) for storage, name, sha256, size in _missing(source, plan)}
        if len(lost) + len(missing) > MAX_FILES:
            raise TooMuchDiffers(f"More than {MAX_FILES:,} files are gone from the upload storage: restore it to a folder, and copy them.")
        for entry in _entries(source, plan.protected.label) if missing else ():
            if entry["name"] in missing and not entry.get("absent"):
                storage, sha256, size = missing.pop(entry["name"])
                if (entry["sha256"], entry["size"]) == (sha256, size):
                    lost.append(LostFile(plan.protected.label, storage, entry["name"], sha256, size, tuple(entry["parts"])))
        if missing:
            some = ", ".join(sorted(missing)[:NAMED])
            obstacles.append(
                f"{len(missing)} files of {plan.protected.label} are neither in the upload storage nor in the backup ({some}): "
                "restore to a folder and import what is there."
            )
    return tuple(lost), obstacles


def put_all_back(source: Source, lost: Iterable[LostFile], spool: Path, told: Callable[[str], None]) -> int:
    """Stores each of them; returns how many. Raises `UploadsUnavailable`, and what reading the backup raises."""
    count = 0
    for file in lost:
        told(f"putting files back: {count:,} so far")
        put_back(file.storage, file.name, source.reader.file_pieces(file.parts), sha256=file.sha256, size=file.size, spool=spool)
        count += 1
    return count


def _missing(source: Source, plan: ModelPlan) -> Iterator[tuple[Storage, str, str, int]]:
    """The files that wanted rows name, and that are not stored."""
    columns = [_columns(plan, field) for field in plan.protected.files]
    if not columns:
        return
    folder = f"{folder_of(source.stream)}/"
    for _, line in plan.wanted():
        row = json.loads(line)
        for storage, name, digest, size in columns:
            if row[name] and row[name].startswith(folder) and ".." not in row[name] and not storage.exists(row[name]):
                yield storage, row[name], row[digest], row[size]


def _columns(plan: ModelPlan, field: TrackedFileField) -> tuple[Storage, str, str, str]:
    """Where the file is stored, and the columns of its name, digest and size."""
    get: Any = plan.protected.model._meta.get_field
    return field.storage, get(field.name).column, get(field.digest_field).column, get(field.size_field).column


def _entries(source: Source, model: str) -> Iterator[dict[str, Any]]:
    for part in source.reader.parts:
        if (part.what, part.model) == ("files", model):
            for line in source.reader.lines(part):
                yield json.loads(line)
