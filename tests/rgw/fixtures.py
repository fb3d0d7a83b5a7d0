"""Two clusters for all tests that want real servers: `steady`, which nobody disturbs, and `shaky`, which one test at a time may do harm."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rgw.cluster import Cluster, missing_programs, shared, turn

RGW_KEYS = ("rgwkey", "testsecret-of-the-gateway")


def _folder(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest, name: str) -> Path:
    """The same one for all workers of a run."""
    if missing := missing_programs():
        pytest.skip(f"no real S3 server: {', '.join(missing)} not installed (Debian: radosgw, ceph-mon and ceph-osd)")
    own = tmp_path_factory.getbasetemp()
    return (own.parent if hasattr(request.config, "workerinput") else own) / "rgw" / name


@pytest.fixture(scope="session")
def steady(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    with shared(_folder(tmp_path_factory, request, "steady"), RGW_KEYS) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def shaky_cluster(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    with shared(_folder(tmp_path_factory, request, "shaky"), RGW_KEYS) as cluster:
        yield cluster


@pytest.fixture
def shaky(shaky_cluster: Cluster) -> Iterator[Cluster]:
    with turn(shaky_cluster.folder.with_name("test-of-shaky")):
        yield shaky_cluster
        if not shaky_cluster.running:
            shaky_cluster.start()
