"""`statement` and `audit_trail` at the command line: a new file of one's own, recorded, and the rules of the admin for whoever is named."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from audit.grants import grant_role
from audit.models import Event
from audit.roles import Role, ensure_roles
from backups import keyfiles
from subscriptions.models import DataRecord, Export


@pytest.fixture(autouse=True)
def installed(settings: Any, tmp_path: Path, berlin: Any) -> None:
    settings.L2L_KEYS = tmp_path / "keys"
    keyfiles.make_key_files(settings.L2L_KEYS, "2026-01-01")
    DataRecord.objects.create(customer=berlin, kind="part", reference="P-1", data={"colour": "blue"})


def run(*arguments: str) -> dict[str, Any]:
    out = StringIO()
    call_command(*arguments, "--json", stdout=out, stderr=StringIO())
    return dict(json.loads(out.getvalue()))


def refused(*arguments: str) -> str:
    with pytest.raises(CommandError) as refusal:
        call_command(*arguments, stdout=StringIO(), stderr=StringIO())
    return str(refusal.value)


def test_both_write_a_file_that_only_its_user_can_read_and_record_it(berlin: Any, tmp_path: Path) -> None:
    for command, ending in (
        ("audit_trail", "csv"),
        ("audit_trail", "pdf"),
        ("statement", "json"),
        ("statement", "pdf"),
        ("statement", "csv"),
    ):
        path = tmp_path / f"{command}.{ending}"
        told = run(command, "acme", "--to-file", str(path), "--reason", "asked by the customer")
        export = Export.objects.get(path=str(path))
        assert path.stat().st_mode & 0o777 == 0o600 and path.stat().st_size == told["bytes"]
        assert export.sha256 == told["sha256"] and export.reason == "asked by the customer" and export.removed_at is None
    assert Event.objects.filter(event__in=("report:made", "statement:made"), customer=berlin.pk).count() == 5


def test_what_is_wrong_is_said_and_nothing_is_left(tmp_path: Path) -> None:
    there = tmp_path / "there.csv"
    there.write_text("mine")
    file = ("--to-file", str(tmp_path / "new.csv"))
    for arguments, said in (
        (("audit_trail", "nobody", *file), "There is no customer 'nobody'"),
        (("audit_trail", "acme", "--to-file", str(there)), "is there already"),
        (("audit_trail", "acme", "--to-file", str(tmp_path / "new.txt")), "does not say its format"),
        (("audit_trail", "acme", "--item", "P-1", *file), "Choose the model too"),
        (("audit_trail", "acme", "--model", "datarecord", "--item", "P-2", *file), "There is and was no data record 'P-2'"),
        (("statement", "acme", "--from", "2026-02-01", "--to", "2026-01-01", *file), "ends (2026-01-01) before it begins"),
        (("statement", "acme", "--to", "9999-12-31", *file), "lies in no time that is kept here"),
        (("audit_trail", "acme", "--from", "0001-01-01", *file), "lies in no time that is kept here"),
        (("statement", "acme", "--as", "ada", *file), "belong together"),
    ):
        assert said in refused(*arguments), arguments
    assert there.read_text() == "mine" and not Export.objects.exists()
    assert sorted(one.name for one in tmp_path.iterdir() if one.is_file()) == ["there.csv"]


def test_a_named_person_takes_what_that_person_may_see(berlin: Any, theirs: Any, tmp_path: Path) -> None:
    ensure_roles()
    ada, now = User.objects.create_user("ada", password="pw"), datetime.now(UTC)
    grant_role(ada, Role.ACCOUNT_MANAGER, reason="a test", now=now, since=now)
    berlin.account_manager = ada
    berlin.save()
    password = tmp_path / "password"
    password.write_text("pw\n")
    password.chmod(0o600)
    person = ("--as", "ada", "--password-file", str(password))
    told = run("audit_trail", "acme", *person, "--to-file", str(tmp_path / "own.csv"))
    assert "sites" in told["left_out"]
    assert told["changes"] == 1 and Event.objects.get(event="report:made").actor == "ada"
    assert "not a customer of theirs" in refused("audit_trail", "acme2", *person, "--to-file", str(tmp_path / "theirs.csv"))
    assert "not a customer of theirs" in refused("statement", "acme2", *person, "--to-file", str(tmp_path / "theirs.json"))
    assert not (tmp_path / "theirs.csv").exists()


def test_a_statement_is_checked_anywhere(tmp_path: Path, settings: Any) -> None:
    paths = {ending: tmp_path / f"statement.{ending}" for ending in ("json", "pdf")}
    trusted = keyfiles.signer(settings.L2L_KEYS).fingerprint
    run("statement", "acme", "--to-file", str(paths["json"]))
    told = run("verify_statement", str(paths["json"]), "--fingerprint", trusted)
    assert told["genuine"] and told["statement"]["customer"]["code"] == "acme"
    run("statement", "acme", "--to-file", str(paths["pdf"]))  # of another moment, and with one export more
    assert "is not the PDF" in refused("verify_statement", str(paths["json"]), "--fingerprint", trusted, "--pdf", str(paths["pdf"]))
    assert "not genuine" in refused("verify_statement", str(paths["json"]), "--fingerprint", "0" * 64)
    paths["json"].write_bytes(paths["json"].read_bytes().replace(b"Acme", b"Acne"))
    assert "altered" in refused("verify_statement", str(paths["json"]), "--fingerprint", trusted)
