"""A customer's live tables become what they were: by two people, as tracked changes, all or nothing (P5, P14)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.db import IntegrityError, models

from audit import freezes, rows
from audit.errors import Frozen
from audit.models import Event, Stream
from audit.registry import SYSTEM_STREAM
from audit.states import NotAllowed
from audit.two_person import ApprovalRefused, PlanChanged
from backups.choosing import Only
from backups.errors import NoSet, NotRestorable, TooMuchDiffers
from backups.live_restore import carrying_out, comparing, planning, requests
from backups.models import Chunk, LiveRestore, LiveRestoreRequest
from backups.vault import Vault
from subscriptions.models import Customer, DataRecord, Link, UploadedContent
from tests.audit.reading import history
from tests.backups.live_restore.conftest import approve, ask, same_as_history, state_of
from tests.backups.test_back_up import backed_up
from tests.factory.models import Downtime, Line, Site, Specimen, Sticker

pytestmark = pytest.mark.django_db(transaction=True)

Restored = Callable[..., LiveRestore]


def damage(customer: Any) -> None:
    """Rows added, changed and removed, near and far from the customer."""
    DataRecord.objects.filter(customer=customer, reference="3").tracked_delete()
    changed = DataRecord.objects.get(customer=customer, reference="4")
    changed.data = {"Name": "wrong"}
    changed.save()
    DataRecord.objects.create(customer=customer, kind="part", reference="new")
    Link.objects.filter(customer=customer).tracked_delete()
    upload = UploadedContent.objects.get(customer=customer, name="doc 3.bin")
    upload.file = ContentFile(b"overwritten", name="x")
    upload.save()
    Downtime.objects.filter(line__name="Kassel 1").tracked_delete()
    Line.objects.get(name="Kassel 1").delete()
    site = Site.objects.create(customer=customer, name="Ulm")
    Line.objects.create(site=site, name="Ulm 1")
    specimen = Specimen.objects.get(label="full")
    specimen.free, specimen.text, specimen.amount = None, None, None
    specimen.save()
    Specimen.objects.get(label="empty").delete()


def is_thawed(customer: Any) -> bool:
    return Stream.objects.get(pk=customer.pk).frozen_at is None


def test_all_models_come_back_exactly_and_history_says_why(kept: Any, restored: Restored) -> None:
    before = state_of(kept)
    damage(kept)
    done = restored(kept)
    assert (done.state, done.trouble) == ("done", "")
    assert state_of(kept) == before and same_as_history(kept)
    assert is_thawed(kept)
    newest = history(DataRecord, reference="4")[-1]
    assert (newest.history_type, newest.history_actor, newest.history_source) == ("~", "rita, asked by olga", f"live-restore:{done.pk}")
    assert newest.history_change_reason.endswith(f"(live restore {done.pk}): the import was wrong")
    assert (
        len({row.history_transaction for model in (DataRecord, Site) for row in history(model, history_source=newest.history_source)}) == 1
    )
    assert done.counts["l2l_subscriptions.datarecord"] == [1, 1, 1] and done.counts["factory.specimen"] == [1, 1, 0]
    assert "factory.downtime" in done.counts


def test_a_second_restore_to_the_state_before_brings_everything_back(kept: Any, vault: Vault, restored: Restored, clock: Any) -> None:
    damage(kept)
    damaged = state_of(kept)
    clock.forward(days=1)
    second = backed_up(vault, kept).backup_set
    first = second.stream.sets.exclude(pk=second.pk).get()
    assert restored(kept, set_id=str(first.pk)).state == "done"
    assert state_of(kept) != damaged
    assert restored(kept, set_id=str(second.pk)).state == "done"
    assert state_of(kept) == damaged and same_as_history(kept)


def test_the_evidence_names_counts_and_no_content(kept: Any, restored: Restored) -> None:
    damage(kept)
    done = restored(kept)
    told = list(Event.objects.filter(customer=kept.pk, event__startswith="restore:").order_by("number"))
    assert [one.event for one in told] == ["restore:begun", "restore:done"]
    assert told[1].actor == "rita, asked by olga"
    assert told[1].facts["request"] == done.pk and told[1].facts["removed"] == 3
    asked = LiveRestoreRequest.objects.get()
    assert (asked.state, asked.set_id) == ("executed", kept_set(kept))
    kinds = [one.event for one in Event.objects.filter(subject=f"l2l_backups.liverestorerequest:{asked.pk}").order_by("number")]
    assert kinds == ["request:made", "request:approved", "restore:begun", "request:executed", "restore:done"]
    columns = " ".join(str(getattr(asked, field.attname)) for field in asked._meta.concrete_fields)
    assert "wrong" in columns and "Name" not in columns and "doc 3" not in columns  # the reason alone


def kept_set(customer: Any) -> Any:
    return Stream.objects.get(pk=customer.pk).sets.order_by("started_at").first().pk


def test_another_customers_rows_are_not_touched(kept: Any, acme2: Any, restored: Restored) -> None:
    DataRecord.objects.create(customer=acme2, kind="part", reference="4")
    neighbour = state_of(acme2)
    damage(kept)
    assert restored(kept).state == "done"
    assert state_of(acme2) == neighbour


def test_one_model_alone(kept: Any, restored: Restored) -> None:
    before = state_of(kept)
    damage(kept)
    damaged = state_of(kept)
    assert restored(kept, only=Only("datarecord")).counts == {"l2l_subscriptions.datarecord": [1, 1, 1]}
    assert state_of(kept) == damaged | {"l2l_subscriptions.datarecord": before["l2l_subscriptions.datarecord"]}


def test_one_item_alone_and_the_request_holds_its_key_not_its_name(kept: Any, restored: Restored) -> None:
    damage(kept)
    key = history(DataRecord, reference="4")[0].id
    done = restored(kept, only=Only("datarecord", "4"))
    assert done.counts == {"l2l_subscriptions.datarecord": [0, 1, 0]}
    assert (done.request.only_model, done.request.only_keys) == ("l2l_subscriptions.datarecord", [key])
    assert DataRecord.objects.get(pk=key).data["Name"] == "Part 4"
    assert not DataRecord.objects.filter(reference="3").exists()


def test_a_deleted_item_that_was_made_again_comes_back_instead_of_the_new_one(kept: Any, restored: Restored) -> None:
    key = DataRecord.objects.get(reference="3").pk
    DataRecord.objects.filter(reference="3").tracked_delete()
    DataRecord.objects.create(customer=kept, kind="part", reference="3", data={"Name": "made again"})
    assert restored(kept, only=Only("datarecord", "3")).counts == {"l2l_subscriptions.datarecord": [1, 0, 1]}
    assert DataRecord.objects.get(reference="3").pk == key


def test_an_item_that_the_set_does_not_know_is_said(kept: Any, vault: Vault, people: Any) -> None:
    for only, said in ((Only("datarecord", "nonsense"), "not even in its history"), (Only("nonsense"), "no model")):
        with pytest.raises(NoSet, match=said):
            ask(vault, kept, people, only=only)


def test_unique_values_are_swapped_shifted_and_taken_over(kept: Any, restored: Restored) -> None:
    before = state_of(kept)
    first, second, *chain = [DataRecord.objects.get(reference=str(number)) for number in range(10, 16)]
    for row, reference in ((first, "parked"), (second, first.reference), (first, second.reference)):
        row.reference = reference  # a swap, by way of a third name
        row.save()
    last = chain[-1].reference
    chain[-1].delete()
    for row, reference in reversed(list(zip(chain[:-1], [*(one.reference for one in chain[1:-1]), last], strict=True))):
        row.reference = reference  # each takes the name of the next one
        row.save()
    done = restored(kept)
    assert (done.state, done.trouble) == ("done", "")
    assert state_of(kept) == before and same_as_history(kept)


def test_parents_and_children_that_changed_together(kept: Any, restored: Restored) -> None:
    before = state_of(kept)
    site = Site.objects.get(name="Kassel")
    Line.objects.filter(site=site).tracked_change(running=False)
    site.name = "Cassel"
    site.save()
    assert restored(kept).state == "done"
    assert state_of(kept) == before


def test_lost_files_are_put_back_and_others_left_alone(kept: Any, restored: Restored, uploads: Path) -> None:
    upload, photo = UploadedContent.objects.get(name="doc 3.bin"), Downtime.objects.get(line__name="Bremen 0").photo
    lost = [uploads / upload.file.name, uploads / photo.name]
    contents = [path.read_bytes() for path in lost]
    for path in lost:
        path.unlink()
    others = {path: path.stat().st_mtime_ns for path in uploads.rglob("*") if path.is_file()}
    done = restored(kept)
    assert (done.state, done.files, done.counts) == ("done", 2, {})
    assert [path.read_bytes() for path in lost] == contents
    assert {path: path.stat().st_mtime_ns for path in others} == others


def test_a_file_that_is_nowhere_stands_in_the_way(kept: Any, vault: Vault, people: Any, uploads: Path, clock: Any) -> None:
    upload = UploadedContent.objects.get(name="doc 3.bin")
    (uploads / upload.file.name).unlink()
    upload.name = "renamed.bin"
    upload.save()
    DataRecord.objects.filter(reference="3").tracked_delete()
    clock.forward(days=1)
    newest = kept_without_file(vault, kept)
    with pytest.raises(NotRestorable, match="are neither in the upload storage nor in the backup"):
        ask(vault, kept, people, set_id=newest)


def kept_without_file(vault: Vault, customer: Any) -> str:
    """A set made after its bytes were gone from the upload storage and from the chunks that are known."""
    Chunk.objects.filter(stream=customer.pk).delete()
    outcome = backed_up(vault, customer)
    assert outcome.backup_set.absent_files == 1
    DataRecord.objects.filter(customer=customer, reference="5").tracked_delete()
    return str(outcome.backup_set.pk)


# -- what stands in the way


def test_nothing_to_restore_is_said(kept: Any, vault: Vault, people: Any) -> None:
    with pytest.raises(NotRestorable, match="exactly that state already"):
        ask(vault, kept, people)


def test_too_much_is_sent_to_a_folder(kept: Any, vault: Vault, people: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparing.Allowance.__init__, "__defaults__", (5, comparing.MAX_BYTES))
    DataRecord.objects.filter(customer=kept).tracked_change(kind="other")
    with pytest.raises(TooMuchDiffers, match="Restore it to a folder"):
        ask(vault, kept, people)


def test_rows_that_would_be_left_pointing_at_nothing_stand_in_the_way(kept: Any, vault: Vault, people: Any) -> None:
    site = Site.objects.create(customer=kept, name="Ulm")
    line = Line.objects.create(site=site, name="Ulm 1")
    with pytest.raises(NotRestorable, match=rf"factory.line \(keys {line.pk}\) point at rows of factory.site that would be removed"):
        ask(vault, kept, people, only=Only("site"))
    assert ask(vault, kept, people).counts == {"factory.site": [0, 0, 1], "factory.line": [0, 0, 1]}


def test_rows_that_are_not_protected_and_would_be_left_stand_in_the_way_and_are_not_taken_along(
    kept: Any, vault: Vault, people: Any, restored: Restored
) -> None:
    line = Line.objects.create(site=Site.objects.get(name="Kassel"), name="new")
    sticker = Sticker.objects.create(line=line, text="careful")
    with pytest.raises(NotRestorable, match=rf"1 rows of factory.sticker \(keys {sticker.pk}\) point at rows of factory.line"):
        ask(vault, kept, people)
    sticker.delete()
    assert restored(kept).counts == {"factory.line": [0, 0, 1]}


def test_rows_that_are_not_protected_go_on_pointing_at_rows_that_change(kept: Any, restored: Restored) -> None:
    first, second = Line.objects.order_by("pk")[:2]
    sticker = Sticker.objects.create(line=first, text="careful")
    first.name, second.name = second.name, first.name
    for row in (first, second):
        row.save()
    assert restored(kept).state == "done"
    assert Sticker.objects.get().line_id == sticker.line_id


def test_what_the_database_says_of_values_is_not_kept(kept: Any, vault: Vault, people: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    damage(kept)
    asked = ask(vault, kept, people)
    approve(vault, asked, people)

    def refuse(*_: Any) -> None:
        raise IntegrityError("Key (reference)=(secret) already exists")

    monkeypatch.setattr(carrying_out.applying, "apply", refuse)
    done = carrying_out.carry_out(vault, asked.pk)
    assert (done.state, done.trouble) == ("failed", "The database refused it (IntegrityError); the log says what.")
    assert is_thawed(kept)


def test_rows_whose_parents_are_gone_stand_in_the_way(kept: Any, vault: Vault, people: Any) -> None:
    Downtime.objects.filter(line__name="Kassel 1").tracked_delete()
    Line.objects.get(name="Kassel 1").delete()
    with pytest.raises(NotRestorable, match=r"1 rows of factory.downtime .* would point at rows of factory.line that are not there"):
        ask(vault, kept, people, only=Only("downtime"))


def test_a_name_that_another_row_took_stands_in_the_way_of_one_item(kept: Any, vault: Vault, people: Any) -> None:
    first, second = DataRecord.objects.get(reference="1"), DataRecord.objects.get(reference="2")
    first.reference = "moved"
    first.save()
    second.reference = "1"
    second.save()
    with pytest.raises(NotRestorable, match="would have values of customer,kind,reference that other rows have now"):
        ask(vault, kept, people, only=Only("datarecord", "moved"))


def test_a_key_that_another_customer_has_by_now_stands_in_the_way(kept: Any, acme2: Any, vault: Vault, people: Any) -> None:
    row = Link.objects.get(customer=kept)
    key = row.pk
    row.delete()
    Link.objects.tracked_create([Link(pk=key, customer=acme2, reference="x", url="https://example.org")])
    with pytest.raises(NotRestorable, match=rf"their keys \({key}\) belong to other rows by now"):
        ask(vault, kept, people)


def test_a_model_that_had_other_columns_then_stands_in_the_way(
    kept: Any, vault: Vault, people: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = rows.Column("colour", "colour", "text")
    columns = rows.columns
    monkeypatch.setattr(planning.rows, "columns", lambda model: (*columns(model), newer) if model is Link else columns(model))
    with pytest.raises(NotRestorable, match=r"link had other columns then: it lacked colour \(text\)"):
        ask(vault, kept, people)


# -- who may


@pytest.mark.parametrize("name", ["rita", "otto", "ada"])
def test_only_operators_ask(kept: Any, vault: Vault, people: Any, name: str) -> None:
    damage(kept)
    with pytest.raises(ApprovalRefused) as refusal:
        ask(vault, kept, people, by=name)
    assert refusal.value.why == "not-entitled"


def test_who_asked_does_not_approve_nor_who_may_not(kept: Any, vault: Vault, people: Any) -> None:
    damage(kept)
    damaged, asked = state_of(kept), ask(vault, kept, people)
    for name, why in (("olga", "same-person"), ("otto", "not-entitled"), ("ada", "not-entitled")):
        with pytest.raises(ApprovalRefused) as refusal:
            approve(vault, asked, people, by=name)
        assert refusal.value.why == why
    with pytest.raises(ApprovalRefused) as refusal:
        approve(vault, asked, people, password="wrong")
    assert refusal.value.why == "password"
    assert not LiveRestore.objects.exists() and state_of(kept) == damaged
    assert approve(vault, asked, people, by="oskar").state == "waiting"


def test_nothing_is_done_without_approval_nor_twice(kept: Any, vault: Vault, people: Any) -> None:
    damage(kept)
    asked = ask(vault, kept, people)
    with pytest.raises(LiveRestore.DoesNotExist):
        carrying_out.carry_out(vault, asked.pk)
    approve(vault, asked, people)
    assert carrying_out.carry_out(vault, asked.pk).state == "done"
    assert carrying_out.carry_out(vault, asked.pk) is None


def test_refused_and_cancelled_requests_do_nothing(kept: Any, vault: Vault, people: Any) -> None:
    damage(kept)
    damaged, now = state_of(kept), datetime.now(UTC)
    refused = requests.refuse(ask(vault, kept, people), by=people["rita"], why="not today", now=now)
    with pytest.raises(NotAllowed):
        approve(vault, refused, people)
    asked = ask(vault, kept, people)
    approve(vault, asked, people)
    requests.cancel(asked, by=people["olga"], why="not needed", now=now)
    done = carrying_out.carry_out(vault, asked.pk)
    assert (done.state, done.trouble) == ("failed", "The request is cancelled: nothing was restored.")
    assert state_of(kept) == damaged and is_thawed(kept)


def test_cancelled_while_it_is_at_work_nothing_is_written(kept: Any, vault: Vault, people: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    damage(kept)
    damaged, asked = state_of(kept), ask(vault, kept, people)
    approve(vault, asked, people)

    def cancel_first(*_: Any) -> int:
        requests.cancel(asked, by=people["olga"], why="stop", now=datetime.now(UTC))
        return 0

    monkeypatch.setattr(carrying_out.files, "put_all_back", cancel_first)
    done = carrying_out.carry_out(vault, asked.pk)
    assert (done.state, done.trouble) == ("failed", "The request is cancelled: nothing was restored.")
    assert state_of(kept) == damaged and is_thawed(kept)


# -- what moves meanwhile


def test_a_change_between_asking_and_approving_voids_the_request(kept: Any, vault: Vault, people: Any) -> None:
    damage(kept)
    asked = ask(vault, kept, people)
    DataRecord.objects.filter(reference="10").tracked_delete()
    with pytest.raises(PlanChanged):
        approve(vault, asked, people)
    assert LiveRestoreRequest.objects.get().state == "void" and not LiveRestore.objects.exists()


def test_a_change_between_approving_and_carrying_out_voids_it_and_thaws(kept: Any, vault: Vault, people: Any) -> None:
    damage(kept)
    asked = ask(vault, kept, people)
    approve(vault, asked, people)
    DataRecord.objects.filter(reference="10").tracked_delete()
    damaged = state_of(kept)
    done = carrying_out.carry_out(vault, asked.pk)
    assert done.state == "moved" and "no longer what was asked for" in done.trouble
    assert LiveRestoreRequest.objects.get().state == "void"
    assert state_of(kept) == damaged and is_thawed(kept)
    assert Event.objects.order_by("-number").first().event == "restore:ended"


def test_a_change_undone_again_moves_nothing(kept: Any, vault: Vault, people: Any) -> None:
    damage(kept)
    asked = ask(vault, kept, people)
    record = DataRecord.objects.get(reference="10")
    for kind in ("other", record.kind):
        record.kind = kind
        record.save()
    approve(vault, asked, people)
    assert carrying_out.carry_out(vault, asked.pk).state == "done"


def test_who_writes_meanwhile_is_told_why(kept: Any, vault: Vault, people: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    damage(kept)
    asked = ask(vault, kept, people)
    approve(vault, asked, people)
    told: list[str] = []

    def try_to_write(*_: Any) -> int:
        with pytest.raises(Frozen, match=rf"is being restored \(live restore {asked.pk}\)") as refusal:
            DataRecord.objects.create(customer=kept, kind="part", reference="meanwhile")
        told.append(str(refusal.value))
        return 0

    monkeypatch.setattr(carrying_out.files, "put_all_back", try_to_write)
    assert carrying_out.carry_out(vault, asked.pk).state == "done"
    assert len(told) == 1


def test_a_freeze_for_something_else_is_waited_for_and_never_ended(kept: Any, vault: Vault, people: Any) -> None:
    damage(kept)
    asked = ask(vault, kept, people)
    approve(vault, asked, people)
    freezes.freeze(kept.pk, reason="the data is being returned")
    done = carrying_out.carry_out(vault, asked.pk)
    assert (done.state, "is frozen already" in done.trouble) == ("waiting", True)
    assert Stream.objects.get(pk=kept.pk).frozen_reason == "the data is being returned"
    freezes.thaw(kept.pk)
    assert carrying_out.carry_out(vault, asked.pk).state == "done"


def test_a_freeze_that_took_the_place_of_ours_keeps_us_from_writing(
    kept: Any, vault: Vault, people: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    damage(kept)
    damaged, asked = state_of(kept), ask(vault, kept, people)
    approve(vault, asked, people)
    monkeypatch.setattr(carrying_out.files, "put_all_back", lambda *_: freezes.freeze(kept.pk, reason="destruction") and 0)
    assert carrying_out.carry_out(vault, asked.pk).state == "waiting"
    assert state_of(kept) == damaged
    assert Stream.objects.get(pk=kept.pk).frozen_reason == "destruction"


# -- what fails


def test_what_the_database_gives_back_otherwise_is_not_kept(kept: Any, vault: Vault, people: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    damage(kept)
    damaged, asked = state_of(kept), ask(vault, kept, people)
    approve(vault, asked, people)

    def without_one(model: type[models.Model], instances: list[Any]) -> None:
        original(model, instances[1:])

    original = carrying_out.applying.exact.create
    monkeypatch.setattr(carrying_out.applying.exact, "create", without_one)
    done = carrying_out.carry_out(vault, asked.pk)
    assert done.state == "failed" and "back otherwise than they were written" in done.trouble
    assert state_of(kept) == damaged and is_thawed(kept) and same_as_history(kept)
    assert LiveRestoreRequest.objects.get().state == "approved"
    monkeypatch.undo()
    assert requests.waiting(asked).state == "waiting"
    assert carrying_out.carry_out(vault, asked.pk).state == "done"


def test_a_location_that_is_gone_fails_it_and_thaws(kept: Any, vault: Vault, people: Any, folders: dict[str, Path], tmp_path: Path) -> None:
    damage(kept)
    asked = ask(vault, kept, people)
    approve(vault, asked, people)
    for name, folder in folders.items():
        folder.rename(tmp_path / f"gone {name}")
    done = carrying_out.carry_out(vault, asked.pk)
    assert done.state == "failed" and "No location can be used" in done.trouble
    assert is_thawed(kept)


def test_the_system_stream_cannot_be_restored_into(vault: Vault, people: Any) -> None:
    with pytest.raises(ApprovalRefused):
        ask(vault, Customer(pk=SYSTEM_STREAM, code="system"), people)
