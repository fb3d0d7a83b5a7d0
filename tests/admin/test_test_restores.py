"""The pages of test restores: what is owed, as a picture; a result and its signature; signing it off (P7)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

import audit
from backups import keyfiles
from backups.models import Location, TestCell, TestOrder, TestRestore
from backups.policies import ensure_first_policy
from backups.test_restores import documents
from backups.test_restores.documents import Trial
from backups.test_restores.judging import Check, Judgement
from tests.admin.conftest import Belongings

As = Callable[[str], Client]
NOW = datetime.now(UTC)
DAY = timedelta(days=1)


def url(name: str, *arguments: Any) -> str:
    return reverse(f"admin:l2l_backups_{name}", args=arguments)


@pytest.fixture
def policy(db: None) -> None:
    ensure_first_policy()


def a_cell(one: Belongings, tier: str = "nightly", **about: Any) -> TestCell:
    place = Location.objects.get(name="primary")
    about = {"since": NOW - 100 * DAY, "due_at": NOW - 10 * DAY} | about
    return TestCell.objects.create(stream_id=one.customer.pk, tier=tier, location=place, **about)


@pytest.fixture
def a_test(own: Belongings, settings: Any, tmp_path: Path) -> TestRestore:
    """Failed, and signed by our key."""
    settings.L2L_KEYS = tmp_path / "keys"
    keyfiles.make_key_files(settings.L2L_KEYS, "2026-03-01")
    judgement = Judgement(counts={"rows": 12})
    judgement.of(Check.PARENTS).looked_at = 7
    judgement.of(Check.PARENTS).tell("3 rows that line_id of factory.downtime names are not there", 3)
    measured = {"list_ms": 400, "restore_ms": 2600, "judge_ms": 90, "read_bytes": 2048, "content_bytes": 4096}
    test = TestRestore(stream=own.customer.pk, called=own.customer.code, set_id=own.backup_set.pk, tier="nightly", location="primary")
    test.night, test.seed, test.result, test.text = own.backup_set.night, "77", "failed", "the set: parents"
    test.asked_by, test.reason, test.software, test.begun_at, test.ended_at = "olga", "x", "1", NOW, NOW
    for name, value in measured.items():
        setattr(test, name, value)
    trial = Trial(judgement=judgement, found={"state_at": "2026-03-09T22:00:00+00:00"}, list_ms=400, restore_ms=2600)
    signer = keyfiles.signer(settings.L2L_KEYS)
    test.document = documents.signed(signer, test, scratch="sqlite", trial=trial, second=None, elsewhere=["offsite: whole"])
    with audit.acting("olga", reason="x", source="test"):
        test.save()
    return test


def test_the_picture_shows_what_is_owed_by_colour_and_to_whom(policy: None, as_: As, own: Belongings, foreign: Belongings) -> None:
    a_cell(own)
    a_cell(own, "weekly", tested_at=NOW - 3 * DAY, due_at=NOW + 87 * DAY)
    a_cell(foreign, failed=True, trouble="a blob is damaged at primary")
    page = as_("olga").get(url("testcell_changelist")).content.decode()
    assert "10 d late" in page and "3 d ago" in page and ">failed<" in page and "damaged at primary" in page
    mine = as_("ada").get(url("testcell_changelist"))
    assert own.customer.code in mine.content.decode() and f">{foreign.customer.code}<" not in mine.content.decode()
    assert (mine.context["debt"].late, mine.context["debt"].owed, mine.context["debt"].failed) == (1, 2, 0)
    assert "None of that kind" in as_("olga").get(url("testcell_changelist") + "?q=nobody").content.decode()
    late = as_("olga").get(url("testcell_changelist") + "?late=1")
    assert {row.name for row in late.context["rows"]} == {own.customer.code, foreign.customer.code}


def test_the_picture_takes_as_many_queries_for_many_as_for_one(
    policy: None, as_: As, own: Belongings, belongings: Callable[..., Belongings]
) -> None:
    a_cell(own)
    client, address = as_("olga"), url("testcell_changelist")
    client.get(address)
    counts = []
    for _ in range(2):
        with CaptureQueriesContext(connection) as asked:
            client.get(address)
        counts.append(len(asked))
        for number in range(4):
            a_cell(belongings(f"more{len(counts)}{number}"))
    assert counts[0] == counts[1]


def test_a_result_in_plain_words_with_the_state_of_its_signature(as_: As, a_test: TestRestore) -> None:
    page = as_("rita").get(url("testrestore_change", a_test.pk)).content.decode()
    assert "Foreign keys" in page and "line_id of factory.downtime" in page and "offsite: whole" in page
    assert "signed by our key" in page and "Sign off …" in page and "3.0 s" in page
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {TestRestore._meta.db_table} SET result = 'passed'")
    page = as_("rita").get(url("testrestore_change", a_test.pk)).content.decode()
    assert "not valid" in page and "the row says otherwise than its signed document: result" in page


def test_it_is_signed_off_by_somebody_else(as_: As, a_test: TestRestore, people: dict[str, User]) -> None:
    listed = as_("olga").get(url("testrestore_changelist")).content.decode()
    assert "1 wait to be signed off" in listed
    own_test = as_("olga").get(url("testrestore_change", a_test.pk)).content.decode()
    assert "You started this test" in own_test and "Sign off …" not in own_test
    refused = as_("olga").post(url("testrestore_sign_off", a_test.pk), {"comment": "fine"})
    assert "somebody else signs it off" in refused.content.decode() and not hasattr(TestRestore.objects.get(), "sign_off")
    told = as_("rita").post(url("testrestore_sign_off", a_test.pk), {"comment": "the line was removed by hand"}, follow=True)
    page = told.content.decode()
    assert "Signed off." in page and "the line was removed by hand" in page and "Sign off …" not in page


def test_an_operator_has_a_customer_tested_at_once(
    policy: None, as_: As, own: Belongings, settings: Any, tmp_path: Path, a_test: TestRestore
) -> None:
    settings.L2L_LOCATIONS, settings.L2L_OFFSITE = f"primary=file://{tmp_path / 'primary'}", []
    own.backup_set.snapshot_at = datetime.now(UTC)
    own.backup_set.save()
    told = as_("olga").post(url("testrestore_ask", own.customer.pk), {"reason": "before the audit"}, follow=True)
    assert "1 tests are waiting" in told.content.decode() and "At work and waiting" in told.content.decode()
    order = TestOrder.objects.get()
    assert (order.asked_by, order.reason, order.state, order.tier) == ("olga", "before the audit", "waiting", "nightly")
