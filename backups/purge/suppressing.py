"""A reader that gives out nothing that was purged since: rows, history, files, and the salts that would prove their content."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
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
    _anew: dict[str, set[Any]] = field(default_factory=dict)

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
        return self._kept_versions(part) if part.what == "history" else self._kept_rows(part)

    def _concerns(self, part: Part) -> bool:
        return part.what == "journal" or part.model in self.purged.models

    def _kept_versions(self, part: Part) -> Iterator[bytes]:
        rows = self.base.part("rows", part.model)
        for line in self.base.lines(part):
            values = json.loads(line)
            up_to = self.purged.gone_up_to(part.model, values[rows.key if rows else part.key])
            if up_to is None or values[part.key] > up_to:
                yield line

    def _kept_rows(self, part: Part) -> Iterator[bytes]:
        """A row says nothing of its version: one of an object that went is there only when it was made anew under the same key."""
        for line in self.base.lines(part):
            key = json.loads(line)[part.key]
            if self.purged.gone_up_to(part.model, key) is None or key in self._made_anew(part):
                yield line

    def _made_anew(self, rows: Part) -> set[Any]:
        """The keys of objects that went and have later versions; history is read for them once, when the first is met."""
        if rows.model not in self._anew:
            history = self.base.part("history", rows.model)
            versions = (json.loads(line) for line in self._kept_versions(history)) if history else ()
            self._anew[rows.model] = {
                values[rows.key] for values in versions if self.purged.gone_up_to(rows.model, values[rows.key]) is not None
            }
        return self._anew[rows.model]

    def _without_salt(self, line: bytes) -> bytes:
        row = json.loads(line)
        if row["number"] not in self.purged.numbers or row["salt"] is None:
            return line
        return json.dumps({**row, "salt": None}, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
