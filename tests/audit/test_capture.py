import pytest
from django.core.files.base import ContentFile
from django.db import connection, transaction

from audit.errors import BypassRefused, Frozen, MovedCustomer, NoActor, Unstorable
from audit.models import JournalRow
from subscriptions.models import DataRecord, Link, UploadedContent


def test_a_save_leaves_a_history_row_and_a_journal_row(acme):
    record = DataRecord.objects.create(customer=acme, kind="product", reference="1", data={"b": 1, "a": "ü"})
    row = record.history.get()
    assert (row.history_type, row.history_actor, row.history_change_reason, row.history_source) == ("+", "ada", "a test", "test")
    assert row.history_stream == acme.id
    journal = JournalRow.objects.get(model="l2l_subscriptions.datarecord")
    assert (journal.history_id, journal.stream_id, journal.transaction) == (row.history_id, acme.id, row.history_transaction)
    assert journal.number is None
    assert row.data == {"b": 1, "a": "ü"}


def test_seventeen_thousand_rows(acme):
    import time

    t = time.time()
    DataRecord.objects.tracked_create(
        DataRecord(customer=acme, kind="product", reference=str(n), data={"Name": f"Part {n}", "Colour": "red", "Price": "12.50"}) for n in range(17000)
    )
    a = time.time()
    rows = list(DataRecord.objects.all())
    for r in rows:
        r.data["Name"] += "x"
    changed = DataRecord.objects.tracked_update(rows)
    b = time.time()
    assert len(changed) == 17000
    assert DataRecord.objects.tracked_update(rows) == []
    assert JournalRow.objects.filter(stream=acme.id).count() == 34000
    c = time.time()
    DataRecord.objects.filter(customer=acme).tracked_delete()
    print(connection.vendor, "create", a - t, "update", b - a, "delete", time.time() - c)
