"""What the customer statement says: all of one customer, nothing of another, signed, and alike as JSON, CSV and paper (P1 to P14)."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User

import audit
from audit.models import Event, Stream
from audit.signing import BadSignature, Signer, verify
from backups.models import BackupSet, Blob, Copy, Damage, Location, LossHour, Run, Slot, TestRestore
from backups.policies import ensure_first_policy
from l2l.reports import making, statement_csv, statement_pdf
from l2l.reports.making import Kind
from l2l.reports.periods import Days
from l2l.reports.statement import Signed, signed, statement_of
from subscriptions.models import DataRecord, Export, LegalHold

SIGNER = Signer(bytes(range(32)))
NOW = datetime(2026, 3, 20, 12, tzinfo=UTC)
MARCH = (date(2026, 3, 1), date(2026, 3, 10))


@pytest.fixture
def berlin(berlin: Any) -> Any:
    """Here since February, with a policy, two locations and a backup."""
    berlin.created_at = datetime(2026, 2, 1, tzinfo=UTC)
    with audit.because("a test"):
        berlin.save()
    ensure_first_policy()
    for name, offsite in (("primary", False), ("far away", True)):
        Location.objects.create(name=name, url="s3://a-secret-bucket", offsite=offsite, last_seen_at=NOW)
    return berlin


def a_set(customer: Any, night: date) -> BackupSet:
    at = datetime(night.year, night.month, night.day, 22, tzinfo=UTC)
    made = {"started_at": at, "snapshot_at": at, "complete_at": at, "protected_at": at, "ended_at": at}
    found = BackupSet.objects.create(
        stream=Stream.objects.get(pk=customer.pk),
        state="made",
        night=night,
        policy=1,
        goes_at=at + timedelta(days=28),
        proof="proved",
        **made,
    )
    blob = Blob.objects.create(stream_id=customer.pk, kind="envelope", state="stored", name=str(found.pk), sha256="ab" * 32, size=9)
    for place in Location.objects.all():
        Copy.objects.create(blob=blob, location=place, state="present", checked_at=NOW - timedelta(days=3))
    return found


def a_night(customer: Any, night: date, state: str, **more: Any) -> Run:
    noon = datetime(night.year, night.month, night.day, 12, tzinfo=UTC)
    about = {"due_at": noon, "ends_at": noon + timedelta(days=1), "next_try_at": noon, "policy": 1}
    return Run.objects.create(stream_id=customer.pk, night=night, state=state, **about, **more)


def document(customer: Any, days: tuple[date, date] = MARCH) -> dict[str, Any]:
    return statement_of(customer, Days(customer.zone, *days), now=NOW).document(sample=False, software="test 1")


def section(customer: Any, key: str, days: tuple[date, date] = MARCH) -> dict[str, Any]:
    return next(one for one in document(customer, days)["sections"] if one["section"] == key)


def of(customer: Any) -> Signed:
    return signed(statement_of(customer, Days(customer.zone, *MARCH), now=NOW), SIGNER, sample=True, software="test 1")


def test_nights_add_up_and_each_exception_is_named_with_its_day(berlin: Any) -> None:
    for day in range(1, 11):
        state, late = {3: ("missed", False), 5: ("excused", False), 7: ("done", True)}.get(day, ("done", False))
        a_night(berlin, date(2026, 3, day), state, late=late)
    found = section(berlin, "nights")
    assert found["figures"] == {"owed": 10, "filled": 7, "late": 1, "missed": 1, "excused": 1, "not over yet": 0}
    assert [row[0] for row in found["rows"]] == [f"Night of {day} March 2026" for day in (3, 5, 7)]
    assert [row[1].split(":")[0] for row in found["rows"]] == ["missed", "excused", "late"]


def test_a_night_of_which_nobody_wrote_anything_is_missed(berlin: Any) -> None:
    a_night(berlin, date(2026, 3, 1), "done")
    a_night(berlin, date(2026, 3, 4), "done")
    found = section(berlin, "nights", (date(2026, 3, 1), date(2026, 3, 4)))
    assert found["figures"]["missed"] == 2 and found["rows"][0][0] == "Night of 2 March 2026"


def test_weeks_and_months_of_the_period(berlin: Any) -> None:
    one = a_set(berlin, date(2026, 3, 6))
    about = {"stream_id": berlin.pk, "policy": 1, "decided_at": NOW}
    Slot.objects.create(key="week:2026-W10", first=date(2026, 3, 2), last=date(2026, 3, 8), state="stood in", backup_set=one, **about)
    Slot.objects.create(key="week:2026-W02", first=date(2026, 1, 5), last=date(2026, 1, 11), state="missed", **about)
    found = section(berlin, "weeks and months")
    assert found["figures"] == {"filled": 0, "stood in for": 1, "missed": 0, "excused": 0}
    assert found["rows"] == [["Week 10 of 2026 (2 to 8 Mar)", "stood in for by the backup of the night of 6 March 2026"]]


def test_places_are_named_and_their_addresses_are_not(berlin: Any) -> None:
    a_set(berlin, date(2026, 3, 6))
    found = section(berlin, "places")
    assert found["rows"] == [["far away", "yes", "yes", 1], ["primary", "no", "yes", 1]]
    assert found["figures"]["of them offsite"] == 1 and "a-secret-bucket" not in json.dumps(document(berlin))


def test_the_loss_window_is_measured_and_tells_no_counts_of_others(berlin: Any) -> None:
    place = Location.objects.get(name="primary")
    buckets = [0] * 16
    buckets[3] = 98765  # within 0.2 s
    LossHour.objects.create(hour=datetime(2026, 3, 5, tzinfo=UTC), location=place, changes=98765, buckets=buckets, longest=0.18)
    LossHour.objects.create(hour=datetime(2026, 2, 5, tzinfo=UTC), location=place, changes=1, buckets=[0] * 15 + [1], longest=9999.0)
    found = section(berlin, "loss window")
    assert found["rows"] == [["primary", "0.2 s", "0.2 s", "0.2 s"]] and "98765" not in json.dumps(document(berlin))


def test_checks_and_damage(berlin: Any) -> None:
    a_set(berlin, date(2026, 3, 6))
    Copy.objects.filter(location__name="far away").update(checked_at=NOW - timedelta(days=40))
    about = {"stream_id": berlin.pk, "location": Location.objects.get(name="primary"), "kind": "content", "what": "altered"}
    Damage.objects.create(name="a", found_at=datetime(2026, 3, 5, tzinfo=UTC), mended_at=NOW, mended_from="far away", **about)
    Damage.objects.create(name="b", found_at=datetime(2026, 2, 5, tzinfo=UTC), **about)
    found = section(berlin, "checks")
    assert found["figures"] == {"objects checked": 1, "late": 1, "damage found in the period": 1, "of it mended": 1}
    assert "mended 20 March 2026, 13:00:00 CET, from far away" in found["rows"][0][3]
    assert "1 check is late" in found["sentences"][0]


def test_test_restores_with_their_measured_time(berlin: Any) -> None:
    about = {"called": "acme", "set_id": a_set(berlin, date(2026, 3, 6)).pk, "tier": "nightly", "seed": "x", "asked_by": "worker"}
    figures = {
        "list_ms": 1000,
        "restore_ms": 3000,
        "judge_ms": 1,
        "read_bytes": 1,
        "content_bytes": 2048,
        "software": "test",
        "document": {},
    }
    for day, result in ((4, "passed"), (5, "failed")):
        at = datetime(2026, 3, day, tzinfo=UTC)
        TestRestore.objects.create(
            stream=berlin.pk,
            location="primary",
            result=result,
            reason="owed",
            begun_at=at,
            ended_at=at,
            night=at.date(),
            **about,
            **figures,
        )
    found = section(berlin, "test restores")
    assert found["figures"]["passed"] == 1 and found["figures"]["failed"] == 1
    assert found["rows"][0] == ["4 March 2026, 01:00:00 CET", "4 March 2026", "nightly", "primary", "passed", "4.0 s", "2.0 KiB"]


def test_what_was_taken_out_with_who_and_why(berlin: Any) -> None:
    at = datetime(2026, 3, 5, tzinfo=UTC)
    Export.objects.create(
        customer=berlin, what="restore of everything", by="olga", reason="asked", path="/secret/path", made_at=at, expires_at=NOW
    )
    found = section(berlin, "exports")
    assert found["rows"] == [
        ["5 March 2026, 01:00:00 CET", "restore of everything", "olga", "asked", "to be removed by 20 March 2026, 13:00:00 CET"]
    ]
    assert "/secret/path" not in json.dumps(document(berlin))


def test_a_hold_is_told_without_who_demands_it(berlin: Any) -> None:
    ada = User.objects.create_user("ada")
    hold = LegalHold(
        customer=berlin, holder="A COURT", basis="SECRET CASE", review_on=date(2026, 6, 1), placed_by=ada.username, placed_at=NOW
    )
    hold.save()
    said = document(berlin)
    held = next(one for one in said["sections"] if one["section"] == "holds")
    assert held["figures"] == {"open now": 1} and held["rows"][0][2] == "open"
    assert "SECRET" not in json.dumps(said) and "COURT" not in json.dumps(said)
    assert next(one for one in said["sections"] if one["section"] == "kept")["figures"]["data as it is now is kept until"] == "no date"


def test_backups_are_listed_with_their_day_and_reason(berlin: Any) -> None:
    a_set(berlin, date(2026, 3, 6))
    (row,) = section(berlin, "sets")["rows"]
    assert row[0] == "6 March 2026" and "CE" in row[1] and "28 days" in row[2]


def test_content_is_counted_and_never_quoted_and_nothing_of_another(berlin: Any, theirs: Any) -> None:
    DataRecord.objects.create(customer=berlin, kind="part", reference="OURS", data={"a": "OURS"})
    text = json.dumps(document(berlin, (date(2026, 3, 1), date(2030, 1, 1))))
    assert "OURS" not in text and "THEIRS" not in text and "acme2" not in text and str(berlin.pk) not in text
    found = section(berlin, "content")
    assert ["Data records", 1, 0] in found["rows"]


def test_a_customer_without_anything_has_a_statement(acting: Any, db: None) -> None:
    from subscriptions.onboarding import add_customer

    bare = add_customer("bare", "Bare", start=date(2026, 1, 1))
    said = document(bare)
    assert all(one["rows"] or one["empty"] or one["figures"] or one["sentences"] for one in said["sections"])


def test_the_json_is_signed_and_paper_and_csv_name_it(berlin: Any) -> None:
    a_set(berlin, date(2026, 3, 6))
    found = of(berlin)
    assert verify(json.loads(found.text), SIGNER.fingerprint)["customer"]["name"] == "Acme Bicycles"
    with pytest.raises(BadSignature):
        verify(json.loads(found.text.replace("Acme", "Acne")), SIGNER.fingerprint)
    pdf = statement_pdf.printed(found)
    assert pdf == statement_pdf.printed(found) and found.sha256.encode() in pdf
    rows = list(csv.reader(io.StringIO(b"".join(statement_csv.pieces(found)).decode("utf-8-sig"), newline="")))
    assert ["statement", "", "", "SHA-256 of the JSON", found.sha256] in rows
    for one in found.document["sections"]:
        for number, row in enumerate(one["rows"], 1):
            told = [line[4] for line in rows if line[0] == one["section"] and line[2] == str(number)]
            assert told == [str(cell) for cell in row]


def test_making_one_is_an_event_and_an_export(berlin: Any) -> None:
    file = io.BytesIO()
    made = making.make_statement(
        berlin, Days(berlin.zone, *MARCH), Kind.JSON, file, by=None, signer=SIGNER, now=NOW, reason="asked by the customer", sample=True
    )
    made.hand_over(making.DOWNLOADED, NOW, lambda: None, kept=False)
    export, event = Export.objects.get(customer=berlin), Event.objects.get(event="statement:made")
    assert export.removed_at == NOW and export.reason == "asked by the customer" and "customer statement" in export.what
    assert event.facts == {"kind": "json", "sha256": export.sha256} and json.loads(file.getvalue())["sample"] is True
