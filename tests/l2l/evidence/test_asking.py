"""Packs that people ask for: who may, how the worker makes them, and what becomes of those that it was killed at (P13, P5)."""

from __future__ import annotations

import json
import uuid
import zipfile
from collections.abc import Callable
from datetime import date, timedelta
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client

import audit
from audit.grants import grant_role
from audit.models import Event, EvidencePack
from audit.roles import Role
from backups.policies import ensure_first_policy
from backups.vault import Vault
from l2l.evidence import asking, making, verify_evidence
from l2l.evidence.asking import PackRefused
from l2l.evidence.making import NotMade

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.filterwarnings("ignore:Exception ignored in. .function ServerCursorMixin:pytest.PytestUnraisableExceptionWarning"),
]
State = EvidencePack.State
Asked = Callable[..., EvidencePack]


@pytest.fixture
def otto(acting: Any, transactional_db: None, settings: Any, tmp_path: Any, clock: Any) -> User:
    settings.L2L_EXPORTS = tmp_path / "exports"
    ensure_first_policy()
    found = User.objects.create_user("otto", password="pw", is_staff=True)
    grant_role(found, Role.AUDITOR, reason="a test", now=clock.now, since=clock.now - timedelta(days=700))
    return found


@pytest.fixture
def asked(otto: User, clock: Any) -> Asked:
    def ask(**other: Any) -> EvidencePack:
        today = clock.now.date()
        given = {"first": today, "last": today, "seed": "s", "reason": "the audit", "by": otto, "now": clock.now}
        return asking.ask(**given | other)

    return ask


def events(kind: str) -> list[Any]:
    return list(Event.objects.filter(event=kind))


def test_the_worker_makes_it_once_and_it_is_told(asked: Asked, vault: Vault) -> None:
    pack = asked()
    made = asking.carry_out(vault, pack.pk)
    assert made is not None and made.state == State.MADE, made and made.trouble
    path = asking.folder_of(made) / made.file_name
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.stat().st_size == made.size
    with path.open("rb") as file:
        opened, found = verify_evidence.verify(file, vault.fingerprint)
    assert (found.wrong, found.open, opened.manifest["id"]) == ([], [], str(pack.pk))
    assert asking.carry_out(vault, pack.pk) is None, "it is not waiting any more"
    assert [one.facts["sha256"] for one in events("pack:made")] == [made.sha256]
    assert len(events("pack:asked")) == 1


def test_its_download_is_the_file_and_an_event(asked: Asked, vault: Vault, otto: User) -> None:
    made = asking.carry_out(vault, asked().pk)
    assert made is not None
    client = Client()
    client.force_login(otto)
    answer = client.get(f"/l2l_audit/evidencepack/{made.pk}/download/")
    data = b"".join(answer.streaming_content)
    assert zipfile.ZipFile(BytesIO(data)).namelist()[-1] == "manifest.json"
    assert [one.facts["sha256"] for one in events("pack:fetched")] == [made.sha256]


def test_nobody_without_the_right_asks_or_takes(asked: Asked, clock: Any) -> None:
    stranger = User.objects.create_user("nobody")
    with pytest.raises(PackRefused, match="needs the right"):
        asked(by=stranger)
    with pytest.raises(PackRefused, match="needs the right"):
        asking.download(asked(), by=stranger, now=clock.now)


@pytest.mark.parametrize(
    "given", [{"last": date(2100, 1, 1)}, {"first": date(2100, 1, 1)}, {"first": date(1, 1, 1)}, {"seed": "two words"}, {"reason": " "}]
)
def test_what_cannot_be_is_refused(asked: Asked, given: dict[str, Any]) -> None:
    with pytest.raises((NotMade, PackRefused)):
        asked(**given)
    assert not EvidencePack.objects.exists()


def test_a_killed_worker_leaves_it_to_the_next_and_at_last_it_says_so(asked: Asked, vault: Vault, clock: Any) -> None:
    import socket

    pack = asked()
    left = {"state": State.RUNNING, "holder": f"{socket.gethostname()}:1:0", "attempts": 1}
    EvidencePack.objects.filter(pk=pack.pk).update(**left)
    partial = asking.folder_of(pack) / ".half.partial"
    partial.parent.mkdir(parents=True)
    partial.write_bytes(b"half")
    asking.look(clock.now)
    made = asking.carry_out(vault, pack.pk)
    assert made is not None and (made.state, made.attempts) == (State.MADE, 2)
    assert not partial.exists()
    EvidencePack.objects.filter(pk=pack.pk).update(**left | {"attempts": asking.MOST_ATTEMPTS})
    asking.look(clock.now)
    pack.refresh_from_db()
    assert pack.state == State.FAILED
    assert "ask again" in pack.trouble
    assert not asking.folder_of(pack).exists()


def test_what_fails_says_why_and_leaves_nothing(asked: Asked, vault: Vault, settings: Any, tmp_path: Any) -> None:
    (tmp_path / "exports").write_text("a file stands where the folder should")
    failed = asking.carry_out(vault, asked().pk)
    assert failed is not None and failed.state == State.FAILED
    assert failed.trouble
    assert events("pack:made") == []


def test_two_who_make_one_at_once_do_not_spoil_each_others(otto: User, vault: Vault, clock: Any, tmp_path: Path) -> None:
    path, period = tmp_path / "pack.zip", making.period_of(clock.now.date(), clock.now.date(), clock.now)
    began: list[str] = []

    def other(line: str) -> None:
        """While the first one is at it somebody else makes one under the same name."""
        if not began:
            began.append(line)
            making.make(vault, period, seed="b", path=path, ident=uuid.uuid4())

    with audit.acting("otto", reason="a test"), pytest.raises(NotMade, match="made by somebody else meanwhile"):
        making.make(vault, period, seed="a", path=path, ident=uuid.uuid4(), tell=other)
    with path.open("rb") as file:
        opened, found = verify_evidence.verify(file, vault.fingerprint)
    assert (opened.manifest["seed"], found.wrong) == ("b", []) and list(tmp_path.glob(".*")) == []


def test_it_goes_after_a_month(asked: Asked, vault: Vault, clock: Any) -> None:
    made = asking.carry_out(vault, asked().pk)
    assert made is not None
    clock.forward(days=31)
    asking.look(clock.now)
    made.refresh_from_db()
    assert made.state == State.EXPIRED
    assert not asking.folder_of(made).exists()


def test_nothing_is_written_over(asked: Asked, vault: Vault, tmp_path: Any, clock: Any) -> None:
    (tmp_path / "there.zip").write_bytes(b"somebody's")
    period = making.period_of(clock.now.date(), clock.now.date(), clock.now)
    with audit.acting("otto"), pytest.raises(NotMade, match="is there already"):
        making.make(vault, period, seed="s", path=tmp_path / "there.zip", ident=asked().pk)
    assert (tmp_path / "there.zip").read_bytes() == b"somebody's"


@pytest.fixture
def installed(otto: User, vault: Vault, folders: dict[str, Path], key_folder: Path, settings: Any) -> None:
    """The vault's locations and keys, as commands find them."""
    settings.L2L_LOCATIONS = " ".join(f"{name}={folder.as_uri()}" for name, folder in folders.items())
    settings.L2L_OFFSITE, settings.L2L_KEYS = ["offsite"], key_folder


def test_the_command_ends_well_only_when_everything_adds_up(installed: None, clock: Any, tmp_path: Path) -> None:
    today = clock.now.date().isoformat()
    asked = ["evidence", "--from", today, "--to", today, "--json", "--out"]
    out = StringIO()
    call_command(*asked, str(tmp_path / "good.zip"), stdout=out)
    assert json.loads(out.getvalue())["unreconciled"] == []
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM l2l_audit_grant")  # behind history's back
    with pytest.raises(CommandError, match="first versions in its history"):
        call_command(*asked, str(tmp_path / "bad.zip"), stdout=StringIO())
    assert (tmp_path / "bad.zip").exists(), "made all the same, and it tells of it"
    with pytest.raises(CommandError, match="is there already"):
        call_command(*asked, str(tmp_path / "bad.zip"), stdout=StringIO())
    assert sorted(path.name for path in tmp_path.glob("*.partial")) == []
