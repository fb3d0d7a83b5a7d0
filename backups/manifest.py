"""What a set says of itself: the signed envelope, and the encrypted body (pure; docs/format.md is the same in prose).

The **body** is NDJSON: a head, then for each part a line that describes it followed by one line a chunk, then an end line with counts. The
**envelope** is one signed JSON document without content: it names the body and every blob by digest, so that a location can be checked
without a key.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

FORMAT = 1
MAX_BODY_BYTES = 1024 * 1024 * 1024


class BadManifest(Exception):
    """An envelope or body that is not of this format, or does not fit together; the message says where."""


@dataclass(frozen=True, slots=True)
class ChunkRef:
    """Where one chunk lies: `length` plain bytes at `offset` of the opened blob named `blob`; `sha256` (hex) of the chunk."""

    blob: str
    offset: int
    length: int
    sha256: str
    rows: int

    def line(self) -> dict[str, Any]:
        return {"chunk": [self.blob, self.offset, self.length, self.sha256, self.rows]}


@dataclass(slots=True)
class Part:
    """One stream of rows: `what` is `rows`, `history`, `journal` or `files`; `model` is `app.model`; `columns` as in `audit.rows`.

    `key` names the column that the rows are ordered by, `reference` the one that people call them by, `files` the columns with
    stored files as [file, digest, size]; `parents` its foreign keys to models of the same stream, as [column, model, column there] (None in
    a set from before they stood in it).
    """

    what: str
    model: str
    columns: list[dict[str, Any]]
    key: str = ""
    reference: str = ""
    files: list[list[str]] = field(default_factory=list)
    chunks: list[ChunkRef] = field(default_factory=list)
    parents: list[list[str]] | None = None

    @property
    def rows(self) -> int:
        return sum(chunk.rows for chunk in self.chunks)

    def line(self) -> dict[str, Any]:
        described = {"part": self.what, "model": self.model, "columns": self.columns, "key": self.key}
        for name, value in (("reference", self.reference), ("files", self.files)):
            described |= {name: value} if value else {}
        return described | ({"parents": self.parents} if self.parents is not None else {})


def object_name(stream: str, kind: str, ident: str) -> str:
    """Where an object of a stream lies at every location; `kind` is `blob`, `body`, `envelope` or `key`."""
    folder = stream_folder(stream)
    if kind == "key":
        return f"keys/{stream}/{ident}.age"
    if kind == "blob":
        return f"{folder}blobs/{ident[:2]}/{ident}"
    return f"{folder}sets/{ident}.{'age' if kind == 'body' else 'json'}"


def stream_folder(stream: str) -> str:
    """The prefix of all that belongs to a stream, with its `/` at the end."""
    return "system/" if stream == "00000000-0000-0000-0000-000000000000" else f"customers/{stream}/"


def body_lines(head: dict[str, Any], parts: Iterable[Part]) -> Iterator[str]:
    """The body's lines; the last one counts what was before it, so that a cut body shows."""
    yield _line({"format": FORMAT, **head})
    counted = 0
    for part in parts:
        yield _line(part.line())
        for chunk in part.chunks:
            yield _line(chunk.line())
            counted += 1
    yield _line({"end": True, "chunks": counted})


def _line(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")) + "\n"


def read_body(data: bytes) -> tuple[dict[str, Any], list[Part]]:
    """Head and parts of a body; `BadManifest` when it is of another format or not whole."""
    try:
        lines = [json.loads(line) for line in data.decode().split("\n") if line]
        return _assembled(lines)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as problem:
        raise BadManifest(f"the set's body cannot be read: {problem}") from None


def _assembled(lines: list[dict[str, Any]]) -> tuple[dict[str, Any], list[Part]]:
    head, *middle, end = lines
    if head["format"] != FORMAT:
        raise BadManifest(f"the set's body is of format {head['format']}; this software reads format {FORMAT}")
    parts: list[Part] = []
    for line in middle:
        if "part" in line:
            optional = {name: line[name] for name in ("reference", "files", "parents") if name in line}
            parts.append(Part(line["part"], line["model"], line["columns"], line["key"], **optional))
        else:
            parts[-1].chunks.append(ChunkRef(*line["chunk"]))
    if not end.get("end") or end["chunks"] != sum(len(part.chunks) for part in parts):
        raise BadManifest("the set's body was cut: its end line is missing or counts otherwise")
    return head, parts


def check_envelope(envelope: dict[str, Any], *, stream: str, ident: str) -> dict[str, Any]:
    """The envelope when it is of this format and about that set; `BadManifest` else (a signed envelope under another's name)."""
    if envelope.get("format") != FORMAT:
        raise BadManifest(f"the envelope is of format {envelope.get('format')}; this software reads format {FORMAT}")
    if (envelope.get("stream"), envelope.get("set")) != (stream, ident):
        raise BadManifest(f"the envelope is about set {envelope.get('set')} of {envelope.get('stream')}, not about {ident} of {stream}")
    return envelope
