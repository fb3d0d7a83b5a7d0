"""The tracked verbs: many rows with their history in one transaction, all or nothing."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from audit.errors import BypassRefused, Frozen, MovedCustomer, Unstorable
from audit.freezes import freeze
from subscriptions.models import Customer, DataRecord, Link
from tests.audit.conftest import NOON
from tests.audit.reading import history, journal_agrees, types
from tests.factory.models import Downtime, Line, Site


@pytest.fixture
def records(acme):
    return DataRecord.objects.tracked_create(records_of(acme, 3))


def records_of(customer, count: int) -> list[DataRecord]:
    return [DataRecord(customer=customer, kind="product", reference=str(n), data={"n": n}) for n in range(count)]


def test_tracked_create_returns_the_rows_with_their_keys(records, acme):
    assert [(row.id, row.reference, row.data) for row in history(DataRecord)] == [(r.pk, r.reference, r.data) for r in records]
    assert {row.history_stream for row in history(DataRecord)} == {acme.pk}
    assert len({row.history_transaction for row in history(DataRecord)}) == 1
    assert {(row.history_actor, row.history_change_reason, row.history_source) for row in history(DataRecord)} == {
        ("ada", "a test", "test")
    }
    assert journal_agrees(DataRecord)


def test_tracked_create_is_all_or_nothing(acme, records):
    for bad, error in (
        (DataRecord(customer=acme, kind="product", reference="0"), IntegrityError),
        (DataRecord(customer=acme, kind="product", reference="\x00"), Unstorable),
    ):
        with pytest.raises(error):
            DataRecord.objects.tracked_create([DataRecord(customer=acme, kind="product", reference="new"), bad])
    assert (DataRecord.objects.count(), types(DataRecord)) == (3, "+++")
    assert journal_agrees(DataRecord)


def test_the_verbs_take_any_iterable_and_nothing_at_all(acme):
    assert DataRecord.objects.tracked_create(iter(())) == []
    assert DataRecord.objects.tracked_update([]) == []
    assert DataRecord.objects.none().tracked_delete() == DataRecord.objects.none().tracked_change(kind="x") == 0
    assert len(DataRecord.objects.tracked_create(r for r in records_of(acme, 2))) == 2


def test_the_verbs_take_their_own_objects_only(acme):
    with pytest.raises(TypeError, match="not a Link"):
        DataRecord.objects.tracked_create([Link(customer=acme)])


def test_tracked_update_writes_and_returns_only_what_changed(records):
    records[1].data["n"] = 10
    assert DataRecord.objects.tracked_update(records) == [records[1]]
    assert types(DataRecord, id=records[1].pk) == "+~"
    assert types(DataRecord) == "+++~"
    assert DataRecord.objects.tracked_update(records) == []
    records[1].save()
    assert types(DataRecord) == "+++~"


def test_tracked_update_of_a_row_that_is_gone_changes_nothing(records):
    DataRecord.objects.filter(pk=records[2].pk).tracked_delete()
    for row in records:
        row.kind = "part"
    with pytest.raises(DataRecord.DoesNotExist, match="1 of 3 rows are gone"):
        DataRecord.objects.tracked_update(records)
    assert {row.kind for row in DataRecord.objects.all()} == {"product"}
    assert types(DataRecord) == "+++-"
    DataRecord.objects.tracked_update(records[:2])  # what was not written is still to be written
    assert {row.kind for row in DataRecord.objects.all()} == {"part"}


def test_tracked_update_refuses_a_row_that_stands_twice(records):
    twin = DataRecord.objects.get(pk=records[0].pk)
    records[0].kind, twin.kind = "part", "tool"
    with pytest.raises(BypassRefused, match="stands twice"):
        DataRecord.objects.tracked_update([records[0], twin])
    assert types(DataRecord) == "+++"


def test_tracked_update_refuses_a_move(records, acme2, downtime, line):
    records[0].customer = acme2
    with pytest.raises(MovedCustomer):
        DataRecord.objects.tracked_update(records)
    downtime.line = Line.objects.create(site=line.site, name="Wheels")
    with pytest.raises(MovedCustomer):
        Downtime.objects.tracked_update([downtime])
    with pytest.raises(MovedCustomer):
        DataRecord.objects.tracked_change(customer=acme2)


def test_tracked_change_is_what_update_is_elsewhere(records):
    records[0].kind = "part"
    records[0].save()
    assert DataRecord.objects.filter(reference__in=["0", "1"]).tracked_change(kind="part") == 1
    assert sorted(DataRecord.objects.values_list("reference", "kind")) == [("0", "part"), ("1", "part"), ("2", "product")]
    assert types(DataRecord) == "+++~~"


@pytest.mark.parametrize("narrowed", ["sliced", "deferred", "values", "distinct", "joined"])
def test_the_verbs_take_any_queryset(records, narrowed):
    rows = {
        "sliced": DataRecord.objects.order_by("-reference")[:1],
        "deferred": DataRecord.objects.only("kind").filter(reference="2"),
        "values": DataRecord.objects.filter(reference="2").values("kind"),
        "distinct": DataRecord.objects.filter(reference="2").distinct(),
        "joined": DataRecord.objects.filter(reference="2", customer__subscriptions__isnull=False).select_related("customer"),
    }[narrowed]
    assert rows.tracked_change(kind="part") == 1
    assert DataRecord.objects.get(reference="2").data == {"n": 2}
    assert rows.tracked_delete() == 1
    assert types(DataRecord) == "+++~-"


def test_tracked_delete_leaves_a_deletion_for_each_row(records):
    assert DataRecord.objects.exclude(reference="0").tracked_delete() == 2
    assert [(row.history_type, row.reference, row.data) for row in history(DataRecord)[3:]] == [("-", "1", {"n": 1}), ("-", "2", {"n": 2})]
    assert journal_agrees(DataRecord)


def test_tracked_delete_takes_dependants_along_although_their_relation_is_hidden(line):
    assert Site.objects.all().tracked_delete() == 1
    assert (types(Site), types(Line)) == ("+-", "+-")
    assert journal_agrees(Line)


def test_rows_of_two_customers_go_to_two_journals(acme, acme2):
    DataRecord.objects.tracked_create(records_of(acme, 2) + records_of(acme2, 1))
    assert types(DataRecord, history_stream=acme.pk) == "++"
    assert types(DataRecord, history_stream=acme2.pk) == "+"
    assert journal_agrees(DataRecord)


def test_a_frozen_customer_stops_the_whole_verb(acme, acme2, records):
    theirs = DataRecord.objects.tracked_create(records_of(acme2, 1))
    freeze(acme2.pk, reason="return")
    for change in (
        lambda: DataRecord.objects.tracked_create([DataRecord(customer=c, kind="part", reference="x") for c in (acme, acme2)]),
        lambda: DataRecord.objects.tracked_change(kind="part"),
        lambda: DataRecord.objects.all().tracked_delete(),
        lambda: theirs[0].delete(),
    ):
        with pytest.raises(Frozen, match="acme2"), transaction.atomic():
            change()
    assert types(DataRecord) == "++++"


def test_a_reason_on_an_instance_is_kept_in_bulk(acme):
    rows = records_of(acme, 3)
    rows[1]._change_reason = "by hand"
    DataRecord.objects.tracked_create(rows)
    assert [history(DataRecord, id=row.pk)[0].history_change_reason for row in rows] == ["a test", "by hand", "a test"]


def test_many_rows_cost_few_statements(line, django_assert_max_num_queries):
    rows = [Downtime(line=line, began_at=NOON, factor=n) for n in range(300)]
    with django_assert_max_num_queries(12):  # SQLite takes 999 values a statement, so 300 rows of nine columns are three
        Downtime.objects.tracked_create(rows)
    for row in rows:
        row.factor += 1
    with django_assert_max_num_queries(8):
        Downtime.objects.tracked_update(rows)
    with django_assert_max_num_queries(10):
        Downtime.objects.all().tracked_delete()
    assert types(Downtime) == "+" * 300 + "~" * 300 + "-" * 300
    assert journal_agrees(Downtime)


def test_one_save_costs_few_statements(acme, downtime):
    record = DataRecord(customer=acme, kind="product", reference="1")
    with CaptureQueriesContext(connection) as queries:
        record.save()
    assert len(queries) <= 4  # (stream,) row, history, journal
    downtime.factor = 2
    with CaptureQueriesContext(connection) as queries:
        downtime.save()
    assert len(queries) <= 5


@pytest.mark.slow
def test_seventeen_thousand_rows_are_written_many_in_a_statement(acme):
    counted = Counter[str]()

    def count(execute: Any, *arguments: Any) -> Any:
        counted["statements"] += 1
        return execute(*arguments)

    with connection.execute_wrapper(count):
        DataRecord.objects.tracked_create(
            DataRecord(customer=acme, kind="product", reference=str(n), data={"Name": f"Part {n}", "Colour": "red", "Price": "12.50"})
            for n in range(17_000)
        )
        rows = list(DataRecord.objects.all())
        for row in rows:
            row.data["Name"] += "x"
        assert len(DataRecord.objects.tracked_update(rows)) == 17_000
        assert DataRecord.objects.tracked_update(rows) == []
        assert DataRecord.objects.filter(customer=acme).tracked_delete() == 17_000
    assert counted["statements"] < 17_000 / 4, counted
    assert journal_agrees(DataRecord)
    assert Customer.objects.get(pk=acme.pk) == acme
