"""From the URL of a location to its store, and what is refused on the way."""

from __future__ import annotations

import pytest

from backups.stores.contract import StoreRefused
from backups.stores.folder import FolderStore
from backups.stores.s3 import S3Store
from backups.stores.urls import Credentials, open_store

KEYS = Credentials("key-id", "hush-hush")
SECRET = "hush-hush"


def test_a_folder() -> None:
    store = open_store("file:///srv/backups/with%20space", credentials=None)
    assert isinstance(store, FolderStore)
    assert str(store.root) == "/srv/backups/with space"
    assert store.url == "file:///srv/backups/with%20space"


def test_a_bucket_with_all_options() -> None:
    url = "s3://bucket/a/b?endpoint=http://127.0.0.1:9000&region=eu-west-1&checksums=when_supported&addressing=virtual"
    store = open_store(url, credentials=KEYS)
    assert isinstance(store, S3Store)
    assert (store.bucket, store.prefix, store.url) == ("bucket", "a/b", url)


@pytest.mark.parametrize(
    ("url", "whole"),
    [
        ("s3://bucket", "s3://bucket/?region=us-east-1&checksums=when_required&addressing=virtual"),
        ("s3://bucket/a/", "s3://bucket/a?region=us-east-1&checksums=when_required&addressing=virtual"),
        (
            "s3://bucket?endpoint=https://s3.example.org/",
            "s3://bucket/?endpoint=https://s3.example.org&region=us-east-1&checksums=when_required&addressing=path",
        ),
    ],
)
def test_what_is_left_out_of_a_bucket(url: str, whole: str) -> None:
    store = open_store(url, credentials=KEYS)
    assert store.url == whole
    assert open_store(whole, credentials=KEYS).url == whole


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "begins with"),
        ("/srv/backups", "begins with"),
        ("ftp://host/path", "begins with"),
        ("file://srv/backups", "three slashes"),
        ("file:srv/backups", "absolute"),
        ("file:///srv/../etc", "'..'"),
        ("file:///srv/%00", "NUL"),
        ("file:///srv?mode=1", "no options"),
        ("file:///srv#x", "'#'"),
        (f"s3://key:{SECRET}@bucket/a", "credentials"),
        (f"s3://bucket/a?secret={SECRET}", "no other"),
        (f"s3://bucket/a?endpoint=http://key:{SECRET}@host", "endpoint"),
        (f"s3://bucket/a?endpoint=http://host/?key={SECRET}", "endpoint"),
        ("s3://bucket/a?endpoint=", "endpoint"),
        ("s3://bucket/a?endpoint=host:9000", "endpoint"),
        ("s3://bucket/a?endpoint=ftp://host", "endpoint"),
        ("s3://bucket/a?endpoint=http://host:port", "endpoint"),
        ("s3://bucket/a?endpoint=http://host/path", "endpoint"),
        ("s3://bucket/a?region=x&region=y", "once"),
        ("s3://bucket/a?region=", "region"),
        ("s3://bucket/a?region=eu/west", "region"),
        ("s3://bucket/a?checksums=never", "when_required or when_supported"),
        ("s3://bucket/a?addressing=sideways", "path or virtual"),
        ("s3:///a", "bucket"),
        ("s3://ab/a", "bucket"),
        ("s3://bucket/../a", "prefix"),
        ("s3://bucket/a%20b", "prefix"),
        ("s3://[bucket/a", "cannot be read"),
    ],
)
def test_a_mistake_is_refused_without_repeating_a_secret(url: str, message: str) -> None:
    with pytest.raises(StoreRefused, match=message) as refusal:
        open_store(url, credentials=KEYS)
    assert SECRET not in str(refusal.value)


@pytest.mark.parametrize("credentials", [None, Credentials("", "x"), Credentials("x", "")])
def test_a_bucket_needs_credentials(credentials: Credentials | None) -> None:
    with pytest.raises(StoreRefused, match="no credentials"):
        open_store("s3://bucket/a", credentials=credentials)


def test_credentials_hide_the_secret() -> None:
    assert SECRET not in f"{KEYS} {KEYS!r}"
    assert "key-id" in repr(KEYS)
