"""What only a real S3 server shows, a mock being too kind: signatures, digests, locks, quotas, a server that dies."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier
from typing import Any

import pytest
from botocore.exceptions import ClientError

from backups.placing import put_and_read_back, sha256_of
from backups.stores import s3
from backups.stores.contract import AlreadyThere, Missing, StoreError, StoreRefused, StoreUnavailable
from tests.rgw.cluster import Cluster
from tests.rgw.fixtures import shaky, shaky_cluster  # noqa: F401  (fixtures)
from tests.rgw.sites import Site, new_site

pytestmark = pytest.mark.slow

MD5_OF_1 = "xMpCOKC5I4INzFCab3WEmw=="


@pytest.fixture
def site(steady: Cluster) -> Site:
    return new_site(steady)


class TestRemoval:
    def test_a_second_client_finds_no_version_no_marker_and_no_upload(self, site: Site) -> None:
        store, client = site.store, site.client
        store.put("a/x", b"1")
        store.put("a/y", b"stays")
        for number in range(3):
            client.put_object(Bucket=site.bucket, Key="backups/a/x", Body=b"%d" % number)
            client.delete_object(Bucket=site.bucket, Key="backups/a/x")
            upload = client.create_multipart_upload(Bucket=site.bucket, Key="backups/a/x")["UploadId"]
            client.upload_part(Bucket=site.bucket, Key="backups/a/x", UploadId=upload, PartNumber=1, Body=bytes(6_000_000))
        assert len(site.versions()) == 8 and len(site.uploads()) == 3
        store.remove("a/x")
        assert [key for key, _ in site.versions()] == ["backups/a/y"] and site.uploads() == []

    def test_a_locked_version_is_refused_and_stays(self, site: Site) -> None:
        locked = f"{site.bucket}-locked"
        site.client.create_bucket(Bucket=locked, ObjectLockEnabledForBucket=True)
        until = datetime.now(UTC) + timedelta(days=1)
        lock = {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": until, "ContentMD5": MD5_OF_1}
        site.client.put_object(Bucket=locked, Key="backups/x", Body=b"1", **lock)
        store = s3.S3Store(locked, "backups", site.cluster.endpoint, "us-east-1", *site.keys)
        with pytest.raises(StoreRefused, match="locked"):
            store.remove("x")
        assert store.get("x") == b"1"


class TestPuttingOnce:
    def test_this_server_is_careless_where_versions_are_kept(self, site: Site, steady: Cluster) -> None:
        plain = new_site(steady, versioned=False)
        for store in (site.store, plain.store):
            store.check()
        assert [store._bucket_kind for store in (site.store, plain.store)] == [s3._Bucket.CARELESS, s3._Bucket.PLAIN]

    def test_of_eight_at_once_one_wins_every_time(self, site: Site) -> None:
        store = site.store
        for turn in range(20):
            name, start = f"a/{turn}", Barrier(8)

            def wins(number: int, name: str = name, start: Barrier = start) -> bool:
                start.wait()
                try:
                    store.put(name, b"%d" % number)
                except AlreadyThere:
                    return False
                return True

            with ThreadPoolExecutor(8) as threads:
                winners = [number for number, won in enumerate(threads.map(wins, range(8))) if won]
            assert winners == [int(store.get(name))]
        assert list(store.leftovers()) == []


class TestRefusals:
    @pytest.mark.parametrize(
        ("keys", "message"), [(("unknown-key", ""), "access key is unknown there"), (("", "wrong-testsecret"), "secret key is wrong")]
    )
    def test_wrong_credentials(self, site: Site, keys: tuple[str, str], message: str) -> None:
        store = site.store_with((keys[0] or site.keys[0], keys[1] or site.keys[1]))
        acts: list[Callable[[], Any]] = [
            store.check,
            lambda: store.put("x", b"x"),
            lambda: store.get("x"),
            lambda: store.remove("x"),
            lambda: list(store.list()),
            lambda: list(store.leftovers()),
        ]
        for act in acts:
            with pytest.raises(StoreRefused, match=f"{message}: correct the credentials") as refusal:
                act()
            assert "testsecret" not in str(refusal.value)
        with pytest.raises(StoreRefused):
            store.exists("x")

    def test_a_bucket_that_is_not_there(self, site: Site) -> None:
        store = s3.S3Store("no-such-bucket", "", site.cluster.endpoint, "us-east-1", *site.keys)
        acts: list[Callable[[], Any]] = [lambda: store.put("x", b"x"), lambda: store.exists("x"), lambda: list(store.list())]
        for act in acts:
            with pytest.raises(StoreRefused, match="create it"):
                act()

    def test_a_full_bucket_takes_nothing_and_gives_everything(self, site: Site) -> None:
        site.store.put("a", bytes(100_000))
        site.cluster.limit(site.user, 150_000)
        with pytest.raises(StoreRefused, match=r"QuotaExceeded .* for b: the quota is used up: raise it"):
            site.store.put("b", bytes(100_000))
        assert not site.store.exists("b") and site.store.get("a") == bytes(100_000)
        with pytest.raises(Missing):
            site.store.get("b")
        site.store.remove("a")
        assert site.versions() == [] and site.uploads() == []


def test_the_server_checks_the_digest_that_every_put_carries(site: Site) -> None:
    with pytest.raises(ClientError, match="BadDigest"):
        site.client.put_object(Bucket=site.bucket, Key="x", Body=b"other", ContentMD5=MD5_OF_1)


def test_a_server_that_dies_is_unavailable_and_keeps_what_it_took(shaky: Cluster) -> None:  # noqa: F811
    store = new_site(shaky).store
    taken: list[str] = []
    with ThreadPoolExecutor(2) as threads:
        putting = [threads.submit(store.put, f"a/{number:02}", bytes(3_000_000)) for number in range(30)]
        putting[4].result()
        shaky.kill()
        for number, put in enumerate(putting):
            if isinstance(put.exception(), StoreError):
                assert isinstance(put.exception(), StoreUnavailable)
            else:
                taken.append(f"a/{number:02}")
    shaky.start()
    assert 5 <= len(taken) < 30
    assert all(store.get(name) == bytes(3_000_000) for name in taken)
    assert {entry.name for entry in store.list()} >= set(taken)
    for entry in store.list():
        # Of a put that it never answered, the server may list what it does not give; putting it again makes it whole.
        put_and_read_back(store, entry.name, bytes(3_000_000), sha256_of(bytes(3_000_000)))
        assert store.get(entry.name) == bytes(3_000_000)
    for name in sorted({f"a/{number:02}" for number in range(30)} - set(taken)):
        put_and_read_back(store, name, bytes(3_000_000), sha256_of(bytes(3_000_000)))
    assert [entry.name for entry in store.list()] == [f"a/{number:02}" for number in range(30)]
