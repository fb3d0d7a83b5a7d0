"""A store in a bucket of anything that speaks S3.

What such servers do differently, and what is done about it here:

* Some ignore `If-None-Match` and overwrite: `check` finds that out and refuses the location.
* Ceph 16 heeds it in a bucket without versions and ignores it in one with them. Nothing is lost there, so that `put` can mend it: it
  looks first, and after writing it takes its own version back if another one came to stand below it meanwhile. Which servers need
  that is learned at the first put, by writing the same bytes a second time: others pay with one refused request for it.
* Many refuse the checksums that boto3 adds by itself, and some keep none of them: `when_required` is the default, every put
  carries an MD5, which the server checks before it answers, and our own SHA-256 as metadata.
* On a versioned bucket a deletion hides and keeps: `remove` deletes each version by its id, the newest last, so that no older one
  comes into sight in between; one by one, since some servers cannot delete in batches. A bucket that keeps no versions or a server
  that cannot list them is the same with fewer steps.

The credentials need, on the bucket and all in it: GetObject, PutObject, DeleteObject, DeleteObjectVersion, ListBucket,
ListBucketVersions, ListBucketMultipartUploads, AbortMultipartUpload.
"""

from __future__ import annotations

import base64
import hashlib
import os
import ssl
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum
from threading import Lock
from typing import Any
from urllib.parse import urlencode

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, IncompleteReadError
from botocore.exceptions import ConnectionError as NotConnectedError
from botocore.parsers import ResponseParserError

from backups.stores.contract import (
    AlreadyThere,
    Entry,
    Leftover,
    Missing,
    StillThere,
    StoreError,
    StoreRefused,
    StoreUnavailable,
    checked_digest,
    checked_name,
    checked_part,
    checked_prefix,
    checked_size,
    is_name,
    probe,
)

# Three attempts of at most 4 + 14 s and the pauses between them stay under the minute that the contract allows.
_ATTEMPTS = 3
_CONNECT_SECONDS = 4
_READ_SECONDS = 14
_CONNECTIONS = 32
_ROUNDS_OF_REMOVAL = 3

_COME_AGAIN = {
    "SlowDown": "it asks us to go slower",
    "RequestTimeout": "the request took too long to arrive",
    "ConditionalRequestConflict": "another write of that name was under way",
    "OperationAborted": "another operation was under way",
    "BadDigest": "the bytes arrived damaged",
    "XAmzContentSHA256Mismatch": "the bytes arrived damaged",
    "IncompleteBody": "the bytes did not all arrive",
}
_ADVICE = {
    "InvalidAccessKeyId": "the access key is unknown there: correct the credentials",
    "SignatureDoesNotMatch": "the secret key is wrong: correct the credentials",
    "AccessDenied": "the credentials do not permit it, or the object is locked: correct the permissions or wait for the end of the lock",
    "RequestTimeTooSkewed": "the clocks differ: set the clock of this machine",
    "NoSuchBucket": "there is no such bucket: create it or correct its name",
    "QuotaExceeded": "the quota is used up: raise it or free space",
    "InsufficientStorage": "no space is left: free some or enlarge the store",
    "NotImplemented": "the server cannot do that: choose one with conditional puts",
}
_FORBIDDEN, _NOT_FOUND, _CONFLICT, _PRECONDITION_FAILED, _NO_SUCH_RANGE, _TOO_MANY, _PARTIAL = 403, 404, 409, 412, 416, 429, 206
_NO_VERSION = (None, "null")
_UNREACHED = (NotConnectedError, HTTPClientError, IncompleteReadError, ResponseParserError, OSError)
_CANNOT = {405, 501}
_FULL = 507


@dataclass(frozen=True, slots=True)
class _Connection:
    """All that makes one client differ from another."""

    endpoint: str | None
    region: str
    access_key_id: str
    secret_access_key: str = field(repr=False)
    checksums: str
    addressing_style: str


class _Bucket(Enum):
    """What decides in a bucket which of two puts of one name was first."""

    PLAIN = "it keeps no versions; the condition decides, or `check` refuses it"
    HEEDING = "it keeps versions and heeds the condition"
    CARELESS = "it keeps versions and ignores the condition; the oldest version decides"


class _Clients:
    """One boto3 session for all, one client per connection, all made at first use and made anew in a forked child."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """In a forked child: the sockets are the parent's, and the lock may have been held by a thread that is not here."""
        self._lock = Lock()
        self._session: Any = None
        self._clients: dict[_Connection, Any] = {}

    def get(self, connection: _Connection) -> Any:
        client = self._clients.get(connection)
        if client is not None:
            return client
        with self._lock:
            if connection not in self._clients:
                self._session = self._session or boto3.session.Session()
                self._clients[connection] = _new_client(self._session, connection)
            return self._clients[connection]


_CLIENTS = _Clients()
_BUCKETS: dict[tuple[_Connection, str], _Bucket] = {}
os.register_at_fork(after_in_child=_CLIENTS.forget)


def _new_client(session: Any, connection: _Connection) -> Any:
    config = Config(
        signature_version="s3v4",
        connect_timeout=_CONNECT_SECONDS,
        read_timeout=_READ_SECONDS,
        retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
        max_pool_connections=_CONNECTIONS,
        request_checksum_calculation=connection.checksums,
        response_checksum_validation="when_required",  # damaged bytes are given as they are: the caller checks their digest
        s3={"addressing_style": connection.addressing_style},
        ignore_configured_endpoint_urls=True,
    )
    return session.client(
        "s3",
        endpoint_url=connection.endpoint,
        region_name=connection.region,
        aws_access_key_id=connection.access_key_id,
        aws_secret_access_key=connection.secret_access_key,
        config=config,
    )


class S3Store:
    """Objects under `prefix/` in `bucket`; `endpoint` None is Amazon's own; `checksums` and `addressing_style` are boto3's words."""

    def __init__(
        self,
        bucket: str,
        prefix: str,
        endpoint: str | None,
        region: str,
        access_key_id: str,
        secret_access_key: str,
        checksums: str = "when_required",
        addressing_style: str = "path",
    ) -> None:
        self.bucket = bucket
        self.prefix = prefix.strip("/")
        self._above = checked_prefix(f"{self.prefix}/") if self.prefix else ""
        self._connection = _Connection(endpoint, region, access_key_id, secret_access_key, checksums, addressing_style)
        self.url = self._address()

    def __repr__(self) -> str:
        return f"S3Store({self.url!r})"

    def put(self, name: str, data: bytes) -> None:
        checked_size(checked_name(name), data)
        with self._told(name):
            if not self._is_first(name, data):
                raise AlreadyThere(f"{name} is taken at {self.url}")

    def put_back(self, name: str, data: bytes, sha256: str) -> None:
        """On a versioned bucket the damaged version stays, as a leftover."""
        checked_digest(checked_name(name), checked_size(name, data), sha256)
        with self._told(name):
            self._write(name, data)

    def get(self, name: str) -> bytes:
        with self._told(checked_name(name)):
            return _body(self._client.get_object(Bucket=self.bucket, Key=self._key(name)))

    def read(self, name: str, start: int, length: int) -> bytes:
        checked_part(checked_name(name), start, length)
        with self._told(name):
            try:
                return self._part(name, start, length)
            except ClientError as error:
                if _status(error) == _NO_SUCH_RANGE:
                    return b""
                raise

    def list(self, prefix: str = "") -> Iterator[Entry]:
        return self._entries(checked_prefix(prefix))

    def exists(self, name: str) -> bool:
        with self._told(checked_name(name)):
            if self._is_there(self._key(name)):
                return True
            self._require_bucket()
            return False

    def remove(self, name: str) -> None:
        """The first look finds what there is to delete, a later one must find nothing."""
        key = self._key(checked_name(name))
        with self._told(name):
            for _ in range(_ROUNDS_OF_REMOVAL):
                traces = self._traces(key)
                if not traces:
                    return
                for trace in traces:
                    self._delete(trace)
        raise StillThere(f"{name} is still at {self.url} after its removal: somebody puts it there, or the server does not delete")

    def leftovers(self, prefix: str = "") -> Iterator[Leftover]:
        return self._leftovers(checked_prefix(prefix))

    def remove_leftovers(self, prefix: str, older_than: datetime) -> int:
        """Markers go last, in a second pass: each hides versions that would come into sight without it."""
        return self._sweep(prefix, older_than, {"upload", "version"}) + self._sweep(prefix, older_than, {"marker"})

    def check(self) -> None:
        probe(self)

    def now(self) -> datetime:
        """The `Date` of its answer (RFC 9110, to the second)."""
        with self._told("its clock"):
            answer = self._client.head_bucket(Bucket=self.bucket)
        return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"]).astimezone(UTC)

    @property
    def _client(self) -> Any:
        return _CLIENTS.get(self._connection)

    def _address(self) -> str:
        connection = self._connection
        options = {"endpoint": connection.endpoint, "region": connection.region, "checksums": connection.checksums}
        options["addressing"] = connection.addressing_style
        query = urlencode({name: value for name, value in options.items() if value}, safe=":/")
        return f"s3://{self.bucket}/{self.prefix}?{query}"

    def _key(self, name: str) -> str:
        return self._above + name

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """Inside, whatever the server or the way to it answers becomes an error of the contract about `what`."""
        try:
            yield
        except ClientError as error:
            raise self._answered(error, what) from error
        except _UNREACHED as error:
            raise self._unreached(error, what) from error
        except (BotoCoreError, ValueError) as error:
            raise StoreRefused(f"{self.url} cannot be used ({type(error).__name__}): correct the location") from error

    def _answered(self, error: ClientError, what: str) -> StoreError:
        code, status = _code(error), _status(error)
        answer = f"{self.url} answered {code} ({status}) for {what}"
        if code in _COME_AGAIN:
            return StoreUnavailable(f"{answer}: {_COME_AGAIN[code]}; try again later")
        if code == "NoSuchKey":
            return Missing(f"{what} is not at {self.url}")
        if _is_transient(status):
            return StoreUnavailable(f"{answer}: try again later")
        return StoreRefused(f"{answer}: {_advice(code, status)}")

    def _unreached(self, error: Exception, what: str) -> StoreError:
        if "CERTIFICATE_VERIFY_FAILED" in str(error) or isinstance(error, ssl.SSLCertVerificationError):
            return StoreRefused(f"{self.url} shows a certificate that is not trusted here: correct the certificate or the endpoint")
        return StoreUnavailable(
            f"{self.url} could not be reached for {what} ({type(error).__name__}): look at it and the network; try again later"
        )

    def _is_first(self, name: str, data: bytes) -> bool:
        """Writes where nothing is; whether these bytes are there now because of us."""
        key = self._key(name)
        before = () if self._bucket_kind in (_Bucket.PLAIN, _Bucket.HEEDING) else self._line(key)
        if any(version["IsLatest"] for version in before):
            return False
        written, version = self._written(name, data)
        if written and self._learned(version, name, data) is _Bucket.CARELESS:
            return self._stays(key, version, {one["VersionId"] for one in before})
        return written

    @property
    def _bucket_kind(self) -> _Bucket | None:
        return _BUCKETS.get((self._connection, self.bucket))

    def _learned(self, version: str | None, name: str, data: bytes) -> _Bucket:
        """The kind of bucket, after a conditional put there was answered with `version`."""
        kind = self._bucket_kind
        if version in _NO_VERSION:
            kind = _Bucket.PLAIN
        elif kind in (None, _Bucket.PLAIN):
            kind = self._tried(name, data)
        assert kind is not None
        _BUCKETS[self._connection, self.bucket] = kind
        return kind

    def _tried(self, name: str, data: bytes) -> _Bucket:
        """The same bytes again, so that it does no harm if we are killed here or if the second version is locked at once."""
        written, version = self._written(name, data)
        if not written:
            return _Bucket.HEEDING
        with suppress(ClientError):
            self._delete({"Key": self._key(name), "VersionId": version})
        return _Bucket.CARELESS

    def _stays(self, key: str, version: str | None, before: set[str]) -> bool:
        """Whether our `version` was first; it is taken back if another has come to stand below it since we looked."""
        line = [one["VersionId"] for one in self._line(key)]
        if version not in line or set(line[line.index(version) + 1 :]) <= before:
            return True
        self._delete({"Key": key, "VersionId": version})
        return False

    def _line(self, key: str) -> tuple[dict[str, Any], ...]:
        """The versions of exactly `key`, the newest first, without markers."""
        return tuple(version for version in self._versions(key) if version["Key"] == key and version["kind"] == "version")

    def _written(self, name: str, data: bytes) -> tuple[bool, str | None]:
        """Whether the server took it, and as which version."""
        try:
            return True, self._write(name, data, IfNoneMatch="*").get("VersionId")
        except ClientError as error:
            if _status(error) != _PRECONDITION_FAILED:
                raise
            return False, None

    def _write(self, name: str, data: bytes, **condition: str) -> dict[str, Any]:
        return self._client.put_object(
            Bucket=self.bucket,
            Key=self._key(name),
            Body=data,
            ContentMD5=base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode(),
            Metadata={"sha256": hashlib.sha256(data).hexdigest()},
            **condition,
        )

    def _part(self, name: str, start: int, length: int) -> bytes:
        """A range cannot be empty, so one byte is asked for at least; a server may ignore the range and send all."""
        last = start + max(length, 1) - 1
        answer = self._client.get_object(Bucket=self.bucket, Key=self._key(name), Range=f"bytes={start}-{last}")
        whole = answer["ResponseMetadata"]["HTTPStatusCode"] != _PARTIAL
        return _body(answer)[start if whole else 0 :][:length]

    def _is_there(self, key: str) -> bool:
        try:
            self._client.head_object(Bucket=self.bucket, Key=key)
        except ClientError as error:
            if _status(error) == _NOT_FOUND:
                return False
            raise
        return True

    def _require_bucket(self) -> None:
        """The answer to a HEAD has no body: `no such object` and `no such bucket` look alike there."""
        try:
            self._client.head_bucket(Bucket=self.bucket)
        except ClientError as error:
            if _status(error) == _NOT_FOUND:
                raise StoreRefused(f"{self.url}: {_ADVICE['NoSuchBucket']}") from error
            raise

    def _entries(self, prefix: str) -> Iterator[Entry]:
        with self._told(prefix or "the listing"):
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self._key(prefix)):
                for found in page.get("Contents", ()):
                    name = found["Key"][len(self._above) :]
                    if is_name(name):
                        yield Entry(name, found["Size"])

    def _traces(self, key: str) -> tuple[dict[str, Any], ...]:
        """What is kept of exactly `key`, the latest version last; each trace as the arguments of its deletion."""
        versions = [version for version in self._versions(key) if version["Key"] == key]
        versions.sort(key=lambda version: bool(version["IsLatest"]))
        uploads = [{"Key": key, "UploadId": upload["UploadId"]} for upload in self._uploads(key) if upload["Key"] == key]
        objects = [{"Key": key, "VersionId": version["VersionId"]} for version in versions]
        if not objects and self._is_there(key):
            objects = [{"Key": key}]
        return (*uploads, *objects)

    def _delete(self, trace: dict[str, Any]) -> bool:
        """Whether it was still there, as far as the server says."""
        delete = self._client.abort_multipart_upload if "UploadId" in trace else self._client.delete_object
        try:
            delete(Bucket=self.bucket, **trace)
        except ClientError as error:
            if _status(error) == _NOT_FOUND and _code(error) != "NoSuchBucket":
                return False
            raise
        return True

    def _versions(self, start: str) -> Iterator[dict[str, Any]]:
        for page in self._pages("list_object_versions", start):
            for version in page.get("Versions", ()):
                yield {**version, "kind": "version"}
            for marker in page.get("DeleteMarkers", ()):
                yield {**marker, "kind": "marker"}

    def _uploads(self, start: str) -> Iterator[dict[str, Any]]:
        for page in self._pages("list_multipart_uploads", start):
            yield from page.get("Uploads", ())

    def _pages(self, operation: str, start: str) -> Iterator[dict[str, Any]]:
        """Nothing from a server that does not know the operation: it keeps no such things either."""
        try:
            yield from self._client.get_paginator(operation).paginate(Bucket=self.bucket, Prefix=start)
        except ClientError as error:
            if _status(error) not in _CANNOT:
                raise

    def _leftovers(self, prefix: str) -> Iterator[Leftover]:
        with self._told(prefix or "the leftovers"):
            for version in self._versions(self._key(prefix)):
                if version["kind"] == "marker" or not version["IsLatest"]:
                    yield from self._leftover(version, version["kind"], version["LastModified"], version["VersionId"])
            for upload in self._uploads(self._key(prefix)):
                yield from self._leftover(upload, "upload", upload["Initiated"], upload["UploadId"])

    def _leftover(self, found: dict[str, Any], kind: str, since: datetime, ident: str) -> Iterator[Leftover]:
        name = found["Key"][len(self._above) :]
        if is_name(name):
            yield Leftover(name, kind, since, ident)

    def _sweep(self, prefix: str, older_than: datetime, kinds: set[str]) -> int:
        old = (leftover for leftover in self.leftovers(prefix) if leftover.kind in kinds and leftover.since < older_than)
        with self._told(prefix or "the leftovers"):
            return sum(self._delete(self._handle(leftover)) for leftover in old)

    def _handle(self, leftover: Leftover) -> dict[str, Any]:
        return {"Key": self._key(leftover.name), "UploadId" if leftover.kind == "upload" else "VersionId": leftover.ident}


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _is_transient(status: int) -> bool:
    return status in (_CONFLICT, _TOO_MANY) or (status >= 500 and status not in (*_CANNOT, _FULL))


def _advice(code: str, status: int) -> str:
    by_status = {_FORBIDDEN: "AccessDenied", _NOT_FOUND: "NoSuchBucket", _FULL: "InsufficientStorage", 501: "NotImplemented"}
    return _ADVICE.get(code) or _ADVICE.get(by_status.get(status, ""), "correct the location or the server")


def _body(answer: dict[str, Any]) -> bytes:
    # `closing`, since entering the body itself gives the raw stream, which takes a broken connection for the end.
    with closing(answer["Body"]) as body:
        return bytes(body.read())
