"""The uploaded files of one customer, of every version: all that its own folder of the upload storage lists, in every version there."""

from __future__ import annotations

import errno
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from django.core.files.storage import FileSystemStorage, Storage, default_storage
from storages.backends.s3 import S3Storage

from audit import registry
from audit.durability import flush
from audit.files import UploadsUnavailable, folder_of


def storages_of(stream: uuid.UUID) -> list[Storage]:
    """Each storage that a file field of the stream's models uses."""
    found: list[Storage] = [default_storage]
    for protected in registry.of_stream(stream):
        found += [field.storage for field in protected.files if field.storage not in found]
    return found


def files_of(stream: uuid.UUID) -> Iterator[tuple[str, int]]:
    """Names and sizes, hidden files and (of a bucket) former versions included; a name with several versions comes once, with all their
    bytes. Raises `UploadsUnavailable`."""
    for storage in storages_of(stream):
        yield from sorted(_listed(storage, stream).items())


def remove(stream: uuid.UUID, keep: Callable[[], object]) -> tuple[int, int]:
    """Removes all of it; how many names and bytes. `keep` is called before each. Raises `UploadsUnavailable`."""
    names = size = 0
    for storage in storages_of(stream):
        for name, length in _listed(storage, stream).items():
            keep()
            _remove(storage, name)
            names, size = names + 1, size + length
        _drop_folder(storage, stream)
    return names, size


def _listed(storage: Storage, stream: uuid.UUID) -> dict[str, int]:
    if isinstance(storage, S3Storage):
        found: dict[str, int] = {}
        for key, size, _ in _versions(storage, f"{folder_of(stream)}/"):
            found[key] = found.get(key, 0) + size
        return found | {key: found.get(key, 0) for key, _ in _unfinished(storage, f"{folder_of(stream)}/")}
    root = _local(storage, folder_of(stream))
    return {str(path): path.lstat().st_size for path in sorted(root.rglob("*")) if not path.is_dir() or path.is_symlink()}


def _local(storage: Storage, name: str) -> Path:
    if isinstance(storage, FileSystemStorage) or hasattr(storage, "path"):
        return Path(storage.path(name))
    raise UploadsUnavailable(errno.ENOTSUP, f"The upload storage ({type(storage).__name__}) cannot be listed with all its versions")


def _remove(storage: Storage, name: str) -> None:
    if isinstance(storage, S3Storage):
        client, bucket = storage.connection.meta.client, storage.bucket_name
        for key, _, version in list(_versions(storage, "", exactly=name)):
            with _told():
                client.delete_object(Bucket=bucket, Key=key, **({"VersionId": version} if version else {}))
        for key, ident in list(_unfinished(storage, "", exactly=name)):
            with _told():
                client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=ident)
        return
    path = Path(name)
    path.unlink(missing_ok=True)
    flush(path.parent)


def _drop_folder(storage: Storage, stream: uuid.UUID) -> None:
    """The empty folders: their names are ids, and a file's name in them is gone."""
    if isinstance(storage, S3Storage):
        return
    root = _local(storage, folder_of(stream))
    for folder in sorted((path for path in root.rglob("*") if path.is_dir()), reverse=True):
        folder.rmdir()
    if root.is_dir():
        root.rmdir()
        flush(root.parent)


def _versions(storage: S3Storage, prefix: str, *, exactly: str = "") -> Iterator[tuple[str, int, str]]:
    """(key, bytes, version) of every version and marker below the prefix (as Django names it), or of one key (as the bucket does)."""
    wanted: dict[str, Any] = {"Bucket": storage.bucket_name, "Prefix": exactly or storage._normalize_name(prefix).rstrip("/") + "/"}
    client = storage.connection.meta.client
    with _told():
        for page in client.get_paginator("list_object_versions").paginate(**wanted):
            for one in (*page.get("Versions", ()), *page.get("DeleteMarkers", ())):
                if not exactly or one["Key"] == exactly:
                    version = one.get("VersionId") or ""
                    yield one["Key"], one.get("Size", 0), version


def _unfinished(storage: S3Storage, prefix: str, *, exactly: str = "") -> Iterator[tuple[str, str]]:
    """(key, upload) of every upload that was begun and never finished, as `_versions`."""
    wanted: dict[str, Any] = {"Bucket": storage.bucket_name, "Prefix": exactly or storage._normalize_name(prefix).rstrip("/") + "/"}
    with _told():
        for page in storage.connection.meta.client.get_paginator("list_multipart_uploads").paginate(**wanted):
            yield from ((one["Key"], one["UploadId"]) for one in page.get("Uploads", ()) if not exactly or one["Key"] == exactly)


class _told:  # noqa: N801  (a block, not a thing)
    """What the bucket refuses, as the rest of the back office hears it."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, problem: Any, trace: Any) -> None:
        if isinstance(problem, ClientError):
            code = problem.response.get("Error", {}).get("Code", "")
            raise UploadsUnavailable(errno.EIO, f"The bucket of the uploads refuses ({code}). Look at its credentials.") from problem
        if isinstance(problem, BotoCoreError):
            raise UploadsUnavailable(errno.EIO, f"The bucket of the uploads cannot be reached ({type(problem).__name__}).") from problem
