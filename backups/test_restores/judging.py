"""Whether what stands in the scratch database is what the set promises (P7): judged from what that database gives back, and from nothing
that the loading said of itself.

| check | of what | against what |
|---|---|---|
| counts | rows that were read, by part | the signed envelope; of a second, the chain |
| digests | each table as it is read back: rows, and the sum of their SHA-256 | the rows of the set's chunks, each with its digest |
| files | the bytes of every file of every version | the digest and size beside its name, and those in rows and history |
| parents | every foreign key between the restored tables | the restored row that it names |
| history | every row, and every newest history image | each other |
| chain | each change's leaf, made anew from its restored history row; each link | the journal's digests, up to the signed head |
| moment | (of a second) its newest change, whole transactions | the live journal, where it has that number still |

Memory is bounded: what does not fit waits in a workspace without a name. Examples quote no content: numbers, ids, names of models.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from audit import canonical, chain
from audit.chain import Head
from backups.manifest import Part
from backups.moments.reader import HISTORY_COLUMNS
from backups.moments.workspace import Workspace
from backups.scratch.lines import Tally

EXAMPLES = 10
ROWS_AT_ONCE = 1000
SCHEMA = """
CREATE TABLE change (model TEXT, history_id INTEGER, number INTEGER, written_at TEXT, shape INTEGER, salt TEXT, leaf TEXT, seen INTEGER,
    PRIMARY KEY (model, history_id)) WITHOUT ROWID;
CREATE TABLE link (number INTEGER PRIMARY KEY, leaf TEXT, digest TEXT);
CREATE TABLE image (model TEXT, key TEXT, history_id INTEGER, digest BLOB, seen INTEGER, PRIMARY KEY (model, key)) WITHOUT ROWID;
CREATE TABLE target (slot INTEGER, value TEXT, PRIMARY KEY (slot, value)) WITHOUT ROWID;
CREATE TABLE child (slot INTEGER, value TEXT, model TEXT, name TEXT, PRIMARY KEY (slot, value, model, name)) WITHOUT ROWID;
CREATE TABLE named (model TEXT, slot INTEGER, name TEXT, sha256 TEXT, size INTEGER,
    PRIMARY KEY (model, slot, name, sha256, size)) WITHOUT ROWID;
CREATE TABLE listed (model TEXT, slot INTEGER, name TEXT, sha256 TEXT, size INTEGER, PRIMARY KEY (model, slot, name)) WITHOUT ROWID;
"""


_CHANGE = "SELECT number, written_at, shape, salt, leaf FROM change WHERE model = ? AND history_id = ?"
_UNLISTED = "FROM named LEFT JOIN listed USING (model, slot, name) WHERE listed.name IS NULL GROUP BY named.model"


class Check(StrEnum):
    COUNTS = "counts"
    DIGESTS = "digests"
    FILES = "files"
    PARENTS = "parents"
    HISTORY = "history"
    CHAIN = "chain"
    MOMENT = "moment"


@dataclass(slots=True)
class Finding:
    """What one check looked at and how much of it was wrong; `examples` are the first few."""

    looked_at: int = 0
    wrong: int = 0
    examples: list[str] = field(default_factory=list)

    def tell(self, example: str, times: int = 1) -> None:
        self.wrong += times
        if len(self.examples) < EXAMPLES:
            self.examples.append(example)


@dataclass(slots=True)
class Judgement:
    """What all checks came to. `notes` are no faults."""

    checks: dict[Check, Finding] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    head: Head = chain.START

    def of(self, check: Check) -> Finding:
        return self.checks.setdefault(check, Finding())

    @property
    def passed(self) -> bool:
        return not any(one.wrong for one in self.checks.values())

    def document(self) -> dict[str, Any]:
        return {
            "counts": self.counts,
            "checks": {
                check.value: {"looked_at": one.looked_at, "wrong": one.wrong, "examples": one.examples}
                for check, one in sorted(self.checks.items())
            },
            "notes": self.notes,
            "head": {"number": self.head.number, "digest": self.head.digest},
        }

    def words(self) -> list[str]:
        return [
            f"{check.value}: {one.wrong:,} of {one.looked_at:,} wrong, such as {'; '.join(one.examples[:3])}"
            for check, one in sorted(self.checks.items())
            if one.wrong
        ]


@dataclass(frozen=True, slots=True)
class Question:
    """What is judged: the parts of a set (or of a second), the shapes that its body's head lists, where its chain must end (None where
    the set was made before changes had numbers), how a timeline begins (`onward`, as in `backups.hot.forks`), and
    whether the set's own proof was broken when it was made."""

    parts: Sequence[Part]
    shapes: Mapping[int, Sequence[str]]
    head: Head | None
    onward: Callable[[Head], Head]
    said_broken: bool = False


class Judge:
    """Is given each part as it is read (`expecting`), then each table as the database gives it back (`table`), each file (`file`), and
    then says what it found (`judged`)."""

    def __init__(self, question: Question, workspace: Workspace) -> None:
        self.question, self.work = question, workspace
        self.judgement = Judgement()
        self._expected: dict[int, Tally] = {}
        self._rows = {part.model: part for part in question.parts if part.what == "rows"}
        self._targets: dict[tuple[str, str], int] = {}
        for part in self._rows.values():
            for _, model, column in part.parents or ():
                self._targets.setdefault((model, column), len(self._targets))
        self._columns = {part.model: {one["name"] for one in part.columns} for part in question.parts if part.what == "history"}
        self._unread = 0

    # As it is read

    def expecting(self, number: int, lines: Iterable[bytes]) -> Iterator[bytes]:
        """The lines of the part of that number, which are to be loaded; what they are is remembered apart from the loading."""
        tally = self._expected[number] = Tally()
        for line in lines:
            tally.add(line)
            yield line

    # As the database gives it back

    def table(self, number: int, part: Part, lines: Iterable[bytes]) -> None:
        """All the lines of the table that the part became. The journal comes before the models' own tables, rows after history."""
        found = Tally()
        take = {"journal": self._journal, "history": self._history, "rows": self._row_lines, "files": self._nothing}[part.what]
        take(part, found.counting(lines))
        self._compare(number, part, found)

    def _compare(self, number: int, part: Part, found: Tally) -> None:
        counts, digests, expected = self.judgement.of(Check.COUNTS), self.judgement.of(Check.DIGESTS), self._expected[number]
        self.judgement.counts[part.what] = self.judgement.counts.get(part.what, 0) + found.rows
        counts.looked_at += 1
        digests.looked_at += found.rows
        if found.rows != expected.rows:
            counts.tell(f"{part.what} of {part.model}: {expected.rows:,} rows were loaded and {found.rows:,} came back")
        if found.sum != expected.sum:
            digests.tell(f"{part.what} of {part.model} came back from the database otherwise than the set has them")

    def _nothing(self, part: Part, lines: Iterable[bytes]) -> None:
        for _ in lines:
            pass

    # Journal and history

    def _journal(self, part: Part, lines: Iterable[bytes]) -> None:
        for batch in _batches(lines):
            read = [json.loads(line) for line in batch]
            self.work.fill(
                "INSERT OR REPLACE INTO change VALUES (?, ?, ?, ?, ?, ?, ?, 0)",
                [
                    (
                        row["model"],
                        row["history_id"],
                        row.get("number"),
                        row["written_at"],
                        row.get("shape_id"),
                        row.get("salt"),
                        row.get("leaf"),
                    )
                    for row in read
                ],
            )
            numbered = [(row["number"], row["leaf"], row["digest"]) for row in read if row.get("number") is not None]
            self.work.fill("INSERT OR REPLACE INTO link VALUES (?, ?, ?)", numbered)

    def _history(self, part: Part, lines: Iterable[bytes]) -> None:
        rows = self._rows.get(part.model)
        key, names = rows.key if rows else part.key, sorted(self._columns[part.model] - HISTORY_COLUMNS)
        check = self.judgement.of(Check.HISTORY)
        for batch in _batches(lines):
            images = []
            for line in batch:
                values = json.loads(line)
                self._change(part.model, values, line)
                deleted = values["history_type"] == "-"
                check.looked_at += 1
                digest = None if deleted else _digest({name: values[name] for name in names})
                images.append((part.model, json.dumps(values[key]), values["history_id"], digest))
                self._name_files(part, values)
            self.work.fill(
                "INSERT INTO image VALUES (?, ?, ?, ?, 0) ON CONFLICT (model, key) DO UPDATE "
                "SET history_id = excluded.history_id, digest = excluded.digest WHERE excluded.history_id > history_id",
                images,
            )

    def _change(self, model: str, values: dict[str, Any], line: bytes) -> None:
        """Holds a row of history against the change that tells of it."""
        check, history_id = self.judgement.of(Check.CHAIN), values["history_id"]
        found = next(
            self.work.each(_CHANGE, model, history_id),
            None,
        )
        if found is None:
            check.tell(f"no change tells of history row {history_id} of {model}")
            return
        self.work.run("UPDATE change SET seen = 1 WHERE model = ? AND history_id = ?", model, history_id)
        number, written_at, shape, salt, leaf = found
        if number is None:
            return
        if salt is None:
            check.tell(f"change {number} of {model} has its history row, and no salt that proves it")
            return
        fits = self._fits(model, values, line, written_at, shape, salt, leaf)
        if fits is None:
            self._unread += 1
        elif not fits:
            check.tell(f"the history row of change {number} of {model} is not what was numbered")

    def _fits(
        self, model: str, values: dict[str, Any], line: bytes, written_at: str, shape: int | None, salt: str, leaf: str
    ) -> bool | None:
        """Whether the row is what the leaf covers; None when it covers columns that the set has no longer."""
        texts: list[bytes] = [line]
        if shape is not None and shape in self.question.shapes:
            names = self.question.shapes[shape]
            if not set(names) <= values.keys():
                return None
            texts = [line] if len(names) == len(values) else [canonical.dump_bytes({name: values[name] for name in names})]
        elif shape is None:
            # A change that came in a segment: its own columns, which the set may know by a shape, or all.
            texts += [
                canonical.dump_bytes({name: values[name] for name in names})
                for names in self.question.shapes.values()
                if set(names) < values.keys()
            ]
        return any(_leaf(salt, model, written_at, text) == leaf for text in texts)

    # Rows

    def _row_lines(self, part: Part, lines: Iterable[bytes]) -> None:
        for batch in _batches(lines):
            for line in batch:
                values = json.loads(line)
                self._row(part, values)

    def _row(self, part: Part, values: dict[str, Any]) -> None:
        key = json.dumps(values[part.key])
        image = next(self.work.each("SELECT digest FROM image WHERE model = ? AND key = ?", part.model, key), None)
        what = ""
        if image is None:
            what = "has no history"
        elif image[0] is None:
            what = "is there, and its history ends with its deletion"
        elif image[0] != _digest(values):
            what = "is not what its newest history row says"
        if what:
            self.judgement.of(Check.HISTORY).tell(f"a row of {part.model} ({_shown(values[part.key])}) {what}")
        self.work.run("UPDATE image SET seen = 1 WHERE model = ? AND key = ?", part.model, key)
        self._keep_relations(part, values)
        self._name_files(part, values)

    def _keep_relations(self, part: Part, values: dict[str, Any]) -> None:
        for (model, column), slot in self._targets.items():
            if model == part.model:
                self.work.run("INSERT OR IGNORE INTO target VALUES (?, ?)", slot, json.dumps(values[column]))
        for name, model, column in part.parents or ():
            if values.get(name) is not None and model in self._rows:
                self.judgement.of(Check.PARENTS).looked_at += 1
                slot = self._targets[model, column]
                self.work.run("INSERT OR IGNORE INTO child VALUES (?, ?, ?, ?)", slot, json.dumps(values[name]), part.model, name)

    # Files

    def _name_files(self, part: Part, values: dict[str, Any]) -> None:
        for slot, (name, sha256, size) in enumerate(part.files):
            if values.get(name):
                self.work.run(
                    "INSERT OR IGNORE INTO named VALUES (?, ?, ?, ?, ?)", part.model, slot, values[name], values[sha256], values[size]
                )

    def file(self, part: Part, slot: int, entry: dict[str, Any], pieces: Callable[[Any], Iterator[bytes]]) -> int:
        """One entry of a part `files`, its bytes read; returns how many."""
        check, size, sha256 = self.judgement.of(Check.FILES), 0, hashlib.sha256()
        self.work.run(
            "INSERT OR REPLACE INTO listed VALUES (?, ?, ?, ?, ?)", part.model, slot, entry["name"], entry["sha256"], entry["size"]
        )
        check.looked_at += 1
        if entry.get("absent"):
            self.judgement.counts["absent_files"] = self.judgement.counts.get("absent_files", 0) + 1
            return 0
        for piece in pieces(entry["parts"]):
            sha256.update(piece)
            size += len(piece)
        if (sha256.hexdigest(), size) != (entry["sha256"], entry["size"]):
            check.tell(f"file {check.looked_at} of {part.model} has {size:,} bytes of another digest or size than stands beside its name")
        return size

    # In the end

    def judged(self) -> Judgement:
        self._judge_parents()
        self._judge_images()
        self._judge_files()
        self._judge_chain()
        if self.question.said_broken:
            self.judgement.notes.append("The set's own proof said when it was made that rows or changes were not as they should be")
        if self._unread:
            self.judgement.notes.append(
                f"{self._unread:,} changes cover columns that were dropped since: their links hold, their content cannot be made anew"
            )
        return self.judgement

    def _judge_parents(self) -> None:
        check = self.judgement.of(Check.PARENTS)
        missing = "FROM child LEFT JOIN target USING (slot, value) WHERE target.slot IS NULL"
        for model, name, count in self.work.each(f"SELECT model, name, count(*) {missing} GROUP BY model, name"):
            check.tell(f"{count:,} rows that {name} of {model} names are not there", count)

    def _judge_images(self) -> None:
        for model, count in self.work.each("SELECT model, count(*) FROM image WHERE digest IS NOT NULL AND NOT seen GROUP BY model"):
            self.judgement.of(Check.HISTORY).tell(f"{count:,} rows of {model} are gone, and their history does not say why", count)
        deleted = self.work.one("SELECT count(*) FROM image WHERE digest IS NULL")
        self.judgement.counts["deleted"] = int(deleted)

    def _judge_files(self) -> None:
        check = self.judgement.of(Check.FILES)
        for model, count in self.work.each(f"SELECT named.model, count(*) {_UNLISTED}"):
            check.tell(f"{count:,} files that {model} names are not listed", count)
        for model, count in self.work.each(
            "SELECT named.model, count(*) FROM named JOIN listed USING (model, slot, name) "
            "WHERE named.sha256 <> listed.sha256 OR named.size <> listed.size GROUP BY named.model"
        ):
            check.tell(f"{count:,} files of {model} are listed with another digest or size than their rows have", count)

    def _judge_chain(self) -> None:
        check = self.judgement.of(Check.CHAIN)
        lost = self.work.each(
            "SELECT model, history_id, number FROM change WHERE NOT seen AND (salt IS NOT NULL OR number IS NULL) ORDER BY number"
        )
        for model, history_id, number in lost:
            told = f"change {number}" if number is not None else "a change without a number"
            check.tell(f"history row {history_id} of {model} is not there, and {told} tells of it")
        head = chain.START
        for number, leaf, digest in self.work.each("SELECT number, leaf, digest FROM link ORDER BY number"):
            check.looked_at += 1
            link = Head(number, digest)
            if trouble := chain.misfit(self.question.onward(head), link, leaf):
                check.tell(f"change {number}: {trouble}")
            head = link
        self.judgement.head = head
        if self.question.head is None:
            self.judgement.notes.append("The set was made before changes had numbers: nothing signed says where its chain ends")
        elif head != self.question.head and self.question.onward(head) != self.question.head:
            check.tell(f"the chain ends with change {head.number}; the signed head is change {self.question.head.number} or another digest")


def counted(judgement: Judgement, expected: Mapping[str, int], left_out: Mapping[str, int]) -> None:
    """Holds what came back against what the signed envelope counts; `left_out` of each part was purged since."""
    check = judgement.of(Check.COUNTS)
    for what, count in sorted(expected.items()):
        found = judgement.counts.get(what, 0) + left_out.get(what, 0)
        check.looked_at += 1
        if found != count:
            check.tell(f"{what}: the envelope counts {count:,}, and {found:,} were restored")


def shapes_of(head: Mapping[str, Any]) -> dict[int, list[str]]:
    """The columns that changes cover, by the shape's id, from the head of a set's body."""
    return {one["id"]: [column["name"] for column in one["columns"]] for one in head.get("shapes", [])}


def _leaf(salt: str, model: str, written_at: str, text: bytes) -> str:
    try:
        return chain.leaf(bytes.fromhex(salt), chain.change_content(model, written_at, text))
    except ValueError:
        return ""


def _digest(values: Mapping[str, Any]) -> bytes:
    # Both sides were canonical and were read the same way; canonical again they need not be.
    return hashlib.sha256(json.dumps(values, sort_keys=True, separators=(",", ":")).encode()).digest()


def _shown(key: Any) -> str:
    """A key of numbers alone says nothing of its row; any other may."""
    try:
        return str(uuid.UUID(key)) if isinstance(key, str) else str(int(key))
    except ValueError:
        return "its key is text"


def _batches(lines: Iterable[bytes]) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    for line in lines:
        batch.append(line)
        if len(batch) == ROWS_AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch
