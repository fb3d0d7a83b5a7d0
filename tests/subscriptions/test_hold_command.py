"""`hold`: the same rules at the command line, each step with the person's password (P9)."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.utils.timezone import localdate

from audit.models import Event
from subscriptions.holds import held
from subscriptions.models import Customer, HoldReleaseRequest, LegalHold

As = Callable[..., tuple[str, ...]]
LATER = localdate(datetime.now(UTC)) + timedelta(days=90)
HOLD = ("--holder", "District Court", "--basis", "file 4 O 17/26", "--review", LATER.isoformat())


@pytest.fixture
def as_(tmp_path: Path) -> As:
    def person(name: str, password: str = "pw") -> tuple[str, ...]:
        path = tmp_path / f"{name}.txt"
        path.touch(mode=0o600)
        path.write_text(f"{password}\n")
        return ("--as", name, "--password-file", str(path))

    return person


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    capsys.readouterr()
    call_command("hold", *arguments, "--json")
    return json.loads(capsys.readouterr().out)


def test_placed_postponed_asked_and_released(people: dict[str, User], acme: Customer, as_: As, capsys: pytest.CaptureFixture[str]) -> None:
    placed = run(capsys, "acme", *HOLD, *as_("ada"))
    assert (placed["customer"], placed["placed_by"], placed["review_on"]) == ("acme", "ada", LATER.isoformat())
    assert held() == {acme.pk} and Event.objects.get(event="hold:placed").source == "hold"
    next_review = (LATER + timedelta(days=30)).isoformat()
    assert run(capsys, "acme", "--postpone", "--review", next_review, "--why", "it goes on", *as_("ada"))["review_on"] == next_review
    asked = run(capsys, "acme", "--release", "--why", "the case is closed", *as_("ada"))
    (request,) = asked["requests"]
    assert (asked["released_at"], request["state"], request["requested_by"]) == (None, "requested", "ada")
    done = run(capsys, "--approve", str(request["request"]), *as_("rita"))
    assert (done["released_by"], done["release_approved_by"], done["release_reason"]) == ("ada", "rita", "the case is closed")
    assert held() == set() and Event.objects.get(event="hold:released").source == "hold"
    assert run(capsys, "acme", "--list") == run(capsys, "--list") == [done]


def test_people_are_told_what_to_do_next(people: dict[str, User], as_: As, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("hold", "acme", "--list")
    assert "There is no legal hold." in capsys.readouterr().out
    call_command("hold", "acme", *HOLD, *as_("ada"))
    assert "Nothing of acme is removed from now on." in capsys.readouterr().out
    call_command("hold", "acme", "--release", "--why", "the case is closed", *as_("ada"))
    ident = HoldReleaseRequest.objects.get().pk
    assert f"Another person approves it: manage.py hold --approve {ident} --as USER" in capsys.readouterr().out
    call_command("hold", "--list")
    told = capsys.readouterr().out
    assert "acme, District Court (file 4 O 17/26): open since" in told and f"request {ident}: requested, asked by ada" in told


@pytest.mark.parametrize(("name", "how"), [("rita", "refuse"), ("ada", "cancel")])
def test_refused_or_cancelled_the_hold_stays(
    people: dict[str, User], as_: As, capsys: pytest.CaptureFixture[str], name: str, how: str
) -> None:
    run(capsys, "acme", *HOLD, *as_("ada"))
    (request,) = run(capsys, "acme", "--release", "--why", "x", *as_("ada"))["requests"]
    (ended,) = run(capsys, f"--{how}", str(request["request"]), "--why", "not yet", *as_(name))["requests"]
    assert ended["state"] == {"refuse": "refused", "cancel": "cancelled"}[how] and held()


def test_of_several_holds_one_is_named(people: dict[str, User], as_: As, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = (run(capsys, "acme", *HOLD, *as_("ada"))["hold"] for _ in range(2))
    with pytest.raises(CommandError, match=f"say which with --hold {second} or {first}|say which with --hold {first} or {second}"):
        call_command("hold", "acme", "--release", "--why", "x", *as_("ada"))
    assert run(capsys, "acme", "--release", "--why", "x", "--hold", str(first), *as_("ada"))["hold"] == first
    with pytest.raises(CommandError, match="no such open hold"):
        call_command("hold", "acme", "--release", "--why", "x", "--hold", "999999", *as_("ada"))


@pytest.mark.parametrize(
    ("name", "password", "said"),
    [
        ("ada", "guess", "not their password"),
        ("ghost", "pw", "no such person"),
        ("bo", "pw", "not a customer of theirs"),
        ("rita", "pw", "needs the right"),
    ],
)
def test_who_may_not_places_none(people: dict[str, User], as_: As, name: str, password: str, said: str) -> None:
    with pytest.raises(CommandError, match=said):
        call_command("hold", "acme", *HOLD, *as_(name, password))
    assert not LegalHold.objects.exists()


def test_nobody_releases_alone(people: dict[str, User], as_: As, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "acme", *HOLD, *as_("ada"))
    (request,) = run(capsys, "acme", "--release", "--why", "x", *as_("ada"))["requests"]
    for name, said in (("ada", "Who asked for it cannot approve it"), ("bo", "not a customer of theirs"), ("otto", "")):
        with pytest.raises(CommandError) as refused:
            call_command("hold", "--approve", str(request["request"]), *as_(name))
        assert said in str(refused.value)
    assert held()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "Say which customer"),
        (("acme", "--approve", "1"), "by its number alone"),
        (("acme", "--holder", "x"), "It lacks --basis, --review"),
        (("acme", "--release"), "It lacks --why"),
        (("acme", "--release", "--why", "x", "--holder", "y"), "--holder: not for this step"),
        (("acme", *HOLD), "--as USER --password-file FILE"),
        (("acme", "--release", "--approve", "1"), "not allowed with"),
        (("acme", "--review", "tomorrow"), "'tomorrow' is not a date such as"),
    ],
)
def test_what_it_does_not_understand_it_says(people: dict[str, User], arguments: tuple[str, ...], said: str) -> None:
    with pytest.raises(CommandError, match=said):
        call_command("hold", *arguments)
    assert not LegalHold.objects.exists()


def test_a_refusal_is_one_json_document(people: dict[str, User], as_: As, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CommandError):
        call_command("hold", "acme", "--holder", "x", "--basis", "y", "--review", "2020-01-01", "--json", *as_("ada"))
    assert json.loads(capsys.readouterr().out) == {"error": "review_on: That day is over: choose today or a later one."}


def test_a_request_that_is_not_there(people: dict[str, User], as_: As) -> None:
    with pytest.raises(CommandError, match=r"There is no request 77\. 'manage.py hold --list' shows them"):
        call_command("hold", "--approve", "77", *as_("rita"))
