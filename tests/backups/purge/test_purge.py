"""Content past its term goes with history and files, by two people, and the chain holds over it (P9)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User

from audit.models import Event, JournalRow
from audit.two_person import ApprovalRefused, PlanChanged
from backups import idset, item_exports
from backups.errors import NotPurgeable
from backups.hot import shipper
from backups.models import BackupSet, DoomedFile, ItemExport, Purge, PurgeRequest, PurgeTry
from backups.purge import carrying_out, requests
from backups.vault import Vault
from subscriptions import holds
from subscriptions.holds import OnHold
from subscriptions.models import DataRecord, UploadedContent
from tests.backups.live_restore.conftest import state_of
from tests.backups.purge.conftest import MARK, OLD, OLD_ITEMS, approve, ask, files_with, fill_old, tables_with
from tests.backups.test_back_up import backed_up
from tests.factory.models import Downtime, Line, Site, Sticker
from tests.past import at

pytestmark = pytest.mark.django_db(transaction=True)
People = dict[str, User]


def content_of(upload: UploadedContent) -> bytes:
    with upload.file.open() as file:
        return bytes(file.read())


def test_nothing_is_left_in_live_tables_history_journal_and_storage(aged: Any, purged: Callable[..., Any], uploads: Path) -> None:
    assert len(tables_with(MARK)) >= 10 and len(files_with(uploads, MARK)) == 3
    assert purged(aged).items == {"acme": OLD_ITEMS}
    assert tables_with(MARK) == [] and files_with(uploads, MARK) == []
    assert DoomedFile.objects.count() == 0
    assert sorted(DataRecord.objects.values_list("reference", flat=True)) == [f"new-{n}" for n in range(4)]
    assert content_of(UploadedContent.objects.get()) == b"new" and Site.objects.get().name == "new site"


def test_the_journal_keeps_numbers_leaves_and_digests_and_loses_the_salts(aged: Any, purged: Callable[..., Any]) -> None:
    before = list(JournalRow.objects.filter(stream=aged.pk).order_by("number").values_list("number", "leaf", "digest"))
    purged(aged)
    assert list(JournalRow.objects.filter(stream=aged.pk).order_by("number").values_list("number", "leaf", "digest")) == before
    listed = {number for one in Purge.objects.all() for number in idset.unpacked(bytes(one.numbers))}
    assert set(JournalRow.objects.filter(stream=aged.pk, salt=None).values_list("number", flat=True)) == listed != set()


def test_it_is_on_record_with_both_people_and_counts_alone(aged: Any, purged: Callable[..., Any], people: People) -> None:
    purged(aged)
    asked = PurgeRequest.objects.get()
    assert (asked.state, asked.requested_by, asked.approved_by) == ("executed", people["ada"], people["rita"])
    assert sum(asked.counts.values()) == OLD_ITEMS and asked.counts["l2l_subscriptions.datarecord"] == 4
    purges = list(Purge.objects.filter(request=asked))
    assert sum(items for one in purges for items, _, _ in one.counts.values()) == OLD_ITEMS
    assert sum(files for one in purges for _, _, files in one.counts.values()) == 3
    assert all(one.finished_at for one in purges)
    event = Event.objects.filter(event="content:purged").first()
    assert event is not None and event.customer == aged.pk and event.actor == "rita, asked by ada"
    versions = sum(one.facts["history"] for one in Event.objects.filter(event="content:purged"))
    assert versions == JournalRow.objects.filter(stream=aged.pk, salt=None).count()


def test_a_neighbour_with_equally_old_content_keeps_it(
    aged: Any, acme2: Any, purged: Callable[..., Any], vault: Vault, settings: Any, uploads: Path
) -> None:
    with at(settings, OLD):
        fill_old(acme2)
    shipper.ship_once(vault)
    before = state_of(acme2)
    purged(aged)
    assert state_of(acme2) == before and len(files_with(uploads, MARK)) == 3
    assert not JournalRow.objects.filter(stream=acme2.pk, salt=None).exists()


def test_the_next_set_is_proved(aged: Any, purged: Callable[..., Any], vault: Vault, clock: Any) -> None:
    purged(aged)
    clock.forward(days=1)
    made = backed_up(vault, aged).backup_set
    assert (made.proof, made.proof_text, made.absent_files) == ("proved", "", 0)


def test_a_broken_proof_keeps_the_key_and_forgets_the_name(aged: Any, purged: Callable[..., Any]) -> None:
    key = DataRecord.objects.get(reference=f"{MARK}-1").pk
    label, told = "l2l_subscriptions.datarecord", "altered behind our back"
    text = f"{label} {key} ({MARK}-1): {told}\n{label} {key}99 (another (one): {told}\nchange 7: does not fit"
    BackupSet.objects.filter(stream=aged.pk).update(proof="broken", proof_text=text)
    purged(aged)
    assert BackupSet.objects.get(stream=aged.pk).proof_text.splitlines() == [
        f"{label} {key}: {told}",
        f"{label} {key}99 (another (one): {told}",
        "change 7: does not fit",
    ]


def test_what_was_taken_of_it_from_the_backups_goes_too(
    aged: Any, purged: Callable[..., Any], clock: Any, settings: Any, tmp_path: Path
) -> None:
    settings.L2L_EXPORTS = tmp_path / "exports"
    item = DataRecord.objects.get(reference=f"{MARK}-1")
    about = {"stream_id": aged.pk, "by": "ada", "reason": "x", "asked_at": clock.now, "expires_at": clock.now + timedelta(days=7)}
    label = "l2l_subscriptions.datarecord"
    taken = ItemExport.objects.create(model=label, key=str(item.pk), state=ItemExport.State.READY, **about)
    other = ItemExport.objects.create(model=label, key="4711", state=ItemExport.State.READY, **about)
    item_exports.folder_of(taken).mkdir(parents=True)
    (item_exports.folder_of(taken) / item_exports.ZIP).write_text(MARK)
    purged(aged)
    item_exports.expire(clock.now)
    taken.refresh_from_db()
    other.refresh_from_db()
    assert (taken.state, other.state) == (ItemExport.State.REMOVED, ItemExport.State.READY)
    assert not item_exports.folder_of(taken).exists()


# Who decides


def test_who_asked_does_not_approve_and_nobody_else_asks(aged: Any, people: People, vault: Vault) -> None:
    for name in ("alan", "rita", "otto"):
        with pytest.raises(ApprovalRefused):
            ask(aged, people, vault, by=name)
    asked = ask(aged, people, vault)
    for name in ("ada", "alan", "otto"):
        with pytest.raises(ApprovalRefused):
            approve(asked, people, vault, by=name)
    assert carrying_out.look(vault).items == {} and tables_with(MARK)


def test_nothing_goes_before_it_is_approved_or_after_it_was_called_off(aged: Any, people: People, vault: Vault) -> None:
    asked = ask(aged, people, vault)
    with pytest.raises(NotPurgeable, match="is requested"):
        carrying_out.carry_out(vault, asked.pk)
    with pytest.raises(NotPurgeable, match="must be over"):
        ask(aged, people, vault)
    approve(asked, people, vault)
    requests.cancel(asked, by=people["ada"], why="the customer called", now=vault.clock())
    assert carrying_out.look(vault).items == {} and DataRecord.objects.filter(reference__startswith=MARK).count() == 3


def test_a_day_in_the_future_is_for_agreed_terms_alone(aged: Any, people: People, vault: Vault) -> None:
    with pytest.raises(NotPurgeable, match="Only agreed terms go ahead"):
        ask(aged, people, vault, days=1)
    with pytest.raises(NotPurgeable, match="Nothing of this customer"):
        ask(aged, people, vault, term="agreed")
    with pytest.raises(NotPurgeable, match="too far ahead"):
        ask(aged, people, vault, term="agreed", days=366)


def test_an_item_changed_after_the_approval_voids_it_and_nothing_goes(aged: Any, people: People, vault: Vault) -> None:
    approve(ask(aged, people, vault), people, vault)
    row = DataRecord.objects.get(reference=f"{MARK}-0")
    row.data = {"Note": "looked at again"}
    row.save()
    report = carrying_out.look(vault)
    assert "request is void" in report.troubles[PurgeRequest.objects.get().pk]
    assert PurgeRequest.objects.get().state == "void" and not Purge.objects.exists()
    assert DataRecord.objects.filter(reference__startswith=MARK).count() == 3
    shipper.ship_once(vault)
    assert sum(ask(aged, people, vault).counts.values()) == OLD_ITEMS - 1


def test_an_item_changed_before_the_approval_voids_the_request(aged: Any, people: People, vault: Vault) -> None:
    asked = ask(aged, people, vault)
    DataRecord.objects.get(reference=f"{MARK}-0").delete()
    with pytest.raises(PlanChanged):
        approve(asked, people, vault)


# What stops it


def hold(customer: Any, by: User, vault: Vault) -> None:
    holds.place(customer, holder="a court", basis="1 O 1/26", review_on=datetime(2027, 1, 1, tzinfo=UTC).date(), by=by, now=vault.clock())


def test_a_hold_between_approval_and_deed_stops_it(aged: Any, people: People, vault: Vault, uploads: Path) -> None:
    approve(ask(aged, people, vault), people, vault)
    before = state_of(aged)
    hold(aged, people["ada"], vault)
    report = carrying_out.look(vault)
    assert "A legal hold of a court is open" in next(iter(report.troubles.values())) and PurgeTry.objects.get().passing
    assert state_of(aged) == before and len(files_with(uploads, MARK)) == 3 and not Purge.objects.exists()
    assert PurgeRequest.objects.get().state == "approved"  # it goes on when two people have released the hold


def test_a_hold_in_the_middle_stops_what_has_not_gone(aged: Any, people: People, vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carrying_out, "ITEMS_AT_ONCE", 1)
    asked = approve(ask(aged, people, vault), people, vault)

    def placed(line: str) -> None:
        if not holds.held([aged.pk]):
            hold(aged, people["ada"], vault)

    with pytest.raises(OnHold):
        carrying_out.carry_out(vault, asked.pk, progress=placed)
    assert Purge.objects.count() == 1 and DataRecord.objects.filter(reference__startswith=MARK).count() == 3


def test_what_is_held_is_not_asked_for(aged: Any, people: People, vault: Vault) -> None:
    hold(aged, people["ada"], vault)
    with pytest.raises(OnHold):
        ask(aged, people, vault)


def test_changes_that_are_not_shipped_yet_are_waited_for(aged: Any, people: People, vault: Vault, settings: Any) -> None:
    with at(settings, OLD):
        DataRecord.objects.create(customer=aged, kind="part", reference=f"{MARK}-late")
    approve(ask(aged, people, vault), people, vault)
    report = carrying_out.look(vault)
    assert "not at every location yet" in next(iter(report.troubles.values())) and PurgeTry.objects.get().passing
    assert DataRecord.objects.filter(reference__startswith=MARK).count() == 4
    shipper.ship_once(vault)
    assert carrying_out.look(vault).troubles == {} and tables_with(MARK) == []


def test_what_a_kept_row_points_at_stays_with_all_above_it(aged: Any, people: People, vault: Vault) -> None:
    line = Line.objects.get()
    Sticker.objects.create(line=line, text="not protected")
    asked = ask(aged, people, vault)
    assert sum(asked.counts.values()) == OLD_ITEMS - 2
    approve(asked, people, vault)
    assert carrying_out.look(vault).troubles == {}
    assert not Downtime.objects.exists() and Line.objects.get() == line and Site.objects.count() == 2
    with pytest.raises(NotPurgeable, match="rows that do not go point at them"):
        ask(aged, people, vault)
    Sticker.objects.all().delete()
    approve(ask(aged, people, vault), people, vault)
    assert carrying_out.look(vault).troubles == {} and not Line.objects.exists() and tables_with(MARK) == []


def test_a_file_that_a_kept_row_names_too_stays(aged: Any, purged: Callable[..., Any], vault: Vault, uploads: Path) -> None:
    old = UploadedContent.objects.get(name=f"{MARK}.txt")
    UploadedContent.objects.create(customer=aged, name="the same.txt", file=old.file.name)
    shipper.ship_once(vault)
    purged(aged)
    assert content_of(UploadedContent.objects.get(name="the same.txt")) == f"{MARK} 2".encode()
    assert len(files_with(uploads, MARK)) == 1


# In parts


def test_many_parts_are_one_approval(aged: Any, purged: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carrying_out, "ITEMS_AT_ONCE", 2)
    purged(aged)
    assert [one.part for one in Purge.objects.order_by("part")] == list(range(1, 8)) and tables_with(MARK) == []
    assert PurgeRequest.objects.get().state == "executed"


@pytest.mark.parametrize("where", ["_finish_parts", "check_gone"])
def test_what_stopped_in_the_middle_goes_on(
    where: str, aged: Any, people: People, vault: Vault, uploads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carrying_out, "ITEMS_AT_ONCE", 1)
    approve(ask(aged, people, vault), people, vault)
    calls = []

    def stops(*arguments: Any) -> None:
        calls.append(arguments)
        raise OSError("the process died")

    with monkeypatch.context() as patched:
        if where == "_finish_parts":
            whole = carrying_out._finish_parts
            patched.setattr(
                carrying_out, where, lambda lease, parts, vault: whole(lease, parts, vault) if not list(parts) else stops(parts)
            )
        else:
            patched.setattr(carrying_out, where, stops)
        assert len(carrying_out.look(vault).troubles) == 1
    assert Purge.objects.count() == 1 and calls
    assert carrying_out.look(vault).troubles == {}
    assert tables_with(MARK) == [] and files_with(uploads, MARK) == [] and not Purge.objects.filter(finished_at=None).exists()
    assert PurgeRequest.objects.get().state == "executed"


def test_the_last_part_is_finished_although_the_request_is_executed(
    aged: Any, people: People, vault: Vault, uploads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    approve(ask(aged, people, vault), people, vault)
    with monkeypatch.context() as patched:
        patched.setattr(carrying_out, "_remove_file", lambda *_: None)
        patched.setattr(carrying_out, "check_gone", lambda *_: None)
        carrying_out.look(vault)
    for one in Purge.objects.all():  # as a process leaves it that dies after its last commit
        one.finished_at = None
        one.save()
    assert PurgeRequest.objects.get().state == "executed" and len(files_with(uploads, MARK)) == 3
    assert carrying_out.look(vault).troubles == {}
    assert files_with(uploads, MARK) == [] and not DoomedFile.objects.exists()


# Agreed terms


def test_an_agreed_term_goes_on_its_days_approved_ahead(aged: Any, people: People, vault: Vault, clock: Any, settings: Any) -> None:
    subscription = aged.subscriptions.get()
    subscription.agreed_retention_years = 20
    subscription.save_terms()
    for day in ("2006-03-10", "2006-03-20"):
        with at(settings, f"{day}T12:00:00+00:00"):
            DataRecord.objects.create(customer=aged, kind="part", reference=f"{MARK} {day}")
    shipper.ship_once(vault)
    approve(ask(aged, people, vault, term="agreed", days=30), people, vault)
    assert carrying_out.look(vault).items == {"acme": OLD_ITEMS}  # what is past its day
    assert set(DataRecord.objects.filter(reference__startswith=MARK).values_list("reference", flat=True)) == {
        f"{MARK} 2006-03-10",
        f"{MARK} 2006-03-20",
    }
    clock.forward(days=1)
    assert carrying_out.look(vault).items == {"acme": 1} and PurgeRequest.objects.get().state == "approved"
    clock.forward(days=9)
    assert carrying_out.look(vault).items == {"acme": 0}
    clock.forward(days=1)
    assert carrying_out.look(vault).items == {"acme": 1}
    assert PurgeRequest.objects.get().state == "executed" and tables_with(MARK) == []
