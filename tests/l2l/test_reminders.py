"""Reminders of the receipt by mail, and what stands there when none can be sent (P11); ends that begin by the clock (P10)."""

from __future__ import annotations

import re
import uuid
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.core import mail as outbox
from django.test import Client

import audit
from audit import freezes
from l2l.tasks import look_at_ends
from subscriptions.ending import requests, returns
from subscriptions.models import Customer, DataReturn, DeletionRequest, EndingNotice
from subscriptions.tasks import open_ends


@pytest.fixture
def over(acme: Customer) -> Customer:
    subscription = acme.subscriptions.get()
    subscription.end, subscription.notice_contacts = date.today() - timedelta(days=5), ""
    subscription.save_terms()
    subscription.notice_contacts = "mia@example.com\nit@example.com"
    subscription.save()
    return acme


@pytest.fixture
def package(over: Customer) -> DataReturn:
    """Made four days ago, fetched by nobody."""
    requests.open_due(datetime.now(UTC))
    ending, made_at = DeletionRequest.objects.get(), datetime.now(UTC) - timedelta(days=4)
    returns.begin(ending, now=datetime.now(UTC))
    freezes.freeze_free(ending.stream, reason=requests.freeze_reason(ending))
    returns.frozen(ending, at=made_at)
    about: dict[str, Any] = {"package_sha256": "ab" * 32, "manifest_sha256": "cd" * 32, "size": 1, "file_name": "a.zip", "path": "/x"}
    return returns.returned(ending, set_id=uuid.uuid4(), encrypted_to="", counts={}, now=made_at, **about)


def test_an_end_opens_and_the_return_begins_by_itself(over: Customer) -> None:
    assert open_ends() == "1 opened, 1 returns begun"
    ending = DeletionRequest.objects.get()
    assert (ending.state, ending.requested_by, ending.why) == ("returning", None, requests.BY_ITSELF)
    assert open_ends() == "0 opened, 0 returns begun"


def test_a_customer_with_a_running_subscription_is_left_alone(acme: Customer) -> None:
    assert open_ends() == "0 opened, 0 returns begun" and not DeletionRequest.objects.exists()


def test_the_reminder_goes_to_the_contacts_with_a_link_that_works(package: DataReturn, settings: Any) -> None:
    settings.EMAIL_HOST, settings.DEFAULT_FROM_EMAIL, settings.L2L_ADDRESS = (
        "mail.example.org",
        "l2l@example.org",
        "https://l2l.example.org",
    )
    assert look_at_ends() == "1 noted, 0 not sent"
    (sent,) = outbox.outbox
    assert sent.to == ["mia@example.com", "it@example.com"] and package.package_sha256 in sent.body and "nobody has fetched it" in sent.body
    found = re.search(r"https://l2l\.example\.org(/receipt/\S+)", sent.body)
    assert found and Client().get(found[1]).status_code == 200
    assert look_at_ends() == "0 noted, 0 not sent" and len(outbox.outbox) == 1


def test_without_a_mail_server_the_notice_says_to_remind_by_hand(package: DataReturn, settings: Any) -> None:
    settings.EMAIL_HOST = ""
    assert look_at_ends() == "1 noted, 1 not sent"
    notice = EndingNotice.objects.get()
    assert "No mail server is set" in notice.trouble and "by hand" in notice.trouble and not outbox.outbox


def test_a_name_with_a_line_break_makes_no_header(package: DataReturn, settings: Any) -> None:
    settings.EMAIL_HOST, settings.DEFAULT_FROM_EMAIL = "mail.example.org", "l2l@example.org"
    customer = package.request.customer
    with audit.acting("ada", reason="a test"):
        customer.name = "Acme\nBcc: everybody@example.com"
        customer.save()
    look_at_ends()
    (sent,) = outbox.outbox
    assert "\n" not in sent.subject and sent.to == ["mia@example.com", "it@example.com"]
