"""The webhook: signed, over TLS or on this machine, to where it was set and nowhere else, within seconds (P13)."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import pytest

from l2l.alarms import webhook
from l2l.alarms.webhook import NotDelivered, post, problem_with
from tests.l2l.alarms.conftest import BROKEN, Minutes, Receiver

SECRET = "s" * 40


def test_what_arrives_is_signed_and_says_everything(minutes: Minutes, receiver: Receiver, settings: Any) -> None:
    settings.L2L_ALARMS_WEBHOOK, settings.L2L_ALARMS_WEBHOOK_SECRET = f"{receiver.url}?team=ops", SECRET
    settings.L2L_ADDRESS = "https://l2l.example.org/"
    minutes.stand("nights", BROKEN)
    minutes.look()
    ((headers, body),) = receiver.got
    assert headers["X-L2L-Signature"] == "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    document = json.loads(body)
    assert headers["X-L2L-Id"] == document["id"] and document["format"] == "l2l-alarms-1"
    assert document["sent_at"] == "2026-03-02T12:00:00+00:00" and document["text"] == "L2L: 1 broken"
    (one,) = document["alarms"]
    assert (one["subject"], one["state"], one["promise"]) == ("control:nights", "broken", "P1")
    assert one["link"] == "https://l2l.example.org/l2l_backups/run/?x=1" and one["todo"] == "Mend it."


def test_without_a_secret_it_is_not_signed(receiver: Receiver) -> None:
    post(receiver.url, "", b"{}", "1")
    assert "X-L2L-Signature" not in receiver.got[0][0]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_no_redirect_is_followed(receiver: Receiver, status: int) -> None:
    receiver.answers = [status]
    with pytest.raises(NotDelivered, match=f"answered {status}: redirects are not followed"):
        post(receiver.url, SECRET, b"{}", "1")
    assert len(receiver.got) == 1


@pytest.mark.parametrize("status", [400, 404, 500, 503])
def test_anything_but_success_is_no_delivery(receiver: Receiver, status: int) -> None:
    receiver.answers = [status]
    with pytest.raises(NotDelivered, match=str(status)):
        post(receiver.url, SECRET, b"{}", "1")


def test_one_that_does_not_answer_is_given_up(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "STEP_SECONDS", 0.2)
    receiver.waits = 30
    with pytest.raises(NotDelivered, match="in time"):
        post(receiver.url, SECRET, b"{}", "1")


def test_one_that_answers_a_byte_at_a_time_is_given_up(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "ALL_SECONDS", 0.3)
    receiver.drips = True
    with pytest.raises(NotDelivered, match="in time"):
        post(receiver.url, SECRET, b"{}", "1")


def test_nobody_there_is_said_without_the_address(receiver: Receiver) -> None:
    with pytest.raises(NotDelivered) as raised:
        post("http://127.0.0.1:9/secret-in-the-path", SECRET, b"{}", "1")
    assert "Connection refused" in str(raised.value) and "secret" not in str(raised.value) and raised.value.__suppress_context__


@pytest.mark.parametrize(
    ("url", "wrong"),
    [
        ("https://alerts.example.org/x", ""),
        ("http://localhost:8000/x", ""),
        ("http://127.0.0.1/x", ""),
        ("http://[::1]:80/", ""),
        ("http://alerts.example.org/x", "not https"),
        ("http://10.0.0.1/x", "not https"),
        ("http://localhost.example.org/", "not https"),
        ("ftp://alerts.example.org/", "no https"),
        ("alerts.example.org", "no https"),
        ("https://", "no https"),
        ("https://[::1", "no https"),
        ("https://alerts.example.org:99999/", "no https"),
        ("https://alerts.example.org:x/", "no https"),
        ("https://alerts.example.org/Ü", "no https"),
        ("https://me:secret@alerts.example.org/", "name or a password"),
    ],
)
def test_only_tls_or_this_machine(url: str, wrong: str) -> None:
    assert wrong in problem_with(url) and bool(wrong) == bool(problem_with(url))
    if wrong:
        with pytest.raises(NotDelivered, match="L2L_ALARMS_WEBHOOK"):
            post(url, "", b"{}", "1")
