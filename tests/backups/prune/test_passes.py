"""A pass of retention over real sets in real folders: what must go is gone everywhere, what must stay restores (P6)."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from audit.models import Event
from backups import damage, leases, policies, read_leases
from backups.choosing import opened
from backups.errors import BackupError, NoSet
from backups.models import BackupSet, Blob, Copy, ReadLease, RetentionLook, Slot
from backups.policy import Policy
from backups.prune import carrying_out, clock_doubt
from backups.restore import restore
from backups.vault import Vault
from subscriptions import holds
from subscriptions.onboarding import add_customer
from tests.backups.conftest import Clock

pytestmark = pytest.mark.django_db(transaction=True)

Nights = Callable[..., list[BackupSet]]
# Nights of Monday, 9 March, to Friday, 20 March; it is 22 March, 02:00. Older than four days are those before 17 March, seven of which
# nothing keeps: Sunday's is kept for its week.
TWELVE = 12
STATES = ["removed"] * 6 + ["made", "removed"] + ["made"] * 4


def states(sets: list[BackupSet]) -> list[str]:
    return [BackupSet.objects.values_list("state", flat=True).get(pk=one.pk) for one in sets]


def names_at(folder: Path, customer: Any) -> set[str]:
    """Every file below the customer's folder there, whatever it is."""
    root = folder / "customers" / str(customer.pk)
    return {path.relative_to(folder).as_posix() for path in root.rglob("*") if path.is_file()}


def assert_folders_hold_what_rows_say(folders: dict[str, Path], customer: Any) -> None:
    rows = set(Blob.objects.filter(stream=customer.pk).exclude(kind="key").values_list("name", flat=True))
    for name, folder in folders.items():
        assert names_at(folder, customer) == rows, name


def test_nothing_goes_before_its_time(vault: Vault, acme: Any, nights: Nights) -> None:
    made = nights(acme, 4)
    done = carrying_out.carry_out(vault)
    assert (done.sets, done.objects, done.waits) == (0, 0, {})
    assert set(states(made)) == {"made"}


def test_what_no_rule_keeps_is_gone_at_every_location(
    vault: Vault, acme: Any, nights: Nights, folders: dict[str, Path], tmp_path: Path
) -> None:
    made = nights(acme, TWELVE)
    done = carrying_out.carry_out(vault)
    assert states(made) == STATES
    assert done.sets == 7 and not done.left
    assert_folders_hold_what_rows_say(folders, acme)
    for one in made[:6]:
        gone = BackupSet.objects.get(pk=one.pk)
        assert gone.removed_at is not None and not gone.blob_ids
        assert gone.left_at is not None and gone.left_at <= gone.removed_at
        with pytest.raises(NoSet):
            restore(vault, acme, tmp_path / "gone", set_id=str(one.pk))
    for one in (made[6], made[8], made[11]):
        assert restore(vault, acme, tmp_path / str(one.pk), set_id=str(one.pk)).good
    kept = BackupSet.objects.get(pk=made[6].pk)
    assert kept.kept_why == "chosen for week:2026-W11" and kept.goes_at == kept.snapshot_at + timedelta(days=4 + 14)


def test_a_second_pass_finds_nothing_to_do(vault: Vault, acme: Any, nights: Nights) -> None:
    nights(acme, TWELVE)
    assert carrying_out.carry_out(vault).sets == 7
    again = carrying_out.carry_out(vault)
    assert (again.looked_at, again.sets, again.objects) == (0, 0, 0)


def over_the_month(nights: Nights, acme: Any, clock: Clock) -> list[BackupSet]:
    """Two nights of March's second week, its last two and the first of April; it is 3 April, 02:00."""
    made = nights(acme, 2)
    clock.forward(days=19)
    return made + nights(acme, 3)


def test_weeks_and_months_are_decided_once_and_stay(vault: Vault, acme: Any, nights: Nights, clock: Clock) -> None:
    over_the_month(nights, acme, clock)
    carrying_out.carry_out(vault)
    slots = {slot.key: slot for slot in Slot.objects.filter(stream=acme.pk)}
    assert sorted(slots) == ["month:2026-03", "week:2026-W11", "week:2026-W12", "week:2026-W13"]
    assert [slot.state for _, slot in sorted(slots.items())] == ["filled", "filled", "stood in", "stood in"]
    assert slots["month:2026-03"].backup_set.night == date(2026, 3, 31)
    assert slots["week:2026-W11"].backup_set.night == date(2026, 3, 10)
    nights(acme, 3)
    carrying_out.carry_out(vault)
    assert {slot.backup_set_id for slot in slots.values()} <= set(Slot.objects.values_list("backup_set", flat=True))
    assert Slot.objects.get(pk=slots["month:2026-03"].pk).backup_set_id == slots["month:2026-03"].backup_set_id


def test_a_damaged_set_is_replaced_by_the_next_best(vault: Vault, acme: Any, nights: Nights, clock: Clock) -> None:
    over_the_month(nights, acme, clock)
    carrying_out.carry_out(vault)
    slot = Slot.objects.get(stream=acme.pk, key="month:2026-03")
    first = slot.backup_set
    damage.note(first, "a body that no location has whole", clock())
    carrying_out.carry_out(vault)
    slot.refresh_from_db()
    assert slot.backup_set.night == date(2026, 3, 30) and slot.state == "filled"
    assert str(first.pk)[:8] in slot.note and "damaged beyond mending" in slot.note
    assert "chosen for month:2026-03" in BackupSet.objects.get(pk=slot.backup_set_id).kept_why
    carrying_out.carry_out(vault)
    again = Slot.objects.get(pk=slot.pk)
    assert (again.backup_set_id, again.note) == (slot.backup_set_id, slot.note)


def test_three_weeks_without_sets_are_stood_in_for(vault: Vault, acme: Any, nights: Nights, clock: Clock) -> None:
    nights(acme, 3)
    clock.forward(days=24)
    nights(acme, 3)
    carrying_out.carry_out(vault)
    stood_in = Slot.objects.filter(stream=acme.pk, state="stood in")
    assert {slot.key for slot in stood_in} == {"week:2026-W12", "week:2026-W13"}
    assert all(slot.nights_off and slot.backup_set for slot in stood_in)


def test_shared_blobs_live_until_the_last_set(vault: Vault, acme: Any, nights: Nights, folders: dict[str, Path], tmp_path: Path) -> None:
    from django.core.files.base import ContentFile

    from subscriptions.models import UploadedContent

    UploadedContent.objects.create(customer=acme, name="drawing", file=ContentFile(b"the same bytes" * 1000, name="drawing"))
    made = nights(acme, TWELVE)
    carrying_out.carry_out(vault)
    assert_folders_hold_what_rows_say(folders, acme)
    report = restore(vault, acme, tmp_path / "out", set_id=str(made[6].pk))
    assert report.good and report.files == 1


def test_a_hold_keeps_everything_and_hides_nothing(vault: Vault, acme: Any, nights: Nights, clock: Clock, django_user_model: Any) -> None:
    made = nights(acme, TWELVE)
    ada = django_user_model.objects.create_superuser("ada")
    holds.place(acme, holder="District court", basis="12 O 34/26", review_on=date(2026, 9, 1), by=ada, now=clock())
    done = carrying_out.carry_out(vault)
    assert set(states(made)) == {"made"} and done.held == ["acme"] and done.sets == 0
    assert RetentionLook.objects.get(pk=acme.pk).waits == "a legal hold is open"


def test_a_hold_placed_in_the_middle_stops_at_the_next_step(
    vault: Vault, acme: Any, nights: Nights, clock: Clock, django_user_model: Any, monkeypatch: pytest.MonkeyPatch, folders: dict[str, Path]
) -> None:
    made = nights(acme, TWELVE)
    ada = django_user_model.objects.create_superuser("ada")
    store = vault.places[0].store
    remove, removed = store.remove, []

    def first_then_hold(name: str) -> None:
        remove(name)
        if not removed:
            holds.place(acme, holder="District court", basis="12 O 34/26", review_on=date(2026, 9, 1), by=ada, now=clock())
        removed.append(name)

    monkeypatch.setattr(store, "remove", first_then_hold)
    done = carrying_out.carry_out(vault)
    assert any("legal hold" in one for one in done.left)
    assert states(made)[:6] == ["leaving"] * 6
    blobs = Blob.objects.filter(stream=acme.pk, kind__in=("blob", "body"))
    assert all(blob.name in names_at(folders["primary"], acme) for blob in blobs), "more than envelopes went"
    holds.LegalHold.objects.tracked_change(released_at=clock(), released_by="ada", release_approved_by="bo")
    monkeypatch.undo()
    done = carrying_out.carry_out(vault)
    assert not done.left and states(made)[:6] == ["removed"] * 6
    assert_folders_hold_what_rows_say(folders, acme)


def test_a_set_that_is_read_does_not_go(vault: Vault, acme: Any, nights: Nights, clock: Clock) -> None:
    made = nights(acme, TWELVE)
    with opened(vault, acme.pk, set_id=str(made[0].pk)) as (_, reader):
        carrying_out.carry_out(vault)
        assert states(made)[:2] == ["made", "removed"]
        assert sum(len(piece) for part in reader.parts for piece in reader.pieces(part))
    assert not ReadLease.objects.exists()
    carrying_out.carry_out(vault)
    assert states(made)[0] == "removed"


def test_a_read_lease_that_is_over_holds_nothing_up(vault: Vault, acme: Any, nights: Nights, clock: Clock) -> None:
    made = nights(acme, TWELVE)
    read_leases.Reading(str(made[0].pk), "a test", clock)
    clock.forward(hours=2)
    carrying_out.carry_out(vault)
    assert states(made)[0] == "removed"


def test_nothing_goes_when_the_newest_good_set_is_old(vault: Vault, acme: Any, nights: Nights, clock: Clock) -> None:
    made = nights(acme, 3)
    clock.forward(days=30)
    done = carrying_out.carry_out(vault)
    assert set(states(made)) == {"made"}
    assert "more than 48 hours old" in done.waits["acme"]


def test_a_location_that_is_away_is_asked_again(vault: Vault, acme: Any, nights: Nights, folders: dict[str, Path], tmp_path: Path) -> None:
    made = nights(acme, TWELVE)
    away = tmp_path / "away"
    folders["offsite"].rename(away)
    done = carrying_out.carry_out(vault)
    assert done.left and states(made)[:6] == ["leaving"] * 6
    assert "offsite" in BackupSet.objects.get(pk=made[0].pk).trouble
    away.rename(folders["offsite"])
    done = carrying_out.carry_out(vault)
    assert not done.left and states(made)[:6] == ["removed"] * 6
    assert_folders_hold_what_rows_say(folders, acme)


def test_a_store_that_does_not_delete_is_not_believed(vault: Vault, acme: Any, nights: Nights, monkeypatch: pytest.MonkeyPatch) -> None:
    made = nights(acme, TWELVE)
    monkeypatch.setattr(vault.places[1].store, "remove", lambda name: None)
    done = carrying_out.carry_out(vault)
    assert any("still listed at offsite" in one for one in done.left)
    assert states(made)[:6] == ["leaving"] * 6
    assert Copy.objects.filter(location__name="offsite", blob__made_by=made[0].pk).exists()


def test_what_is_removed_is_an_event(vault: Vault, acme: Any, nights: Nights) -> None:
    nights(acme, TWELVE)
    carrying_out.carry_out(vault)
    decided, done = (Event.objects.get(event=name) for name in ("prune:decided", "prune:done"))
    assert decided.customer == acme.pk and decided.facts["sets"] == 7
    assert done.facts["sets"] == 7 and done.facts["objects"] >= 12


def test_a_longer_policy_acts_at_once_and_a_shorter_one_when_it_begins(vault: Vault, acme: Any, nights: Nights, clock: Clock) -> None:
    made = nights(acme, TWELVE)
    policies._add(2, Policy(2, clock(), nightly_days=60), zone="UTC", made_by="test", reason="longer")
    carrying_out.carry_out(vault)
    assert set(states(made)) == {"made"}
    policies._add(3, Policy(3, clock() + timedelta(days=2), nightly_days=6, weekly_weeks=2), zone="UTC", made_by="test", reason="shorter")
    nights(acme, 1)
    carrying_out.carry_out(vault)
    assert set(states(made)) == {"made"}
    nights(acme, 1)
    carrying_out.carry_out(vault)
    # It is 24 March, 02:00: six days reach back to 18 March.
    assert states(made) == STATES
    assert {one.kept_policy for one in BackupSet.objects.filter(state="made")} == {3}


def test_an_agreed_term_ends_what_the_standard_would_keep(vault: Vault, acme: Any, nights: Nights, clock: Clock) -> None:
    subscription = acme.subscriptions.get()
    subscription.agreed_retention_years = 1
    subscription.save_terms()
    old = nights(acme, 3)
    clock.forward(days=363)
    nights(acme, 3)
    carrying_out.carry_out(vault)
    assert states(old) == ["removed", "removed", "removed"]
    assert "as agreed in acme-1" in BackupSet.objects.get(pk=old[2].pk).kept_why


def test_the_command_shows_first_and_removes_only_when_told(
    vault: Vault, acme: Any, nights: Nights, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from backups import vault as vaults

    made = nights(acme, TWELVE)
    monkeypatch.setattr(vaults, "from_settings", lambda: vault)
    monkeypatch.setattr(vaults, "clock", vault.clock)
    call_command("prune", json=True)
    shown = json.loads(capsys.readouterr().out)
    assert shown["going"] == 7 and not shown["applied"] and set(states(made)) == {"made"}
    call_command("prune", "acme")
    text = capsys.readouterr().out
    assert "night of 2026-03-09" in text and "nightly, kept 4 days" in text and "chosen for week:2026-W11" in text
    with pytest.raises(CommandError, match="only to look"):
        call_command("prune", at="2030-01-01", apply=True)
    call_command("prune", apply=True)
    assert "7 sets let go" in capsys.readouterr().out
    call_command("prune", "acme", at="2026-06-01", json=True)
    assert json.loads(capsys.readouterr().out)["streams"][0]["waits"]


def test_a_clock_in_doubt_removes_nothing_until_somebody_vouches(
    vault: Vault, acme: Any, nights: Nights, monkeypatch: pytest.MonkeyPatch, clock: Clock, django_user_model: Any
) -> None:
    made = nights(acme, TWELVE)
    monkeypatch.setattr(clock_doubt, "doubts_of", lambda vault, now: ["offsite's clock says another day"])
    with pytest.raises(clock_doubt.ClockInDoubt, match="offsite's clock"):
        carrying_out.carry_out(vault)
    assert set(states(made)) == {"made"}
    with pytest.raises(BackupError, match="may not vouch"):
        clock_doubt.clear(by=django_user_model.objects.create_user("bo"), why="it is right", now=clock())
    ada = django_user_model.objects.create_superuser("ada")
    clock_doubt.clear(by=ada, why="the share's server has no NTP", now=clock())
    assert carrying_out.carry_out(vault).sets == 7
    assert Event.objects.filter(event="clock:cleared").count() == 1
    clock.forward(hours=25)
    with pytest.raises(clock_doubt.ClockInDoubt):
        carrying_out.carry_out(vault)


def test_the_locations_clocks_are_asked(vault: Vault) -> None:
    assert set(clock_doubt._elsewhere(vault)) == {"primary", "offsite"}


def test_a_database_behind_a_location_removes_nothing(vault: Vault, acme: Any, nights: Nights) -> None:
    from backups.hot.timelines import Stopped
    from backups.models import HotState

    made = nights(acme, TWELVE)
    HotState.objects.update_or_create(pk=1, defaults={"stopped": "offsite holds segment 9"})
    with pytest.raises(Stopped):
        carrying_out.carry_out(vault)
    assert set(states(made)) == {"made"}


def test_one_customer_at_work_holds_up_no_other(vault: Vault, acme: Any, nights: Nights, clock: Clock) -> None:
    other = add_customer("acme2", "Acme 2", start=date(2026, 1, 1))
    old = [nights(one, 1, days=0)[0] for one in (acme, other)]
    clock.forward(days=3)
    nights(acme, 1, days=0)
    nights(other, 1, days=0)
    clock.forward(days=1)
    assert carrying_out.carry_out(vault).sets == 0
    clock.forward(hours=1)
    with leases.holding(leases.lease_name(acme.pk), doing="backup", clock=clock):
        done = carrying_out.carry_out(vault)
    assert "backup" in done.waits["acme"] and states(old) == ["made", "removed"]
    carrying_out.carry_out(vault)
    assert states(old) == ["removed", "removed"]
