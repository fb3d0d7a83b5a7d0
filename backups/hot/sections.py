"""One customer's part of one segment: its changes with their numbers, and where the bytes of its new files lie (pure; docs/format.md).

Opened, a section is NDJSON: a head, a line a change, a line a file, an end. The chain runs through it: `before` is the digest of the number
before the first change, and each change's link follows from its own line, so that a section proves what it says.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from audit import chain
from audit.chain import Head

FORMAT = 1
MAX_SECTION_BYTES = 64 * 1024 * 1024


class BadSection(Exception):
    """A section of another format, cut, or whose chain does not hold; the message says at which number."""


@dataclass(frozen=True, slots=True)
class Change:
    """One history row with its number. `row` is its canonical JSON; `end` marks the last change of its transaction; `salt` is hex.

    `written_at` is `2026-01-31T23:59:59.000000Z`, by the database's clock; `journal_id` the id of its journal row.
    """

    number: int
    journal_id: int
    transaction: str
    written_at: str
    model: str
    salt: str
    end: bool
    row: bytes

    @property
    def leaf(self) -> str:
        return chain.leaf(bytes.fromhex(self.salt), chain.change_content(self.model, self.written_at, self.row))

    def line(self) -> bytes:
        about = (
            f'{{"number":{self.number},"id":{self.journal_id},"transaction":"{self.transaction}","written_at":"{self.written_at}",'
            f'"model":"{self.model}","salt":"{self.salt}","end":{"true" if self.end else "false"},"row":'
        )
        return b"%b%b}\n" % (about.encode(), self.row)


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A file that a row names: its bytes are those of `parts`, each `[blob, offset, length]` of a blob that the stream's key of the number
    `key` opens (the section itself may have a later one); None when the upload storage had lost it."""

    model: str
    name: str
    sha256: str
    size: int
    parts: Sequence[Sequence[Any]] | None
    key: int = 0

    def document(self) -> dict[str, Any]:
        """As a line of a set's part `files` has it."""
        where = {"absent": True} if self.parts is None else {"parts": [list(part) for part in self.parts]}
        return {"name": self.name, "sha256": self.sha256, "size": self.size, **where}


@dataclass(frozen=True, slots=True)
class Section:
    """A section whose chain holds. `before` is the head that its first change follows, `head` the one after its last change.

    `models` describes each model that occurs in it: `columns` of its history rows, `key` and `reference` of its rows, `files` as in a set.
    """

    stream: str
    segment: int
    timeline: int
    before: Head
    head: Head
    models: dict[str, dict[str, Any]]
    changes: list[Change] = field(default_factory=list)
    files: list[FileEntry] = field(default_factory=list)


def written(section: Section) -> bytes:
    """The section as it is sealed."""
    head = {
        "format": FORMAT,
        "stream": section.stream,
        "segment": section.segment,
        "timeline": section.timeline,
        "first": section.before.number + 1,
        "last": section.head.number,
        "before": section.before.digest,
        "models": section.models,
    }
    files = [_line({"file": {"model": entry.model, "key": entry.key, **entry.document()}}) for entry in section.files]
    end = {"end": True, "changes": len(section.changes), "files": len(files), "digest": section.head.digest}
    return b"".join([_line(head), *(change.line() for change in section.changes), *files, _line(end)])


def read(data: bytes, *, stream: str) -> Section:
    """The section, its chain recomputed; `BadSection` says what does not fit and at which number."""
    try:
        head, *lines, end = [line for line in data.split(b"\n") if line]
        return _read(json.loads(head), lines, json.loads(end), stream)
    except (ValueError, KeyError, TypeError, AttributeError) as problem:
        raise BadSection(f"a section of {stream} cannot be read: {problem}") from None


def _read(head: dict[str, Any], lines: list[bytes], end: dict[str, Any], stream: str) -> Section:
    if head["format"] != FORMAT:
        raise BadSection(f"a section of {stream} is of format {head['format']}; this software reads format {FORMAT}")
    if head["stream"] != stream:
        raise BadSection(f"a section said to be of {stream} is of {head['stream']}")
    changes, files = [], []
    for line in lines:
        if line.startswith(b'{"number":'):
            changes.append(_change(line))
        else:
            files.append(_file(json.loads(line)["file"]))
    if end.get("end") is not True or (end["changes"], end["files"]) != (len(changes), len(files)):
        raise BadSection(f"a section of {stream} in segment {head['segment']} was cut: its end is missing or counts otherwise")
    before = Head(head["first"] - 1, head["before"])
    after = verified(before, changes)
    if after != Head(head["last"], end["digest"]):
        raise BadSection(f"the section of {stream} in segment {head['segment']} does not end at the number and digest that it names")
    return Section(stream, head["segment"], head["timeline"], before, after, head["models"], changes, files)


def verified(before: Head, changes: Iterable[Change]) -> Head:
    """The head after the changes, each link recomputed from its line; `BadSection` where a number is left out."""
    for change in changes:
        if change.number != before.number + 1:
            raise BadSection(f"after number {before.number} comes {change.number}")
        before = chain.following(before, change.leaf)
    return before


def _change(line: bytes) -> Change:
    about, row = line[:-1].split(b',"row":', 1)
    read = json.loads(about + b"}")
    return Change(read["number"], read["id"], read["transaction"], read["written_at"], read["model"], read["salt"], read["end"], row)


def _file(entry: dict[str, Any]) -> FileEntry:
    parts = None if entry.get("absent") else entry["parts"]
    return FileEntry(entry["model"], entry["name"], entry["sha256"], entry["size"], parts, entry["key"])


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode() + b"\n"
