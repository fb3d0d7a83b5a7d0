"""`manage.py keys` and the pages, as people use them: true to each copy, red when something is not as it should be, nothing secret told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django_q.models import OrmQ
from pyrage.x25519 import Identity

from audit.models import Event, Stream
from backups import keyfiles, tasks
from backups.keys import listing
from backups.models import KeyChangeRequest
from backups.nightly import back_up
from backups.vault import Vault
from l2l import checks
from tests.backups.keys.conftest import PASSWORD
from tests.backups.shipping import key_of
from tests.backups.test_back_up import fill
from tests.backups.test_commands import Said, run

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def kept(acme: Any, installed: Vault) -> Any:
    fill(acme)
    assert back_up(installed, Stream.objects.get(pk=acme.pk)).good
    return acme


@pytest.fixture
def password(tmp_path: Path) -> Path:
    return secret(tmp_path / "password", PASSWORD)


def secret(path: Path, text: str) -> Path:
    path.touch(mode=0o600)
    path.write_text(text + "\n")
    return path


def keys_by_olga(password: Path, *arguments: object) -> Said:
    return run("keys", *arguments, "--as", "olga", "--password-file", password)


def states(said: Said) -> dict[str, str]:
    [key] = said.document["keys"]
    return {copy["location"]: copy["state"] for copy in key["wrappings"][0]["copies"]}


def test_every_copy_is_listed_as_it_is_found(kept: Any, folders: dict[str, Path], installed: Vault) -> None:
    said = run("keys", "list", "acme", "--json")
    assert not said.failed and states(said) == {"primary": "present", "offsite": "present"}
    [key] = said.document["keys"]
    assert key["wrappings"][0]["opens"] == ["online", "escrow"] and key["sets"] == 1 and "the set of the night of" in key["losing"]
    copy = folders["offsite"] / f"keys/{kept.pk}/1.age"
    whole = copy.read_bytes()
    damages = {"damaged": whole[:-1] + b"?", "missing": None}
    for state, data in damages.items():
        copy.unlink()
        if data is not None:
            copy.write_bytes(data)
        said = run("keys", "list", "acme", "--json")
        assert states(said) == {"primary": "present", "offsite": state} and f"{state} at offsite" in said.failed
    (folders["primary"] / "format-v1.json").unlink()  # not mounted
    assert states(run("keys", "list", "acme", "--json"))["primary"] == "does not answer"


def test_a_lost_master_is_replaced_by_two_people_at_one_command(
    kept: Any, keys: Path, escrow: Identity, people: dict[str, User], password: Path, tmp_path: Path
) -> None:
    (keys / "master.age").unlink()
    wrong, right = secret(tmp_path / "wrong", str(Identity.generate())), secret(tmp_path / "right", str(escrow))
    second = ("--second", "rita", "--second-password-file", password)
    refused = keys_by_olga(password, "replace-master", "--escrow-file", wrong, "--reason", "lost", *second)
    assert "opens nothing here" in refused.failed and not KeyChangeRequest.objects.exists() and not (keys / "master.age").exists()
    alone = keys_by_olga(password, "replace-master", "--escrow-file", right, "--reason", "lost", "--second", "olga", *second[2:])
    assert "another person must" in alone.failed and not (keys / "master.age").exists()
    KeyChangeRequest.objects.get()
    assert not keys_by_olga(password, "cancel", KeyChangeRequest.objects.get().pk, "--reason", "with rita").failed
    done = keys_by_olga(password, "replace-master", "--escrow-file", right, "--reason", "lost", *second, "--json")
    assert not done.failed and (done.document["keys"], done.document["state"]) == (1, "executed")
    assert "does not undo" in " ".join(done.document["not_undone"])
    assert not run("backup", "acme").failed and not run("restore", "acme", "--to", tmp_path / "out").failed
    kit = keys_by_olga(password, "drill-escrow", "--identity-file", right, "--json")
    assert not kit.failed and kit.document["result"] == "passed"
    right.chmod(0o644)
    assert "can be read by others" in keys_by_olga(password, "drill-escrow", "--identity-file", right).failed
    told = "".join(f"{one.facts}" for one in Event.objects.all()) + done.out + kit.out
    assert "AGE-SECRET-KEY" not in told


def test_the_page_asks_and_approves_and_the_worker_does_it(kept: Any, keys: Path, people: dict[str, User]) -> None:
    clients = {name: Client() for name in ("olga", "rita", "ada")}
    for name, client in clients.items():
        client.force_login(people[name])
    add = reverse("admin:l2l_backups_keychangerequest_add")
    bank = Identity.generate()
    assert clients["ada"].get(add).status_code == 403
    page = clients["olga"].post(add, {"deed": "add-recipient", "name": "bank", "recipient": str(bank), "why": "a second holder"})
    assert "it must never be given here" in page.content.decode() and not KeyChangeRequest.objects.exists()
    given = {"deed": "add-recipient", "name": "bank", "recipient": str(bank.to_public()), "why": "a second holder"}
    assert "does not undo" in clients["olga"].post(add, given, follow=True).content.decode()
    asked = KeyChangeRequest.objects.get()
    approve = reverse("admin:l2l_backups_keychangerequest_approve", args=[asked.pk])
    assert str(bank.to_public()) in clients["rita"].get(approve).content.decode()
    clients["rita"].post(approve, {"password": PASSWORD}, follow=True)
    [message] = OrmQ.objects.all()
    assert message.func() == "backups.tasks.keep_keys"
    assert tasks.keep_keys() == "1 keys wrapped anew, 0 left"
    assert tasks.remove_former_keys() == "1 former wrappings removed, 0 left"
    assert "online, escrow, bank" in clients["rita"].get(reverse("admin:l2l_backups_keyringversion_customers")).content.decode()
    assert "bank" in clients["olga"].get(reverse("admin:l2l_backups_keyringversion_changelist")).content.decode()


def test_listing_takes_the_same_number_of_queries_however_many_customers_there_are(
    kept: Any, installed: Vault, acting: Any, django_assert_num_queries: Any
) -> None:
    from datetime import date

    from subscriptions.onboarding import add_customer

    for number in range(5):
        key_of(installed, add_customer(f"more-{number}", "More", start=date(2026, 1, 1)).pk)
    streams = list(Stream.objects.all())
    with django_assert_num_queries(4):
        assert len(listing.listed(streams)) == 6
    with django_assert_num_queries(4):
        assert len(listing.listed(streams[:1])) <= 1


def test_checks_name_files_that_others_can_read_retired_masters_and_an_overdue_drill(
    kept: Any, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found() -> set[str]:
        told = [*checks.check_deployment(None), *checks.check_escrow_drill(None, databases=["default"])]
        return {one.id for one in told} - {"l2l.W004", "l2l.W009", "l2l.W010", "l2l.W012"}  # of mail and its addresses

    assert found() == {"l2l.W003"}
    (keys / keyfiles.KIT).unlink()
    (keys / "ring.json").chmod(0o644)
    (keys / "master.retired-2026-01-01-1.age").write_text("x")
    monkeypatch.setattr("l2l.checks.drilling.overdue", lambda now: True)
    assert found() == {"l2l.E007", "l2l.E009", "l2l.W005", "l2l.W006"}
