"""Every call that would change data behind history's back is refused, and the message names what to use instead."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime

import pytest
from django.core import serializers
from django.core.management import call_command
from django.db import models, transaction
from django.db.models import F, Value
from django.db.models.functions import Concat
from simple_history.utils import bulk_create_with_history, bulk_update_with_history, update_change_reason

from audit.errors import BypassRefused, MovedCustomer
from subscriptions.models import DataRecord
from tests.audit.reading import history, types, waited
from tests.factory.models import Line, Site


@pytest.fixture
def unchanged(record):
    """The record as it was, with its one history row, after the test."""
    yield record
    stored = DataRecord.objects.get()
    assert (stored.reference, stored.kind, types(DataRecord)) == ("p1", "product", "+")


def another(record: DataRecord) -> DataRecord:
    return DataRecord(customer=record.customer, kind="product", reference="p2")


@pytest.mark.parametrize("manager", ["objects", "_base_manager", "_default_manager"])
@pytest.mark.parametrize(
    ("call", "instead"),
    [
        (lambda rows, record: rows.update(kind="x"), "tracked_change"),
        (lambda rows, record: rows.filter(pk=record.pk).update(kind="x"), "tracked_change"),
        (lambda rows, record: rows.bulk_create([another(record)]), "tracked_create"),
        (lambda rows, record: rows.bulk_create([another(record)], ignore_conflicts=True), "tracked_create"),
        (lambda rows, record: rows.bulk_update([record], ["kind"]), "tracked_update"),
        (lambda rows, record: rows.all()._raw_delete("default"), "tracked_delete"),
        (lambda rows, record: waited(rows.aupdate, kind="x"), "tracked_change"),
        (lambda rows, record: waited(rows.abulk_create, [another(record)]), "tracked_create"),
        (lambda rows, record: waited(rows.abulk_update, [record], ["kind"]), "tracked_update"),
    ],
)
def test_update_bulk_create_bulk_update_and_raw_delete_are_refused(unchanged, manager, call, instead):
    with pytest.raises(BypassRefused, match=instead):
        call(getattr(DataRecord, manager), unchanged)


def test_the_same_calls_through_a_reverse_foreign_key_are_refused(acme, unchanged):
    other = another(unchanged)
    for call in (
        lambda: acme.records.update(kind="x"),
        lambda: acme.records.bulk_create([other]),
        lambda: acme.records.add(unchanged),
        lambda: acme.records.all().update(kind="x"),
        lambda: waited(acme.records.aadd, unchanged),
    ):
        with pytest.raises(BypassRefused):
            call()


def test_moving_rows_by_add_on_the_reverse_side_is_refused(line, acme2):
    ours = line.site_id
    theirs = Site.objects.create(customer=acme2, name="theirs")
    with pytest.raises(BypassRefused), transaction.atomic():
        theirs.lines.add(line)
    with pytest.raises(MovedCustomer), transaction.atomic():
        theirs.lines.add(Line.objects.get(pk=line.pk), bulk=False)
    assert Line.objects.get(pk=line.pk).site_id == ours
    assert not hasattr(theirs.lines, "clear")  # Django gives it for foreign keys that may be null only; ours may not


def test_update_fields_is_refused(unchanged):
    unchanged.kind = "dirty"
    for call in (
        lambda: unchanged.save(update_fields=["reference"]),
        lambda: unchanged.save(update_fields=[]),
        lambda: waited(unchanged.asave, update_fields=["reference"]),
        lambda: models.Model.save(unchanged, update_fields=["reference"]),
    ):
        with pytest.raises(BypassRefused, match="partial"):
            call()


def test_a_deferred_save_is_refused(unchanged):
    for row in (DataRecord.objects.only("kind").get(), DataRecord.objects.defer("data").get()):
        row.kind = "x"
        with pytest.raises(BypassRefused, match="partial"):
            row.save()
        with pytest.raises(BypassRefused, match="partial"):
            DataRecord.objects.tracked_update([row])


def test_a_deferred_row_may_be_deleted_and_leaves_whole_history(record):
    DataRecord.objects.only("kind").get().delete()
    assert [row.data for row in history(DataRecord)] == [{"name": "Saddle"}] * 2


@pytest.mark.parametrize(("column", "expression"), [("kind", Concat(F("kind"), Value("x"))), ("reference", F("kind")), ("data", F("kind"))])
def test_expressions_are_refused(unchanged, column, expression):
    setattr(unchanged, column, expression)
    with pytest.raises(BypassRefused, match=r"F\(\)"):
        unchanged.save()
    with pytest.raises(BypassRefused, match=r"F\(\)"):
        DataRecord.objects.tracked_update([unchanged])
    with pytest.raises(BypassRefused, match=r"F\(\)"):
        DataRecord.objects.filter(pk=unchanged.pk).tracked_change(**{column: expression})


def test_fixtures_are_refused(unchanged, tmp_path):
    changed = another(unchanged)
    changed.pk = unchanged.pk
    fixture = tmp_path / "rows.json"
    fixture.write_text(serializers.serialize("json", [changed]))
    with pytest.raises(BypassRefused, match="loaddata"):
        call_command("loaddata", str(fixture), verbosity=0)


@pytest.mark.django_db(transaction=True)
def test_saves_around_the_models_own_save_are_refused_before_anything_is_written(acme, unchanged):
    for call in (
        lambda: models.Model.save_base(another(unchanged), raw=True),
        lambda: models.Model.save_base(another(unchanged), raw=True, force_insert=True),
        lambda: models.Model.save(another(unchanged)),  # in autocommit: no transaction would hold row and history together
    ):
        with pytest.raises(BypassRefused):
            call()
    assert DataRecord.objects.count() == 1


def test_a_save_around_the_models_own_save_inside_a_transaction_is_captured(record):
    with transaction.atomic():
        models.Model.save(another(record))
    assert types(DataRecord) == "++"


def test_save_without_historical_record_is_refused(unchanged):
    unchanged.kind = "x"
    with pytest.raises(BypassRefused):
        unchanged.save_without_historical_record()


def test_skip_history_when_saving_is_ignored(record):
    record.skip_history_when_saving = True
    record.kind = "part"
    record.save()
    assert types(DataRecord) == "+~"


def test_simple_history_enabled_false_does_not_switch_history_off(record, settings):
    settings.SIMPLE_HISTORY_ENABLED = False
    record.kind = "part"
    record.save()
    record.delete()
    assert types(DataRecord) == "+~-"


def test_a_history_date_of_ones_own_is_ignored(record):
    record._history_date = datetime(2000, 1, 1, tzinfo=UTC)
    record.kind = "part"
    record.save()
    assert history(DataRecord)[-1].history_date.year > 2000


def test_simple_historys_bulk_calls_are_refused(unchanged):
    changed = DataRecord.objects.get()
    changed.kind = "x"
    for call in (
        lambda: bulk_create_with_history([another(unchanged)], DataRecord),
        lambda: bulk_update_with_history([changed], DataRecord, ["kind"]),
        lambda: DataRecord.history.bulk_history_create([unchanged]),
    ):
        with pytest.raises(BypassRefused), transaction.atomic():
            call()


def test_a_change_of_the_reason_afterwards_is_refused(unchanged):
    with pytest.raises(BypassRefused):
        update_change_reason(unchanged, "another reason")


@pytest.mark.parametrize(
    "command",
    [
        ("clean_old_history", "l2l_subscriptions.DataRecord", "--days=-1"),
        ("clean_duplicate_history", "l2l_subscriptions.DataRecord"),
        ("populate_history", "l2l_subscriptions.DataRecord"),
    ],
    ids=lambda command: command[0],
)
def test_simple_historys_commands_that_write_history_are_refused(record, command):
    record.kind = "part"
    record.save()
    record.kind = "product"
    record.save()
    before = types(DataRecord)
    with suppress(BypassRefused):
        call_command(*command, verbosity=0)
    assert types(DataRecord) == before
