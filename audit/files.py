"""Uploaded files: stored once under a random name, digested on the way, never overwritten and never removed by a change (P8)."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import parse_qs, urlsplit

from botocore.exceptions import BotoCoreError, ClientError
from django.core.files.base import File
from django.core.files.storage import FileSystemStorage, Storage
from storages.backends.s3 import S3Storage

from audit.durability import flush

READ_BYTES = 1024 * 1024


class UploadsUnavailable(OSError):
    """The upload storage cannot take or give a file now; the message says what to do."""


class DurableFolderStorage(FileSystemStorage):
    """A folder whose files survive a crash: temporary file, fsync, link without replacing, fsync of the folder.

    Django's own storage leaves a partial file under the final name when a save fails, and syncs nothing (measured).
    """

    def _save(self, name: str, content: File) -> str:
        target = Path(self.path(name))
        try:
            _make_folder(target.parent)
            self._write(target, content)
        except OSError as problem:
            raise UploadsUnavailable(
                problem.errno, f"The upload could not be stored in {self.location}: {problem.strerror}. {_advice(problem)}"
            ) from problem
        return name

    def _write(self, target: Path, content: File) -> None:
        descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=".upload-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                for piece in content.chunks():
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
            os.link(temporary, target)
        finally:
            Path(temporary).unlink()
        flush(target.parent)


def _advice(problem: OSError) -> str:
    return {
        errno.ENOSPC: "The disk is full: free some space, then upload again.",
        errno.EACCES: "Give this process the right to write there, then upload again.",
        errno.EROFS: "The disk is mounted read-only: mount it for writing, then upload again.",
    }.get(problem.errno or 0, "Nothing was kept; upload again.")


def _make_folder(folder: Path) -> None:
    """With the folders above it; each new one survives a crash."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True, mode=0o700)
    flush(folder.parent)


class BucketStorage(S3Storage):
    """django-storages' S3 storage from one URL: `s3://bucket/prefix?endpoint=...&region=...`; never overwrites, never public."""

    def __init__(self, url: str = "", **settings: Any) -> None:
        parts = urlsplit(url)
        options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        super().__init__(
            bucket_name=parts.netloc,
            location=parts.path.strip("/"),
            endpoint_url=options.get("endpoint"),
            region_name=options.get("region"),
            addressing_style=options.get("addressing", "path"),
            file_overwrite=False,
            default_acl=None,
            **settings,
        )


def read_stored(storage: Storage, name: str) -> Iterator[bytes]:
    """The bytes of a stored file in pieces of at most 1 MiB, in bounded memory (django-storages' `open` loads a whole object).

    Raises `FileNotFoundError` when the storage has no such file, `UploadsUnavailable` when a bucket does not give it now.
    """
    if isinstance(storage, S3Storage):
        yield from _read_object(storage, name)
        return
    with storage.open(name, "rb") as file:
        yield from pieces(file)


def _read_object(storage: S3Storage, name: str) -> Iterator[bytes]:
    key = storage._normalize_name(name)  # the name with the storage's location in front
    try:
        body = storage.connection.meta.client.get_object(Bucket=storage.bucket_name, Key=key)["Body"]
        yield from body.iter_chunks(READ_BYTES)
    except ClientError as problem:
        code = problem.response.get("Error", {}).get("Code", "")
        if code in ("NoSuchKey", "404"):
            raise FileNotFoundError(errno.ENOENT, "The bucket of the uploads has no such file", name) from problem
        raise UploadsUnavailable(errno.EIO, f"The bucket of the uploads refuses ({code}). Look at its credentials.") from problem
    except (BotoCoreError, OSError) as problem:
        raise UploadsUnavailable(errno.EIO, f"The bucket of the uploads cannot be read ({type(problem).__name__}).") from problem


def put_back(storage: Storage, name: str, content: Iterable[bytes], *, sha256: str, size: int, spool: Path) -> None:
    """Stores the bytes that history names under exactly that name, where nothing stands, and reads them back. They wait in a nameless file
    of the folder `spool` until their digest was found right.

    Raises `UploadsUnavailable` when something stands there, when the bytes are others, or when the storage gives them back otherwise.
    """
    spool.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryFile(dir=spool) as waiting:
        for piece in content:
            waiting.write(piece)
        if digest_of(waiting) != (sha256, size):
            raise UploadsUnavailable(errno.EIO, f"The bytes for {name} are not those that history names. Nothing was stored.")
        if storage.exists(name):
            raise UploadsUnavailable(errno.EEXIST, f"The upload storage has something under the name {name} already: it was left alone.")
        stored = storage.save(name, File(waiting))
    if stored != name:
        storage.delete(stored)
        raise UploadsUnavailable(errno.EEXIST, f"Something was stored under the name {name} at the same moment: it was left alone.")
    if digest_of_pieces(read_stored(storage, name)) != (sha256, size):
        raise UploadsUnavailable(errno.EIO, f"The upload storage gives {name} back otherwise than it was given. Check that disk or server.")


def pieces(file: BinaryIO | File) -> Iterator[bytes]:
    """An open file from where it stands, in pieces of at most 1 MiB."""
    while piece := file.read(READ_BYTES):
        yield piece


def digest_of(file: BinaryIO | File) -> tuple[str, int]:
    """SHA-256 in hex and the number of bytes of an open file, read from its start; leaves it at its start."""
    file.seek(0)
    digest = digest_of_pieces(pieces(file))
    file.seek(0)
    return digest


def digest_of_pieces(content: Iterable[bytes]) -> tuple[str, int]:
    """SHA-256 in hex and the number of bytes."""
    sha256, size = hashlib.sha256(), 0
    for piece in content:
        sha256.update(piece)
        size += len(piece)
    return sha256.hexdigest(), size


def folder_of(stream: object) -> str:
    """Where all files of one customer lie: `uploads/<customer-id>`."""
    return f"uploads/{stream}"


def random_name(stream: object) -> str:
    """A name that was never used: `uploads/<customer-id>/<random>`."""
    return f"{folder_of(stream)}/{secrets.token_hex(16)}"
