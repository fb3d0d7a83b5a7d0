"""Versioned buckets, against a mock that keeps versions: no version, marker or unfinished upload of the customer is left, and none of its
neighbour's is touched (P12). On real servers `tests/rgw/test_destroyed.py` does the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from backups.restore import restore
from backups.stores.s3 import S3Store
from backups.vault import Vault
from subscriptions.models import Customer
from tests.backups.destroy.conftest import Approve, looked
from tests.backups.test_s3_locations import new_bucket
from tests.stores.conftest import KEYS, moto_endpoint, raw_client  # noqa: F401  (a fixture)

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def stores(moto_endpoint: str) -> dict[str, S3Store]:  # noqa: F811
    return {name: S3Store(new_bucket(moto_endpoint), "at", moto_endpoint, "us-east-1", *KEYS) for name in ("primary", "offsite")}


@pytest.fixture
def vault(make_vault: Callable[..., Vault], stores: dict[str, S3Store]) -> Vault:
    return make_vault(**stores)


def traces(client: Any, bucket: str, customer: Customer) -> list[str]:
    """The keys of every version, marker and unfinished upload that lies under the customer's names."""
    versions = client.list_object_versions(Bucket=bucket, MaxKeys=1000)
    found = [one["Key"] for kind in ("Versions", "DeleteMarkers") for one in versions.get(kind, ())]
    found += [one["Key"] for one in client.list_multipart_uploads(Bucket=bucket).get("Uploads", ())]
    return sorted(key for key in found if str(customer.pk) in key and "/ended/" not in key)


def leave_traces(client: Any, bucket: str, customer: Customer, above: str = "at") -> None:
    """An old version under a marker, an overwritten object, an upload that nobody finished."""
    folder = f"{above}/customers/{customer.pk}/blobs/ab"
    for _ in range(2):
        client.put_object(Bucket=bucket, Key=f"{folder}/{'ab' * 32}", Body=b"an old version")
    client.delete_object(Bucket=bucket, Key=f"{folder}/{'ab' * 32}")
    client.create_multipart_upload(Bucket=bucket, Key=f"{folder}/{uuid4().hex * 2}")
    client.put_object(Bucket=bucket, Key=f"{above}/keys/{customer.pk}/9.age", Body=b"an old key")
    client.delete_object(Bucket=bucket, Key=f"{above}/keys/{customer.pk}/9.age")


def test_no_version_marker_or_unfinished_upload_is_left(
    acme: Customer,
    acme2: Customer,
    stores: dict[str, S3Store],
    vault: Vault,
    approve: Approve,
    moto_endpoint: str,  # noqa: F811
    tmp_path: Path,
) -> None:
    client = raw_client(moto_endpoint)
    for store in stores.values():
        leave_traces(client, store.bucket, acme)
    before = {name: traces(client, store.bucket, acme2) for name, store in stores.items()}
    approve()
    report = looked(vault)
    assert report.begun == ["acme"] and not report.troubles
    for name, store in stores.items():
        assert traces(client, store.bucket, acme) == []
        assert traces(client, store.bucket, acme2) == before[name] != []
        assert client.head_object(Bucket=store.bucket, Key=f"at/ended/{acme.pk}.json")
    assert restore(vault.only("offsite"), acme2, tmp_path / "out").good
