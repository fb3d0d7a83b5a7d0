"""The content at a moment, with the interface of a set's reader: parts, lines, files."""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from operator import itemgetter
from typing import Any

from backups.hot.sections import FileEntry
from backups.manifest import BadManifest, Part
from backups.moments.workspace import ROWS_AT_ONCE, Workspace
from backups.reading import FoundSet, Moment, SetReader

JOURNAL = "l2l_audit.journalrow"
# What a history row has beside the columns of its row (docs/format.md).
HISTORY_COLUMNS = frozenset(
    f"history_{name}" for name in ("id", "date", "type", "actor", "user_id", "change_reason", "source", "transaction", "stream")
)
SCHEMA = """
CREATE TABLE journal (number INTEGER PRIMARY KEY, model INTEGER, history_id INTEGER, tx TEXT, written_at TEXT, leaf BLOB, digest BLOB,
    segment INTEGER, purged INTEGER);
CREATE TABLE waiting (tx TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE change (number INTEGER PRIMARY KEY, model INTEGER, history_id INTEGER, id INTEGER, line BLOB, journal BLOB);
CREATE TABLE named (model INTEGER, slot INTEGER, name TEXT, sha256 TEXT, size INTEGER, PRIMARY KEY (model, slot, name)) WITHOUT ROWID;
CREATE TABLE stored (model INTEGER, slot INTEGER, name TEXT, absent INTEGER, line BLOB, PRIMARY KEY (model, slot, name)) WITHOUT ROWID;
CREATE TABLE hot (model INTEGER, name TEXT, absent INTEGER, line BLOB, PRIMARY KEY (model, name)) WITHOUT ROWID;
"""
_NAMED = "FROM named LEFT JOIN stored USING (model, slot, name) LEFT JOIN hot USING (model, name)"
_UNRESOLVED = f"SELECT count(*) {_NAMED} WHERE hot.name IS NULL AND (stored.name IS NULL OR stored.absent)"
_FILES = (
    f"SELECT named.name, named.sha256, named.size, stored.absent, stored.line, hot.absent, hot.line {_NAMED} "
    "WHERE named.model = ? AND named.slot = ? ORDER BY named.name"
)


@dataclass(slots=True)
class MomentPart(Part):
    """A part of a moment: it has no chunks of its own. `slot` tells a model's columns of files apart."""

    counted: int = 0
    slot: int = 0

    @property
    def rows(self) -> int:
        return self.counted


@dataclass(frozen=True, slots=True)
class Version:
    """One row of history that belongs to the state."""

    number: int
    history_id: int
    line: bytes
    values: dict[str, Any]


@dataclass
class MomentReader:
    """A set's history up to `last_of_set`, and the changes in the workspace up to the moment. `models` numbers the models there,
    `described` is what segments say of them. Close it: the workspace goes with it."""

    found: FoundSet
    base: SetReader
    moment: Moment
    last_of_set: int
    workspace: Workspace
    models: dict[str, int]
    described: dict[str, dict[str, Any]]
    parts: list[MomentPart] = field(default_factory=list)
    _ready: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        slots: dict[str, int] = {}
        for part in self.base.parts:
            if part.what == "files":
                slots[part.model] = slots.get(part.model, -1) + 1
            self.parts.append(self._part(part, slots.get(part.model, 0)))
        journal = next(index for index, part in enumerate(self.parts) if part.what == "journal")
        known = {part.model for part in self.parts}
        for model in sorted(self.described.keys() - known):
            self.parts[journal:journal] = self._new_parts(model)
            journal += 2
        self.parts += list(self._new_file_parts())
        (counted,) = [part for part in self.parts if part.what == "journal"]
        counted.counted = self._count("journal", self.last_of_set) + self._count("change", self.moment.number)

    @property
    def stream(self) -> str:
        return self.base.stream

    @property
    def envelope(self) -> dict[str, Any]:
        """The set's that the moment is read from."""
        return self.base.envelope

    @property
    def notes(self) -> list[str]:
        return self.base.notes

    def close(self) -> None:
        self.workspace.close()

    def part(self, what: str, model: str) -> MomentPart | None:
        return next((part for part in self.parts if (part.what, part.model) == (what, model)), None)

    def lines(self, part: Part) -> Iterator[bytes]:
        """The part's rows, each without its line end; rows and history in the order of their keys."""
        if part.what == "journal":
            return self._journal_lines(part)
        self.prepare(part.model)
        if part.what == "rows":
            return (line for (line,) in self.workspace.each(f"SELECT line FROM {self._image(part.model)} WHERE line NOT NULL ORDER BY key"))  # noqa: S608
        return self._history_lines(part) if part.what == "history" else self._file_lines(part)

    def pieces(self, part: Part) -> Iterator[bytes]:
        """The part's bytes, some rows at a time."""
        lines = self.lines(part)
        while batch := list(islice(lines, ROWS_AT_ONCE)):
            yield b"".join(line + b"\n" for line in batch)

    def file_pieces(self, parts: Iterable[Sequence[Any]]) -> Iterator[bytes]:
        return self.base.file_pieces(parts)

    # Rows

    def prepare(self, model: str) -> None:
        """Makes the images of the model's rows, and its list of files, once."""
        if model in self._ready:
            return
        self._ready.add(model)
        rows, history = self.part("rows", model), self.part("history", model)
        if rows is None or history is None:
            raise BadManifest(f"the set has rows of {model} without their history, or the reverse: any second of it cannot be told")
        self._keep_listed_files(model)
        kind = next((column["kind"] for column in rows.columns if column["name"] == rows.key), "text")
        self.workspace.run(
            f"CREATE TABLE {self._image(model)} (key {'INTEGER' if kind == 'integer' else 'TEXT'} PRIMARY KEY, number INTEGER, line BLOB)"
        )
        names = sorted(column["name"] for column in rows.columns)
        versions = self._versions(model)
        while batch := list(islice(versions, ROWS_AT_ONCE)):
            self._keep_images(rows, names, batch)
            self._keep_names(rows, batch)
            history.counted += len(batch)
        rows.counted = self.workspace.one(f"SELECT count(line) FROM {self._image(model)}")  # noqa: S608
        for part in self.parts:
            if part.what == "files" and part.model == model:
                part.counted = self.workspace.one("SELECT count(*) FROM named WHERE model = ? AND slot = ?", self._number(model), part.slot)

    def _keep_images(self, rows: Part, names: Sequence[str], versions: Sequence[Version]) -> None:
        self.workspace.fill(
            f"INSERT INTO {self._image(rows.model)} VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE "  # noqa: S608
            "SET number = excluded.number, line = excluded.line WHERE excluded.number > number",
            [(one.values[rows.key], one.number, _row(one.values, names)) for one in versions],
        )

    def _keep_names(self, rows: Part, versions: Sequence[Version]) -> None:
        for slot, (name, sha256, size) in enumerate(rows.files):
            self.workspace.fill(
                "INSERT OR IGNORE INTO named VALUES (?, ?, ?, ?, ?)",
                [
                    (self._number(rows.model), slot, one.values[name], one.values[sha256], one.values[size])
                    for one in versions
                    if one.values.get(name)
                ],
            )

    def _image(self, model: str) -> str:
        return f"image_{self._number(model)}"

    def _number(self, model: str) -> int:
        return self.models.setdefault(model, len(self.models))

    # History

    def _versions(self, model: str) -> Iterator[Version]:
        yield from self._versions_of_set(model)
        yield from self._changes(model)

    def _versions_of_set(self, model: str) -> Iterator[Version]:
        """Held against the journal: a row that it names must be there, unless its content went with its term."""
        part = self.base.part("history", model)
        if part is None:
            return
        wanted = self.workspace.each(
            "SELECT history_id, number, purged FROM journal WHERE model = ? AND number <= ? ORDER BY history_id",
            self._number(model),
            self.last_of_set,
        )
        expected = next(wanted, None)
        for line in self.base.lines(part):
            values = json.loads(line)
            while expected is not None and expected[0] < values["history_id"]:
                self._refuse_lost(model, expected)
                expected = next(wanted, None)
            if expected is not None and expected[0] == values["history_id"]:
                yield Version(expected[1], expected[0], line, values)
                expected = next(wanted, None)
        while expected is not None:
            self._refuse_lost(model, expected)
            expected = next(wanted, None)

    def _refuse_lost(self, model: str, expected: tuple[Any, ...]) -> None:
        history_id, number, purged = expected
        if not purged:
            raise BadManifest(
                f"the set {self.found.id} lacks history row {history_id} of {model}, which its journal has as change {number}"
            )

    def _changes(self, model: str) -> Iterator[Version]:
        statement = "SELECT number, history_id, line FROM change WHERE model = ? AND number <= ? ORDER BY history_id"
        for number, history_id, line in self.workspace.each(statement, self._number(model), self.moment.number):
            yield Version(number, history_id, line, json.loads(line))

    def _history_lines(self, part: Part) -> Iterator[bytes]:
        names = sorted(column["name"] for column in part.columns)
        both = heapq.merge(self._versions_of_set(part.model), self._changes(part.model), key=lambda one: one.history_id)
        return (one.line if len(one.values) == len(names) else _dumped(one.values, names) for one in both)

    # Journal

    def _journal_lines(self, part: Part) -> Iterator[bytes]:
        changes = self.workspace.each("SELECT id, journal FROM change WHERE number <= ? ORDER BY id", self.moment.number)
        for _, line in heapq.merge(self._journal_of_set(part), changes, key=itemgetter(0)):
            yield line

    def _journal_of_set(self, part: Part) -> Iterator[tuple[int, bytes]]:
        found = self.base.part("journal", part.model)
        for line in self.base.lines(found) if found else ():
            row = json.loads(line)
            if row["number"] is not None and row["number"] <= self.last_of_set:
                yield row["id"], line

    def _count(self, table: str, last: int) -> int:
        return int(self.workspace.one(f"SELECT count(*) FROM {table} WHERE number <= ?", last))  # noqa: S608

    # Files

    def _keep_listed_files(self, model: str) -> None:
        for slot, part in enumerate(part for part in self.base.parts if (part.what, part.model) == ("files", model)):
            lines = self.base.lines(part)
            while batch := [(line, json.loads(line)) for line in islice(lines, ROWS_AT_ONCE)]:
                self.workspace.fill(
                    "INSERT OR IGNORE INTO stored VALUES (?, ?, ?, ?, ?)",
                    [(self._number(model), slot, entry["name"], bool(entry.get("absent")), line) for line, entry in batch],
                )

    def keep_files(self, entries: Iterable[FileEntry]) -> None:
        """Where segments say that files lie; a later word stands against an earlier one only when that had no bytes."""
        self.workspace.fill(
            "INSERT INTO hot VALUES (?, ?, ?, ?) ON CONFLICT (model, name) DO UPDATE SET absent = excluded.absent, line = excluded.line "
            "WHERE hot.absent",
            [(self._number(one.model), one.name, one.parts is None, _json(one.document())) for one in entries],
        )

    def lacks_files(self) -> int:
        """How many files rows name of which neither the set nor a segment says anything."""
        return int(self.workspace.one(_UNRESOLVED))

    def _file_lines(self, part: Part) -> Iterator[bytes]:
        slot = part.slot if isinstance(part, MomentPart) else 0
        for name, sha256, size, absent, line, hot_absent, hot_line in self.workspace.each(_FILES, self._number(part.model), slot):
            if line is not None and not absent:
                yield line
            elif hot_line is not None and not hot_absent:
                yield hot_line
            else:
                yield _json({"name": name, "sha256": sha256, "size": size, "absent": True})

    # Parts

    def _part(self, part: Part, slot: int) -> MomentPart:
        """As the set describes it, with the columns that segments know besides."""
        told = self.described.get(part.model, {})
        columns, files = part.columns, part.files
        if part.what in ("rows", "history"):
            columns = _joined(part.columns, [one for one in told.get("columns", []) if part.what == "history" or _of_row(one)])
            files = max(part.files, told.get("files", []), key=len)
        return MomentPart(part.what, part.model, columns, part.key, part.reference, files, parents=part.parents, slot=slot)

    def _new_parts(self, model: str) -> list[MomentPart]:
        """Of a model that the set does not know: its first rows were made after it."""
        told = self.described[model]
        rows = MomentPart("rows", model, [one for one in told["columns"] if _of_row(one)], told["key"], told["reference"], told["files"])
        return [rows, replace(rows, what="history", columns=told["columns"], key="history_id")]

    def _new_file_parts(self) -> Iterator[MomentPart]:
        columns = [{"name": name, "kind": "text", "null": False} for name in ("name", "sha256")]
        for part in [one for one in self.parts if one.what == "rows"]:
            known = sum(1 for one in self.parts if (one.what, one.model) == ("files", part.model))
            for slot in range(known, len(part.files)):
                yield MomentPart("files", part.model, columns, "name", slot=slot)


def _of_row(column: dict[str, Any]) -> bool:
    return column["name"] not in HISTORY_COLUMNS


def _joined(known: Sequence[dict[str, Any]], told: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The columns of both: what only one of them has can be null."""
    if not told or {one["name"] for one in known} == {one["name"] for one in told}:
        return list(known)
    names = {one["name"] for one in known} & {one["name"] for one in told}
    by_name = {one["name"]: one for one in (*told, *known)}
    return [one if name in names else {**one, "null": True} for name, one in sorted(by_name.items())]


def _row(values: dict[str, Any], names: Sequence[str]) -> bytes | None:
    """The live row that a history row is the image of; None for a deletion."""
    return None if values["history_type"] == "-" else _dumped(values, names)


def _dumped(values: dict[str, Any], names: Sequence[str]) -> bytes:
    # What was canonical and was read stays canonical: the names are sorted, and nested objects were.
    return _json({name: values.get(name) for name in names})


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
