"""Each change leaves a history row and a journal row, with who, why, from where and in which transaction."""

from __future__ import annotations

import copy
import pickle
from datetime import date
from decimal import Decimal

import pytest
from asgiref.sync import async_to_sync
from django.db import DatabaseError, IntegrityError, transaction
from django.db.models import ProtectedError

import audit
from audit.errors import BypassRefused, MovedCustomer, NoActor, UnknownStream, Unstorable
from audit.models import JournalRow
from subscriptions.models import Customer, DataRecord, Link
from tests.audit.reading import history, journal_agrees, types
from tests.factory.models import Downtime, Line, Site, Specimen


def test_a_new_row_says_who_why_from_where_and_in_which_transaction(acme):
    with audit.acting("grace", reason="as ordered", source="import"):
        record = DataRecord.objects.create(customer=acme, kind="product", reference="1", data={"b": 1, "a": "ü"})
    (row,) = history(DataRecord)
    assert (row.history_type, row.history_actor, row.history_change_reason, row.history_source) == ("+", "grace", "as ordered", "import")
    assert (row.id, row.customer_id, row.kind, row.reference, row.data) == (record.pk, acme.pk, "product", "1", {"a": "ü", "b": 1})
    journal = JournalRow.objects.get(model="l2l_subscriptions.datarecord")
    assert (journal.history_id, journal.stream_id, journal.transaction) == (row.history_id, acme.pk, row.history_transaction)
    assert (journal.number, journal.digest) == (None, None)
    assert journal.written_at is not None


def test_create_change_and_delete_leave_three_rows_and_three_journal_rows(record):
    record.reference = "p2"
    record.save()
    record.delete()
    assert types(DataRecord) == "+~-"
    assert [row.reference for row in history(DataRecord)] == ["p1", "p2", "p2"]
    assert journal_agrees(DataRecord)


def test_a_row_two_foreign_keys_away_is_in_its_customers_journal(downtime, acme):
    downtime.factor = 2.5
    downtime.save()
    downtime.delete()
    assert types(Downtime) == "+~-"
    assert {row.history_stream for row in history(Downtime)} == {acme.pk}
    assert journal_agrees(Downtime)


def test_a_parent_that_lies_in_memory_does_not_put_content_into_anothers_journal(line, acme, acme2):
    theirs = Site.objects.create(customer=acme2, name="Elsewhere")
    line.site = theirs  # never saved: refused
    forged = Line(pk=line.pk, site=theirs, name="forged")
    for parent in (line, forged):
        row = Downtime.objects.create(line=parent, began_at="2026-01-01T00:00:00Z")
        assert history(Downtime, id=row.pk)[0].history_stream == acme.pk


def test_a_row_whose_parent_is_not_stored_is_refused(acme):
    with pytest.raises((UnknownStream, IntegrityError)), transaction.atomic():
        Downtime(line_id=4711, began_at="2026-01-01T00:00:00Z").save()
    with pytest.raises(IntegrityError), transaction.atomic():
        DataRecord(kind="product", reference="nobody's").save()
    assert history(Downtime) == []


def test_a_save_that_changes_nothing_writes_nothing(record, downtime):
    record.save()
    DataRecord.objects.get(pk=record.pk).save()
    Downtime.objects.get(pk=downtime.pk).save()
    assert types(DataRecord) == types(Downtime) == "+"


def test_a_column_that_fills_itself_in_is_not_a_change_by_itself(acme):
    specimen = Specimen.objects.create(customer=acme, label="a")
    touched = specimen.touched
    specimen.save()
    assert (types(Specimen), Specimen.objects.get().touched) == ("+", touched)
    specimen.label = "b"
    specimen.save()
    assert [row.touched for row in history(Specimen)] == [touched, Specimen.objects.get().touched]


def test_the_same_value_in_another_form_is_no_change(acme):
    specimen = Specimen.objects.create(customer=acme, label="a", amount=Decimal("1.5"), day=date(2026, 1, 2), free={"n": 1}, whole=3)
    specimen.amount, specimen.day, specimen.free, specimen.whole = "1.5000", "2026-01-02", {"n": 1.0}, "3"
    specimen.save()
    assert types(Specimen) == "+"
    assert (specimen.day, specimen.whole) == (date(2026, 1, 2), 3)


def test_a_change_deep_inside_json_is_a_change(record):
    record.data["deep"] = {"list": [1]}
    record.save()
    record.data["deep"]["list"].append(2)
    record.save()
    assert [row.data.get("deep") for row in history(DataRecord)] == [None, {"list": [1]}, {"list": [1, 2]}]


def test_history_holds_what_is_stored_and_not_what_is_in_memory(record):
    record.reference = "never saved"
    record.delete()
    assert [row.reference for row in history(DataRecord)] == ["p1", "p1"]


def test_refreshing_one_column_does_not_hide_a_change_of_another(record):
    record.reference = "p2"
    record.refresh_from_db(fields=["kind"])
    record.save()
    assert DataRecord.objects.get().reference == "p2"
    assert types(DataRecord) == "+~"


def test_refreshing_from_the_database_forgets_changes(record):
    record.reference = "p2"
    record.refresh_from_db()
    record.save()
    assert types(DataRecord) == "+"


def test_a_reason_on_the_instance_goes_before_the_actors(record):
    record._change_reason = "typing error"
    record.reference = "p2"
    record.save()
    assert history(DataRecord)[-1].history_change_reason == "typing error"


def test_an_actor_or_reason_that_a_database_would_refuse_is_refused(acme):
    for acting in (audit.acting("eve\x00"), audit.acting("eve", reason="\ud800"), audit.acting("eve", source="\x00")):
        with acting, pytest.raises(Unstorable), transaction.atomic():
            Link.objects.create(customer=acme, reference="1", url="https://a.example")


def test_nobody_acting_is_an_error_and_changes_nothing(record, monkeypatch):
    from audit import actors

    token = actors._acting.set(None)
    try:
        record.reference = "p2"
        for change in (record.save, record.delete, DataRecord.objects.all().tracked_delete):
            with pytest.raises(NoActor), transaction.atomic():
                change()
    finally:
        actors._acting.reset(token)
    assert (DataRecord.objects.get().reference, types(DataRecord)) == ("p1", "+")


# -- keys and parents that must not move


def test_content_cannot_move_to_another_customer(record, acme2):
    record.customer = acme2
    with pytest.raises(MovedCustomer):
        record.save()
    assert types(DataRecord) == "+"


def test_content_cannot_move_to_another_parent(downtime, line, acme):
    other = Line.objects.create(site=line.site, name="Wheels")
    downtime.line = other
    with pytest.raises(MovedCustomer):
        downtime.save()


def test_an_instance_built_by_hand_cannot_move_content_either(record, downtime, line, acme2):
    forged = DataRecord(pk=record.pk, customer=acme2, kind="product", reference="p1")
    with pytest.raises(MovedCustomer):
        forged.save(force_update=True)
    forged._state.adding = False
    with pytest.raises(MovedCustomer):
        forged.save()
    with pytest.raises(MovedCustomer):
        DataRecord.objects.tracked_update([forged])
    other = Line.objects.create(site=line.site, name="Wheels")
    with pytest.raises(MovedCustomer):
        Downtime(pk=downtime.pk, line=other, began_at=downtime.began_at).save(force_update=True)


def test_an_instance_built_by_hand_may_change_a_row_of_its_customer(record, acme):
    DataRecord(pk=record.pk, customer_id=str(acme.pk), kind="product", reference="p9", data={}).save(force_update=True)
    assert [row.reference for row in history(DataRecord)] == ["p1", "p9"]


def test_another_primary_key_does_not_change_another_row(record, acme2):
    theirs = DataRecord.objects.create(customer=acme2, kind="product", reference="theirs")
    record.pk = theirs.pk
    with pytest.raises(BypassRefused, match="another primary key"):
        record.save()
    with pytest.raises(BypassRefused, match="another primary key"):
        DataRecord.objects.tracked_update([record])
    assert DataRecord.objects.get(pk=theirs.pk).customer_id == acme2.pk


def test_a_new_instance_with_the_key_of_a_row_is_refused(record, acme):
    with pytest.raises(IntegrityError), transaction.atomic():
        DataRecord(pk=record.pk, customer=acme, kind="product", reference="laid over").save()
    with pytest.raises(IntegrityError), transaction.atomic():
        history(DataRecord)[0].instance.save()  # simple-history's way to revert
    assert DataRecord.objects.get().reference == "p1"


def test_a_new_instance_with_a_free_key_keeps_it(acme):
    DataRecord(pk=4711, customer=acme, kind="product", reference="1").save()
    assert history(DataRecord)[0].id == 4711


def test_a_copy_is_a_new_row(record):
    record.pk, record._state.adding, record.reference = None, True, "copy"
    record.save()
    assert [row.history_type for row in history(DataRecord)] == ["+", "+"]
    assert DataRecord.objects.count() == 2


# -- rows that are gone, rollbacks


def test_saving_a_row_that_was_deleted_meanwhile_is_an_error(record):
    DataRecord.objects.get(pk=record.pk).delete()
    record.reference = "p2"
    with pytest.raises(DatabaseError), transaction.atomic():
        record.save()
    assert (DataRecord.objects.count(), types(DataRecord)) == (0, "+-")


def test_deleting_a_row_that_was_deleted_meanwhile_writes_no_second_deletion(record):
    DataRecord.objects.get(pk=record.pk).delete()
    record.delete()
    assert types(DataRecord) == "+-"


def undone(change) -> None:
    """Runs the change in a savepoint that is rolled back."""
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        change()
        raise ZeroDivisionError


def test_a_change_lost_in_a_rollback_is_written_by_the_next_save(record):
    record.reference = "p2"
    undone(record.save)
    record.save()
    assert (DataRecord.objects.get().reference, types(DataRecord)) == ("p2", "+~")


def test_a_row_lost_in_a_rollback_is_inserted_by_the_next_save_and_never_laid_over_another(acme, acme2):
    lost = DataRecord(customer=acme, kind="product", reference="lost")
    undone(lost.save)
    other = DataRecord.objects.create(customer=acme2, kind="product", reference="other")  # SQLite gives it the lost row's key
    lost.save()
    assert lost.pk != other.pk
    assert {(row.customer_id, row.reference) for row in DataRecord.objects.all()} == {(acme.pk, "lost"), (acme2.pk, "other")}


def test_deleting_a_row_lost_in_a_rollback_deletes_no_other(acme, acme2):
    lost = DataRecord(customer=acme, kind="product", reference="lost")
    undone(lost.save)
    DataRecord.objects.create(customer=acme2, kind="product", reference="other")
    with pytest.raises(ValueError, match="id attribute is set to None"):
        lost.delete()
    assert DataRecord.objects.get().reference == "other"


def test_rows_lost_in_a_rollback_of_a_tracked_verb_are_written_again(acme):
    rows = [DataRecord(customer=acme, kind="product", reference=str(n)) for n in range(3)]
    undone(lambda: DataRecord.objects.tracked_create(rows))
    DataRecord.objects.tracked_create(rows)
    for row in rows:
        row.kind = "part"
    undone(lambda: DataRecord.objects.tracked_update(rows))
    assert len(DataRecord.objects.tracked_update(rows)) == 3
    assert {row.kind for row in DataRecord.objects.all()} == {"part"}
    assert types(DataRecord) == "+++~~~"


def test_a_copied_or_pickled_row_is_still_the_same_row(record):
    for twin in (copy.copy(record), copy.deepcopy(record), pickle.loads(pickle.dumps(record))):
        twin.save()
    assert types(DataRecord) == "+"


@pytest.mark.django_db(transaction=True)
def test_a_failure_between_live_row_and_history_row_leaves_neither_in_autocommit(acme):
    kept = Link.objects.create(customer=acme, reference="kept", url="https://a.example")
    with audit.acting("eve\x00"):  # refused when the history row is made: after the live row is written
        with pytest.raises(Unstorable):
            Link.objects.create(customer=acme, reference="new", url="https://a.example")
        kept.title = "changed"
        with pytest.raises(Unstorable):
            kept.save()
        with pytest.raises(Unstorable):
            kept.delete()
    assert [(link.reference, link.title) for link in Link.objects.all()] == [("kept", "")]
    assert types(Link) == "+"
    assert journal_agrees(Link)
    kept.save()  # the change is still to be written
    assert Link.objects.get().title == "changed"


# -- deletions


def test_a_cascade_leaves_a_deletion_for_each_row(line):
    Line.objects.create(site=line.site, name="Wheels")
    line.site.delete()
    assert (types(Site), types(Line)) == ("+-", "++--")
    assert journal_agrees(Line)


def test_a_protected_parent_stays_and_so_does_its_history(downtime, line):
    for delete in (line.delete, line.site.delete, Site.objects.all().delete, Line.objects.all().tracked_delete):
        with pytest.raises(ProtectedError), transaction.atomic():
            delete()
    assert (types(Site), types(Line), types(Downtime)) == ("+", "+", "+")


def test_a_queryset_delete_leaves_a_deletion_for_each_row(acme, record):
    DataRecord.objects.create(customer=acme, kind="product", reference="p2")
    assert DataRecord.objects.filter(kind="product").delete()[0] == 2
    assert types(DataRecord) == "++--"


# -- Django's own ways to write one row


def test_get_or_create_and_update_or_create_are_captured_whole(acme):
    link, created = Link.objects.get_or_create(customer=acme, reference="1", defaults={"url": "https://a.example", "title": "A"})
    assert created
    assert not Link.objects.get_or_create(customer=acme, reference="1")[1]
    link, created = Link.objects.update_or_create(customer=acme, reference="1", defaults={"title": lambda: "B"})
    assert (created, link.title) == (False, "B")
    Link.objects.update_or_create(customer=acme, reference="1", defaults={"title": "B"})
    assert Link.objects.update_or_create(customer=acme, reference="2", defaults={"url": "u"}, create_defaults={"url": "c"})[0].url == "c"
    assert [(row.history_type, row.title, row.url) for row in history(Link, reference="1")] == [
        ("+", "A", "https://a.example"),
        ("~", "B", "https://a.example"),
    ]


def test_related_managers_create_with_history(line):
    site = line.site
    site.lines.create(name="Wheels")
    site.lines.get_or_create(name="Paint")
    site.lines.update_or_create(name="Paint", defaults={"running": False})
    assert types(Line) == "+++~"


def test_the_async_variants_are_captured(acme):
    async def work() -> None:
        link = await Link.objects.acreate(customer=acme, reference="1", url="https://a.example")
        link.title = "A"
        await link.asave()
        await Link.objects.aupdate_or_create(customer=acme, reference="1", defaults={"title": "B"})
        await Link.objects.aget_or_create(customer=acme, reference="2", defaults={"url": "https://b.example"})
        await link.adelete()
        await Link.objects.all().adelete()

    async_to_sync(work)()
    assert types(Link, reference="1") == "+~~-"
    assert types(Link, reference="2") == "+-"
    assert {row.history_actor for row in history(Link)} == {"ada"}


def test_what_people_decide_is_in_the_system_stream(acme):
    acme.name = "Acme Cycles"
    acme.save()
    assert types(Customer) == "+~"
    assert {row.history_stream.int for row in history(Customer)} == {0}
