"""The places that the contract's suite runs against. Another store is one more entry in `PLACES`, or in `SLOW_PLACES`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import pytest
from moto.server import ThreadedMotoServer

from backups.stores.contract import Store
from backups.stores.folder import FolderStore
from backups.stores.memory import MemoryStore
from backups.stores.s3 import S3Store
from tests.rgw.cluster import missing_programs
from tests.rgw.fixtures import RGW_KEYS, steady  # noqa: F401  (a fixture)

KEYS = ("testkey", "testsecret-never-shown")


@dataclass(frozen=True)
class Place:
    """A fresh, empty store, and what a test does to it behind its back.

    `overwrite(name, data)` changes the stored bytes; `leave(name)` begins to store something and never ends, None where a
    store cannot be left like that; `hide(name)` is a plain S3 deletion, None where that is no different from `remove`.
    `page` is how many names one answer of the server lists at most; `dates_uploads` is False where a mock makes their dates up.
    """

    store: Store
    overwrite: Callable[[str, bytes], None]
    leave: Callable[[str], None] | None = None
    hide: Callable[[str], None] | None = None
    page: int = 40
    dates_uploads: bool = True


@pytest.fixture(autouse=True)
def uploads() -> None:
    """In place of the fixture of that name for all tests: a store needs no settings."""


def folder_place(request: pytest.FixtureRequest) -> Place:
    root: Path = request.getfixturevalue("tmp_path") / "store"
    root.mkdir()

    def leave(name: str) -> None:
        (root / ".tmp").mkdir(exist_ok=True)
        (root / ".tmp" / f"{name.replace('/', '+')}+{uuid4().hex[:16]}").write_bytes(b"half")

    def overwrite(name: str, data: bytes) -> None:
        (root / name).write_bytes(data)

    return Place(FolderStore(root), overwrite, leave)


def memory_place(request: pytest.FixtureRequest) -> Place:
    store = MemoryStore()
    return Place(store, overwrite=store.objects.__setitem__)


def moto_place(request: pytest.FixtureRequest) -> Place:
    return replace(s3_place(request.getfixturevalue("moto_endpoint"), versioned=False), dates_uploads=False)


def versioned_moto_place(request: pytest.FixtureRequest) -> Place:
    return replace(s3_place(request.getfixturevalue("moto_endpoint"), versioned=True), dates_uploads=False)


def careless_place(request: pytest.FixtureRequest) -> Place:
    """A server that keeps versions and ignores `If-None-Match`, as Ceph 16 does."""
    place = s3_place(request.getfixturevalue("moto_endpoint"), versioned=True, region="careless")
    assert isinstance(place.store, S3Store)
    place.store._client.meta.events.register("before-call.s3.PutObject", forget_the_condition, unique_id="careless")
    return replace(place, dates_uploads=False)


def forget_the_condition(params: Any, **_: Any) -> None:
    params["headers"].pop("If-None-Match", None)


def rgw_place(request: pytest.FixtureRequest) -> Place:
    return s3_place(request.getfixturevalue("steady").endpoint, versioned=False, keys=RGW_KEYS)


def versioned_rgw_place(request: pytest.FixtureRequest) -> Place:
    return s3_place(request.getfixturevalue("steady").endpoint, versioned=True, keys=RGW_KEYS)


def s3_place(endpoint: str, *, versioned: bool, keys: tuple[str, str] = KEYS, region: str = "us-east-1") -> Place:
    """A store in a new bucket at any S3 server."""
    client, bucket = raw_client(endpoint, keys), f"bucket-{uuid4().hex}"
    client.create_bucket(Bucket=bucket)
    if versioned:
        client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    store = S3Store(bucket, "at/prefix", endpoint, region, *keys)

    def on(operation: str, **more: Any) -> Callable[[str], None]:
        return lambda name: getattr(client, operation)(Bucket=bucket, Key=f"at/prefix/{name}", **more)

    return Place(
        store,
        overwrite=lambda name, data: on("put_object", Body=data)(name),
        leave=on("create_multipart_upload"),
        hide=on("delete_object") if versioned else None,
    )


PLACES: dict[str, Callable[[pytest.FixtureRequest], Place]] = {
    "folder": folder_place,
    "memory": memory_place,
    "s3": moto_place,
    "s3-versioned": versioned_moto_place,
}
SLOW_PLACES: dict[str, Callable[[pytest.FixtureRequest], Place]] = {"s3-careless": careless_place}
if not missing_programs():
    SLOW_PLACES |= {"rgw": rgw_place, "rgw-versioned": versioned_rgw_place}


@pytest.fixture(params=[*PLACES, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW_PLACES)])
def place(request: pytest.FixtureRequest) -> Place:
    return (PLACES | SLOW_PLACES)[request.param](request)


@pytest.fixture
def store(place: Place) -> Store:
    return place.store


_RAW_CLIENTS: dict[tuple[str, tuple[str, str]], Any] = {}


def raw_client(endpoint: str, keys: tuple[str, str] = KEYS) -> Any:
    """boto3 as it is, for what a store does not do."""
    if (endpoint, keys) not in _RAW_CLIENTS:
        _RAW_CLIENTS[endpoint, keys] = boto3.client(
            "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id=keys[0], aws_secret_access_key=keys[1]
        )
    return _RAW_CLIENTS[endpoint, keys]


@pytest.fixture(scope="session")
def moto_endpoint() -> Iterator[str]:
    """A mock that keeps versions, uploads and conditions; it checks no signature and no MD5, so it proves nothing about those."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "40")
        server.start()
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
        server.stop()
