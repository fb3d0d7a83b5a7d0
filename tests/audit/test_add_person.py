"""`manage.py add_person`: a user with a role, with a password from a file that nobody else can read."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from audit.models import Event, Grant

PASSWORD = "a long pass phrase 7"


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text(f"{PASSWORD}\n")
    path.chmod(0o600)
    return path


def add(*arguments: Any) -> dict[str, Any]:
    out = StringIO()
    call_command("add_person", *map(str, arguments), "--json", stdout=out)
    return json.loads(out.getvalue())


def refused(*arguments: Any) -> str:
    with pytest.raises(CommandError) as refusal:
        add(*arguments)
    return str(refusal.value)


def test_a_person_with_a_role(db: None, password_file: Path) -> None:
    told = add("olga", "--role", "backup_operator", "--password-file", password_file)
    olga = User.objects.get(username="olga")
    assert olga.check_password(PASSWORD) and olga.is_staff and not olga.is_superuser
    assert [group.name for group in olga.groups.all()] == ["backup operator"]
    assert told == {"person": "olga", "id": olga.pk, "role": "backup_operator", "since": told["since"], "can_sign_in": True}
    assert [event.event for event in Event.objects.order_by("number")] == ["person:added", "grant:given"]
    assert Grant.objects.get().by.startswith("shell:")


def test_without_a_password_nobody_signs_in_yet(db: None) -> None:
    out = StringIO()
    call_command("add_person", "olga", "--role", "auditor", stdout=out)
    assert "changepassword olga" in out.getvalue()
    assert not User.objects.get().has_usable_password()


def test_a_known_person_gets_a_further_role_and_keeps_the_password(db: None, password_file: Path) -> None:
    add("olga", "--role", "auditor", "--password-file", password_file)
    add("olga", "--role", "receipt-approver")
    assert User.objects.get().check_password(PASSWORD)
    assert set(Grant.objects.values_list("role", flat=True)) == {"auditor", "receipt approver"}
    assert "already" in refused("olga", "--role", "auditor")


def test_a_password_file_that_others_can_read_is_refused(db: None, password_file: Path) -> None:
    password_file.chmod(0o640)
    assert "chmod 600" in refused("olga", "--role", "auditor", "--password-file", password_file)
    assert not User.objects.exists()


@pytest.mark.parametrize("text", ["", "\nsecond line\n", "short\n", "password\n"])
def test_a_password_that_will_not_do_is_refused(db: None, password_file: Path, text: str) -> None:
    password_file.write_text(text)
    assert refused("olga", "--role", "auditor", "--password-file", password_file)
    assert not User.objects.exists()


def test_unknown_roles_and_names_are_refused(db: None) -> None:
    assert "There is no role" in refused("olga", "--role", "king")
    assert "username" in refused("two words", "--role", "auditor")
    assert "No such file" in refused("olga", "--role", "auditor", "--password-file", "nowhere")
    assert not User.objects.exists()


def test_a_date_in_the_past_takes_a_sample_home(db: None, settings: Any) -> None:
    assert "sample home" in refused("olga", "--role", "auditor", "--since", "2026-01-01")
    assert not User.objects.exists()
    settings.L2L_SAMPLE = True
    assert add("olga", "--role", "auditor", "--since", "2026-01-01")["since"] == "2026-01-01T00:00:00+00:00"
