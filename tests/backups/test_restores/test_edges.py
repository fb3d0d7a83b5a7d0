"""No false alarm: content purged since, sets from before they told their foreign keys, a database that went back in time (P7)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User

from audit.models import Stream
from backups import content
from backups import vault as vaults
from backups.hot import shipper
from backups.hot import timelines as shipping_timelines
from backups.hot.lanes import WentBack
from backups.models import BackupSet, HotState, TestOrder
from backups.nightly import back_up
from backups.policies import ensure_first_policy
from backups.purge.carrying_out import Report
from backups.test_restores import orders, trials
from backups.test_restores.carrying_out import carry_out
from backups.vault import Vault
from tests.backups.purge.conftest import aged, people, purged
from tests.backups.test_back_up import backed_up, fill
from tests.backups.test_forks import go_back, hot
from tests.backups.test_moments import MICROSECOND, Told, record
from tests.backups.test_restores.conftest import Tested
from tests.backups.test_scratch import fill_the_vendors_own

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]
__all__ = ["aged", "hot", "people", "purged"]


def test_what_was_purged_since_is_left_out_and_told(
    aged: Any, purged: Callable[..., Report], people: dict[str, User], vault: Vault, tested: Tested
) -> None:
    ensure_first_policy()
    before = BackupSet.objects.get()
    purged(aged)
    for order in tested(aged, set_id=str(before.pk)):
        assert order.result is not None and order.result.text == ""
        for trial in ("set_test", "second_test"):
            judgement = order.result.document[trial]["judgement"]
            assert any("Purged since, and left out" in note for note in judgement["notes"])
            assert judgement["checks"]["chain"]["looked_at"] > 10


def test_a_set_that_does_not_tell_its_foreign_keys_is_held_against_todays(
    acme: Any, vault: Vault, tested: Tested, monkeypatch: pytest.MonkeyPatch
) -> None:
    ensure_first_policy()
    fill_the_vendors_own(acme)
    wanted = content.ContentReader._model_parts

    def as_before(*given: Any) -> Any:
        drafts = wanted(*given)
        for draft in drafts:
            draft.part.parents = None
        return drafts

    monkeypatch.setattr(content.ContentReader, "_model_parts", as_before)
    backed_up(vault, acme)
    [order] = tested(acme, location="primary")
    assert order.result is not None and order.result.text == ""
    assert order.result.document["set_test"]["judgement"]["checks"]["parents"]["looked_at"] == 2


def test_both_lines_of_a_database_that_went_back_pass(acme: Any, hot: Vault, tested: Tested) -> None:
    ensure_first_policy()
    told = Told(acme)
    record(acme, "1")
    first = told.note()
    shipper.ship_once(hot)
    segment = HotState.objects.get().last_segment
    backed_up(hot, acme)
    record(acme, "given up")
    given_up = told.note()
    shipper.ship_once(hot)
    go_back(acme, 1, segment)
    with pytest.raises(WentBack):
        shipper.ship_once(hot)
    timeline = shipping_timelines.begin(hot, by="olga", reason="the disk burned")
    record(acme, "new")
    new = told.note()
    shipper.ship_once(hot)
    backed_up(hot, acme)
    shipper.ship_once(hot)
    stream = Stream.objects.get(pk=acme.pk)
    for at in (first, given_up, timeline.started_at + MICROSECOND, new):
        for one in orders.ask(hot, stream, vaults.clock(), reason="a test", location="offsite", at=at):
            done = carry_out(hot, one.pk)
            assert done is not None and done.result is not None and (done.result.text, done.result.second) == ("", at)


def test_changes_under_way_and_before_numbers_are_no_faults(acme: Any, vault: Vault, tested: Tested) -> None:
    """Nothing was ever shipped: the set has changes without numbers, and no second is covered."""
    ensure_first_policy()
    fill(acme)
    back_up(vault, Stream.objects.get(pk=acme.pk))
    [order] = tested(acme, location="primary")
    assert order.result is not None and order.result.text == ""
    judgement = order.result.document["set_test"]["judgement"]
    assert judgement["head"]["number"] == 0 and judgement["checks"]["history"]["looked_at"] > 50


def test_a_disk_that_is_full_is_no_fault_of_the_backup(acme: Any, vault: Vault, tested: Tested, monkeypatch: pytest.MonkeyPatch) -> None:
    ensure_first_policy()
    fill(acme)
    backed_up(vault, acme)

    def full(spool: Path) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(trials, "_file_in", full)
    [order] = tested(acme, location="primary")
    assert (order.state, order.result) == (TestOrder.State.NOT_TESTED, None) and "No space left" in order.trouble
