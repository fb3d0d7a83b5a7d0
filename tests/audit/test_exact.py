"""Rows come back exactly as they were: no column fills itself in, keys are kept, nothing goes along; tracked all the same (P8, P14)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.db import IntegrityError, transaction

from audit import exact, rows
from audit.errors import Frozen, UnknownStream
from audit.freezes import freeze
from subscriptions.models import DataRecord
from tests.audit.reading import history, journal_agrees, types
from tests.factory.models import Downtime, Line, Site, Specimen


def test_a_row_deleted_comes_back_with_its_key_and_its_own_times(acme: Any) -> None:
    specimen = Specimen.objects.create(customer=acme, label="a")
    text = rows.instance_json(specimen)
    specimen.delete()
    exact.create(Specimen, [rows.instance_of(Specimen, text)])
    found = Specimen.objects.get()
    assert rows.instance_json(found) == text and "touched" in text
    assert types(Specimen) == "+-+" and journal_agrees(Specimen)
    assert rows.instance_json(history(Specimen)[-1].instance) == text


def test_a_change_writes_every_column_as_given(acme: Any) -> None:
    specimen = Specimen.objects.create(customer=acme, label="a")
    text = rows.instance_json(specimen)
    specimen.label = "b"
    specimen.save()
    exact.update(Specimen, [rows.instance_of(Specimen, text)])
    assert rows.instance_json(Specimen.objects.get()) == text
    assert types(Specimen) == "+~~"


def test_a_file_is_named_and_not_read(acme: Any, uploads: Any) -> None:
    line = Line.objects.create(site=Site.objects.create(customer=acme, name="x"), name="y")
    stop = Downtime.objects.create(line=line, began_at=acme.created_at, photo=ContentFile(b"jpg", name="p"))
    text = rows.instance_json(stop)
    stop.delete()
    (uploads / stop.photo.name).unlink()
    exact.create(Downtime, [rows.instance_of(Downtime, text)])
    assert rows.instance_json(Downtime.objects.get()) == text


def test_a_deletion_takes_its_row_alone_and_children_may_come_later(acme: Any) -> None:
    site = Site.objects.create(customer=acme, name="x")
    line = Line.objects.create(site=site, name="y")
    text = rows.instance_json(site)
    with transaction.atomic():
        assert exact.delete(Site, [site.pk]) == 1
        assert Line.objects.filter(pk=line.pk).exists()
        exact.create(Site, [rows.instance_of(Site, text)])
    assert (types(Site), types(Line)) == ("+-+", "+")


@pytest.mark.django_db(transaction=True)
def test_what_would_be_left_pointing_at_nothing_is_refused_at_the_commit(acme: Any) -> None:
    site = Site.objects.create(customer=acme, name="x")
    Line.objects.create(site=site, name="y")
    with pytest.raises(IntegrityError):
        exact.delete(Site, [site.pk])
    assert types(Site) == "+" and Site.objects.exists()


def test_a_frozen_stream_and_an_unknown_one_refuse(acme: Any) -> None:
    record = DataRecord.objects.create(customer=acme, kind="a", reference="b")
    row = rows.instance_of(DataRecord, rows.instance_json(record))
    with pytest.raises(UnknownStream), transaction.atomic():
        lost = json.loads(rows.instance_json(record)) | {"id": 999, "customer_id": "00000000-0000-0000-0000-00000000000f"}
        exact.create(DataRecord, [rows.instance_of(DataRecord, json.dumps(lost))])
    freeze(acme.pk, reason="return")
    for write in (lambda: exact.update(DataRecord, [row]), lambda: exact.delete(DataRecord, [record.pk])):
        with pytest.raises(Frozen), transaction.atomic():
            write()
    assert types(DataRecord) == "+"


def test_the_next_key_is_above_one_that_came_back(acme: Any) -> None:
    """As in a database that was copied by hand, whose sequences lag behind its rows."""
    record = DataRecord(pk=5_000, customer=acme, kind="a", reference="b")
    exact.create(DataRecord, [record])
    assert DataRecord.objects.create(customer=acme, kind="a", reference="c").pk == 5_001
    lower = DataRecord(pk=4_000, customer=acme, kind="a", reference="d")
    exact.create(DataRecord, [lower])
    assert DataRecord.objects.create(customer=acme, kind="a", reference="e").pk == 5_002


def test_more_rows_than_one_statement_takes(acme: Any) -> None:
    exact.create(DataRecord, [DataRecord(pk=n, customer=acme, kind="a", reference=str(n)) for n in range(1, 4502)])
    assert DataRecord.objects.count() == 4501 == len(history(DataRecord))
    exact.update(DataRecord, list(DataRecord.objects.order_by("pk")))
    assert exact.delete(DataRecord, list(range(1, 4502))) == 4501
    assert len(history(DataRecord)) == 3 * 4501 and journal_agrees(DataRecord)
