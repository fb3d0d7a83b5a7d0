"""Billing's list against ours: who stands on one alone, what is kept of it, and the finding about it (P1)."""

from __future__ import annotations

import hashlib
import io
import json
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

import audit
from audit.events import Event
from audit.models import Event as Recorded
from audit.models import Finding
from subscriptions.billing import Billed, Kind, Ours, compare
from subscriptions.importing.report import FileRefused
from subscriptions.models import Reconciliation
from subscriptions.onboarding import add_customer
from subscriptions.reconciling import MEANINGS, ReconcilingRefused, reconcile

TODAY = date(2026, 6, 1)
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


def ours(code: str, *running: str) -> Ours:
    return Ours(code, TODAY, frozenset(running))


def test_each_customer_that_differs_stands_in_one_list_and_both_sums_reconcile() -> None:
    lines = [
        Billed("both"),
        Billed("nobody"),
        Billed("over-here"),
        Billed("over-there", last=date(2026, 5, 31)),
        Billed("later-there", first=date(2026, 6, 2)),
        Billed("over-on-both", last=date(2026, 5, 31)),
    ]
    known = [ours(code, f"{code}-1") for code in ("both", "over-there", "later-there", "ours-alone")]
    found = compare(lines, {one.code: one for one in [*known, ours("over-here"), ours("over-on-both")]}, TODAY)
    assert found.differences == {
        Kind.UNKNOWN_HERE: [("nobody",)],
        Kind.NOT_RUNNING_HERE: [("over-here",)],
        Kind.NOT_BILLED_TODAY: [("later-there",), ("over-there",)],
        Kind.NOT_AT_BILLING: [("ours-alone",)],
    }
    assert (found.billed, found.ours, found.matched) == (3, 4, 1)
    assert found.billed == found.matched + 2 and found.ours == found.matched + 3


def test_the_first_and_the_last_day_are_billed() -> None:
    line = Billed("x", first=TODAY, last=TODAY)
    assert [line.on(date(2026, 6, 1 + day)) if day >= 0 else line.on(date(2026, 5, 31)) for day in (-1, 0, 1)] == [False, True, False]


def test_several_lines_are_one_customer_and_agreements_are_compared() -> None:
    lines = [Billed("x", "x-1", last=date(2026, 5, 31)), Billed("x", "x-2", first=TODAY), Billed("x", "x-9")]
    found = compare(lines, {"x": ours("x", "x-2", "x-3")}, TODAY)
    assert (found.billed, found.matched) == (1, 1)
    assert found.differences == {Kind.AGREEMENT_NOT_HERE: [("x", "x-9")], Kind.AGREEMENT_NOT_BILLED: [("x", "x-3")]}


def test_without_a_number_whatever_was_agreed_is_billed() -> None:
    assert compare([Billed("x")], {"x": ours("x", "x-2", "x-3")}, TODAY).differences == {}


@pytest.fixture
def two(db: None) -> None:
    with audit.acting("setup", reason="a test", source="test"):
        add_customer("acme", "Acme", start=date(2026, 1, 1))
        add_customer("beta", "Beta", start=date(2026, 1, 1), end=date(2026, 5, 31))


def compared(text: str, now: datetime = NOW) -> Reconciliation:
    with audit.acting("olga", source="test"):
        return reconcile(io.BytesIO(text.encode()), "billing.csv", now=now)


def test_a_difference_opens_a_finding_and_the_next_that_agrees_closes_it(two: None) -> None:
    text = "code;billed_to\nacme;\nbeta;\ngamma;\n"
    kept = compared(text)
    stored = Reconciliation.objects.get(pk=kept.pk)
    assert stored.differences == {"unknown-here": [["gamma"]], "not-running-here": [["beta"]]}
    assert (stored.billed, stored.ours, stored.matched, stored.by) == (3, 1, 1, "olga")
    assert stored.source_sha256 == hashlib.sha256(text.encode()).hexdigest()
    told = Recorded.objects.get(event=Event.CUSTOMERS_RECONCILED.value)
    assert told.facts == {"sha256": stored.source_sha256, "billed": 3, "ours": 1, "matched": 1, "differ": 2}
    finding = Finding.objects.get()
    assert finding.kind == "customers-differ" and "1 billed, and unknown here; 1 billed, and no subscription runs here" in finding.text
    assert "gamma" not in finding.text
    compared("code,billed_to\nacme,\nbeta,2026-05-31\n")
    finding.refresh_from_db()
    assert finding.closed_at and Reconciliation.objects.count() == 2


def test_it_is_the_customer_s_own_day_that_counts(two: None) -> None:
    with audit.acting("setup", reason="a test", source="test"):
        add_customer("kiwi", "Kiwi", start=date(2026, 6, 2), zone="Pacific/Auckland")
    assert compared("code\nacme\nkiwi\n", datetime(2026, 6, 1, 13, tzinfo=UTC)).differences == {}
    assert compared("code\nacme\nkiwi\n", datetime(2026, 6, 1, 11, tzinfo=UTC)).differences == {"not-running-here": [["kiwi"]]}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("code\n", "has no rows"),
        ("customer\nacme\n", "the first column is 'customer' instead of 'code'"),
        ("code,billed_from\nacme,1.6.2026\n", "line 2, column billed_from: '1.6.2026' is no day"),
        ("code\n=HYPERLINK(0)\n", "line 2, column code: is no short code of ours"),
        ("code,agreement_number\nacme," + "x" * 65 + "\n", "longer than 64 characters"),
    ],
)
def test_a_list_that_is_none_is_refused_and_nothing_is_kept(two: None, text: str, told: str) -> None:
    with pytest.raises(FileRefused, match=told):
        compared(text)
    assert not Reconciliation.objects.exists() and not Finding.objects.exists()


@pytest.mark.parametrize(("by", "may"), [("olga", True), ("ada", False), ("rita", False), ("otto", False)])
def test_who_compares(people: dict[str, User], by: str, may: bool) -> None:
    file = io.BytesIO(b"code\nacme\n")
    if may:
        assert reconcile(file, "billing.csv", now=NOW, by=people[by]).matched == 1
    else:
        with pytest.raises(ReconcilingRefused, match=f"{by} may not"):
            reconcile(file, "billing.csv", now=NOW, by=people[by])


def test_the_command_ends_with_1_when_they_differ(two: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "billing.csv"
    path.write_text("code\nacme\ngamma\n")
    with pytest.raises(CommandError, match="1 difference"):
        call_command("reconcile_customers", str(path), "--json")
    document = json.loads(capsys.readouterr().out)
    assert (document["ok"], document["differences"]) == (False, {"unknown-here": [["gamma"]]})
    path.write_text("code\nacme\n")
    call_command("reconcile_customers", str(path))
    assert capsys.readouterr().out == "1 billed, 1 with a subscription that runs here, 1 in both.\n"


def test_the_example_in_the_manual_is_billing_s_list_of_the_other_one(db: None) -> None:
    example = Path(__file__).parents[2] / "docs/examples/billing.csv"
    assert set(compared(example.read_text()).differences) == {"unknown-here"}


def test_every_kind_says_what_to_do() -> None:
    assert set(MEANINGS) == set(Kind) and all(advice.endswith(".") for _, advice in MEANINGS.values())
