"""Populations: what the auditor's statement chooses is what the list has, on both databases (P13)."""

from __future__ import annotations

import json
from datetime import UTC, datetime, time, timedelta
from io import BytesIO

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction

import audit
from audit import canonical, chain, findings
from audit.populations import Period, Population, all_populations, by_name
from audit.populations.sql import Listing, count, statement
from audit.promises import PROMISES
from audit.reviews import reviewing
from audit.reviews.quarters import quarter_of
from audit.reviews.rights import digest_of, documents, rights_now
from backups import runs
from backups.models import Run
from backups.policies import ensure_first_policy
from backups.vault import Vault
from subscriptions.models import Customer
from subscriptions.reconciling import reconcile
from tests.backups.conftest import Clock

pytestmark = [
    pytest.mark.filterwarnings("ignore:Exception ignored in. .function ServerCursorMixin:pytest.PytestUnraisableExceptionWarning"),
]


def period_around(now: datetime) -> Period:
    return Period(datetime(now.year, 1, 1, tzinfo=UTC), now + timedelta(days=2))


@pytest.fixture
def lived(acme: Customer, vault: Vault, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Period:
    """Three nights of a customer, one of them with a set, and a finding."""
    monkeypatch.setattr("audit.clock.now", clock)
    clock.now = datetime.now(UTC).replace(microsecond=0)
    ensure_first_policy()
    for _ in range(3):
        runs.owe_nights(clock.now)
        clock.forward(days=1)
    runs.owe_nights(clock.now)
    newest = Run.objects.filter(stream=acme.pk).order_by("-night")[0]
    clock.now = max(newest.due_at, clock.now) + timedelta(minutes=1)
    runs.work_off(vault, newest.pk)
    findings.open_finding(findings.Kind.KEY_MISSING, subject=acme, customer=acme.pk, text="x", now=datetime.now(UTC))
    return period_around(clock.now)


def test_every_promise_is_proved_by_a_population() -> None:
    proved = {number for one in all_populations() for number in one.promises}
    assert proved == PROMISES.keys()


@pytest.mark.parametrize("population", all_populations(), ids=lambda one: one.name)
def test_the_filter_is_the_condition_that_chose_the_rows(population: Population, lived: Period) -> None:
    rows = list(population.rows(lived))
    assert count(population.filter, lived) == len(rows)
    assert all(len(row) == len(population.columns) for row in rows)
    assert len({row[0] for row in rows}) == len(rows), "a key names one member"


def test_a_stranger_can_run_the_statement(lived: Period) -> None:
    told = statement(by_name("nights").filter, lived)  # type: ignore[union-attr]
    assert ":first" not in told
    assert f"DATE '{lived.first}'" in told


def test_nights_are_owed_by_dates_and_policy_and_a_missing_row_shows(lived: Period, acme: Customer) -> None:
    nights = by_name("nights")
    assert nights is not None
    assert all(one.holds for one in nights.reconcile(lived)), nights.reconcile(lived)
    Run.objects.filter(stream=acme.pk).order_by("night")[0].delete()
    assert [one.expected - one.found for one in nights.reconcile(lived) if not one.holds] == [1, 1]


def test_a_row_behind_the_back_of_the_evidence_trail_shows(lived: Period) -> None:
    deviations = by_name("deviations")
    assert deviations is not None
    assert all(one.holds for one in deviations.reconcile(lived)), deviations.reconcile(lived)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM l2l_audit_finding")
    assert not all(one.holds for one in deviations.reconcile(lived))


def test_a_comparison_or_a_review_that_was_taken_out_shows(lived: Period, acme: Customer) -> None:
    """Two that nobody may make unseen: that the list of customers was complete, and who had access."""
    anna = User.objects.create_superuser("anna")
    now = datetime.now(UTC)
    with audit.acting("anna", reason="a test"):
        reconcile(BytesIO(b"code\nacme\nother\n"), "billing.csv", now=now)
        seen = digest_of(documents(rights_now(now)))
        reviewing.sign_off(by=anna, quarter=quarter_of(now), seen=seen, remarks="", locations=[], now=now)
        reviewing.attest("keys", "", people="nobody else", by=anna, quarter=quarter_of(now), locations=[], now=now)
    for name, table in (
        ("reconciliations", "l2l_subscriptions_reconciliation"),
        ("access_reviews", "l2l_audit_accessreview"),
        ("attestations", "l2l_audit_attestation"),
    ):
        listed = by_name(name)
        assert listed is not None and len(list(listed.rows(lived))) == 1
        assert all(one.holds for one in listed.reconcile(lived)), listed.reconcile(lived)
        with transaction.atomic(), connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                cursor.execute("SET LOCAL session_replication_role = replica")  # no trigger fires
            cursor.execute(f"DELETE FROM {table}")
        assert [one.expected - one.found for one in listed.reconcile(lived) if not one.holds] == [1, -1], name


def test_an_end_that_nobody_began_shows_once_the_worker_had_its_time(lived: Period, acme: Customer) -> None:
    """And one that came after the period is no matter of the period's."""
    terminations, subscription = by_name("terminations"), acme.subscriptions.get()
    subscription.end = (datetime.now(UTC) - timedelta(days=2)).date()
    subscription.save_terms()
    over = datetime.combine(subscription.end + timedelta(days=1), time(), UTC)
    assert terminations is not None
    for hours, holds in ((-24, True), (1, True), (3, False)):
        told = terminations.reconcile(Period(lived.begins, over + timedelta(hours=hours)))
        (nobody,) = (one for one in told if "nobody began" in one.says)
        assert nobody.holds is holds, (hours, nobody)


def test_what_events_tell_of_has_them_as_its_evidence(lived: Period) -> None:
    """As they stand in the trail, so that their digests can be computed again."""
    seen = set()
    for population in all_populations():
        evidence = population.evidence
        if evidence is None or getattr(evidence, "__func__", None) is not Listing.events_of:
            continue
        for row in population.rows(lived):
            for one in json.loads(evidence(str(row[0]))["events.json"])["events"]:
                content = {name: value for name, value in one.items() if name not in ("salt", "leaf", "digest")}
                assert one["subject"].rpartition(":")[2] == str(row[0])
                assert chain.leaf(bytes.fromhex(one["salt"]), canonical.dump_bytes(content)) == one["leaf"]
                seen.add(population.name)
    assert "deviations" in seen
