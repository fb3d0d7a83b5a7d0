"""Changing and deleting through the forms: with a reason, only what differs, and never over somebody else's change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib.admin.models import LogEntry
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

import audit
from audit import freezes
from audit.models import Stream
from subscriptions.models import Customer, DataRecord, UploadedContent
from tests.admin.conftest import PDF, Belongings, form_of, url

As = Callable[[str], Client]


def texts(response: Any) -> str:
    return " ".join(str(message) for message in response.context["messages"])


def errors(response: Any) -> str:
    return str(response.context["adminform"].form.errors)


def test_a_change_is_in_history_with_who_why_and_where_from(as_: As, own: Belongings) -> None:
    client, address = as_("ada"), url("datarecord_change", own.record.pk)
    response = client.post(address, form_of(client, address, data='{"colour": "red", "weight": 3}', change_reason="The customer asked"))
    assert response.status_code == 302
    newest = own.record.history.first()
    assert (newest.history_type, newest.history_actor, newest.history_change_reason, newest.history_source) == (
        "~",
        "ada",
        "The customer asked",
        "web",
    )
    assert newest.data == {"colour": "red", "weight": 3}
    assert not LogEntry.objects.exists()


def test_a_change_needs_a_reason(as_: As, own: Belongings) -> None:
    client, address = as_("ada"), url("datarecord_change", own.record.pk)
    response = client.post(address, form_of(client, address, reference="P-2"))
    assert "change_reason" in response.context["adminform"].form.errors
    assert own.record.history.count() == 1


def test_an_unchanged_form_writes_nothing(as_: As, own: Belongings) -> None:
    client, address = as_("ada"), url("datarecord_change", own.record.pk)
    response = client.post(address, form_of(client, address, change_reason="no reason"), follow=True)
    assert "nothing was written" in texts(response)
    assert own.record.history.count() == 1


def test_an_older_form_does_not_overwrite(as_: As, own: Belongings) -> None:
    client, address = as_("ada"), url("datarecord_change", own.record.pk)
    opened = form_of(client, address, reference="P-9", change_reason="mine")
    with audit.acting("otto", reason="sooner"):
        record = DataRecord.objects.get(pk=own.record.pk)
        record.data = {"colour": "green"}
        record.save()
    response = client.post(address, opened)
    assert response.status_code == 200
    assert "otto" in errors(response)
    assert (DataRecord.objects.get().reference, DataRecord.objects.get().data) == ("P-1", {"colour": "green"})


def test_a_frozen_customer_gives_a_message(as_: As, own: Belongings) -> None:
    client, address = as_("ada"), url("datarecord_change", own.record.pk)
    opened = form_of(client, address, reference="P-2", change_reason="x")
    freezes.freeze(own.customer.pk, reason="being returned")
    assert "being returned" in errors(client.post(address, opened))
    assert b"being returned" in client.get(url("customer_overview", own.customer.pk)).content
    gone = client.post(
        url("datarecord_delete", own.record.pk), {"post": "yes", "change_reason": "x", "seen_version": opened["seen_version"]}, follow=True
    )
    assert "being returned" in texts(gone)
    assert DataRecord.objects.filter(pk=own.record.pk).exists()


def test_values_that_a_database_refuses_are_errors_of_the_form(as_: As, own: Belongings) -> None:
    client, address = as_("ada"), url("datarecord_change", own.record.pk)
    response = client.post(address, form_of(client, address, data='{"colour": "\\u0000"}', change_reason="x"))
    assert response.status_code == 200
    assert "data" in response.context["adminform"].form.errors


def test_a_reference_that_is_taken_is_an_error_of_the_form(as_: As, own: Belongings) -> None:
    with audit.acting("setup"):
        DataRecord(customer=own.customer, kind="product", reference="P-2").save()
    client, address = as_("ada"), url("datarecord_change", own.record.pk)
    response = client.post(address, form_of(client, address, reference="P-2", change_reason="x"))
    assert response.status_code == 200
    assert "already exists" in errors(response)


def test_content_never_moves_to_another_customer(as_: As, own: Belongings, foreign: Belongings) -> None:
    client, address = as_("root"), url("datarecord_change", own.record.pk)
    client.post(address, form_of(client, address, customer=foreign.customer.pk, reference="P-7", change_reason="x"))
    record = DataRecord.objects.get(pk=own.record.pk)
    assert (record.customer, record.reference) == (own.customer, "P-7")


def test_an_upload_is_added_and_replaced(as_: As, own: Belongings) -> None:
    client = as_("ada")
    sent = {"customer": own.customer.pk, "name": "", "content_type": "", "file": SimpleUploadedFile("plan.txt", b"one", "text/plain")}
    client.post(url("uploadedcontent_add"), sent)
    upload = UploadedContent.objects.get(name="plan.txt")
    assert (upload.size, upload.content_type) == (3, "text/plain")
    address = url("uploadedcontent_change", upload.pk)
    new = SimpleUploadedFile("other.txt", b"second", "text/plain")
    client.post(address, {**form_of(client, address, change_reason="newer"), "file": new, "file-clear": "on"})
    assert [row.size for row in upload.history.all()] == [6, 3]


def test_deleting_asks_for_a_reason_and_keeps_history(as_: As, own: Belongings) -> None:
    client, address = as_("ada"), url("datarecord_delete", own.record.pk)
    page = client.get(address)
    assert b"change_reason" in page.content
    client.post(address, {"post": "yes"})
    assert DataRecord.objects.filter(pk=own.record.pk).exists()
    client.post(address, {"post": "yes", "change_reason": "No longer made", "seen_version": page.context["seen_version"]})
    assert not DataRecord.objects.filter(pk=own.record.pk).exists()
    deleted = client.get(url("datarecord_deleted"), {"customer": own.customer.pk})
    assert b"No longer made" in deleted.content
    timeline = client.get(url("datarecord_history", own.record.pk))
    assert timeline.status_code == 200
    assert [entry.word for entry in timeline.context["entries"]] == ["Deleted", "Added"]


def test_what_is_deleted_of_foreign_customers_stays_unseen(as_: As, own: Belongings, foreign: Belongings) -> None:
    with audit.acting("setup", reason="bolt's secret"):
        pk = foreign.record.pk
        foreign.record.delete()
    client = as_("ada")
    assert client.get(url("datarecord_history", pk)).status_code == 404
    assert b"secret" not in client.get(url("datarecord_deleted"), {"customer": foreign.customer.pk}).content
    assert client.post(url("datarecord_delete", foreign.link.pk), {"post": "yes", "change_reason": "x"}).status_code in (302, 403, 404)


def test_a_customer_is_added_with_stream_and_subscription(as_: As, own: Belongings) -> None:
    client = as_("root")
    sent = {"code": "new-one", "name": "New", "zone": "Europe/Berlin", "start": "2026-02-01", "agreement_number": ""}
    assert "There is no such time zone" in errors(client.post(url("customer_add"), {**sent, "zone": "Nowhere"}))
    response = client.post(url("customer_add"), {**sent, "_save": "1"})
    customer = Customer.objects.get(code="new-one")
    assert response["Location"] == url("customer_overview", customer.pk)
    assert Stream.objects.filter(pk=customer.pk, name="new-one").exists()
    assert customer.subscriptions.get().agreement_number == "new-one-1"


def test_a_code_that_was_ever_used_is_an_error_of_the_form(as_: As) -> None:
    Stream.objects.create(name="gone")
    response = as_("root").post(url("customer_add"), {"code": "gone", "name": "New", "zone": "UTC", "start": "2026-02-01"})
    assert "never used again" in errors(response)


def test_contacts_are_e_mail_addresses(as_: As, own: Belongings) -> None:
    client, address = as_("root"), url("subscription_change", own.subscription.pk)
    document = SimpleUploadedFile("agreement.pdf", PDF)
    bad = client.post(address, form_of(client, address, notice_contacts="nobody", change_reason="x"))
    assert "notice_contacts" in bad.context["adminform"].form.errors
    client.post(
        address, {**form_of(client, address, notice_contacts="a@example.com\n\n b@example.com ", change_reason="x"), "document": document}
    )
    own.subscription.refresh_from_db()
    assert own.subscription.notice_contacts == "a@example.com\nb@example.com"
    response = client.get(url("subscription_file", own.subscription.pk, "document"))
    assert 'filename="agreement-acme-1.pdf"' in response["Content-Disposition"]
    assert b"".join(response.streaming_content) == PDF  # type: ignore[attr-defined]
