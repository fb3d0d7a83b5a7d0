"""`terms`: what was agreed, shown and changed at the command line by the same rules (P5, P9)."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from audit.models import Event
from subscriptions import term_requests
from subscriptions.models import Customer, Subscription, TermChangeRequest

As = Callable[..., tuple[str, ...]]
WHY = ("--why", "the new contract, section 4")


@pytest.fixture
def as_(tmp_path: Path) -> As:
    def person(name: str, password: str = "pw") -> tuple[str, ...]:
        path = tmp_path / f"{name}.txt"
        path.touch(mode=0o600)
        path.write_text(f"{password}\n")
        return ("--as", name, "--password-file", str(path))

    return person


@pytest.fixture
def run(people: dict[str, User], capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    def called(*arguments: str) -> Any:
        capsys.readouterr()
        call_command("terms", *arguments, "--json")
        return json.loads(capsys.readouterr().out)

    return called


def test_longer_terms_are_in_force_at_once(run: Callable[..., Any], acme: Customer, as_: As) -> None:
    shown = run("acme")
    assert (shown["years"], shown["destroy_within"], shown["end"], shown["requests"]) == (None, None, None, [])
    done = run("acme", "--years", "30", "--destroy-within", "60", *WHY, *as_("ada"))
    assert (done["years"], done["destroy_within"], done["requests"]) == (30, 60, [])
    event = Event.objects.get(event="terms:changed")
    assert (event.actor, event.source) == ("ada", "terms")


def test_shorter_terms_are_asked_for_and_approved_and_wait(run: Callable[..., Any], acme: Customer, as_: As) -> None:
    asked = run("acme", "--years", "7", "--end", "2027-12-31", *WHY, *as_("ada"))
    (request,) = asked["requests"]
    assert (asked["years"], request["state"], request["begins_at"]) == (None, "requested", None)
    assert request["changes"] == {"agreed_retention_years": 7, "end": "2027-12-31"}
    (request,) = run("--approve", str(request["request"]), *as_("rita"))["requests"]
    assert (request["state"], request["approved_by"]) == ("approved", "rita")
    begins = TermChangeRequest.objects.get().begins_at
    assert begins is not None and request["begins_at"] == begins.isoformat() and run("acme")["years"] is None
    assert term_requests.make_due(begins).made == [request["request"]]
    assert (run("acme")["years"], run("acme")["end"]) == (7, "2027-12-31")
    assert run("acme", "--years", "standard", "--end", "open", *WHY, *as_("ada"))["end"] is None


@pytest.mark.parametrize(("name", "how", "state"), [("rita", "refuse", "refused"), ("ada", "cancel", "cancelled")])
def test_refused_or_cancelled_nothing_changes(run: Callable[..., Any], as_: As, name: str, how: str, state: str) -> None:
    (request,) = run("acme", "--years", "7", *WHY, *as_("ada"))["requests"]
    (ended,) = run(f"--{how}", str(request["request"]), "--why", "no", *as_(name))["requests"]
    assert ended["state"] == state and run("acme")["years"] is None


def test_what_if_needs_nobody_and_stores_nothing(run: Callable[..., Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert run("acme", "--years", "7", "--what-if")["shorter"] is True
    assert run("acme", "--years", "30", "--what-if")["shorter"] is False
    call_command("terms", "acme", "--years", "7", "--what-if")
    assert "years that data is kept: standard → 7" in capsys.readouterr().out
    assert not TermChangeRequest.objects.exists() and run("acme")["years"] is None


def test_people_are_told_what_to_do_next(run: Callable[..., Any], as_: As, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("terms", "acme", "--years", "7", *WHY, *as_("ada"))
    ident = TermChangeRequest.objects.get().pk
    assert f"Another person approves it: manage.py terms --approve {ident} --as USER" in capsys.readouterr().out
    call_command("terms", "--approve", str(ident), *as_("rita"))
    told = capsys.readouterr().out
    assert "Approved: it takes effect on" in told and f"request {ident}: approved, takes effect" in told and "UTC" in told


@pytest.mark.parametrize(
    ("name", "password", "said"),
    [
        ("ada", "guess", "not their password"),
        ("bo", "pw", "not a customer of theirs"),
        ("rita", "pw", "needs the right"),
        ("olga", "pw", "needs the right"),
    ],
)
def test_who_may_not_changes_nothing(run: Callable[..., Any], as_: As, name: str, password: str, said: str) -> None:
    for years in ("7", "30"):
        with pytest.raises(CommandError, match=said):
            run("acme", "--years", years, *WHY, *as_(name, password))
    assert run("acme")["years"] is None and not TermChangeRequest.objects.exists()


def test_nobody_approves_alone(run: Callable[..., Any], as_: As) -> None:
    (request,) = run("acme", "--years", "7", *WHY, *as_("ada"))["requests"]
    with pytest.raises(CommandError, match="Who asked for it cannot approve it"):
        run("--approve", str(request["request"]), *as_("ada"))
    assert TermChangeRequest.objects.get().state == "requested"


def test_of_several_agreements_one_is_named(run: Callable[..., Any], acme: Customer, as_: As) -> None:
    Subscription(customer=acme, agreement_number="acme-2", start=date(2026, 2, 1)).save()
    with pytest.raises(CommandError, match="2 agreements: say --agreement acme-1 or acme-2"):
        run("acme")
    assert run("acme", "--agreement", "acme-2", "--years", "30", *WHY, *as_("ada"))["agreement"] == "acme-2"
    with pytest.raises(CommandError, match="no such agreement"):
        run("acme", "--agreement", "acme-3")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "Say which customer"),
        (("acme", "--approve", "1"), "by its number alone"),
        (("--approve", "1", "--years", "7"), "leave the terms out"),
        (("acme", "--years", "7"), "It lacks --why"),
        (("acme", "--what-if"), "Say what would change"),
        (("acme", "--years", "7", *WHY), "--as USER --password-file FILE"),
        (("acme", "--years", "many"), "'standard' takes the agreed one away"),
        (("acme", "--end", "tomorrow"), "'open' takes the agreed one away"),
        (("nobody",), "There is no customer"),
    ],
)
def test_what_it_does_not_understand_it_says(run: Callable[..., Any], arguments: tuple[str, ...], said: str) -> None:
    with pytest.raises(CommandError, match=said):
        run(*arguments)
    assert run("acme")["years"] is None


def test_a_value_that_does_not_fit_is_one_json_document(run: Callable[..., Any], as_: As, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CommandError):
        run("acme", "--years", "0", *WHY, *as_("ada"))
    assert "agreed_retention_years" in json.loads(capsys.readouterr().out)["error"]
