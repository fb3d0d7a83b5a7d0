"""What an import did, what it refused and why, and what it found missing.

Its texts may quote the customer's content: they are shown, never stored where they would outlive it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

Progress = Callable[[str], None]
MAX_PROBLEMS = 100
MAX_EXAMPLES = 5
SHORT = 200
NOT_ASKED = "not asked to delete them"


def shown(text: str | Path) -> str:
    """A name or value as one printable line: undecodable bytes and control characters as escapes."""
    decodable = os.fsencode(str(text)).decode("utf-8", "backslashreplace") if isinstance(text, Path) else text
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in decodable)


def short(text: str) -> str:
    """The beginning of a value that may be as long as a file, printable."""
    return shown(text if len(text) <= SHORT else text[:SHORT] + "…")


def counted(number: int, noun: str) -> str:
    """`1 row`, `2,000 rows`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


@dataclass(frozen=True, slots=True)
class Refusal:
    """One reason why a file was refused. `file` is its path in the folder, `line` the file's own (from 1), `column` a header's name."""

    file: str
    reason: str
    line: int | None = None
    column: str | None = None

    def __str__(self) -> str:
        line = f", line {self.line}" if self.line else ""
        column = f", column {self.column}" if self.column else ""
        return f"{self.file}{line}{column}: {self.reason}"


class NothingToImport(Exception):
    """There is no such folder, or nothing in it is part of an import."""


class FileRefused(Exception):
    """One file was refused, and nothing of it was written; the import goes on with the others."""

    def __init__(self, *refusals: Refusal) -> None:
        super().__init__("; ".join(map(str, refusals)))
        self.refusals = refusals


class Problems:
    """The problems of one file as they are found: the first 100 each, the rest as a count."""

    def __init__(self, file: str) -> None:
        self.file = file
        self._found: list[Refusal] = []
        self._more = 0

    def add(self, reason: str, line: int | None = None, column: str | None = None) -> None:
        if len(self._found) < MAX_PROBLEMS:
            self._found.append(Refusal(self.file, reason, line, column and short(column)))
        else:
            self._more += 1

    def __len__(self) -> int:
        return len(self._found) + self._more

    def refuse(self) -> None:
        """Raises `FileRefused` when there is any problem."""
        more = [Refusal(self.file, f"and {counted(self._more, 'problem')} more")] if self._more else []
        if self._found:
            raise FileRefused(*self._found, *more)


@dataclass(slots=True)
class Outcome:
    """What became of one kind of records, of the uploads or of the links. `missing` are live and not in the folder; `kept_because` says why
    they were not deleted, `examples` names a few."""

    created: int = 0
    changed: int = 0
    unchanged: int = 0
    missing: int = 0
    deleted: int = 0
    examples: list[str] = field(default_factory=list)
    kept_because: str = ""

    @property
    def writes(self) -> int:
        return self.created + self.changed + self.deleted

    def __str__(self) -> str:
        counts = f"{self.created:,} created, {self.changed:,} changed, {self.unchanged:,} unchanged"
        if not self.missing:
            return counts
        fate = f"kept: {self.kept_because}" if self.kept_because else f"{self.deleted:,} deleted"
        return f"{counts}, {self.missing:,} missing ({fate}), such as {', '.join(map(short, self.examples))}"


@dataclass(slots=True)
class ImportReport:
    """The whole import. `ignored` lies in the folder and is no part of an import; whatever `refused` names was left as it was."""

    customer: str
    folder: str
    records: dict[str, Outcome] = field(default_factory=dict)
    uploads: Outcome = field(default_factory=Outcome)
    links: Outcome = field(default_factory=Outcome)
    refused: list[Refusal] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Everything in the folder was taken."""
        return not self.refused

    @property
    def refused_files(self) -> list[str]:
        return list(dict.fromkeys(refusal.file for refusal in self.refused))

    @property
    def outcomes(self) -> list[Outcome]:
        return [*self.records.values(), self.uploads, self.links]

    def lines(self) -> Iterator[str]:
        """The report for people."""
        for kind, outcome in sorted(self.records.items()):
            yield f"records of {shown(kind)}: {outcome}"
        yield f"uploads: {self.uploads}"
        yield f"links: {self.links}"
        if self.ignored:
            yield f"ignored, no part of an import: {', '.join(self.ignored)}"
        yield from (f"refused: {refusal}" for refusal in self.refused)
        total = sum(outcome.writes for outcome in self.outcomes)
        refused = counted(len(self.refused_files), "file")
        yield f"{counted(total, 'change')} written for {self.customer} in {self.seconds:.1f} s; {refused} refused."

    def document(self) -> dict[str, Any]:
        """The report for programs."""
        return {**asdict(self), "ok": self.ok, "refused_files": self.refused_files}
