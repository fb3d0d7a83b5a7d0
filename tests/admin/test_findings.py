"""The pages of findings: who sees which, and what an operator does with one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

import audit
from audit import findings
from audit.findings import Kind
from audit.models import Finding
from tests.admin.conftest import Belongings


def open_one(customer: Any, text: str, subject: str) -> Finding:
    with audit.acting("worker", reason="a test", source="test"):
        return findings.open_finding(Kind.OBJECT_DAMAGED, subject=subject, customer=customer, text=text, now=datetime.now(UTC))


def page(client: Client, name: str, *arguments: Any) -> str:
    return client.get(reverse(f"admin:l2l_audit_finding_{name}", args=arguments), follow=True).content.decode()


def test_an_account_manager_sees_the_findings_of_their_customers_alone(
    as_: Callable[[str], Client], own: Belongings, foreign: Belongings
) -> None:
    open_one(own.customer.pk, "one of mine", "blob:1")
    open_one(foreign.customer.pk, "one of theirs", "blob:2")
    open_one(None, "one of nobody", "location:1")
    address = reverse("admin:l2l_audit_finding_changelist")
    shown = as_("ada").get(address).content.decode()
    assert "one of mine" in shown and "one of theirs" not in shown and "one of nobody" not in shown
    shown = as_("olga").get(address).content.decode()
    assert "one of mine" in shown and "one of theirs" in shown and "one of nobody" in shown


def test_the_front_page_has_a_line_for_each_kind_of_finding_however_many_there_are(
    as_: Callable[[str], Client], own: Belongings, foreign: Belongings, django_assert_num_queries: Any
) -> None:
    open_one(own.customer.pk, "one of mine", "blob:1")
    front, olga = reverse("admin:index"), as_("olga")
    olga.get(front)
    with CaptureQueriesContext(connection) as few:
        shown = olga.get(front).content.decode()
    assert shown.count("Stored object damaged:") == 1 and "one of mine" not in shown
    for number in range(2, 30):
        open_one(foreign.customer.pk, "one of theirs", f"blob:{number}")
    with django_assert_num_queries(len(few)):
        shown = olga.get(front).content.decode()
    assert shown.count("Stored object damaged:") == 1 and "29 findings" in shown and "nobody has taken any" in shown
    assert "28 findings" not in as_("ada").get(front).content.decode()


def test_an_operator_names_the_owner_and_closes_it(as_: Callable[[str], Client], own: Belongings, people: dict[str, User]) -> None:
    finding = open_one(own.customer.pk, "a blob is damaged", "blob:1")
    olga = as_("olga")
    assert "Nobody has taken it" in page(olga, "change", finding.pk)
    olga.post(reverse("admin:l2l_audit_finding_take", args=[finding.pk]), {"owner": people["olga"].pk})
    assert "olga clears it up" in page(olga, "change", finding.pk)
    refused = olga.post(reverse("admin:l2l_audit_finding_close", args=[finding.pk]), {"cause": "a disk", "resolution": ""})
    assert "This field is required" in refused.content.decode() and Finding.objects.get().is_open
    told = olga.post(
        reverse("admin:l2l_audit_finding_close", args=[finding.pk]), {"cause": "a disk", "resolution": "replaced"}, follow=True
    )
    assert "with its cause and what was done" in told.content.decode()
    closed = Finding.objects.get()
    assert (closed.closed_by, closed.cause, closed.resolution) == ("olga", "a disk", "replaced")
    assert olga.get(reverse("admin:l2l_audit_finding_close", args=[finding.pk])).status_code == 403
