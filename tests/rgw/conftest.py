"""Backups to real servers: the fixtures of the backups' tests, with buckets where those have folders."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from backups.vault import Vault
from tests.backups.conftest import acme, clock, key_folder, make_vault  # noqa: F401  (fixtures)
from tests.rgw.cluster import Cluster
from tests.rgw.fixtures import shaky, shaky_cluster, steady  # noqa: F401  (fixtures)
from tests.rgw.sites import Site, new_site


@pytest.fixture
def primary(steady: Cluster) -> Site:  # noqa: F811
    return new_site(steady)


@pytest.fixture
def offsite(shaky: Cluster) -> Site:  # noqa: F811
    return new_site(shaky)


@pytest.fixture
def vault(make_vault: Callable[..., Vault], primary: Site, offsite: Site) -> Vault:  # noqa: F811
    return make_vault(primary=primary.store, offsite=offsite.store)
