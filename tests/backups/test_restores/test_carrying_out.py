"""A test restore of real sets from real folders: what is whole passes, what is not is found and told (P7)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group

from audit.errors import BypassRefused
from audit.models import Event, Finding, Stream
from audit.roles import Role, ensure_roles
from backups.errors import NotSignedOff, NotTested
from backups.leases import process_name
from backups.models import BackupSet, TestCell, TestNight, TestOrder, TestRestore
from backups.test_restores import documents, exempting, orders, planning, trials
from backups.test_restores.carrying_out import recover
from backups.test_restores.sign_off import sign_off, unsigned
from backups.vault import Vault
from tests.backups.targets import POSTGRESQL, Target
from tests.backups.test_back_up import backed_up
from tests.backups.test_restores.conftest import Tested, chosen_for

pytestmark = pytest.mark.django_db(transaction=True)


def test_what_is_whole_passes_at_each_location_and_is_signed(kept: Any, vault: Vault, tested: Tested) -> None:
    made = tested(kept)
    assert [(one.location.name, one.state, one.trouble) for one in made] == [("primary", "done", ""), ("offsite", "done", "")]
    for order in made:
        test = order.result
        assert test is not None and (test.text, test.result) == ("", "passed")
        assert documents.trouble_of(test, vault.fingerprint) == ""
        of_set, of_second = test.document["set_test"]["judgement"], test.document["second_test"]["judgement"]
        assert of_set["counts"]["rows"] and of_set["checks"]["chain"]["looked_at"] and of_set["checks"]["parents"]["looked_at"] == 2
        assert of_set["checks"]["files"]["looked_at"] and not of_set["notes"]
        assert of_second["checks"]["digests"]["looked_at"] and test.second is not None
        assert test.read_bytes > 0 and test.content_bytes > 0
    assert list(Path(vault.spool).iterdir()) == []
    cell = TestCell.objects.get(location__name="primary")
    assert cell.tested_at and not cell.failed and (cell.due_at - cell.tested_at).days == 90
    assert Event.objects.filter(event="test-restore:done").count() == 2 and not Finding.objects.exists()
    assert TestRestore.objects.count() == 2


def test_the_oldest_monthly_set_is_taken_first_in_each_quarter_and_then_what_the_seed_draws(
    kept: Any, vault: Vault, tested: Tested, clock: Any
) -> None:
    first = BackupSet.objects.get()
    clock.forward(days=20)
    second = backed_up(vault, kept).backup_set
    for one, key in ((first, "month:2026-03"), (second, "month:2026-04")):
        chosen_for(one, key, clock)
    clock.forward(days=100)  # nothing is kept for a night any more
    [order] = tested(kept, location="offsite")
    assert order.result is not None
    assert (order.tier, order.result.set_id, order.result.oldest, order.result.result) == ("monthly", first.pk, True, "passed")
    made = [tested(kept, location="primary")[0].result for _ in range(12)]
    assert {(test.set_id, test.oldest) for test in made if test} == {(first.pk, False), (second.pk, False)}
    for test in made:
        assert test is not None
        about = f"{kept.pk}/monthly/primary"
        assert str(test.set_id) == planning.one_of(test.seed, about, [str(first.pk), str(second.pk)])


@pytest.mark.parametrize("engine", [POSTGRESQL])
def test_a_scratch_database_of_postgresql_is_left_empty(kept: Any, vault: Vault, tested: Tested, settings: Any, target: Target) -> None:
    settings.L2L_SCRATCH_URL = target.url
    for order in tested(kept):
        assert order.result is not None and order.result.text == "" and order.result.document["scratch"] == "postgresql"
    assert target.untouched()
    target.execute("CREATE TABLE somebodys ()")
    [order] = tested(kept, location="primary")
    assert order.state == "not tested" and "not empty" in order.trouble


def test_whom_tests_leave_alone(kept: Any, vault: Vault, tested: Tested, monkeypatch: Any) -> None:
    monkeypatch.setattr(exempting, "_rules", [])
    exempting.leave_alone(lambda: [kept.pk])
    with pytest.raises(NotTested, match="left alone"):
        tested(kept)
    assert not TestCell.objects.filter(there=True).exists()


def test_a_result_is_signed_off_once_by_another_person_than_who_started_it(
    kept: Any, vault: Vault, tested: Tested, django_user_model: Any, clock: Any
) -> None:
    ensure_roles()
    people = {name: django_user_model.objects.create_user(name) for name in ("ada", "olga", "otto")}
    for name, role in (("ada", Role.BACKUP_OPERATOR), ("olga", Role.BACKUP_OPERATOR), ("otto", Role.ADMINISTRATOR)):
        people[name].groups.add(Group.objects.get(name=role.value))
    [order] = tested(kept, location="primary")
    test = order.result
    assert test is not None and test.asked_by == "ada"
    by = {"comment": "looked at it", "trusted": vault.fingerprint, "now": clock()}
    for name, comment, told in (("ada", "x", "somebody else"), ("otto", "x", "needs the right"), ("olga", " ", "what you looked at")):
        with pytest.raises(NotSignedOff, match=told):
            sign_off(test, by=people[name], **(by | {"comment": comment}))
    with pytest.raises(NotSignedOff, match="proves nothing"):
        sign_off(test, by=people["olga"], **(by | {"trusted": "0" * 64}))
    assert list(unsigned(TestRestore.objects.all())) == [test]
    signed = sign_off(test, by=people["olga"], **by)
    assert (signed.by, signed.comment) == (people["olga"], "looked at it")
    assert not unsigned(TestRestore.objects.all()).exists()
    with pytest.raises(NotSignedOff, match="already"):
        sign_off(test, by=people["olga"], **by)
    for row in (test, signed):
        with pytest.raises(BypassRefused):
            row.save()
    test.result = "failed"
    assert "result" in documents.trouble_of(test, vault.fingerprint)


def test_a_night_is_planned_once_and_its_seed_chooses_the_same_again(kept: Any, acme2: Any, vault: Vault, clock: Any) -> None:
    backed_up(vault, acme2)
    assert orders.plan_night(vault, clock()) is not None  # at two, the night began at 22:00
    made = TestNight.objects.get()
    assert (made.owed, made.chosen, made.overdue, TestOrder.objects.count()) == (4, 1, 0, 1)
    again = orders.plan(vault, clock(), made.seed)
    [order] = TestOrder.objects.all()
    assert again is not None and [(one.stream_id, one.location_id) for one in again.cells] == [(order.stream_id, order.location_id)]
    assert orders.plan_night(vault, clock()) is None
    clock.forward(hours=12)
    assert orders.plan_night(vault, clock()) is None
    clock.forward(days=89)
    assert orders.plan_night(vault, clock()) is None  # no nightly set is left: nothing is owed by any, and at 14:00 no night is due
    assert not TestCell.objects.filter(failed=True).exists()


def test_what_killed_processes_left_is_begun_again_and_its_scratch_goes(kept: Any, vault: Vault, clock: Any) -> None:
    stream = Stream.objects.get(pk=kept.pk)
    [order] = orders.ask(vault, stream, clock(), reason="a test", location="primary")
    gone = process_name().rpartition(":")[0] + ":1"
    left = Path(trials._file_in(vault.spool).removeprefix("sqlite:///").replace("+" + process_name().rpartition(":")[2], "+1"))
    for path in (left, left.with_name(f"{left.name}.incomplete-7")):
        path.write_text("rows")
    for attempt in range(1, 4):
        TestOrder.objects.filter(pk=order.pk).update(state="running", holder=gone, attempts=attempt)
        assert recover(vault, clock()) == (attempt < 3)
    assert not list(Path(vault.spool).iterdir())
    order.refresh_from_db()
    assert order.state == "not tested" and "3 processes died" in order.trouble
    assert not TestRestore.objects.exists() and "died" in TestCell.objects.get(location__name="primary").trouble
