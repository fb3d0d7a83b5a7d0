"""A bucket of its own for a test, at a real server, and the second client that looks at it behind the store's back."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from backups.stores.s3 import S3Store
from tests.rgw.cluster import Cluster
from tests.stores.conftest import raw_client


@dataclass(frozen=True)
class Site:
    """One user with one bucket at one cluster."""

    cluster: Cluster
    bucket: str
    user: str
    keys: tuple[str, str]

    @property
    def store(self) -> S3Store:
        return self.store_with(self.keys)

    def store_with(self, keys: tuple[str, str]) -> S3Store:
        return S3Store(self.bucket, "backups", self.cluster.endpoint, "us-east-1", *keys)

    @property
    def client(self) -> Any:
        return raw_client(self.cluster.endpoint, self.keys)

    def make_bucket(self, *, versioned: bool = True) -> None:
        self.client.create_bucket(Bucket=self.bucket)
        if versioned:
            self.client.put_bucket_versioning(Bucket=self.bucket, VersioningConfiguration={"Status": "Enabled"})

    def objects(self) -> dict[str, bytes]:
        """By key, as they are seen."""
        return {found["Key"]: self.body(found["Key"]) for found in self._pages("list_objects_v2", "Contents")}

    def body(self, key: str) -> bytes:
        return bytes(self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read())

    def versions(self) -> list[tuple[str, str]]:
        """The key and the id of every version and every marker."""
        found = [*self._pages("list_object_versions", "Versions"), *self._pages("list_object_versions", "DeleteMarkers")]
        return sorted((version["Key"], version["VersionId"]) for version in found)

    def uploads(self) -> list[str]:
        return [found["Key"] for found in self._pages("list_multipart_uploads", "Uploads")]

    def delete_bucket(self) -> None:
        """With all that is in it."""
        for key, ident in self.versions():
            self.client.delete_object(Bucket=self.bucket, Key=key, VersionId=ident)
        self.client.delete_bucket(Bucket=self.bucket)

    def assert_nothing_half_written(self) -> None:
        for key in self.objects():
            head = self.client.head_object(Bucket=self.bucket, Key=key)
            assert head["Metadata"]["sha256"] == hashlib.sha256(self.body(key)).hexdigest()
        assert self.uploads() == []

    def _pages(self, operation: str, what: str) -> list[dict[str, Any]]:
        pages = self.client.get_paginator(operation).paginate(Bucket=self.bucket)
        return [found for page in pages for found in page.get(what, ())]


def new_site(cluster: Cluster, *, versioned: bool = True) -> Site:
    """A user, so that a quota of this one is nobody else's, with an empty bucket."""
    name = f"site-{uuid4().hex[:12]}"
    site = Site(cluster, name, name, (f"key-{name}", f"testsecret-{name}"))
    cluster.add_user(site.user, site.keys)
    site.make_bucket(versioned=versioned)
    return site
