"""From the URL of a location to its store.

* `file:///absolute/path`
* `s3://bucket/prefix?endpoint=http://...&region=...&checksums=when_required|when_supported&addressing=path|virtual`: all options
  may be left out; without an endpoint it is Amazon's own. The keys come from elsewhere (`Credentials`), never in the URL.

A mistake in the URL is `StoreRefused`; the message never repeats what may be a secret.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from backups.stores.contract import Store, StoreRefused, is_name
from backups.stores.folder import FolderStore
from backups.stores.s3 import S3Store

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{2,62}")
_REGION = re.compile(r"[A-Za-z0-9-]{1,64}")
_CHOICES = {"checksums": ("when_required", "when_supported"), "addressing": ("path", "virtual")}
_OPTIONS = ("endpoint", "region", *_CHOICES)


@dataclass(frozen=True, slots=True)
class Credentials:
    """The keys of an S3 account; printing them does not show the secret."""

    access_key_id: str
    secret_access_key: str = field(repr=False)


def open_store(url: str, *, credentials: Credentials | None) -> Store:
    """The store at `url`. Nothing is asked of it yet: `check` does that. A folder needs no `credentials`."""
    parts = _split(url)
    if parts.scheme == "file":
        return _open_folder(parts)
    if parts.scheme == "s3":
        return _open_s3(parts, credentials)
    raise StoreRefused("the URL of a location begins with file:/// or s3://")


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
    except ValueError:
        raise StoreRefused("the URL of the location cannot be read: correct it") from None
    if "@" in parts.netloc:
        raise StoreRefused("the URL of the location holds credentials: take them out of it and give them apart")
    if parts.fragment:
        raise StoreRefused("the URL of the location has a part after '#': take it out")
    return parts


def _open_folder(parts: SplitResult) -> Store:
    path = Path(unquote(parts.path))
    if parts.netloc or not path.is_absolute():
        raise StoreRefused("the folder of the location is not an absolute path: write file:///like/this, with three slashes")
    if parts.query:
        raise StoreRefused("the URL of a folder has no options: take out what follows '?'")
    if ".." in path.parts or "\0" in str(path):
        raise StoreRefused("the folder of the location has '..' or a NUL in its path: write the path that is meant")
    return FolderStore(path)


def _open_s3(parts: SplitResult, credentials: Credentials | None) -> Store:
    if credentials is None or not (credentials.access_key_id and credentials.secret_access_key):
        raise StoreRefused("the location is an S3 bucket and has no credentials: give it an access key and its secret")
    options = _options(parts.query)
    endpoint = options.get("endpoint")
    return S3Store(
        bucket=_bucket(parts.netloc),
        prefix=_prefix(parts.path),
        endpoint=None if endpoint is None else _endpoint(endpoint),
        region=options.get("region", "us-east-1"),
        access_key_id=credentials.access_key_id,
        secret_access_key=credentials.secret_access_key,
        checksums=options.get("checksums", "when_required"),
        addressing_style=options.get("addressing", "virtual" if endpoint is None else "path"),
    )


def _options(query: str) -> dict[str, str]:
    pairs = parse_qsl(query, keep_blank_values=True)
    options = dict(pairs)
    if len(options) != len(pairs) or not set(options) <= set(_OPTIONS):
        raise StoreRefused(f"the URL of an S3 location takes each of these options once and no other: {', '.join(_OPTIONS)}")
    for option, choices in _CHOICES.items():
        if options.get(option, choices[0]) not in choices:
            raise StoreRefused(f"the option {option} of the location is {' or '.join(choices)}")
    if not _REGION.fullmatch(options.get("region", "us-east-1")):
        raise StoreRefused("the region of the location is not the name of a region: correct it")
    return options


def _bucket(netloc: str) -> str:
    if not _BUCKET.fullmatch(netloc):
        raise StoreRefused("the bucket of the location is not the name of a bucket: write s3://bucket/prefix")
    return netloc


def _prefix(path: str) -> str:
    prefix = path.strip("/")
    if prefix and not is_name(prefix):
        raise StoreRefused("the prefix of the location is outside the alphabet of names (letters, digits, '.', '_', '-'): correct it")
    return prefix


def _endpoint(endpoint: str) -> str:
    try:
        parts = urlsplit(endpoint)
        named = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        named = False
    if not named or "@" in endpoint or parts.path.strip("/") or parts.query or parts.fragment:
        raise StoreRefused("the endpoint of the location is http://host:port or https://host:port, with nothing before or after the host")
    return endpoint.rstrip("/")
