"""Both locations in versioned buckets, against a mock; on real servers `tests/rgw` does the same and worse (P3)."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from backups.restore import restore
from backups.stores.s3 import S3Store
from backups.vault import Vault
from tests.backups.test_back_up import assert_restored, backed_up, fill
from tests.home import Home
from tests.stores.conftest import KEYS, moto_endpoint, raw_client  # noqa: F401  (a fixture)

LARGE = 300_000_000
MEMORY_LIMIT = 250_000_000  # measured: 199 MB


def new_bucket(endpoint: str) -> str:
    name = f"bucket-{uuid4().hex}"
    raw_client(endpoint).create_bucket(Bucket=name)
    raw_client(endpoint).put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    return name


@pytest.mark.django_db(transaction=True)
class TestTwoBuckets:
    @pytest.fixture
    def stores(self, moto_endpoint: str) -> dict[str, S3Store]:  # noqa: F811
        return {name: S3Store(new_bucket(moto_endpoint), "at", moto_endpoint, "us-east-1", *KEYS) for name in ("primary", "offsite")}

    @pytest.fixture
    def vault(self, make_vault: Callable[..., Vault], stores: dict[str, S3Store]) -> Vault:
        return make_vault(**stores)

    def test_what_comes_out_of_offsite_alone_is_what_went_in(self, acme: Any, vault: Vault, tmp_path: Path) -> None:
        fill(acme)
        outcome = backed_up(vault, acme)
        assert outcome.good and outcome.whole_at == ["primary", "offsite"] and not outcome.troubles
        assert restore(vault.only("offsite"), acme, tmp_path / "out").good
        assert_restored(tmp_path / "out", acme)

    def test_a_second_night_stores_nothing_twice(self, acme: Any, vault: Vault, stores: dict[str, S3Store], clock: Any) -> None:
        fill(acme)
        backed_up(vault, acme)
        clock.forward(days=1)
        outcome = backed_up(vault, acme)
        assert outcome.good and outcome.backup_set.new_blobs == 0 and not outcome.notes
        for store in stores.values():
            assert list(store.leftovers()) == []

    def test_a_deleted_object_is_missed_and_put_back(self, acme: Any, vault: Vault, stores: dict[str, S3Store]) -> None:
        fill(acme)
        backed_up(vault, acme)
        store = stores["offsite"]
        name = next(entry.name for entry in store.list(f"customers/{acme.pk}/") if "/blobs/" in entry.name)
        right = store.get(name)
        store._client.delete_object(Bucket=store.bucket, Key=f"at/{name}")
        outcome = backed_up(vault, acme)
        assert outcome.good and any("missing or cut at offsite" in note for note in outcome.notes)
        assert store.get(name) == right

    def test_a_deleted_bucket_is_said_and_the_other_location_goes_on(self, acme: Any, vault: Vault, stores: dict[str, S3Store]) -> None:
        store = stores["offsite"]
        for entry in list(store.list()):
            store.remove(entry.name)
        store._client.delete_bucket(Bucket=store.bucket)
        outcome = backed_up(vault, acme)
        assert outcome.whole_at == ["primary"] and not outcome.good
        assert store.bucket in outcome.troubles["offsite"] and "create it or correct its name" in outcome.troubles["offsite"]


@dataclass(frozen=True)
class BucketHome(Home):
    """A home whose locations are buckets."""

    settings: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        return super().environment | self.settings


@pytest.fixture
def mock_of_its_own(tmp_path: Path) -> Iterator[str]:
    """A mock in another process, whose memory is not ours."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    with (tmp_path / "moto.log").open("wb") as log:
        server = subprocess.Popen([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", port], stdout=log, stderr=log)
    try:
        wait_for(f"http://127.0.0.1:{port}/moto-api/")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


def wait_for(address: str) -> None:
    until = time.monotonic() + 30
    while True:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            assert time.monotonic() < until, f"{address} does not answer"
            time.sleep(0.1)


def credentials(name: str) -> dict[str, str]:
    return {f"L2L_LOCATION_{name}_ACCESS_KEY_ID": KEYS[0], f"L2L_LOCATION_{name}_SECRET_ACCESS_KEY": KEYS[1]}


@pytest.mark.slow
def test_a_large_upload_goes_to_two_buckets_in_bounded_memory(tmp_path: Path, mock_of_its_own: str) -> None:
    addresses = [f"{name}=s3://{new_bucket(mock_of_its_own)}/at?endpoint={mock_of_its_own}" for name in ("primary", "offsite")]
    settings = {"L2L_LOCATIONS": " ".join(addresses)} | credentials("PRIMARY") | credentials("OFFSITE")
    home = BucketHome(tmp_path / "home", settings)
    assert "cannot be used" not in home.init()
    home.manage("add_customer", "acme", "--name", "Acme", "--start", "2026-01-01")
    put_a_large_file(tmp_path / "content")
    home.manage("import_content", "acme", str(tmp_path / "content"))
    peak = home.peak_bytes("backup", "acme")
    assert peak < MEMORY_LIMIT, f"{peak:,} bytes"
    document = home.json("restore", "acme", "--location", "offsite", "--to", str(tmp_path / "out"))
    assert document["file_bytes"] == LARGE


def put_a_large_file(content: Path) -> None:
    """Random bytes, for others would be packed small."""
    (content / "uploads").mkdir(parents=True)
    with (content / "uploads" / "large.bin").open("wb") as file:
        for _ in range(LARGE // 1_000_000):
            file.write(os.urandom(1_000_000))
