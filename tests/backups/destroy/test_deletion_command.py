"""`manage.py deletion`, and the page that approves: the same verbs, bound to the plan that was shown (P5, P12)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from audit import clock as clocks
from backups import vault as vaults
from backups.prune import clock_doubt
from backups.vault import Vault
from subscriptions.models import Customer, DataRecord, DeletionRequest
from tests.backups.conftest import Clock

As = Callable[[str], tuple[str, ...]]
pytestmark = pytest.mark.slow


@pytest.fixture
def as_(tmp_path: Path) -> As:
    def person(name: str) -> tuple[str, ...]:
        path = tmp_path / f"{name}.txt"
        path.touch(mode=0o600)
        path.write_text("pw\n")
        return ("--as", name, "--password-file", str(path))

    return person


@pytest.fixture(autouse=True)
def at_the_machine(people: dict[str, User], vault: Vault, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vaults, "from_settings", lambda: vault)
    monkeypatch.setattr(clocks, "now", clock)
    monkeypatch.setattr(clock_doubt, "doubts_of", lambda *_: [])  # the tests' clock is set on by days


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    capsys.readouterr()
    call_command("deletion", *arguments, "--json")
    return json.loads(capsys.readouterr().out)


def test_planned_approved_and_begun_when_it_has_cooled_off(
    received: DeletionRequest, as_: As, clock: Clock, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    planned = run(capsys, "plan", "acme", "--out", str(tmp_path / "plan.json"))
    assert planned["waits"] == [] and json.loads((tmp_path / "plan.json").read_text())["code"] == "acme"
    with pytest.raises(CommandError, match="needs the right"):
        call_command("deletion", "approve", "acme", "--plan", planned["plan"], "--why", "x", *as_("ada"))
    done = run(capsys, "approve", "acme", "--plan", planned["plan"], "--why", "receipt checked", *as_("rita"))
    assert (done["state"], done["approved_by"], done["plan"]) == ("approved", "rita", planned["plan"])
    with pytest.raises(CommandError, match="It cools off until"):
        call_command("deletion", "destroy", "acme")
    assert run(capsys, "status", "acme")["state"] == "approved"
    clock.forward(hours=73)
    with pytest.raises(CommandError, match="24 hours after the last step"):  # gone, and not yet looked at again a day later
        call_command("deletion", "destroy", "acme")
    assert run(capsys, "status", "acme")["begun_at"] is not None


def test_another_plan_than_the_one_that_was_looked_at_is_refused(
    received: DeletionRequest, as_: As, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(CommandError):
        call_command("deletion", "approve", "acme", "--plan", "0" * 64, "--why", "x", *as_("rita"))
    assert run(capsys, "status", "acme")["state"] == "acknowledged"


def test_an_approval_is_taken_back_and_the_end_cancelled(
    approved: DeletionRequest, acme: Customer, as_: As, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(capsys, "take-back", "acme", "--why", "they ask for time", *as_("rita"))["state"] == "acknowledged"
    with pytest.raises(CommandError, match="Only what is approved is destroyed"):
        call_command("deletion", "destroy", "acme")
    assert run(capsys, "cancel", "acme", "--why", "they stay", *as_("ada"))["state"] == "cancelled"
    DataRecord.objects.create(customer=acme, kind="part", reference="after")  # it goes on


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("request", "acme"), "It lacks --why"),
        (("status", "acme", "--why", "x"), "not for 'status'"),
        (("cancel", "acme", "--why", "x"), "--as USER"),
        (("status", "ghost"), "There is no customer"),
        (("status", "acme"), "nobody asked for it"),
        (("destroy", "acme"), "nobody asked for it"),
    ],
)
def test_what_lacks_is_said(acme: Customer, arguments: tuple[str, ...], said: str) -> None:
    with pytest.raises(CommandError, match=said):
        call_command("deletion", *arguments)


def test_the_page_approves_exactly_the_plan_that_it_showed(received: DeletionRequest, people: dict[str, User], vault: Vault) -> None:
    for one in people.values():
        one.is_staff = True
        one.save()
    rita, address = Client(), reverse("admin:l2l_subscriptions_deletionrequest_approve", args=[received.pk])
    rita.force_login(people["rita"])
    page = rita.get(address)
    ((_, digest),) = page.context["carried"]
    assert digest in page.content.decode() and "Sets and stored objects" in page.content.decode()
    sent = {"code": "acme", "why": "receipt checked", "password": "pw"}
    assert "look at it again" in rita.post(address, sent | {"plan": "0" * 64}).content.decode().lower()
    assert "Type the customer" in rita.post(address, sent | {"plan": digest, "code": "acme2"}).content.decode()
    assert "not your password" in rita.post(address, sent | {"plan": digest, "password": "guess"}).content.decode()
    assert DeletionRequest.objects.get().state == "acknowledged"
    place = vault.places[0].store
    place.put(f"customers/{received.stream}/stranger", b"x")
    moved = rita.post(address, sent | {"plan": digest})
    assert "the plan is another one" in moved.content.decode().lower() and DeletionRequest.objects.get().state == "acknowledged"
    ((_, digest),) = moved.context["carried"]
    rita.post(address, sent | {"plan": digest})
    done = DeletionRequest.objects.get()
    assert (done.state, done.plan_digest, done.approved_by) == ("approved", digest, people["rita"])
    shown = rita.get(reverse("admin:l2l_subscriptions_deletionrequest_change", args=[received.pk])).content.decode()
    assert "It cools off until" in shown and "Take the approval back" in shown
