"""Reminders, escalation and alarms: each once, written down, never lost to a mail server (P11, P12)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User

from audit.models import Event, Finding
from subscriptions.ending import notices, returns
from subscriptions.models import DataReturn, EndingNotice, Receipt
from tests.subscriptions.ending.conftest import DAY, NOW


class Post:
    def __init__(self, trouble: str = "") -> None:
        self.sent: list[tuple[list[str], int]] = []
        self.trouble = trouble

    def __call__(self, addresses: list[str], package: DataReturn, day: int) -> None:
        if self.trouble:
            raise OSError(self.trouble)
        self.sent.append((addresses, day))


@pytest.fixture
def handed_over(package: DataReturn) -> DataReturn:
    subscription = package.request.customer.subscriptions.get()
    subscription.notice_contacts = "ann@acme.example\nno address\nbob@acme.example\n"
    subscription.save()
    returns.delivered(package, way="link", now=NOW)
    return DataReturn.objects.get(pk=package.pk)


def told(*kinds: str) -> list[tuple[str, int]]:
    return list(EndingNotice.objects.filter(kind__in=kinds).order_by("pk").values_list("kind", "day"))


def test_the_customer_is_reminded_on_each_day_once(handed_over: DataReturn) -> None:
    post = Post()
    for day in (2, 3, 3, 7, 14, 21, 22):
        notices.look(post, NOW + day * DAY)
    assert post.sent == [(["ann@acme.example", "bob@acme.example"], day) for day in (3, 7, 14, 21)]
    assert told("reminder") == [("reminder", day) for day in (3, 7, 14, 21)]
    assert [one["addresses"] for one in Event.objects.filter(event="return:reminded").values_list("facts", flat=True)] == [2, 2, 2, 2]


def test_reminders_that_were_slept_through_come_as_one(handed_over: DataReturn) -> None:
    post = Post()
    notices.look(post, NOW + 15 * DAY)
    notices.look(post, NOW + 15 * DAY)
    assert [day for _, day in post.sent] == [14]


@pytest.mark.parametrize(("trouble", "said"), [("no route", "could not be sent: no route")])
def test_a_mail_server_that_refuses_loses_no_reminder(handed_over: DataReturn, trouble: str, said: str) -> None:
    notices.look(Post(trouble), NOW + 3 * DAY)
    assert said in EndingNotice.objects.get().trouble


def test_without_a_contact_it_says_what_to_do(package: DataReturn) -> None:
    post = Post()
    notices.look(post, NOW + 3 * DAY)
    assert post.sent == [] and "add an e-mail address" in EndingNotice.objects.get().trouble


def test_after_thirty_days_it_is_a_finding(handed_over: DataReturn) -> None:
    notices.look(Post(), NOW + 30 * DAY)
    notices.look(Post(), NOW + 31 * DAY)
    assert told("escalation") == [("escalation", 30)]
    assert Finding.objects.get().kind == "receipt-outstanding"


def test_alarms_count_down_and_overdue_stays(package: DataReturn, receive: Callable[..., Receipt], people: dict[str, User]) -> None:
    receive(package)
    post: Any = Post()
    for day in (10, 16, 16, 23, 27, 29, 31, 32):
        notices.look(post, NOW + day * DAY)
    assert told("alarm") == [("alarm", day) for day in (14, 7, 3, 1)]
    assert told("overdue") == [("overdue", 0)] and post.sent == []
    assert Finding.objects.get().kind == "destruction-late"
