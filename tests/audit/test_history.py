"""History rows are sealed, have 64-bit ids, keep the actor's name for good, and are read in the order in which they were written."""

from __future__ import annotations

import pytest
from django.contrib.auth import get_user_model
from django.db import connection, models, transaction
from django.db.models.deletion import Collector
from django.utils import timezone

import audit
from audit import registry
from audit.actors import of_user
from audit.errors import BypassRefused
from audit.models import JournalRow
from subscriptions.models import DataRecord
from tests.audit.reading import history, types, waited

HistoricalDataRecord = registry.of(DataRecord).history_model


@pytest.fixture
def changed(record):
    """A record that was changed once; both history rows are as they were after the test."""
    record.reference = "p2"
    record.save()
    yield record
    assert [(row.history_type, row.reference) for row in history(DataRecord)] == [("+", "p1"), ("~", "p2")]


@pytest.mark.parametrize(
    "call",
    [
        lambda rows: rows.update(reference="x"),
        lambda rows: waited(rows.aupdate, reference="x"),
        lambda rows: rows.all().delete(),
        lambda rows: waited(rows.all().adelete),
        lambda rows: rows.all()._raw_delete("default"),
        lambda rows: rows.bulk_create([rows.first()]),
        lambda rows: rows.bulk_update([rows.first()], ["reference"]),
        lambda rows: rows.create(reference="x"),
        lambda rows: rows.get_or_create(reference="x"),
        lambda rows: rows.update_or_create(reference="p1", defaults={"kind": "x"}),
        lambda rows: rows.first().save(),
        lambda rows: rows.first().delete(),
        lambda rows: models.Model.save(rows.first()),
        lambda rows: models.Model.save_base(rows.first(), raw=True),
        lambda rows: models.Model.delete(rows.first()),
    ],
)
def test_history_rows_are_sealed_through_every_manager(changed, call):
    for rows in (
        HistoricalDataRecord.objects,
        HistoricalDataRecord.objects.filter(reference="p1"),
        HistoricalDataRecord._base_manager,
        HistoricalDataRecord._default_manager,
        DataRecord.history,
        DataRecord.history.using("default"),
        changed.history,
        changed.history.all(),
    ):
        with pytest.raises(BypassRefused), transaction.atomic():
            call(rows)


def test_history_rows_are_sealed_against_djangos_own_deletion(changed):
    collector = Collector(using="default")
    collector.collect(history(DataRecord))
    with pytest.raises(BypassRefused), transaction.atomic():
        collector.delete()


def test_history_ids_have_64_bits():
    for protected in registry.protected():
        pk = protected.history_model._meta.pk
        assert isinstance(pk, models.BigAutoField)
        assert pk.db_type(connection) in ("bigint", "integer")  # SQLite calls its 64 bits "integer"


def test_a_history_id_beyond_32_bits_is_journaled(record):
    with connection.cursor() as cursor:
        table = HistoricalDataRecord._meta.db_table
        if connection.vendor == "postgresql":
            cursor.execute(f"SELECT setval(pg_get_serial_sequence('{table}', 'history_id'), {2**40})")
        else:
            cursor.execute("UPDATE sqlite_sequence SET seq = %s WHERE name = %s", [2**40, table])
    record.reference = "p2"
    record.save()
    assert history(DataRecord)[-1].history_id == 2**40 + 1
    assert JournalRow.objects.filter(history_id=2**40 + 1, model="l2l_subscriptions.datarecord").exists()


def test_deleting_a_staff_user_leaves_history_untouched_with_the_actors_name(acme):
    grace = get_user_model().objects.create_user("grace")
    with audit.acting(of_user(grace)):
        record = DataRecord.objects.create(customer=acme, kind="product", reference="1")
    key = str(grace.pk)
    (row,) = history(DataRecord)
    assert row.history_user == grace
    grace.delete()
    (row,) = history(DataRecord)
    assert (row.history_actor, row.history_user_id, row.history_user) == ("grace", key, None)
    assert record.history.count() == 1


def test_rows_are_read_in_the_order_of_writing_although_a_clock_stepped_back(record):
    record.reference = "p2"
    record.save()
    with connection.cursor() as cursor:  # as if the clock had stepped back between the two
        cursor.execute(f"UPDATE {HistoricalDataRecord._meta.db_table} SET history_date = '2020-01-01 00:00:00' WHERE history_type = '~'")
    first, second = history(DataRecord)
    assert (first.next_record, second.prev_record) == (second, first)
    assert (first.prev_record, second.next_record) == (None, None)
    assert record.history.first() == record.history.latest() == second
    assert record.history.earliest() == first
    assert list(DataRecord.history.latest_of_each()) == [second]


def test_as_of_gives_one_row_per_object_although_two_carry_one_date(record):
    record.reference = "p2"
    record.save()
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {HistoricalDataRecord._meta.db_table} SET history_date = '2020-01-01 00:00:00'")
    assert [row.reference for row in DataRecord.history.as_of(timezone.now())] == ["p2"]


def test_what_changed_can_be_told(record):
    record.data = {"name": "Pedal"}
    record.save()
    first, second = history(DataRecord)
    (change,) = second.diff_against(first).changes
    assert (change.field, change.old, change.new) == ("data", {"name": "Saddle"}, {"name": "Pedal"})


def test_history_of_a_customer_survives_in_its_own_index(record, acme):
    assert {index.fields[0] for index in HistoricalDataRecord._meta.indexes} == {"history_stream", "id"}
    assert types(DataRecord, history_stream=acme.pk) == "+"
