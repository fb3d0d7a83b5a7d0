"""The weekly digest, and the signed heads that leave the house with it (P8, P13)."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.core import mail as outbox

import audit
from audit import clock
from audit.anchors import anchoring
from audit.anchors.files import anchors_in
from audit.events import Event as Kind
from audit.events import record
from audit.findings import Kind as Finding
from audit.findings import open_finding
from audit.models import Alarm, ControlState, Event, Telling
from audit.signing import Signer
from backups.models import Location, Run
from l2l import staff_mail
from l2l.digest import figures, sending
from l2l.tasks import send_digest
from tests.l2l.alarms.conftest import BROKEN, KEPT, RISK, Minutes

SIGNER = Signer(b"k" * 32)
MONDAY = datetime(2026, 3, 2, 7, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def mailed(db: None, settings: Any) -> None:
    """Mail goes out, and something was measured."""
    ControlState.objects.create(control="gone", state="kept", figure="f", since=MONDAY, measured_at=MONDAY)
    settings.EMAIL_HOST, settings.DEFAULT_FROM_EMAIL = "mail.example.org", "l2l@example.org"
    settings.L2L_DIGEST_TO, settings.L2L_AUDITOR_ADDRESS = ["boss@example.org"], "auditor@example.com"


def day(number: int) -> datetime:
    """The day's anchor is made, and whatever is due is sent."""
    now = MONDAY + number * DAY
    anchoring.make(SIGNER, day=now.date(), timeline=1, now=now)
    sent(now)
    return now


def sent(now: datetime) -> dict[str, str]:
    with audit.acting("worker", source="test"):
        return sending.send_due(now)


def to(address: str) -> list[Any]:
    return [one for one in outbox.outbox if one.to == [address]]


def test_a_digest_a_week_and_the_heads_of_every_day_to_somebody_outside(db: None) -> None:
    for number in range(16):
        day(number)
    assert len(to("boss@example.org")) == len(to("auditor@example.com")) == 3
    first, second, third = to("auditor@example.com")
    days = [[one["day"] for one in json.loads(mail.attachments[0][1])] for mail in (first, second, third)]
    assert days[0] == ["2026-03-02"] and days[1] == [f"2026-03-{number:02}" for number in range(2, 10)]
    assert days[2][0] == "2026-03-09" and days[2][-1] == "2026-03-16"  # no day between two mails is without its head
    newest = anchors_in(third.body.encode())
    assert [one["day"] for one in newest] == ["2026-03-16"] and not list(anchoring.unlike(newest[0], SIGNER.fingerprint))
    assert anchors_in(third.message().as_bytes()) == json.loads(third.attachments[0][1])
    facts = [one.facts for one in Event.objects.filter(event=Kind.ANCHORED.value).order_by("number")]
    assert facts[-1] == {"day": "2026-03-16", "addresses": 1, "root": newest[0]["root"]}
    digests = [one.facts for one in Event.objects.filter(event=Kind.DIGEST_SENT.value).order_by("number")]
    assert [one["day"] for one in digests] == ["2026-03-02", "2026-03-09", "2026-03-16"]


def test_weeks_that_were_missed_are_made_up_for_once(db: None) -> None:
    day(0)
    assert sent(MONDAY + 30 * DAY)["digest"] == "" and sent(MONDAY + 31 * DAY) == {}
    assert len(to("boss@example.org")) == 2
    assert "2 Mar 2026, 07:00 UTC to 1 Apr 2026, 07:00 UTC" in to("boss@example.org")[1].body


def test_the_heads_wait_for_the_days_own(db: None) -> None:
    assert sent(MONDAY) == {}
    day(0)
    assert len(to("auditor@example.com")) == len(to("boss@example.org")) == 1
    assert sent(MONDAY + 7 * DAY) == {"digest": ""}  # whatever is lacking, management hears of the week
    day(7)
    assert len(to("auditor@example.com")) == 2


def test_the_first_digest_waits_until_there_is_something_to_tell(db: None) -> None:
    ControlState.objects.all().delete()
    day(0)
    assert len(to("auditor@example.com")) == 1 and not to("boss@example.org")


def test_what_cannot_be_sent_is_tried_again_and_the_other_goes_out(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    send, tries = staff_mail.send, []

    def refusing(addresses: Any, *rest: Any) -> None:
        tries.append(tuple(addresses))
        if addresses == ("boss@example.org",) and len(tries) < 3:
            raise OSError("mailbox full")
        send(addresses, *rest)

    monkeypatch.setattr(staff_mail, "send", refusing)
    day(0)
    assert Telling.objects.get(pk="digest").trouble == "mailbox full" and len(to("auditor@example.com")) == 1
    assert sent(MONDAY) == {}  # not at once again
    assert sent(MONDAY + timedelta(minutes=10)) == {"digest": ""}
    assert len(to("boss@example.org")) == 1 and Telling.objects.get(pk="digest").trouble == ""


def test_without_somebody_outside_no_heads_are_called_sent(db: None, settings: Any, capsys: Any) -> None:
    settings.L2L_AUDITOR_ADDRESS = ""
    day(0)
    settings.L2L_AUDITOR_ADDRESS, settings.EMAIL_HOST = "auditor@example.com", ""
    day(7)
    assert not Event.objects.filter(event=Kind.ANCHORED.value).exists()
    assert "Subject: L2L week" in capsys.readouterr().out  # the digest is in the log


def test_what_it_says_when_all_is_well(minutes: Minutes) -> None:
    minutes.stand("nights", KEPT, figure="120 of 120 customers", why="", todo="")
    minutes.stand("copies", KEPT, figure="0 copies owed", why="", todo="")
    found = figures.read(minutes.now - 7 * DAY, minutes.now)
    text = sending.text_of(found, [], "")
    assert "No promise is broken; not all are kept for certain." in text  # of most there is no control here
    assert "P1  KEPT         Every night a full backup" in text and "Last night: 120 of 120 customers (kept since" in text
    assert "P2  NOT MEASURED" in text and "None.\n" in text and "0 open, 0 overdue" in text


def test_what_it_says_when_it_is_not(minutes: Minutes, acme: Any) -> None:
    minutes.stand("nights", BROKEN)
    minutes.stand("copies", RISK, figure="12 copies at offsite")
    begins = minutes.now - 7 * DAY
    for _ in range(2):
        record(Kind.CONTROL_BROKEN, subject="control:nights", facts={"control": "nights", "value": 3})
    Alarm.objects.create(subject="control:nights", state="broken", text="t", raised_at=minutes.now)
    open_finding(Finding.KEY_MISSING, subject=acme, customer=acme.pk, text="Acme Bicycles", now=minutes.now)
    times = dict.fromkeys(("due_at", "ends_at", "next_try_at"), minutes.now)
    for state in ("done", "done", "failed"):
        Run.objects.create(stream_id=acme.pk, night=date(2026, 2, 25 + Run.objects.count()), state=state, policy=1, **times)
    Location.objects.create(name="offsite", url="file:///x", offsite=True, trouble="secret://address is away")
    text = sending.text_of(figures.read(begins, minutes.now), [], "https://l2l.example.org")
    for words in (
        "Promises are broken: P1.",
        "12:00 UTC, 1 customer.",
        "P1  BROKEN",
        "                   See c1.",
        "P3  AT RISK",
        "P1 Last night: 2 times",
        "Nightly backups: 3 owed: 2 filled, 1 failed",
        "a customer's key is missing: 1, the first due on",
        "Alarms that stand: 1.",
        "offsite (offsite): nothing read again yet; OUT OF REACH.",
        "https://l2l.example.org",
        "1 finding is due within 7 days.",
    ):
        assert words in text, words
    assert "Acme" not in text and "secret" not in text
    assert sending.subject_of(figures.read(begins, minutes.now)).startswith("L2L week: 1 broken, 1 at risk, 12 not measured")


def test_the_questions_do_not_grow_with_the_customers(minutes: Minutes, acme: Any, acme2: Any, django_assert_max_num_queries: Any) -> None:
    with django_assert_max_num_queries(30):
        figures.read(minutes.now - 7 * DAY, minutes.now)


def test_the_task(db: None, settings: Any) -> None:
    settings.L2L_AUDITOR_ADDRESS = ""
    assert send_digest() == "none is due"
    anchoring.make(SIGNER, day=clock.now().date(), timeline=1, now=clock.now())
    assert send_digest() == "digest: sent" and send_digest() == "none is due"
