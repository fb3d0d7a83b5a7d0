"""The part of a package that `manage.py import_content` takes (`data/import/`), and a CSV for each kind of records (`data/records/`).

A set has the records of all kinds mixed, and a bag takes one file at a time: so they wait on the disk, a file a kind, until all were read.
"""

from __future__ import annotations

import csv
import json
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from audit import canonical
from backups.returning.tables import csv_pieces
from subscriptions.bag import BagWriter
from subscriptions.models import DataRecord, Link, UploadedContent
from subscriptions.safe_names import SafeNames

FOLDER = "import/"
RECORDS, UPLOADS, LINKS = (model._meta.label_lower for model in (DataRecord, UploadedContent, Link))
OPEN_FILES = 64
# A kind whose records have more different columns has them as JSON in its CSV.
MOST_COLUMNS = 1000


@dataclass(slots=True)
class _Kind:
    path: Path
    rows: int = 0
    columns: dict[str, None] | None = field(default_factory=dict)

    def note(self, data: Any) -> None:
        if self.columns is None:
            return
        if isinstance(data, dict):
            self.columns.update(dict.fromkeys(data))
        if not isinstance(data, dict) or len(self.columns) > MOST_COLUMNS:
            self.columns = None


class Importable:
    """Takes each live row as it comes by, and is written when all were. `folder` is where it may keep files meanwhile. About half a KiB of
    memory an upload."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._kinds: dict[str, _Kind] = {}
        self._open: OrderedDict[str, IO[bytes]] = OrderedDict()
        self._names = {"records": SafeNames(), "uploads": SafeNames()}
        self._renamed: list[tuple[str, str]] = []
        # By the name in the upload storage, the uploads that are that file: their own names, and paths in the bag.
        self.uploads: dict[str, list[tuple[str, str]]] = {}
        self._links = (folder / "links.ndjson").open("wb")

    def take(self, model: str, row: Mapping[str, Any]) -> None:
        if model == RECORDS:
            self._take_record(row)
        elif model == UPLOADS:
            path = self._path("uploads", row["name"], "")
            self.uploads.setdefault(row["file"], []).append((row["name"], FOLDER + path))
        elif model == LINKS:
            self._links.write(_line([row["reference"], row["title"], row["url"]]))

    def write(self, bag: BagWriter) -> dict[str, int]:
        """All but the uploads; returns the records of each kind."""
        for file in (*self._open.values(), self._links):
            file.close()
        safe = SafeNames()
        for name, kind in sorted(self._kinds.items()):
            bag.add(FOLDER + self._path("records", name, ".ndjson"), _pieces(kind.path))
            bag.add(f"records/{safe.add(name.replace('/', '~'), '.csv')}", _kind_csv(kind))
        links = self._folder / "links.ndjson"
        bag.add(f"{FOLDER}links.csv", csv_pieces(("reference", "title", "url"), _rows(links)))
        if self._renamed:
            bag.add(f"{FOLDER}names.csv", csv_pieces(("path", "name"), self._renamed))
        return {name: kind.rows for name, kind in sorted(self._kinds.items())}

    def _take_record(self, row: Mapping[str, Any]) -> None:
        name, data = row["kind"], row["data"]
        kind = self._kinds.setdefault(name, _Kind(self._folder / f"kind-{len(self._kinds)}.ndjson"))
        kind.rows += 1
        kind.note(data)
        self._file(name, kind).write(_line({"reference": row["reference"], "data": data}))

    def _file(self, name: str, kind: _Kind) -> IO[bytes]:
        if name not in self._open:
            if len(self._open) >= OPEN_FILES:
                self._open.popitem(last=False)[1].close()
            self._open[name] = kind.path.open("ab")
        self._open.move_to_end(name)
        return self._open[name]

    def _path(self, part: str, name: str, suffix: str) -> str:
        """Where it lies in the folder to import, noted when it is not called so. Kinds lie in one folder."""
        asked = name.replace("/", "~") if suffix else name
        path = f"{part}/{self._names[part].add(asked, suffix)}"
        if path != f"{part}/{name}{suffix}":
            self._renamed.append((path, name))
        return path


def _line(value: Any) -> bytes:
    return canonical.dump_bytes(value) + b"\n"


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(1024 * 1024):
            yield piece


def _rows(path: Path) -> Iterator[Any]:
    with path.open("rb") as file:
        for line in file:
            yield json.loads(line)


def _kind_csv(kind: _Kind) -> Iterator[bytes]:
    if kind.columns is None:
        return csv_pieces(("reference", "data"), ([row["reference"], row["data"]] for row in _rows(kind.path)))
    columns = sorted(kind.columns)
    header = ["reference" if "reference" not in kind.columns else "its reference", *columns]
    return csv_pieces(header, ([row["reference"], *map(row["data"].get, columns)] for row in _rows(kind.path)))


def count_rows(lines: Iterator[str]) -> int:
    """The rows of a CSV behind its header."""
    csv.field_size_limit(2**31 - 1)
    return sum(1 for _ in csv.reader(lines, strict=True)) - 1
