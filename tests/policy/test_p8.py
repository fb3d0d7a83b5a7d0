"""Every change to data records, uploaded content and links is tracked: who, what, when and why; it cannot be altered unseen."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.db import connection, transaction

import audit
from audit import canonical, evidence
from audit.models import Event
from subscriptions.models import DataRecord, Link, UploadedContent
from tests.policy.promise import promise
from tests.policy.service import Service

pytestmark = [pytest.mark.django_db(transaction=True), promise("P8")]

NINTH, TENTH, ELEVENTH = date(2026, 3, 9), date(2026, 3, 10), date(2026, 3, 11)


def raw(statement: str, *values: Any) -> None:
    """As somebody with the database's password, who stops what would stop them."""
    with transaction.atomic(), connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET LOCAL session_replication_role = replica")  # no trigger fires
        cursor.execute(statement, values)


def test_who_changed_what_when_and_why_is_told_of_each_kind(acme: Any) -> None:
    with audit.acting("olga", reason="the customer called"):
        record = DataRecord.objects.create(customer=acme, kind="part", reference="R", data={"Name": "before"})
        record.data = {"Name": "after"}
        record.save()
        link = Link.objects.create(customer=acme, reference="L", url="https://example.org")
        upload = UploadedContent.objects.create(customer=acme, name="u.txt", file=ContentFile(b"u", name="u"))
        upload.delete()
    assert [row.data["Name"] for row in record.history.order_by("history_id")] == ["before", "after"]
    for row in (*record.history.all(), *link.history.all(), *UploadedContent.history.filter(name="u.txt")):
        assert (row.history_actor, row.history_change_reason) == ("olga", "the customer called") and row.history_date


def test_a_row_altered_behind_historys_back_turns_it_red_until_it_is_right_again(service: Service, acme: Any) -> None:
    service.night(NINTH)
    assert service.broken() == set()
    record = DataRecord.objects.filter(customer=acme).order_by("pk")[0]
    table = DataRecord._meta.db_table
    raw(f"UPDATE {table} SET data = %s WHERE id = %s", canonical.dumps({"Name": "forged"}), record.pk)
    service.night(TENTH)
    assert service.broken() == {"P8"}
    assert service.state("proofs").value == 1 and service.state("proofs").figure.startswith("1 customer with rows unlike their history")
    assert service.findings() == ["control:proofs"]
    raw(f"UPDATE {table} SET data = %s WHERE id = %s", canonical.dumps(record.data), record.pk)
    service.night(ELEVENTH)
    assert service.broken() == set()


def test_an_event_that_was_altered_turns_it_red_until_it_is_right_again(service: Service, acme: Any) -> None:
    assert service.broken() == set()
    event = Event.objects.order_by("-number")[0]
    table = Event._meta.db_table
    raw(f"UPDATE {table} SET actor = %s WHERE number = %s", "somebody else", event.number)
    assert service.broken() == {"P8"} and "1 event" in service.state("evidence_trail").why
    assert any(problem.number == event.number for problem in evidence.verify_chain(service.vault.fingerprint).problems)
    raw(f"UPDATE {table} SET actor = %s WHERE number = %s", event.actor, event.number)
    assert service.broken() == set()
