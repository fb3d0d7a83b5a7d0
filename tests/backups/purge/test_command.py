"""`manage.py purge`: lists, asks, approves and carries out by the rules of the back office; without --apply nothing goes (P9)."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from audit.models import Event
from backups import tasks
from backups import vault as vaults
from backups.models import PurgeRequest, TermLook
from backups.vault import Vault
from subscriptions import holds
from subscriptions.models import DataRecord
from tests.backups.purge.conftest import MARK, OLD_ITEMS, tables_with

pytestmark = pytest.mark.django_db(transaction=True)
As = Callable[..., tuple[str, ...]]


@pytest.fixture(autouse=True)
def here(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands and tasks work with the test's vault and clock."""
    monkeypatch.setattr(vaults, "from_settings", lambda: vault)
    monkeypatch.setattr(vaults, "clock", vault.clock)


@pytest.fixture
def as_(tmp_path: Path) -> As:
    def person(name: str, password: str = "pw") -> tuple[str, ...]:
        path = tmp_path / f"{name}.txt"
        path.touch(mode=0o600)
        path.write_text(f"{password}\n")
        return ("--as", name, "--password-file", str(path))

    return person


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    def command(*arguments: str) -> Any:
        capsys.readouterr()
        call_command("purge", *arguments, "--json")
        return json.loads(capsys.readouterr().out)

    return command


def test_a_life_of_a_request(aged: Any, as_: As, run: Callable[..., Any], people: dict[str, User]) -> None:
    [listed] = run()["customers"]
    assert (listed["customer"], listed["held"], listed["overdue"]) == ("acme", False, None)
    assert {one["model"]: one["within_days"]["0"] for one in listed["items"]}["l2l_subscriptions.datarecord"] == 4
    asked = run("acme", "--ask", "standard", "--reason", "the term is over", *as_("ada"))
    assert (asked["state"], sum(asked["counts"].values()), asked["requested_by"]) == ("requested", OLD_ITEMS, "ada")
    ident = str(asked["request"])
    assert run("--apply") == {"items": {}, "troubles": []} and DataRecord.objects.filter(reference__startswith=MARK).exists()
    with pytest.raises(CommandError, match="cannot approve it"):
        run("--approve", ident, *as_("ada"))
    with pytest.raises(CommandError, match="not their password"):
        run("--approve", ident, *as_("rita", "wrong"))
    assert run("--approve", ident, *as_("rita"))["state"] == "approved"
    assert run("acme")["customers"][0]["requests"][0]["state"] == "approved" and tables_with(MARK)
    assert run("--apply") == {"items": {"acme": OLD_ITEMS}, "troubles": []}
    assert tables_with(MARK) == [] and run() == {"customers": []}
    assert Event.objects.filter(event="content:purged").exists()


def test_refused_and_called_off(aged: Any, as_: As, run: Callable[..., Any]) -> None:
    first = run("acme", "--ask", "standard", "--reason", "it is over", *as_("ada"))["request"]
    assert run("--refuse", str(first), "--reason", "not yet", *as_("rita"))["state"] == "refused"
    second = run("acme", "--ask", "standard", "--reason", "it is over", *as_("ada"))["request"]
    assert run("--cancel", str(second), "--reason", "they called", *as_("ada"))["state"] == "cancelled"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--ask", "standard", "--reason", "x"), "Say of which customer"),
        (("acme", "--ask", "standard"), "Say why"),
        (("acme", "--ask", "standard", "--reason", "x", "--day", "2026-03-11"), "Only agreed terms go ahead"),
        (("--approve", "4711"), "There is no request 4711"),
    ],
)
def test_what_does_not_do_is_said(arguments: tuple[str, ...], said: str, aged: Any, as_: As, run: Callable[..., Any]) -> None:
    with pytest.raises(CommandError, match=said):
        run(*arguments, *as_("ada"))
    with pytest.raises(CommandError, match="Say who does this"):
        run(*arguments)
    assert not PurgeRequest.objects.exists()


def test_what_is_held_ends_with_1_and_a_reason(aged: Any, as_: As, run: Callable[..., Any], people: dict[str, User], vault: Vault) -> None:
    ident = str(run("acme", "--ask", "standard", "--reason", "it is over", *as_("ada"))["request"])
    run("--approve", ident, *as_("rita"))
    holds.place(aged, holder="a court", basis="x", review_on=datetime(2030, 1, 1, tzinfo=UTC).date(), by=people["ada"], now=vault.clock())
    with pytest.raises(CommandError, match="A legal hold of a court is open"):
        run("--apply")
    assert run("acme")["customers"][0]["held"]


def test_an_overdue_term_is_said_first(aged: Any, capsys: pytest.CaptureFixture[str]) -> None:
    subscription = aged.subscriptions.get()
    subscription.agreed_retention_years = 15
    subscription.save_terms()
    call_command("purge", "acme")
    out = capsys.readouterr().out
    assert f"OVERDUE: {OLD_ITEMS} items should have gone, the first on 2020-06-02" in out
    assert "l2l_subscriptions.datarecord, agreed term: 4 past it, 4 within 30 days" in out


def test_the_destroyer_does_it_by_itself_and_looks_at_every_customer(aged: Any, as_: As, run: Callable[..., Any]) -> None:
    ident = str(run("acme", "--ask", "standard", "--reason", "it is over", *as_("ada"))["request"])
    assert tasks.purge() == "0 items gone, 0 requests wait or failed"
    assert TermLook.objects.get().standard == OLD_ITEMS
    run("--approve", ident, *as_("rita"))
    assert tasks.purge() == f"{OLD_ITEMS} items gone, 0 requests wait or failed"
    assert TermLook.objects.get().standard == 0 and tables_with(MARK) == []
    assert tasks.purge() == "0 items gone, 0 requests wait or failed"
