"""Stored files as downloads: always an attachment, never a page, streamed in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import IO

from django.core.files.storage import Storage
from django.http import StreamingHttpResponse
from django.utils.http import content_disposition_header

from audit import files

PDF = b"%PDF-"
PIECE = 256 * 1024


def attachment(storage: Storage, stored_name: str, *, size: int, filename: str) -> StreamingHttpResponse:
    """The stored file under the name that people know. `FileNotFoundError` when the storage does not have it (any more)."""
    if not storage.exists(stored_name):
        raise FileNotFoundError(f"The upload storage does not have the file of {filename}. Restore it from a backup set.")
    pieces = files.read_stored(storage, stored_name)
    first = next(pieces, b"")
    return _handed_out(_all(first, pieces), size=size, filename=_with_suffix(filename, first))


def of_file(file: IO[bytes], *, size: int, filename: str) -> StreamingHttpResponse:
    """An open file from its beginning; it is closed behind it."""
    file.seek(0)
    return _handed_out(_read(file), size=size, filename=filename)


def _read(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while piece := file.read(PIECE):
            yield piece


def _handed_out(pieces: Iterator[bytes], *, size: int, filename: str) -> StreamingHttpResponse:
    response = StreamingHttpResponse(pieces, content_type="application/octet-stream")
    response["Content-Disposition"] = content_disposition_header(True, filename) or "attachment"
    response["Content-Length"] = str(size)
    response["X-Content-Type-Options"] = "nosniff"
    response["Content-Security-Policy"] = "default-src 'none'; sandbox"
    response["Cache-Control"] = "private, no-store"
    return response


def _all(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    return chain([first] if first else [], rest)


def _with_suffix(filename: str, first: bytes) -> str:
    """Documents that are kept without their name are mostly PDF, and computers open files by their suffix."""
    return f"{filename}.pdf" if first.startswith(PDF) and "." not in filename[-5:] else filename
