"""Segments that sets cover are removed: what was said to be covered can still be had, and what a lost set took with it is named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from audit import registry
from audit.models import Stream
from backups import vault as vaults
from backups.coverage import covered
from backups.errors import NowhereWhole
from backups.hot import removal, shipper
from backups.models import HotState
from backups.nightly import back_up
from backups.vault import Vault
from tests.backups.test_moments import MICROSECOND, Told, flip, record, restored, restored_at

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def hot(make_vault: Callable[..., Vault], folders: dict[str, Path], acme: Any) -> Vault:
    """A vault whose clock goes with the database's, as the shipper needs it."""
    from backups.stores.folder import FolderStore

    return replace(make_vault(**{name: FolderStore(folder) for name, folder in folders.items()}), clock=vaults.clock)


def back_up_all(vault: Vault, *customers: Any) -> list[str]:
    streams = [registry.SYSTEM_STREAM, *(one.pk for one in customers)]
    return [str(back_up(vault, Stream.objects.get(pk=stream)).backup_set.pk) for stream in streams]


def remove(vault: Vault, days: int = 0) -> int:
    return removal.remove_covered(vault, vault.clock() + timedelta(days=days)).up_to


def test_what_was_covered_still_is(acme: Any, acme2: Any, hot: Vault, tmp_path: Path) -> None:
    told = Told(acme)
    record(acme2, "quiet")
    shipper.ship_once(hot)
    back_up_all(hot, acme2)
    moments = []
    for number in range(3):
        record(acme, str(number))
        moments.append(told.note())
        shipper.ship_once(hot)
    back_up_all(hot, acme)
    record(acme, "later")
    moments.append(told.note())
    shipper.ship_once(hot)
    shipper.ship_once(hot)
    assert remove(hot)
    for number, moment in enumerate(moments):
        for at in (moment - MICROSECOND, moment):
            folder = tmp_path / f"{number}-{at:%f}"
            restored_at(hot, acme, at, folder)
            assert restored(folder, acme) == told.at(at)[0]
    restored_at(hot, acme2, None, tmp_path / "quiet")
    for customer in (acme, acme2):
        found = covered(hot, customer.pk)
        assert not found.gaps and found.until is not None and found.until > moments[-1]
        assert restored_at(hot, customer, found.until - MICROSECOND, tmp_path / f"until-{customer}").good


def test_the_part_that_was_kept_is_read(acme: Any, hot: Vault, tmp_path: Path) -> None:
    told = Told(acme)
    record(acme, "1")
    told.note()
    shipper.ship_once(hot)
    back_up_all(hot, acme)
    record(acme, "2")
    last = told.note()
    shipper.ship_once(hot)
    back_up_all(hot)
    kept_up_to = HotState.objects.get().last_segment
    assert remove(hot, days=3) == kept_up_to  # acme's part was kept: no set covers it
    shipper.ship_once(hot)
    restored_at(hot, acme, last, tmp_path / "out")
    assert restored(tmp_path / "out", acme) == told.at(last)[0]


def test_what_only_a_lost_set_had_is_a_gap(acme: Any, hot: Vault, folders: dict[str, Path], tmp_path: Path) -> None:
    told = Told(acme)
    record(acme, "1")
    first = told.note()
    shipper.ship_once(hot)
    back_up_all(hot, acme)
    record(acme, "2")
    last = told.note()
    shipper.ship_once(hot)
    *_, newest = back_up_all(hot, acme)
    shipper.ship_once(hot)
    assert remove(hot)
    for folder in folders.values():
        flip_body(folder, newest)
    with pytest.raises(NowhereWhole, match=newest):
        restored_at(hot, acme, last, tmp_path / "lost")
    restored_at(hot, acme, first - MICROSECOND, tmp_path / "before")
    assert restored(tmp_path / "before", acme) == told.at(first - MICROSECOND)[0]


def test_a_location_without_the_newest_set_covers_no_more_than_its_own(acme: Any, hot: Vault, folders: dict[str, Path]) -> None:
    told = Told(acme)
    record(acme, "1")
    first = told.note()
    shipper.ship_once(hot)
    back_up_all(hot, acme)
    record(acme, "2")
    last = told.note()
    shipper.ship_once(hot)
    *_, newest = back_up_all(hot, acme)
    shipper.ship_once(hot)
    assert remove(hot)
    next(iter((folders["offsite"] / "customers").rglob(f"{newest}.json"))).unlink()
    reach = {span.place: span.end for span in covered(hot, acme.pk).spans}
    assert reach["offsite"] == first < last < reach["primary"] == reach[""]


def flip_body(folder: Path, ident: str) -> None:
    flip(next(iter((folder / "customers").rglob(f"{ident}.age"))))
