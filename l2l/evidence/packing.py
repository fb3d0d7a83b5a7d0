"""The zip of a pack: one form of headers, no gaps, the manifest last, so that a verifier can rebuild each byte that is not content.

`zipfile` writes what it likes into headers, and another version of it other bytes; here the verifier's own functions make them.
"""

from __future__ import annotations

import csv
import hashlib
import json
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO

from audit import canonical
from backups.errors import BackupError
from l2l.evidence import verify_evidence
from l2l.evidence.verify_evidence import DEFLATED, MANIFEST, PIECE, STORED

MOST_BYTES, MOST_MEMBERS = (1 << 32) - 1, (1 << 16) - 1
Member = dict[str, Any]


class PackTooLarge(BackupError):
    """A pack is at most 4 GiB, and so is each file in it."""

    def __init__(self) -> None:
        super().__init__("This pack would be larger than 4 GiB. Ask for two shorter periods instead.")


class Writer:
    """Writes one file after another into an open file that can be read too; `members` are those that stand there."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.members: list[Member] = []
        self.listed: list[dict[str, Any]] = []

    def add(self, name: str, pieces: Iterable[bytes]) -> None:
        """A file of that name; its bytes are never held whole."""
        one = {"name": name, "method": DEFLATED, "crc": 0, "packed": 0, "size": 0, "offset": self.file.seek(0, 2)}
        self.file.write(verify_evidence.local_header(one))
        one["data"] = self.file.tell()
        sha256 = self._packed(one, pieces)
        self._write_header(one)
        self.listed.append({"name": name, "sha256": sha256, "size": one["size"]})

    def _packed(self, one: Member, pieces: Iterable[bytes]) -> str:
        packer, sha256 = zlib.compressobj(6, zlib.DEFLATED, -15), hashlib.sha256()
        for piece in pieces:
            sha256.update(piece)
            one["crc"], one["size"] = zlib.crc32(piece, one["crc"]), one["size"] + len(piece)
            self._write(one, packer.compress(piece))
        self._write(one, packer.flush())
        return sha256.hexdigest()

    def _write(self, one: Member, data: bytes) -> None:
        one["packed"] += self.file.write(data)
        if one["size"] > MOST_BYTES or self.file.tell() > MOST_BYTES:
            raise PackTooLarge

    def _write_header(self, one: Member) -> None:
        self.file.seek(one["offset"])
        self.file.write(verify_evidence.local_header(one))
        self.file.seek(0, 2)
        self.members.append(one)
        if len(self.members) >= MOST_MEMBERS:
            raise PackTooLarge

    def finish(self, manifest: dict[str, Any], sign: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        """The manifest, signed, over all that stands before it, and the directory."""
        offset = self.file.seek(0, 2)
        before = {"size": offset, "sha256": self._digest_of_all()}
        data = canonical.dump_bytes(sign({**manifest, "files": self.listed, "before": before})) + b"\n"
        one = {"name": MANIFEST, "method": STORED, "crc": zlib.crc32(data), "packed": len(data), "size": len(data), "offset": offset}
        self.file.seek(offset)
        self.file.write(verify_evidence.local_header(one) + data)
        members, start = [*self.members, one], self.file.tell()
        self.file.write(b"".join(verify_evidence.directory_entry(member) for member in members))
        self.file.write(verify_evidence.directory_end(len(members), self.file.tell() - start, start))
        if self.file.tell() > MOST_BYTES:
            raise PackTooLarge

    def _digest_of_all(self) -> str:
        self.file.seek(0)
        sha256 = hashlib.sha256()
        while data := self.file.read(PIECE):
            sha256.update(data)
        return sha256.hexdigest()


class Unfinished:
    """What stands in a pack by now, as the verifier reads a finished one: so its summary says what the verifier will say."""

    def __init__(self, writer: Writer, manifest: dict[str, Any]) -> None:
        self.manifest = manifest
        self._file, self._members = writer.file, {one["name"]: one for one in writer.members}

    def document(self, name: str) -> Any:
        return json.loads(b"".join(verify_evidence.content(self._file, self._members[name])))

    def rows(self, name: str) -> Iterator[dict[str, str]]:
        yield from csv.DictReader(_lines(verify_evidence.content(self._file, self._members[name])))

    def population(self, name: str) -> Iterator[dict[str, str]]:
        return self.rows(f"populations/{name}.csv")


def _lines(pieces: Iterable[bytes]) -> Iterator[str]:
    """Lines with their ends, also where one goes on in the next piece."""
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        yield from (f"{line.decode()}\n" for line in whole)
    if rest:
        yield rest.decode()
