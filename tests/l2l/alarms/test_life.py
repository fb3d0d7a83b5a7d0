"""An alarm's whole life: raised once, told once, worse once, over once; nothing lost, whatever is down or killed (P13)."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from django.core import mail as outbox

import audit
from audit.events import Event as Kind
from audit.findings import Kind as Finding
from audit.findings import close_as_mended, open_finding
from audit.models import Alarm, ControlState, Event, Telling
from l2l.alarms import telling
from l2l.alarms.deciding import SETTLED
from l2l.schedules import SCHEDULES
from l2l.tasks import look_at_alarms
from tests.l2l.alarms.conftest import BROKEN, KEPT, RISK, Minutes, Receiver

SETTLING = int(SETTLED.total_seconds() // 60)


@pytest.fixture(autouse=True)
def mailed(settings: Any) -> None:
    settings.EMAIL_HOST, settings.DEFAULT_FROM_EMAIL = "mail.example.org", "L2L <l2l@example.org>"
    settings.L2L_ALARMS_TO, settings.L2L_ADDRESS = ["ops@example.org", "boss@example.org"], "https://l2l.example.org"


def subjects() -> list[str]:
    return [one.subject for one in outbox.outbox]


def told() -> list[dict[str, Any]]:
    return [one.facts for one in Event.objects.filter(event=Kind.ALARM_TOLD.value).order_by("number")]


def test_a_whole_life(minutes: Minutes) -> None:
    minutes.stand("nights", KEPT)
    assert minutes.look() == {} and not Alarm.objects.exists()
    minutes.stand("nights", RISK)
    assert minutes.look() == {"mail": ""} and subjects() == ["L2L: 1 at risk"]
    assert minutes.pass_by(3) == [{}] * 3
    minutes.stand("nights", BROKEN, figure="9 of 120 customers")
    minutes.look()
    assert subjects()[1:] == ["L2L: 1 broken"] and Alarm.objects.get().worse_at == minutes.now
    minutes.pass_by(5)
    minutes.stand("nights", KEPT, figure="0 of 120 customers", why="", todo="")
    minutes.pass_by(SETTLING - 1)
    assert len(subjects()) == 2
    minutes.pass_by(2)
    assert subjects()[2:] == ["L2L: 1 over"]
    minutes.pass_by(5)
    assert len(subjects()) == 3
    alarm = Alarm.objects.get()
    assert alarm.ended_at and alarm.mailed_at and alarm.end_mailed_at and alarm.trouble == ""
    assert told() == [
        {"alarms": 1, "ended": 0, "way": "mail"},
        {"alarms": 1, "ended": 0, "way": "mail"},
        {"alarms": 0, "ended": 1, "way": "mail"},
    ]
    minutes.stand("nights", BROKEN)
    minutes.look()
    assert Alarm.objects.count() == 2


def test_the_message_says_what_it_is_and_what_to_do(minutes: Minutes) -> None:
    minutes.stand("nights", BROKEN)
    minutes.stand("copies", RISK, figure="12 copies at offsite")
    minutes.look()
    (one,) = outbox.outbox
    assert one.to == ["ops@example.org", "boss@example.org"] and one.subject == "L2L: 1 broken, 1 at risk"
    for words in (
        "BROKEN  P1: Every night a full backup of every customer's data is made.",
        "Last night: 3 of 120 customers. See c1.",
        "Threshold: Broken when any.",
        "Since 2 Mar 2026, 12:00 UTC.",
        "What to do: Mend it.",
        "https://l2l.example.org/l2l_backups/run/?x=1",
        "AT RISK  P3: Copies are kept in several locations",
    ):
        assert words in one.body
    assert one.body.index("BROKEN") < one.body.index("AT RISK")


def test_what_is_broken_is_told_again_every_day_and_what_is_at_risk_is_not(minutes: Minutes) -> None:
    minutes.stand("nights", BROKEN)
    minutes.stand("copies", RISK)
    minutes.look()
    for _ in range(50):
        minutes.forward(60)
        minutes.look()
    assert subjects()[1:] == ["L2L: 1 broken"] * 2
    assert "BROKEN, STILL  P1" in outbox.outbox[1].body and "P3" not in outbox.outbox[1].body


def test_what_flaps_is_told_once(minutes: Minutes) -> None:
    for turn in range(30):
        minutes.stand("nights", KEPT if turn % 3 else BROKEN)
        minutes.look()
        minutes.forward()
    assert subjects() == ["L2L: 1 broken"]


def test_all_of_a_minute_is_one_message(minutes: Minutes) -> None:
    minutes.stand("nights", BROKEN)
    minutes.stand("copies", BROKEN)
    minutes.look()
    assert subjects() == ["L2L: 2 broken"]


def test_a_broken_control_and_its_finding_are_one_alarm_and_a_missing_key_has_its_own(minutes: Minutes, acme: Any) -> None:
    minutes.stand("nights", BROKEN)
    open_finding(Finding.CONTROL_BROKEN, subject="control:nights", customer=None, text="it broke", now=minutes.now)
    open_finding(Finding.KEY_MISSING, subject=acme, customer=acme.pk, text="Acme Bicycles lacks its key", now=minutes.now)
    minutes.look()
    assert {one.subject for one in Alarm.objects.all()} == {"control:nights", "finding:key-missing"}
    (one,) = outbox.outbox
    assert "A customer's key is missing: 1 open" in one.body and "Acme" not in one.body
    assert "/l2l_audit/finding/?standing=open&kind=key-missing" in one.body
    with audit.acting("worker"):
        close_as_mended(Finding.KEY_MISSING, subject=acme, resolution="found", now=minutes.now)
    minutes.pass_by(1)
    assert subjects()[1:] == ["L2L: 1 over"]


def test_controls_that_nobody_measures_any_more_are_an_alarm(minutes: Minutes) -> None:
    minutes.stand("nights", KEPT)
    minutes.look()
    minutes.now += timedelta(minutes=6)
    minutes.look()
    assert "No control was measured since 2 Mar 2026, 12:00 UTC" in outbox.outbox[0].body
    minutes.pass_by(1)
    assert subjects() == ["L2L: 1 at risk", "L2L: 1 over"]


def test_without_a_server_or_an_address_it_is_written_out(minutes: Minutes, settings: Any, capsys: Any) -> None:
    settings.EMAIL_HOST = ""
    minutes.stand("nights", BROKEN)
    assert minutes.look() == {"mail": ""} and not outbox.outbox
    assert "Subject: L2L: 1 broken" in capsys.readouterr().out
    assert told() == [{"alarms": 1, "ended": 0, "way": "console"}]
    settings.EMAIL_HOST, settings.L2L_ALARMS_TO = "mail.example.org", []
    minutes.stand("copies", BROKEN)
    minutes.look()
    assert "Copies owed" in capsys.readouterr().out and not outbox.outbox


# What goes wrong.


class Down:
    """A mail server that fails so often."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, times: int, problem: Exception | None = None) -> None:
        self.tries, problem = 0, problem or ConnectionRefusedError("Connection refused")
        send = telling.staff_mail.send

        def failing(*args: Any, **kwargs: Any) -> None:
            self.tries += 1
            if self.tries <= times:
                raise problem
            send(*args, **kwargs)

        monkeypatch.setattr(telling.staff_mail, "send", failing)


def test_mail_that_is_down_is_tried_with_growing_waits_and_loses_nothing(minutes: Minutes, monkeypatch: pytest.MonkeyPatch) -> None:
    down = Down(monkeypatch, 4)
    minutes.stand("nights", BROKEN)
    minutes.look()
    alarm = Alarm.objects.get()
    assert (alarm.mailed_at, alarm.attempts) == (None, 1) and alarm.trouble == "by mail: Connection refused"
    minutes.pass_by(8)  # after 1, 2 and 5 minutes
    assert down.tries == 4 and Telling.objects.get(pk="mail").attempts == 4
    minutes.stand("copies", BROKEN)
    minutes.pass_by(14)
    assert down.tries == 4
    minutes.pass_by(2)
    assert subjects() == ["L2L: 2 broken"]
    assert {one.trouble for one in Alarm.objects.all()} == {""} and Telling.objects.get(pk="mail").trouble == ""


def test_what_came_and_went_while_mail_was_down_is_told_as_over(minutes: Minutes, monkeypatch: pytest.MonkeyPatch) -> None:
    Down(monkeypatch, 5)
    minutes.stand("nights", BROKEN)
    minutes.look()
    minutes.forward()
    minutes.stand("nights", KEPT)
    minutes.pass_by(80)
    assert subjects() == ["L2L: 1 over"] and "it stood since 2 Mar 2026, 12:00 UTC" in outbox.outbox[0].body


def test_a_way_that_is_down_holds_up_no_other(minutes: Minutes, monkeypatch: pytest.MonkeyPatch, receiver: Receiver, settings: Any) -> None:
    settings.L2L_ALARMS_WEBHOOK = receiver.url
    Down(monkeypatch, 1)
    minutes.stand("nights", BROKEN)
    assert minutes.look() == {"mail": "Connection refused", "webhook": ""}
    alarm = Alarm.objects.get()
    assert alarm.posted_at and alarm.mailed_at is None and alarm.trouble == "by mail: Connection refused"
    receiver.answers = [500]
    minutes.stand("copies", BROKEN)
    assert minutes.pass_by(1) == [{"mail": "", "webhook": "The webhook answered 500."}]
    assert len(receiver.got) == 2 and subjects() == ["L2L: 2 broken"]
    assert Alarm.objects.get(subject="control:copies").trouble == "by webhook: The webhook answered 500."


def test_killed_between_sending_and_recording_it_is_told_once_more_with_the_same_id(
    minutes: Minutes, monkeypatch: pytest.MonkeyPatch, receiver: Receiver, settings: Any
) -> None:
    settings.L2L_ALARMS_WEBHOOK = receiver.url
    minutes.stand("nights", BROKEN)
    with monkeypatch.context() as patched:
        patched.setattr(telling, "_recorded", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            minutes.look()
    assert Alarm.objects.get().posted_at is None
    minutes.pass_by(10)
    assert len(receiver.got) == 2 and len({one["id"] for one in receiver.documents}) == 1
    assert len({one.extra_headers["Message-ID"] for one in outbox.outbox}) == 1 and len(outbox.outbox) == 2


def test_killed_before_sending_it_is_told(minutes: Minutes, monkeypatch: pytest.MonkeyPatch) -> None:
    minutes.stand("nights", BROKEN)
    Down(monkeypatch, 1, KeyError("a fault of ours"))
    with pytest.raises(KeyError):
        minutes.look()
    assert Alarm.objects.get().trouble == "by mail: KeyError"
    minutes.pass_by(10)
    assert subjects() == ["L2L: 1 broken"]


def test_what_gets_worse_while_it_is_told_is_told_again(minutes: Minutes, monkeypatch: pytest.MonkeyPatch) -> None:
    minutes.stand("nights", RISK)
    recorded = telling._recorded

    def worse_meanwhile(*about: Any) -> str:
        Alarm.objects.update(state=BROKEN.value)
        return recorded(*about)

    with monkeypatch.context() as patched:
        patched.setattr(telling, "_recorded", worse_meanwhile)
        minutes.look()
    minutes.stand("nights", BROKEN)
    minutes.pass_by(1)
    assert subjects() == ["L2L: 1 at risk", "L2L: 1 broken"]


def test_a_webhook_that_is_set_later_is_told_what_stands_and_no_old_stories(minutes: Minutes, receiver: Receiver, settings: Any) -> None:
    minutes.stand("nights", BROKEN)
    minutes.look()
    minutes.stand("nights", KEPT)
    minutes.pass_by(SETTLING + 1)
    minutes.stand("copies", BROKEN)
    minutes.pass_by(1)
    settings.L2L_ALARMS_WEBHOOK = receiver.url
    minutes.pass_by(2)
    (document,) = receiver.documents
    assert [one["subject"] for one in document["alarms"]] == ["control:copies"] and document["over"] == []


def test_when_nothing_is_to_be_told_nothing_is_written(minutes: Minutes, django_assert_max_num_queries: Any) -> None:
    minutes.stand("nights", KEPT)
    minutes.look()
    with django_assert_max_num_queries(9):
        minutes.look()
    assert not Telling.objects.filter(way="mail").exists()


def test_the_task_runs_every_minute(db: None) -> None:
    assert look_at_alarms() == "0 changed"
    (planned,) = [one for one in SCHEDULES if one.task == "l2l.tasks.look_at_alarms"]
    assert (planned.minutes, planned.cluster) == (1, "worker")


def test_a_control_that_is_registered_no_more_ends_its_alarm(minutes: Minutes) -> None:
    minutes.stand("nights", BROKEN)
    minutes.look()
    ControlState.objects.all().delete()
    minutes.pass_by(1)
    assert subjects()[1:] == ["L2L: 1 over"] and date(2026, 3, 2) == Alarm.objects.get().raised_at.date()
