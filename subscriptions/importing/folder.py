"""What lies in a folder to import, and opening it: nothing outside of the folder, nothing but ordinary files.

Folders are untrusted: a link may lead out of them, a pipe may never end, a name may be no text. `names.csv` (path, name) says how a kind or
an upload is really called whose name no file system takes; returned packages have it.
"""

from __future__ import annotations

import csv
import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from subscriptions.importing.report import FileRefused, NothingToImport, Refusal, shown

RECORDS, UPLOADS, LINKS, NAMES = "records", "uploads", "links.csv", "names.csv"
TABLES = (".csv", ".ndjson")
MOST_NAMES_BYTES = 256 * 1024 * 1024
_SPECIAL = (
    (stat.S_ISDIR, "is a folder"),
    (stat.S_ISFIFO, "is a named pipe"),
    (stat.S_ISSOCK, "is a socket"),
    (stat.S_ISCHR, "is a character device"),
    (stat.S_ISBLK, "is a block device"),
)


@dataclass(frozen=True, slots=True)
class Found:
    """A file to import. `name` is its path below the part it belongs to, with `/`; `shown` its path in the folder, printable."""

    path: Path
    name: str
    shown: str

    def refused(self, reason: str) -> FileRefused:
        return FileRefused(Refusal(self.shown, reason))


class ImportFolder:
    """The folder. Raises `NothingToImport` when it is no folder, holds no part of an import, or its `names.csv` is not to be understood:
    then nothing in it is called as it should be."""

    def __init__(self, root: Path) -> None:
        try:
            self.root = Path(root).resolve(strict=True)
            self._beside = [path for path in _entries(self.root) if path.name not in (RECORDS, UPLOADS, LINKS, NAMES)]
        except (OSError, RuntimeError) as problem:
            raise NothingToImport(f"The folder {shown(Path(root))} cannot be read: {_why(problem)}.") from problem
        if not any(self.has(part) for part in (RECORDS, UPLOADS, LINKS)):
            raise NothingToImport(f"There is neither records/ nor uploads/ nor links.csv in {shown(self.root)}: nothing to import.")
        self._names = self._read_names() if self.has(NAMES) else {}

    def has(self, part: str) -> bool:
        """Whether the part was delivered, readable or not."""
        return os.path.lexists(self.root / part)

    def ignored(self) -> list[str]:
        """What stands beside the parts, printable."""
        hidden = [path for path in self._listed(RECORDS) if isinstance(path, Path) and path.name.startswith(".")]
        return [shown(path.relative_to(self.root)) for path in (*self._beside, *hidden)]

    def tables(self) -> Iterator[Found | Refusal]:
        """The tables of `records/`, `name` being the kind; a refusal for each thing there that is none."""
        kinds: dict[str, Path] = {}
        for path in self._listed(RECORDS):
            if isinstance(path, Refusal):
                yield path
            elif not path.name.startswith("."):
                yield self._table(path, kinds)

    def uploads(self) -> Iterator[Found | Refusal]:
        """Every file below `uploads/`; a refusal for each folder that cannot be read and each name that is no text."""
        waiting = [self._listed(UPLOADS)]
        while waiting:
            path = next(waiting[-1], None)
            if path is None:
                waiting.pop()
            elif isinstance(path, Refusal):
                yield path
            elif os.path.isdir(path) and not os.path.islink(path):  # noqa: PTH112, PTH114  (pathlib's raise where a folder may not be searched)
                waiting.append(self._listed(path.relative_to(self.root)))
            else:
                yield self._named(path, path.relative_to(self.root / UPLOADS).as_posix())

    def links(self) -> Found:
        return Found(self.root / LINKS, LINKS, LINKS)

    @contextmanager
    def open(self, found: Found) -> Iterator[BinaryIO]:
        """The file for reading. Raises `FileRefused` when it leads out of the folder, is no ordinary file, or cannot be read."""
        try:
            real = self._inside(found)
            _refuse_special(found, real.stat())
            # NONBLOCK and the second look: it may have become a pipe in the meantime, whose opening would wait for ever.
            descriptor = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            file = os.fdopen(descriptor, "rb")
        except (OSError, RuntimeError) as problem:
            raise found.refused(f"cannot be read: {_why(problem)}") from problem
        with file:
            _refuse_special(found, os.fstat(file.fileno()))
            yield file

    def _inside(self, found: Found) -> Path:
        real = found.path.resolve(strict=True)
        if not real.is_relative_to(self.root):
            raise found.refused(f"leads out of the folder, to {shown(real)}; put the file itself there")
        if found.path.is_symlink() and real.is_dir():
            raise found.refused("is a link to a folder; put the folder itself there")
        return real

    def _table(self, path: Path, kinds: dict[str, Path]) -> Found | Refusal:
        where = shown(path.relative_to(self.root))
        if path.suffix.lower() not in TABLES:
            return Refusal(where, "is no table: records/ takes one file NAME.csv or NAME.ndjson a kind, and nothing else")
        found = self._named(path, path.stem)
        if isinstance(found, Refusal):
            return found
        first = kinds.setdefault(found.name, path)
        return found if first is path else Refusal(where, f"is a second file of the kind {shown(found.name)}, beside {shown(first.name)}")

    def _read_names(self) -> dict[str, str]:
        """The true names of `names.csv` by the path in the folder."""
        names = Found(self.root / NAMES, NAMES, NAMES)
        try:
            with self.open(names) as file:
                text = io.StringIO(file.read(MOST_NAMES_BYTES).decode("utf-8-sig"), newline="")
            header, *lines = [line for line in csv.reader(text, strict=True) if line]
        except (FileRefused, ValueError, csv.Error) as problem:
            raise NothingToImport(f"names.csv cannot be read: {problem}. Nothing was imported.") from problem
        if header != ["path", "name"] or any(len(line) != 2 for line in lines):
            raise NothingToImport("names.csv needs the columns path and name, and nothing else. Nothing was imported.")
        self._refuse_doubles(lines)
        return {path: name for path, name in lines}  # noqa: C416  (mypy: dict() cannot know that there are two)

    def _refuse_doubles(self, lines: list[list[str]]) -> None:
        """Two files under one name would overwrite each other."""
        paths = {path for path, _ in lines}
        named = {(path.partition("/")[0], name) for path, name in lines}
        for path, name in lines:
            part = path.partition("/")[0]
            beside = f"{part}/{name}"
            is_path = Path(name).as_posix() == name and ".." not in Path(name).parts and not Path(name).is_absolute()
            if is_path and beside not in paths and os.path.isfile(self.root / beside):  # noqa: PTH113  (pathlib's raises for long names)
                raise NothingToImport(f"names.csv calls {shown(path)} as {shown(beside)} is called already. Nothing was imported.")
        if len(paths) != len(lines) or len(named) != len(lines):
            raise NothingToImport("names.csv has a path or a name twice. Nothing was imported.")

    def _named(self, path: Path, name: str) -> Found | Refusal:
        where = shown(path.relative_to(self.root))
        name = self._names.get(path.relative_to(self.root).as_posix(), name)
        try:
            name.encode()
        except UnicodeEncodeError:
            return Refusal(where, "has a name that is not UTF-8; rename it")
        return Found(path, name, where)

    def _listed(self, part: str | Path) -> Iterator[Path | Refusal]:
        folder = self.root / part
        if not os.path.lexists(folder):
            return
        try:
            if not folder.resolve(strict=True).is_relative_to(self.root):
                yield Refusal(shown(Path(part)), "leads out of the folder; put the files themselves there")
                return
            entries = _entries(folder)
        except (OSError, RuntimeError) as problem:
            yield Refusal(shown(Path(part)), f"cannot be read: {_why(problem)}")
            return
        yield from entries


def _entries(folder: Path) -> list[Path]:
    with os.scandir(folder) as entries:
        return sorted(Path(entry.path) for entry in entries)


def _refuse_special(found: Found, status: os.stat_result) -> None:
    for matches, what in _SPECIAL:
        if matches(status.st_mode):
            raise found.refused(f"{what}; only ordinary files are imported")


def _why(problem: Exception) -> str:
    return shown((problem.strerror or str(problem)) if isinstance(problem, OSError) else str(problem))
