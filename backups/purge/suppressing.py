"""A reader that gives out nothing that was purged since: rows, history, files, and the salts that would prove their content."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from backups.manifest import Part
from backups.purge.suppression import SuppressionList
from backups.reading import Moment, Reader

NOTE = "What was purged since, because its term was over, is left out: it is in this backup, and never comes back"


@dataclass(frozen=True)
class SuppressingReader:
    """As the reader that it stands before. Only the parts of models of which something was purged, and the journal, are read line by line;
    a part's `rows` still counts what the set holds."""

    base: Reader
    purged: SuppressionList

    @property
    def stream(self) -> str:
        return self.base.stream

    @property
    def envelope(self) -> dict[str, Any]:
        return self.base.envelope

    @property
    def moment(self) -> Moment | None:
        return self.base.moment

    @property
    def notes(self) -> list[str]:
        return self.base.notes

    @property
    def parts(self) -> Sequence[Part]:
        return self.base.parts

    def part(self, what: str, model: str) -> Part | None:
        return self.base.part(what, model)

    def file_pieces(self, parts: Iterable[Sequence[Any]]) -> Iterator[bytes]:
        return self.base.file_pieces(parts)

    def pieces(self, part: Part) -> Iterator[bytes]:
        if not self._concerns(part):
            return self.base.pieces(part)
        return (line + b"\n" for line in self.lines(part))

    def lines(self, part: Part) -> Iterator[bytes]:
        lines = self.base.lines(part)
        if not self._concerns(part):
            return lines
        if part.what == "journal":
            return (self._without_salt(line) for line in lines)
        if part.what == "files":
            return (line for line in lines if not self.purged.has_file(json.loads(line)["name"]))
        key = self._row_key(part)
        return (line for line in lines if not self.purged.has_item(part.model, json.loads(line)[key]))

    def _concerns(self, part: Part) -> bool:
        return part.what == "journal" or part.model in self.purged.models

    def _row_key(self, part: Part) -> str:
        rows = self.base.part("rows", part.model)
        return rows.key if rows is not None else part.key

    def _without_salt(self, line: bytes) -> bytes:
        row = json.loads(line)
        if row["number"] not in self.purged.numbers or row["salt"] is None:
            return line
        return json.dumps({**row, "salt": None}, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
