"""A customer that ends leaves no version, marker or unfinished upload in versioned buckets of real servers (P12; design section 9)."""

from __future__ import annotations

from pathlib import Path

import pytest

from backups.restore import restore
from backups.vault import Vault
from subscriptions.models import Customer
from tests.backups.destroy.conftest import (  # noqa: F401  (fixtures)
    Approve,
    acme,
    acme2,
    approve,
    clock,
    looked,
    people,
    received,
)
from tests.backups.destroy.test_buckets import leave_traces
from tests.rgw.sites import Site

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]


def traces(site: Site, customer: Customer) -> list[str]:
    keys = [key for key, _ in site.versions()] + site.uploads()
    return sorted(key for key in keys if str(customer.pk) in key and "/ended/" not in key)


def test_no_version_marker_or_unfinished_upload_of_it_is_left(
    acme: Customer,  # noqa: F811
    acme2: Customer,  # noqa: F811
    vault: Vault,
    primary: Site,
    offsite: Site,
    approve: Approve,  # noqa: F811
    tmp_path: Path,
) -> None:
    for site in (primary, offsite):
        leave_traces(site.client, site.bucket, acme, "backups")
    before = {site.bucket: traces(site, acme2) for site in (primary, offsite)}
    approve()
    report = looked(vault)
    assert report.begun == ["acme"] and not report.troubles
    for site in (primary, offsite):
        assert traces(site, acme) == []
        assert traces(site, acme2) == before[site.bucket] != []
    assert restore(vault.only("offsite"), acme2, tmp_path / "out").good
