"""Sets that leave versioned buckets of real servers leave no version, marker or unfinished upload (P6; design section 5)."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from backups import policies
from backups.models import BackupSet, Blob
from backups.policy import Policy
from backups.prune.carrying_out import carry_out
from backups.restore import restore
from backups.vault import Vault
from subscriptions.models import DataRecord
from tests.backups.conftest import Clock
from tests.backups.test_back_up import backed_up
from tests.rgw.sites import Site

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]


def traces(site: Site, customer: Any) -> set[str]:
    """What every version, marker and unfinished upload of the customer's folder is called."""
    keys = [key for key, _ in site.versions()] + site.uploads()
    return {key.removeprefix("backups/") for key in keys if key.startswith(f"backups/customers/{customer.pk}/")}


def test_no_version_or_marker_of_a_pruned_set_is_left(
    acme: Any, vault: Vault, primary: Site, offsite: Site, clock: Clock, tmp_path: Path
) -> None:
    first = Policy(1, clock() - timedelta(days=100), nightly_days=2, weekly_weeks=0)
    policies._add(1, first, zone="UTC", made_by="test", reason="a test")
    for number in range(5):
        DataRecord.objects.create(customer=acme, kind="part", reference=str(number), data={"n": "x" * 500})
        backed_up(vault, acme)
        clock.forward(days=1)
    oldest = BackupSet.objects.filter(stream=acme.pk).earliest("started_at")
    assert any(str(oldest.pk) in name for name in traces(primary, acme))
    done = carry_out(vault)
    assert done.sets == 3 and not done.left
    named = set(Blob.objects.filter(stream=acme.pk).exclude(kind="key").values_list("name", flat=True))
    for site in (primary, offsite):
        assert traces(site, acme) == named
    for one in BackupSet.objects.filter(stream=acme.pk, state="made"):
        assert restore(vault.only("offsite"), acme, tmp_path / str(one.pk), set_id=str(one.pk)).good
