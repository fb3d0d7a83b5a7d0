"""What the audit trail tells: every change, whole, and nothing of anybody else (P8)."""

from __future__ import annotations

import io
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.files.base import ContentFile
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

import audit
from audit import registry
from audit.models import JournalRow
from l2l.reports import making
from l2l.reports import trail as trails
from l2l.reports.allowed import NotYours
from l2l.reports.periods import Days
from l2l.reports.trail import NoTrail
from subscriptions.models import DataRecord, Link, UploadedContent
from tests.factory.models import Downtime, Line, Site
from tests.l2l.reports.conftest import NOW, shipped, told, trail, written_at


def record(customer: Any, reference: str = "P-1", **data: Any) -> DataRecord:
    return DataRecord.objects.create(customer=customer, kind="part", reference=reference, data=data)


def changed(values: Any) -> dict[str, tuple[str, str]]:
    return {one.field: (one.old, one.new) for one in values}


def test_each_change_has_who_when_why_old_new_and_its_proof(berlin: Any) -> None:
    row = record(berlin, colour="blue", weight=3)
    row.data = {"colour": "red", "weight": 3, "note": None}
    with audit.acting("rita", reason="the paint was wrong", source="web"):
        row.save()
    shipped(berlin)
    added, change = told(berlin)
    assert (added.what, added.model, added.item, added.number) == ("added", "data record", "P-1", 1)
    assert changed(added.values) == {
        "Customer": ("—", "Acme Bicycles (acme)"),
        "Kind": ("—", "part"),
        "Reference": ("—", "P-1"),
        "Data: colour": ("—", "blue"),
        "Data: weight": ("—", "3"),
    }
    assert changed(change.values) == {"Data: colour": ("blue", "red"), "Data: note": ("(not there)", "null")}
    assert (change.actor, change.source, change.reason) == ("rita", "web", "the paint was wrong")
    assert (change.number, change.leaf, change.digest, change.segment) == (2, f"{2:064x}", f"{4098:064x}", 7)


def test_what_was_deleted_stands_with_its_last_values(berlin: Any) -> None:
    row = record(berlin, colour="blue")
    row.delete()
    gone = told(berlin)[-1]
    assert gone.what == "deleted" and gone.item == "P-1"
    assert changed(gone.values)["Data: colour"] == ("blue", "—")


def test_a_renamed_item_is_found_under_both_names(berlin: Any) -> None:
    row = record(berlin)
    record(berlin, "P-2")
    row.reference = "P-99"
    row.save()
    for name in ("P-1", "P-99", str(row.pk)):
        found = told(berlin, model="datarecord", item=name)
        assert [(one.what, one.item) for one in found] == [("added", "P-1"), ("changed", "P-99")]


def test_a_name_that_was_used_again_tells_of_both_objects(berlin: Any) -> None:
    record(berlin).delete()
    record(berlin)
    found = trail(berlin, model="datarecord", item="P-1")
    assert len(found.item.keys) == 2 and [one.what for one in found.changes()] == ["added", "deleted", "added"]  # type: ignore[union-attr]


def test_files_are_told_by_size_and_digest(berlin: Any) -> None:
    upload = UploadedContent(customer=berlin, name="manuals/Über.pdf", file=ContentFile(b"first", "x"))
    upload.save()
    old = upload.sha256
    upload.file, upload.name = ContentFile(b"second one", "x"), "manuals/renamed.pdf"
    upload.save()
    values = changed(told(berlin)[-1].values)
    assert values["Name"] == ("manuals/Über.pdf", "manuals/renamed.pdf")
    assert values["File"] == (f"5 bytes, SHA-256 {old}", f"10 bytes, SHA-256 {upload.sha256}")


def test_values_that_look_alike_are_told_apart(berlin: Any) -> None:
    row = record(berlin, number=1, nothing=None, empty="", dash="—", text="1", large="x" * 10_000)
    values = changed(told(berlin)[0].values)
    assert values["Data: number"][1] == "1" and values["Data: text"][1] == '"1"'
    assert values["Data: nothing"][1] == "null" and values["Data: empty"][1] == "(empty)" and values["Data: dash"][1] == '"—"'
    assert values["Data: large"][1] == "x" * 10_000
    row.data = {**row.data, "number": True}
    row.save()
    assert changed(told(berlin)[1].values) == {"Data: number": ("1", "true")}


def test_models_of_a_vendor_are_told_like_the_built_in_ones(berlin: Any) -> None:
    line = Line.objects.create(site=Site.objects.create(customer=berlin, name="Hamburg"), name="Frames")
    down = Downtime.objects.create(line=line, began_at=datetime(2026, 3, 1, 12, tzinfo=UTC), lasted=timedelta(hours=1), details=[1, "a"])
    found = told(berlin)
    assert [one.model for one in found] == ["site", "line", "downtime"]
    assert found[2].item == str(down.pk) and changed(found[2].values)["Details"] == ("—", '[1, "a"]')


def seeing(person: User, *names: str) -> User:
    """The person with these rights alone."""
    person.user_permissions.set(Permission.objects.filter(codename__in=names, content_type__app_label="l2l_subscriptions"))
    return User.objects.get(pk=person.pk)  # rights are remembered by the object


def test_who_does_not_see_the_customer_gets_neither_report(berlin: Any, theirs: Any) -> None:
    """The making itself asks, whoever calls it."""
    ada = seeing(User.objects.create_user("ada"), "view_customer", "view_datarecord")
    with pytest.raises(NotYours, match="not a customer of theirs"):
        trail(theirs, by=ada)
    file = io.BytesIO()
    with pytest.raises(NotYours):
        about: dict[str, Any] = {"signer": None, "now": NOW, "reason": "a test", "sample": True}
        making.make_statement(theirs, Days(theirs.zone), making.Kind.JSON, file, by=ada, **about)
    assert not file.getvalue()


def test_nothing_of_another_customer(berlin: Any, theirs: Any) -> None:
    record(berlin)
    assert "THEIRS" not in repr(told(berlin))
    with pytest.raises(NoTrail, match="There is and was no data record 'THEIRS'"):
        trail(berlin, model="datarecord", item="THEIRS")
    key = DataRecord.objects.get(reference="THEIRS").pk
    with pytest.raises(NoTrail):
        trail(berlin, model="datarecord", item=str(key))


def test_models_that_the_person_may_not_see_are_left_out_and_named(berlin: Any) -> None:
    record(berlin)
    Link.objects.create(customer=berlin, reference="L-1", url="https://example.com")
    ada = User.objects.create_user("ada")
    with pytest.raises(NotYours):
        trail(berlin, by=ada)
    berlin.account_manager = ada
    berlin.save()
    ada = seeing(ada, "view_customer", "view_link")
    found = trail(berlin, by=ada)
    assert [one.model for one in found.changes()] == ["link"] and "data records" in found.left_out
    with pytest.raises(NoTrail, match="no model 'datarecord'"):
        trail(berlin, by=ada, model="datarecord")
    with pytest.raises(NoTrail, match="none of the customer's models"):
        trail(berlin, by=seeing(ada, "view_customer"))
    with pytest.raises(NoTrail, match="Choose the model too"):
        trail(berlin, item="P-1")


def test_a_period_is_cut_by_the_customers_calendar(berlin: Any) -> None:
    """The last Sunday of March has 23 hours in Berlin: from 23:00 UTC of the day before to 22:00 UTC."""
    for number in range(4):
        record(berlin, f"P-{number}")
    first, last = datetime(2026, 3, 28, 23, tzinfo=UTC), datetime(2026, 3, 29, 22, tzinfo=UTC)
    instant = timedelta(microseconds=1)
    written_at(berlin, first - instant, first, last - instant, last)
    day = date(2026, 3, 29)
    assert [one.item for one in trail(berlin, day, day).changes()] == ["P-1", "P-2"]
    assert [one.item for one in trail(berlin, None, day - timedelta(days=1)).changes()] == ["P-0"]
    assert [one.item for one in trail(berlin, day + timedelta(days=1), None).changes()] == ["P-3"]
    october = date(2026, 10, 25)
    found = trail(berlin, october, october).days
    assert found.start and found.end and found.end - found.start == timedelta(hours=25)


def test_a_change_is_held_against_the_one_before_the_period(berlin: Any) -> None:
    row = record(berlin, colour="blue")
    row.data = {"colour": "red"}
    row.save()
    written_at(berlin, datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 3, 1, 12, tzinfo=UTC))
    (change,) = trail(berlin, date(2026, 3, 1), date(2026, 3, 1)).changes()
    assert changed(change.values) == {"Data: colour": ("blue", "red")}


@pytest.mark.django_db(transaction=True)
def test_what_was_written_together_has_one_transaction(berlin: Any) -> None:
    with transaction.atomic():
        record(berlin, "P-1")
        record(berlin, "P-2")
    record(berlin, "P-3")
    one, two, three = (change.transaction for change in told(berlin))
    assert one == two != three


def test_of_what_was_purged_the_number_and_the_digest_stay(berlin: Any) -> None:
    record(berlin, "P-1", colour="SECRET")
    record(berlin, "P-2")
    shipped(berlin)
    first = JournalRow.objects.filter(stream=berlin.pk).order_by("id")[0]
    with connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {registry.of(DataRecord).history_model._meta.db_table} WHERE history_id = %s", [first.history_id])
    found = told(berlin)
    assert found[0].what == trails.MISSING  # as long as no purge says that it went
    JournalRow.objects.filter(pk=first.pk).update(salt=None)
    found = told(berlin)
    assert (found[0].what, found[0].number, found[0].digest) == (trails.PURGED, 1, f"{4097:064x}")
    assert "SECRET" not in repr(found) and found[1].item == "P-2"


def test_what_is_written_meanwhile_is_not_in_it(berlin: Any) -> None:
    record(berlin, "P-1")
    found = trail(berlin)
    record(berlin, "P-2")
    assert [one.item for one in found.changes()] == ["P-1"] and found.count() == 1


def test_many_changes_are_read_in_parts(berlin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of statements grows with the parts, and none reads more than one part."""
    monkeypatch.setattr(trails, "BATCH", 10)
    for number in range(25):
        record(berlin, f"P-{number}")
    with CaptureQueriesContext(
        connection,
    ) as asked:
        found = told(berlin)
    assert [one.item for one in found] == [f"P-{number}" for number in range(25)]
    assert len(asked) <= 4 + 3 * 5
