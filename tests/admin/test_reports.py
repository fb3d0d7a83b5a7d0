"""The pages from which a statement and an audit trail are taken: asked by a POST, recorded, and only of one's own customers (P5, P8)."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from audit.models import Event
from backups import keyfiles
from backups.policies import ensure_first_policy
from l2l.admin import reports
from subscriptions.models import Export
from tests.admin.conftest import Belongings, url

As = Callable[[str], Client]
PAGES = ("customer_statement", "customer_audit_trail")


@pytest.fixture(autouse=True)
def installed(settings: Any, tmp_path: Path, db: None) -> None:
    settings.L2L_EXPORTS, settings.L2L_KEYS = tmp_path / "exports", tmp_path / "keys"
    keyfiles.make_key_files(settings.L2L_KEYS, "2026-01-01")


def taken(client: Client, page: str, of: Belongings, **asked: Any) -> Any:
    """The answer to the form."""
    return client.post(url(page, of.customer.pk), {"reason": "for the auditor", "kind": "csv", **asked})


def rows_in(answer: Any) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(answer.getvalue().decode("utf-8-sig"), newline="")))


def test_the_audit_trail_is_a_download_that_is_recorded(as_: As, own: Belongings, settings: Any) -> None:
    before = Export.objects.count()
    answer = taken(as_("ada"), "customer_audit_trail", own)
    assert answer.status_code == 200 and answer["Content-Disposition"] == 'attachment; filename="audit-trail-acme.csv"'
    assert answer["X-Content-Type-Options"] == "nosniff" and answer["Cache-Control"] == "private, no-store"
    rows = rows_in(answer)
    assert {row["model"] for row in rows} == {"data record", "upload", "link"}
    export, event = Export.objects.order_by("pk").last(), Event.objects.get(event="report:made")
    assert Export.objects.count() == before + 1 and export is not None
    assert (export.by, export.reason, export.path) == ("ada", "for the auditor", "downloaded") and export.removed_at
    assert event.actor == "ada" and event.facts["rows"] == 3 and event.facts["sha256"] == export.sha256
    assert list(settings.L2L_EXPORTS.iterdir()) == []


def test_one_item_of_one_kind(as_: As, own: Belongings) -> None:
    label = "l2l_subscriptions.datarecord"
    rows = rows_in(taken(as_("ada"), "customer_audit_trail", own, model=label, item="P-1"))
    assert {row["item"] for row in rows} == {"P-1"}
    answer = taken(as_("ada"), "customer_audit_trail", own, model=label, item="P-2")
    assert "There is and was no data record" in answer.content.decode()
    answer = taken(as_("ada"), "customer_audit_trail", own, item="P-1")
    assert "Choose what kind of item it is" in answer.content.decode()


def test_the_statement_as_paper_and_as_json(as_: As, own: Belongings) -> None:
    ensure_first_policy()
    for kind, begins in (("pdf", b"%PDF-"), ("json", b"{"), ("csv", b"\xef\xbb\xbf")):
        answer = taken(as_("ada"), "customer_statement", own, kind=kind, first="2026-01-01", last="2026-12-31")
        assert answer.getvalue().startswith(begins), kind
        assert answer["Content-Disposition"].endswith(f'"statement-acme-2026-01-01-2026-12-31.{kind}"')
    assert Event.objects.filter(event="statement:made", customer=own.customer.pk).count() == 3


@pytest.mark.parametrize("page", PAGES)
def test_nothing_of_somebody_elses_customer(as_: As, own: Belongings, foreign: Belongings, page: str) -> None:
    before = Export.objects.count()
    client = as_("ada")
    assert client.get(url(page, foreign.customer.pk)).status_code == 404
    assert taken(client, page, foreign).status_code == 404
    assert taken(as_("nobody"), page, own).status_code == 403
    assert Export.objects.count() == before and not Event.objects.filter(event__in=("report:made", "statement:made")).exists()


@pytest.mark.parametrize("page", PAGES)
def test_looking_makes_nothing_and_a_reason_is_needed(as_: As, own: Belongings, page: str) -> None:
    before = Export.objects.count()
    client = as_("ada")
    assert client.get(url(page, own.customer.pk)).status_code == 200
    assert "This field is required" in taken(client, page, own, reason=" ").content.decode()
    backwards = taken(client, page, own, first="2026-02-01", last="2026-01-01").content.decode()
    assert "The period ends (2026-01-01) before it begins" in backwards
    assert Export.objects.count() == before


def test_kinds_that_the_person_may_not_see_are_left_out(as_: As, own: Belongings, people: dict[str, User]) -> None:
    client = as_("nobody")
    names = ("view_customer", "view_all_customers", "view_link")
    people["nobody"].user_permissions.set(Permission.objects.filter(codename__in=names, content_type__app_label="l2l_subscriptions"))
    assert {row["model"] for row in rows_in(taken(client, "customer_audit_trail", own))} == {"link"}
    answer = taken(client, "customer_audit_trail", own, model="l2l_subscriptions.datarecord", item="P-1")
    assert "Select a valid choice" in answer.content.decode()


def test_what_is_too_long_is_refused_with_a_way(as_: As, own: Belongings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "MOST_HERE", 2)
    answer = taken(as_("ada"), "customer_audit_trail", own)
    assert "manage.py audit_trail acme --to-file FILE" in answer.content.decode()
    assert not Event.objects.filter(event="report:made").exists()


def test_the_customers_page_leads_there(as_: As, own: Belongings) -> None:
    page = as_("ada").get(url("customer_overview", own.customer.pk)).content.decode()
    assert all(url(one, own.customer.pk) in page for one in PAGES)
