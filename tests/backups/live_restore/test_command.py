"""`restore_live`: the same rules at the command line, each step with the person's password."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from audit.models import Event
from backups import vault as vaults
from backups.models import LiveRestoreRequest
from backups.vault import Vault
from subscriptions.models import DataRecord
from tests.backups.live_restore.conftest import state_of
from tests.backups.live_restore.test_restoring import damage

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def damaged(kept: Any, vault: Vault, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(vaults, "from_settings", lambda: replace(vault, clock=lambda: datetime.now(UTC)))
    damage(kept)
    return kept


@pytest.fixture
def as_(tmp_path: Path) -> Any:
    def person(name: str, password: str = "pw") -> tuple[str, ...]:
        path = tmp_path / f"{name}.txt"
        path.touch(mode=0o600)
        path.write_text(f"{password}\n")
        return ("--as", name, "--password-file", str(path))

    return person


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    capsys.readouterr()
    call_command("restore_live", *arguments, "--json")
    return json.loads(capsys.readouterr().out)


def test_asked_shown_approved(damaged: Any, as_: Any, people: dict[str, User], capsys: pytest.CaptureFixture[str]) -> None:
    asked = run(capsys, "ask", "acme", "--reason", "a bad import", *as_("olga"))
    ident = str(asked["request"])
    assert asked["state"] == "requested" and asked["plan"]["counts"] == asked["counts"] != {}
    assert run(capsys, "show", ident)["plan"] == asked["plan"]
    done = run(capsys, "approve", ident, *as_("rita"))
    assert (done["state"], done["approved_by"], done["carrying_out"]["state"]) == ("executed", "rita", "done")
    assert [one["state"] for one in run(capsys, "show")] == ["executed"]
    assert DataRecord.objects.get(reference="4").data["Name"] == "Part 4"
    call_command("restore_live", "show")
    assert f"{ident}: restore acme to" in capsys.readouterr().out


def test_people_are_told_what_would_change(damaged: Any, as_: Any, people: dict[str, User], capsys: pytest.CaptureFixture[str]) -> None:
    call_command("restore_live", "ask", "acme", "--only", "datarecord", "--reason", "x", *as_("olga"))
    out = capsys.readouterr().out
    assert "l2l_subscriptions.datarecord: 1 added, 1 changed, 1 removed" in out
    assert "Another person approves it: manage.py restore_live approve" in out


@pytest.mark.parametrize(("name", "password", "said"), [("olga", "guess", "not their password"), ("ghost", "pw", "no such person")])
def test_who_does_not_prove_who_they_are_does_nothing(
    damaged: Any, as_: Any, people: dict[str, User], name: str, password: str, said: str
) -> None:
    with pytest.raises(CommandError, match=said):
        call_command("restore_live", "ask", "acme", "--reason", "x", *as_(name, password))
    assert not LiveRestoreRequest.objects.exists() and Event.objects.filter(event="session:refused").exists()


def test_the_same_person_a_refusal_and_a_cancelled_request(
    damaged: Any, as_: Any, people: dict[str, User], capsys: pytest.CaptureFixture[str]
) -> None:
    before = state_of(damaged)
    ident = str(run(capsys, "ask", "acme", "--reason", "x", *as_("olga"))["request"])
    with pytest.raises(CommandError, match="Who asked for it cannot approve it"):
        call_command("restore_live", "approve", ident, *as_("olga"))
    with pytest.raises(CommandError, match="may not approve this"):
        call_command("restore_live", "approve", ident, *as_("ada"))
    assert run(capsys, "refuse", ident, "--reason", "no", *as_("rita"))["state"] == "refused"
    ident = str(run(capsys, "ask", "acme", "--reason", "x", *as_("olga"))["request"])
    assert run(capsys, "cancel", ident, "--reason", "no", *as_("olga"))["state"] == "cancelled"
    with pytest.raises(CommandError, match="The request is cancelled"):
        call_command("restore_live", "approve", ident, *as_("rita"))
    assert state_of(damaged) == before


def test_what_moved_meanwhile_is_said(damaged: Any, as_: Any, people: dict[str, User], capsys: pytest.CaptureFixture[str]) -> None:
    ident = str(run(capsys, "ask", "acme", "--reason", "x", *as_("olga"))["request"])
    DataRecord.objects.create(customer=damaged, kind="part", reference="meanwhile")
    with pytest.raises(CommandError, match="The request is void"):
        call_command("restore_live", "approve", ident, *as_("rita"))


def test_a_request_that_is_not_there_is_said(damaged: Any) -> None:
    with pytest.raises(CommandError, match="There is no request 99"):
        call_command("restore_live", "show", "99")
