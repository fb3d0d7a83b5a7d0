"""History pages: readable, paged, and no way back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from django.core.files.base import ContentFile
from django.test import Client

import audit
from audit import history_pages, models, moments
from audit.events import Event
from backups.models import BackupSet, Location, Segment, SegmentCopy
from subscriptions.models import DataRecord, UploadedContent
from tests.admin.conftest import PDF, Belongings, url

As = Callable[[str], Client]


def test_changes_of_data_are_told_key_by_key(own: Belongings) -> None:
    with audit.acting("ada", reason="x"):
        own.record.data = {"colour": "red", "weight": 3, "price": 12, "note": False}
        own.record.save()
    newest, first = list(own.record.history.all())
    changed, added = history_pages.entries(DataRecord, [newest, first], None)
    told = [(change.label, change.old, change.new) for change in changed.changes]
    assert told == [("Data: colour", "blue", "red"), ("Data: note", "—", "no"), ("Data: price", "(not there)", "12")]
    assert added.word == "Added"
    assert ("Reference", None, "P-1") in [(change.label, change.old, change.new) for change in added.changes]


def test_a_replaced_file_is_told_by_size_and_digest_and_each_version_downloads(as_: As, own: Belongings) -> None:
    with audit.acting("ada", reason="x"):
        own.upload.file = ContentFile(b"<script>alert(1)</script>", "evil.html")
        own.upload.save()
    newest, first = list(own.upload.history.all())
    changed, _ = history_pages.entries(UploadedContent, [newest, first], None)
    assert [change.label for change in changed.changes] == ["File"]
    assert changed.changes[0].old is not None and changed.changes[0].old.startswith("26 B, SHA-256 ")
    client = as_("ada")
    for version, content in ((newest, b"<script>alert(1)</script>"), (first, PDF)):
        response = client.get(url("uploadedcontent_version_file", own.upload.pk, version.history_id, "file"))
        assert b"".join(response.streaming_content) == content  # type: ignore[attr-defined]
        assert response["Content-Disposition"].startswith("attachment; filename*=utf-8''%C3%9Cber.pdf")
        assert response["X-Content-Type-Options"] == "nosniff"
        assert response["Content-Type"] == "application/octet-stream"
        assert response["Content-Length"] == str(len(content))


def test_each_download_is_on_record(as_: As, own: Belongings) -> None:
    version = own.upload.history.get().history_id
    client = as_("ada")
    for name, keys in (("uploadedcontent_file", ()), ("uploadedcontent_version_file", (version,))):
        answer = client.get(url(name, own.upload.pk, *keys, "file"))
        assert b"".join(answer.streaming_content) == PDF  # type: ignore[attr-defined]
    found = models.Event.objects.filter(event=Event.DOWNLOADED.value).order_by("number")
    assert [(one.actor, one.customer, one.facts["bytes"]) for one in found] == [("ada", own.customer.pk, len(PDF))] * 2
    assert [one.facts.get("version") for one in found] == [None, version]


def test_a_file_that_is_gone_gives_a_message(as_: As, own: Belongings, uploads: object) -> None:
    own.upload.file.storage.delete(own.upload.file.name)
    response = as_("ada").get(url("uploadedcontent_file", own.upload.pk, "file"), follow=True)
    assert b"Restore it from a backup set" in response.content


def test_only_files_are_downloaded(as_: As, own: Belongings) -> None:
    client = as_("root")
    assert client.get(url("uploadedcontent_file", own.upload.pk, "name")).status_code == 404
    assert client.get(url("subscription_file", own.subscription.pk, "document")).status_code == 404
    foreign_version = own.record.history.first().history_id
    assert client.get(url("uploadedcontent_version_file", own.upload.pk, foreign_version + 1000, "file")).status_code == 404


@pytest.mark.parametrize("name", ["root", "ada", "otto", "nobody"])
def test_no_post_goes_back(name: str, as_: As, own: Belongings) -> None:
    client, version = as_(name), own.record.history.first().history_id
    sent = {"reference": "changed", "kind": "k", "data": "{}", "change_reason": "x", "_save": "1"}
    for page in (url("datarecord_history", own.record.pk), url("datarecord_version", own.record.pk, version)):
        for method in (client.post, client.put, client.delete, client.patch):
            assert method(page, sent).status_code == 405
    assert DataRecord.objects.get().reference == "P-1"
    assert own.record.history.count() == 1


def test_long_histories_are_paged(as_: As, own: Belongings) -> None:
    with audit.acting("ada"):
        for weight in range(30):
            own.record.data = {"weight": weight}
            own.record.save()
    client = as_("ada")
    first = client.get(url("datarecord_history", own.record.pk))
    second = client.get(url("datarecord_history", own.record.pk), {"p": 2})
    assert [len(page.context["entries"]) for page in (first, second)] == [25, 6]
    last_of_first = first.context["entries"][-1].changes
    assert [(change.old, change.new) for change in last_of_first] == [("4", "5")]


def test_what_a_customer_writes_is_text_and_never_markup(as_: As, own: Belongings) -> None:
    with audit.acting("ada", reason="<b>why</b>"):
        own.record.data = {"<i>key</i>": "<script>alert(1)</script>"}
        own.record.save()
        own.link.url = "javascript:alert(1)"
        own.link.save()
    for page in (url("datarecord_changelist"), url("datarecord_history", own.record.pk), url("datarecord_change", own.record.pk)):
        content = as_("otto").get(page).content
        assert b"<script>alert(1)" not in content
        assert b"<i>key" not in content
        assert b"<b>why" not in content
    assert b'href="javascript:' not in as_("otto").get(url("link_changelist")).content
    assert b'href="javascript:' not in as_("otto").get(url("link_change", own.link.pk)).content


def test_links_to_the_web_open_apart(as_: As, own: Belongings) -> None:
    content = as_("otto").get(url("link_changelist")).content.decode()
    assert 'href="https://example.com/?a=1&amp;b=2" target="_blank" rel="noopener noreferrer"' in content


def kept_words(row: object) -> list[tuple[int | None, int | None, tuple[tuple[str, str], ...]]]:
    found = [entry.kept for entry in history_pages.entries(DataRecord, list(row.history.all()), None)]  # type: ignore[attr-defined]
    return [(one.number, one.segment, one.words) for one in found if one is not None]


def test_each_change_tells_its_number_its_segment_and_where_it_is_durable(as_: As, own: Belongings) -> None:
    assert kept_words(own.record) == [(None, None, (("warn", "waiting to be shipped"),))]
    assert b"waiting to be shipped" in as_("ada").get(url("datarecord_history", own.record.pk)).content
    change = models.JournalRow.objects.filter(model="l2l_subscriptions.datarecord", history_id=own.record.history.get().history_id)
    change.update(number=7, segment=41)
    assert kept_words(own.record) == [(7, 41, (("bad", "in no segment and no set that is known"),))]
    at = datetime(2026, 3, 4, 2, 5, 6, tzinfo=UTC)
    segment = Segment.objects.create(number=41, epoch=1, name="hot/41", made_at=at, until=at)
    near, far = (Location.objects.create(name=name, url=name, position=at) for at, name in enumerate(("near", "far")))
    SegmentCopy.objects.create(segment=segment, location=near, durable_at=at)
    SegmentCopy.objects.create(segment=segment, location=far)
    assert kept_words(own.record)[0][2] == (("good", f"durable at near since {moments.in_utc_to_the_second(at)}"), ("warn", "owed to far"))
    page = as_("ada").get(url("datarecord_history", own.record.pk)).content.decode()
    assert "Change 7, segment 41" in page and "owed to far" in page
    for days, number in ((0, 6), (1, 7), (2, 9)):
        BackupSet.objects.create(
            stream_id=own.customer.pk,
            state="made",
            night=at.date(),
            started_at=at,
            snapshot_at=at + timedelta(days=days),
            protected_at=at,
            journal_number=number,
        )
    segment.delete()
    assert kept_words(own.record) == [(7, 41, (("good", f"in every set since {moments.in_utc(at + timedelta(days=1))}"),))]
    version = own.record.history.get().history_id
    assert "in every set since" in as_("ada").get(url("datarecord_version", own.record.pk, version)).content.decode()
