"""A BagIt bag (RFC 8493, version 1.0) inside of a zip: written in one go, a piece at a time, and checked again (pure: no Django, no clock).

A bag is a folder with the payload below `data/`, and beside it files about it: `manifest-sha256.txt` has the digest of every file of the
payload, `tagmanifest-sha256.txt` those of the files beside it. It is *complete* when all that is listed is there and nothing else, *valid*
when the digests fit too. There is no `fetch.txt`: nothing points back to whoever made it. The same input gives the same bytes.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import IO

DATA = "data/"
MANIFEST, TAG_MANIFEST, INFO, DECLARATION = "manifest-sha256.txt", "tagmanifest-sha256.txt", "bag-info.txt", "bagit.txt"
DECLARED = "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
PIECE = 1024 * 1024
# What loses less than a twentieth of its beginning is stored as it is: pictures, archives.
_PROBE, _WORTH = 64 * 1024, 0.95
_LEVEL = 6
_LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")
_ENCODED = str.maketrans({"%": "%25", "\r": "%0D", "\n": "%0A"})
_MOST_TOLD = 20


class BadBag(Exception):
    """The zip is no bag, not complete or not valid. `problems` says what is wrong, a sentence each; the first twenty."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = list(problems[:_MOST_TOLD])
        more = len(problems) - len(self.problems)
        super().__init__("; ".join([*self.problems, *([f"and {more} more"] if more else [])]))


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of the bag: its path below the bag's folder, `sha256` in hex, `size` in bytes."""

    path: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Finished:
    """`manifest_sha256` is the digest of `manifest-sha256.txt`, and so of the whole payload; `files` and `size` count the payload."""

    manifest_sha256: str
    files: int
    size: int


class BagWriter:
    """Writes the payload with `add`, then the rest with `finish`. `file` takes a zip from its beginning; `folder` is the bag's own folder
    in it, `stamp` the date that all files in it bear. About a kilobyte of memory a file, and one piece."""

    def __init__(self, file: IO[bytes], folder: str, stamp: datetime) -> None:
        _check_path(folder)
        self._zip = zipfile.ZipFile(file, "w", allowZip64=True)
        self._folder, self._stamp = folder, stamp.timetuple()[:6]
        self._taken: set[str] = set()
        self._lines = bytearray()
        self._files = self._size = 0

    def add(self, path: str, pieces: Iterable[bytes]) -> Entry:
        """The payload file `data/<path>`. Raises `ValueError` for a path that leaves the folder, is not NFC, or was there before."""
        entry = self._write(DATA + path, pieces)
        self._lines += _listed(entry)
        self._files += 1
        self._size += entry.size
        return entry

    def finish(self, info: Iterable[tuple[str, str]], tags: Callable[[str], Mapping[str, bytes]] = lambda _: {}) -> Finished:
        """`info` are the lines of `bag-info.txt` in their order; `tags` gives further files beside the payload, once it is told the digest
        of the manifest. The zip is whole when this returns."""
        lines = [*info, ("Payload-Oxum", f"{self._size}.{self._files}")]
        manifest = self._write(MANIFEST, [bytes(self._lines)])
        beside = [
            self._write(DECLARATION, [DECLARED.encode()]),
            self._write(INFO, ["".join(map(_info_line, lines)).encode()]),
            manifest,
            *(self._write(name, [content]) for name, content in tags(manifest.sha256).items()),
        ]
        self._write(TAG_MANIFEST, [b"".join(map(_listed, beside))])
        self._zip.close()
        return Finished(manifest.sha256, self._files, self._size)

    def _write(self, path: str, pieces: Iterable[bytes]) -> Entry:
        self._take(path)
        given = iter(pieces)
        first = next(given, b"")
        about = zipfile.ZipInfo(f"{self._folder}/{path}", self._stamp)
        about.compress_type = zipfile.ZIP_DEFLATED if _shrinks(first) else zipfile.ZIP_STORED
        about.create_system, about.external_attr = 3, 0o100644 << 16
        sha256, size = hashlib.sha256(), 0
        with self._zip.open(about, "w", force_zip64=True) as member:
            for piece in _all(first, given):
                sha256.update(piece)
                size += len(piece)
                member.write(piece)
        return Entry(path, sha256.hexdigest(), size)

    def _take(self, path: str) -> None:
        _check_path(path)
        if path in self._taken:
            raise ValueError(f"The bag has {path!r} already.")
        self._taken.add(path)


def _all(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from rest


def _shrinks(first: bytes) -> bool:
    probe = first[:_PROBE]
    return len(zlib.compress(probe, 1)) < _WORTH * len(probe)


def _check_path(path: str) -> None:
    parts = path.split("/")
    if any(part in ("", ".", "..") for part in parts) or "\\" in path or "\0" in path:
        raise ValueError(f"{path!r} is no path inside of a bag.")
    if not unicodedata.is_normalized("NFC", path):
        raise ValueError(f"{path!r} is not in the normal form NFC.")
    path.encode()  # a lone surrogate is a ValueError too


def _info_line(line: tuple[str, str]) -> str:
    label, value = line
    if not label or re.search(r"[\r\n:]|^\s|\s$", label) or re.search(r"[\r\n]", value):
        raise ValueError(f"{label!r}: {value!r} is no line of bag-info.txt.")
    return f"{label}: {value}\n"


def _listed(entry: Entry) -> bytes:
    """A line of a manifest. RFC 8493, 2.1.3: `%`, CR and LF in a path are percent-encoded, and nothing else is."""
    path = entry.path.translate(_ENCODED)
    return f"{entry.sha256}  {path}\n".encode()


class Bag:
    """A bag in a zip, opened: `folder` is its own folder in it, `files` its files by path, with their sizes. Nothing was checked yet but
    that it is a zip of one folder whose names lead nowhere else."""

    def __init__(self, file: IO[bytes]) -> None:
        try:
            self._zip = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, OSError, ValueError) as problem:
            raise BadBag([f"the zip cannot be opened: {problem}"]) from None
        self.folder, self.files = _inside(self._zip.infolist())

    def pieces(self, path: str) -> Iterator[bytes]:
        """The content of a file, at most a MiB at a time. Raises `BadBag` when it cannot be read, or not whole."""
        try:
            with self._zip.open(f"{self.folder}/{path}") as member:
                while piece := member.read(PIECE):
                    yield piece
        except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, NotImplementedError, RuntimeError) as problem:
            raise BadBag([f"{path} cannot be read: {problem}"]) from None

    def content(self, path: str) -> bytes:
        return b"".join(self.pieces(path))

    def text(self, path: str) -> str:
        try:
            return self.content(path).decode()
        except UnicodeDecodeError:
            raise BadBag([f"{path} is not UTF-8"]) from None

    def listed(self, manifest: str) -> dict[str, str]:
        """What a manifest lists: the SHA-256 by the path."""
        found: dict[str, str] = {}
        for line in self.text(manifest).split("\n")[:-1]:
            match = _LINE.fullmatch(line)
            if match is None:
                raise BadBag([f"{manifest} has a line that is none: {line[:100]!r}"])
            path = re.sub("%(25|0D|0A)", lambda one: chr(int(one[1], 16)), match[2], flags=re.IGNORECASE)
            if path in found:
                raise BadBag([f"{manifest} lists {path!r} twice"])
            found[path] = match[1]
        return found

    def info(self) -> list[tuple[str, str]]:
        """The lines of `bag-info.txt`."""
        lines = (line.partition(": ") for line in self.text(INFO).splitlines())
        return [(label, value) for label, _, value in lines]

    def validate(self, progress: Callable[[str], None] = lambda _: None) -> Finished:
        """Reads all of it. Raises `BadBag` unless it is complete and valid, in the form that this module writes."""
        problems = [f"{name} is missing" for name in (DECLARATION, INFO, MANIFEST, TAG_MANIFEST) if name not in self.files]
        if problems:
            raise BadBag(problems)
        payload, beside = self.listed(MANIFEST), self.listed(TAG_MANIFEST)
        problems += self._misfits(payload, beside)
        problems += [trouble for listed in (beside, payload) for trouble in self._altered(listed, progress)]
        size = sum(size for path, size in self.files.items() if path.startswith(DATA))
        if dict(self.info()).get("Payload-Oxum") != f"{size}.{len(payload)}":
            problems.append(f"Payload-Oxum in {INFO} is not the payload's {size}.{len(payload)}")
        if problems:
            raise BadBag(problems)
        return Finished(beside[MANIFEST], len(payload), size)

    def _misfits(self, payload: Mapping[str, str], beside: Mapping[str, str]) -> Iterator[str]:
        if self.text(DECLARATION) != DECLARED:
            yield f"{DECLARATION} does not declare BagIt 1.0 in UTF-8"
        there = {True: set(payload), False: {*beside, TAG_MANIFEST}}
        for path in self.files:
            if path not in there[path.startswith(DATA)]:
                yield f"{path} is in the bag and in no list"
        for path in (*payload, *beside):
            if path not in self.files:
                yield f"{path} is listed and not in the bag"
        yield from (f"{path} is listed as payload" for path in payload if not path.startswith(DATA))
        if MANIFEST not in beside:
            yield f"{MANIFEST} is not in {TAG_MANIFEST}"

    def _altered(self, listed: Mapping[str, str], progress: Callable[[str], None]) -> Iterator[str]:
        for path, expected in listed.items():
            if path not in self.files:
                continue
            sha256 = hashlib.sha256()
            try:
                for piece in self.pieces(path):
                    sha256.update(piece)
                    progress(f"reading {path} again")
            except BadBag as bad:
                yield from bad.problems
                continue
            if sha256.hexdigest() != expected:
                yield f"{path} is not what the list says: its digest is another one"


def _inside(members: Sequence[zipfile.ZipInfo]) -> tuple[str, dict[str, int]]:
    files: dict[str, int] = {}
    folders: set[str] = set()
    for one in members:
        folder, _, path = one.filename.partition("/")
        try:
            _check_path(one.filename)
        except ValueError as problem:
            raise BadBag([f"the zip has a name that leads elsewhere: {problem}"]) from None
        if not path or path in files:
            raise BadBag([f"{one.filename!r} lies outside of the bag's folder, or twice in it"])
        folders.add(folder)
        files[path] = one.file_size
    if len(folders) != 1:
        raise BadBag([f"the zip has {len(folders)} folders at its top instead of the bag's alone"])
    return folders.pop(), files
