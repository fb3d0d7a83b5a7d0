"""Sets before and behind migrations: whose newest change no good set has is told, and each stream is asked for one set behind (P1)."""

from __future__ import annotations

from typing import Any

import pytest
from django.apps import apps

from audit import clock, freezes, registry
from audit.models import Stream
from audit.schema import versions
from audit.schema.versions import Changed
from backups import schema_sets
from backups.errors import NoLocation
from backups.models import Act, BackupSet, Run
from backups.nightly import back_up
from backups.policies import ensure_first_policy
from backups.schema_sets import SetsOwed
from backups.vault import Vault
from tests.backups.shipping import ship
from tests.backups.test_moments import record

pytestmark = pytest.mark.django_db(transaction=True)


def owed() -> list[str]:
    return [one.name for one in schema_sets.uncovered(apps)]


def test_a_stream_is_covered_once_a_good_set_has_its_newest_change(acme: Any, vault: Vault) -> None:
    record(acme, "P-1")
    stream = Stream.objects.get(pk=acme.pk)
    assert owed() == ["acme", "system"]
    ship(vault)
    back_up(vault, stream)
    assert owed() == ["system"]
    BackupSet.objects.update(proof="broken")
    assert owed() == ["acme", "system"]
    BackupSet.objects.update(proof="proved", protected_at=None)
    assert owed() == ["acme", "system"]
    BackupSet.objects.update(protected_at=vault.clock())
    record(acme, "P-2")
    ship(vault)
    assert owed() == ["acme", "system"]
    with pytest.raises(SetsOwed, match=r"2 customers are in no good set \(acme, system\).*put it back"):
        schema_sets.refuse_uncovered(schema_sets.uncovered(apps))


def test_sets_of_before_are_made_with_the_columns_of_before_or_nothing_is_migrated(acme: Any, vault: Vault, acting: Any) -> None:
    record(acme, "P-1")
    then = [one for one in registry.protected() if one.label != "l2l_subscriptions.link"]
    schema_sets.make_sets(vault, schema_sets.uncovered(apps), then, lambda _: None)
    assert BackupSet.objects.filter(protected_at__isnull=False, proof="proved").count() == 2
    nowhere = Vault((), vault.keys, vault.signer, vault.spool, vault.clock)
    record(acme, "P-2")
    with pytest.raises(SetsOwed, match=f"Nothing was migrated: 2 sets .*{NoLocation.__name__}"):
        schema_sets.make_sets(nowhere, schema_sets.uncovered(apps), then, lambda _: None)


def test_each_stream_is_asked_for_one_set_behind(acme: Any, acme2: Any, vault: Vault) -> None:
    ensure_first_policy()
    record(acme, "P-1")
    record(acme2, "P-1")
    versions.record(vault.signer, vault.clock(), "1.0", Changed())
    # The journal goes by the database's clock.
    version = versions.record(vault.signer, clock.database_now(), "1.1", Changed())
    freezes.freeze(acme2.pk, reason="its data is being returned")
    assert [schema_sets.ask_behind(version, vault.clock()) for _ in range(2)] == [2, 0]
    assert sorted(Run.objects.filter(kind="asked").values_list("stream__name", flat=True)) == ["acme", "system"]
    assert set(Act.objects.values_list("reason", flat=True)) == {"schema version 2"}
