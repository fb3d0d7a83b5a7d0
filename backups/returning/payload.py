"""The package's content, read from the final set and from nothing else: each row, each version, each file, checked as it is read (P10)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backups.manifest import BadManifest, Part
from backups.reading import Reader
from backups.returning.importable import FOLDER, Importable
from backups.returning.tables import csv_pieces
from subscriptions.bag import BagWriter, Entry
from subscriptions.safe_names import SafeNames

Progress = Callable[[str], None]
WHATS = ("rows", "history", "journal", "files")
FILE_TABLE = ("model", "stored_name", "upload", "path", "sha256", "size", "absent")


@dataclass(slots=True)
class Written:
    """What went in: rows by `<what>/<model>`, and `digests`, the SHA-256 of each of these files as the set gave it, by its path in the
    bag. `absent` counts files that the upload storage had lost before they were ever backed up."""

    counts: dict[str, int] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    tables: dict[str, int] = field(default_factory=dict)
    file_bytes: int = 0
    absent: int = 0

    @property
    def totals(self) -> dict[str, int]:
        """As a set's envelope counts them."""
        of = {what: sum(count for name, count in self.counts.items() if name.startswith(f"{what}/")) for what in WHATS}
        return of | {"absent_files": self.absent}


def write_payload(reader: Reader, bag: BagWriter, folder: Path, progress: Progress) -> Written:
    """`folder` is for what must wait on the disk. Raises what the reader raises, `BadManifest`, and `OSError` (the disk)."""
    return _Payload(reader, bag, folder, progress).write()


class _Payload:
    def __init__(self, reader: Reader, bag: BagWriter, folder: Path, progress: Progress) -> None:
        self.reader, self.bag, self.folder, self.progress = reader, bag, folder, progress
        self.written, self.importable = Written(), Importable(folder)
        self.names: dict[str, SafeNames] = {}

    def write(self) -> Written:
        parts = list(self.reader.parts)
        for part in (one for one in parts if one.what != "files"):
            self._lines(part)
            if part.what == "rows":
                self._table(part)
        kinds = self.importable.write(self.bag)
        self._files([part for part in parts if part.what == "files"])
        self._document("counts.json", {"parts": self.written.counts, "records": kinds, "file_bytes": self.written.file_bytes})
        self._document("schema.json", {"envelope": self.reader.envelope["schema_version"], "tables": [_described(one) for one in parts]})
        return self.written

    def _lines(self, part: Part) -> None:
        """The part's NDJSON, byte for byte as the set has it."""
        path = f"{part.what}/{part.model}.ndjson"
        self.progress(f"{part.what} of {part.model}: {part.rows:,} rows")
        lines = 0

        def pieces() -> Iterator[bytes]:
            nonlocal lines
            for piece in self.reader.pieces(part):
                lines += piece.count(b"\n")
                self.progress(f"{part.what} of {part.model}: {lines:,} of {part.rows:,} rows")
                yield piece

        self._note(part, self.bag.add(path, pieces()), lines)

    def _note(self, part: Part, entry: Entry, lines: int) -> None:
        self.written.counts[f"{part.what}/{part.model}"] = lines
        self.written.digests[entry.path] = entry.sha256

    def _table(self, part: Part) -> None:
        columns = [one["name"] for one in part.columns]
        count = 0

        def rows() -> Iterator[list[Any]]:
            nonlocal count
            for line in self.reader.lines(part):
                row = json.loads(line)
                self.importable.take(part.model, row)
                count += 1
                self.progress(f"table of {part.model}: {count:,} of {part.rows:,} rows")
                yield [row[name] for name in columns]

        entry = self.bag.add(f"rows/{part.model}.csv", csv_pieces(columns, rows()))
        self.written.tables[entry.path] = count

    def _files(self, parts: list[Part]) -> None:
        """Each stored file once for each live upload that is it, else under the name that the upload storage has for it."""
        with (self.folder / "files.ndjson").open("wb") as table:
            for part in parts:
                label = f"files/{part.model}"
                self.written.counts[label] = self.written.counts.get(label, 0)
                for line in self.reader.lines(part):
                    self.written.counts[label] += 1
                    for row in self._file(part.model, json.loads(line)):
                        table.write(json.dumps(row).encode() + b"\n")
        with (self.folder / "files.ndjson").open("rb") as table:
            self.bag.add("files.csv", csv_pieces(FILE_TABLE, (json.loads(line) for line in table)))

    def _file(self, model: str, entry: dict[str, Any]) -> Iterator[list[Any]]:
        about = [entry["sha256"], entry["size"]]
        if entry.get("absent"):
            self.written.absent += 1
            yield [model, entry["name"], None, None, *about, "yes"]
            return
        places: list[tuple[str | None, str]] = [*self.importable.uploads.get(entry["name"], ())]
        places = places or [(None, self._path(model, entry["name"]))]
        for upload, path in places:
            self.progress(f"files of {model}: {self.written.counts[f'files/{model}']:,}")
            added = self.bag.add(path, self.reader.file_pieces(entry["parts"]))
            if [added.sha256, added.size] != about:
                raise BadManifest(f"the file {entry['name']} does not come out of its blobs as it went in")
            self.written.file_bytes += added.size
            yield [model, entry["name"], upload, f"data/{path}", *about, ""]

    def _path(self, model: str, stored: str) -> str:
        return f"files/{model}/{self.names.setdefault(model, SafeNames()).add(stored)}"

    def _document(self, path: str, document: dict[str, Any]) -> None:
        self.bag.add(path, [(json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()])


def _described(part: Part) -> dict[str, Any]:
    return {
        "what": part.what,
        "model": part.model,
        "key": part.key,
        "reference": part.reference,
        "columns": part.columns,
        "files": part.files,
        "parents": part.parents or [],
    }


IMPORT_FOLDER = f"data/{FOLDER}"
