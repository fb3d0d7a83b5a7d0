from __future__ import annotations

import json
from typing import Any

import pytest
from django.core.files.base import ContentFile

from audit import rows
from audit.models import Stream
from backups.nightly import back_up
from backups.restore import restore
from subscriptions.models import DataRecord, Link, UploadedContent

pytestmark = pytest.mark.django_db(transaction=True)


def fill(customer: Any) -> None:
    DataRecord.objects.tracked_create(
        DataRecord(customer=customer, kind="part", reference=str(n), data={"Name": f"Part {n}", "Note": 'é "x"\n\\'}) for n in range(50)
    )
    Link.objects.create(customer=customer, reference="a", title="A", url="https://example.org/ü")
    for n in range(5):
        UploadedContent.objects.create(customer=customer, name=f"doc {n}.bin", file=ContentFile(bytes([n]) * 1000 * n, name="x"))
    record = DataRecord.objects.get(reference="7")
    record.data["Name"] = "Changed"
    record.save()
    DataRecord.objects.get(reference="8").delete()


def restored_rows(folder, what, model):
    return [json.loads(line) for line in (folder / what / f"{model}.ndjson").read_text().split("\n") if line]


def test_what_comes_out_is_what_went_in(acme, vault, offsite_alone, tmp_path):
    fill(acme)
    outcome = back_up(vault, Stream.objects.get(pk=acme.pk))
    assert outcome.good and outcome.whole_at == ["primary", "offsite"], outcome
    report = restore(offsite_alone, acme, tmp_path / "out")
    assert report.good
    live = [json.loads(rows.instance_json(one)) for one in DataRecord.objects.order_by("pk")]
    assert restored_rows(tmp_path / "out", "rows", "l2l_subscriptions.datarecord") == live
    past = [json.loads(rows.instance_json(one)) for one in DataRecord.history.order_by("pk")]
    assert restored_rows(tmp_path / "out", "history", "l2l_subscriptions.datarecord") == past
    for upload in UploadedContent.objects.all():
        with upload.file.open() as file:
            assert (tmp_path / "out" / "files" / upload.file.name).read_bytes() == file.read()


def test_a_second_night_stores_only_what_changed(acme, vault, clock):
    fill(acme)
    stream = Stream.objects.get(pk=acme.pk)
    back_up(vault, stream)
    clock.forward(days=1)
    second = back_up(vault, stream)
    assert second.good
    assert second.backup_set.new_blobs == 0
