"""The service comes back from one location whose keys were wrapped anew, and from one that has the former wrapping beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from django.contrib.auth.models import User
from pyrage.x25519 import Identity

import audit
from backups.keyfiles import KeyRing
from backups.keys import rewrapping
from backups.models import Blob
from backups.vault import Vault
from tests.backups.recovery.conftest import Recovered, content_of, in_a_set, shown, vault_of
from tests.backups.test_back_up import backed_up

pytestmark = pytest.mark.django_db(transaction=True)


def test_keys_that_were_wrapped_anew_are_known_with_their_wrapping(
    aged: Any, people: dict[str, User], vault: Vault, burn: Callable[[], None], recovered: Recovered
) -> None:
    in_a_set(vault, aged)
    ring = vault.keys.now()
    rotated = replace(vault, keys=KeyRing(Identity.generate(), ring.escrow, wrapping=2, retired=(ring.master,)))
    with audit.acting("worker", source="test"):
        assert rewrapping.wrap_anew(rotated).keys == 2  # the former wrappings are there still
    before = content_of(aged.pk)
    burn()
    object.__setattr__(vault, "keys", rotated.keys)  # as the kit of that ring would open them
    report = recovered()
    assert shown(report) == {"acme": "back", "system": "back", "stopped": ""} and content_of(aged.pk) == before
    names = sorted(Blob.objects.filter(stream=aged.pk, kind="key").values_list("name", flat=True))
    assert names == [f"keys/{aged.pk}/1-2.age", f"keys/{aged.pk}/1.age"]
    assert backed_up(replace(vault_of(vault, "offsite"), keys=rotated.keys), aged).backup_set.key_number == 1
