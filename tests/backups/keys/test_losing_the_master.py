"""Losing the online master alone loses nothing: with the escrow identity a new one opens everything, and backups go on (P3, P4, P7)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyrage
import pytest
from django.contrib.auth.models import User
from pyrage.x25519 import Identity

from audit.models import Stream
from audit.two_person import ApprovalRefused
from backups import keyfiles
from backups import vault as vaults
from backups.errors import KeysMissing
from backups.keys import former, listing, recorded, requests, rewrapping, switching
from backups.keys.requests import Deed, KeyChangeRefused
from backups.models import KeyChangeRequest, KeyRingVersion
from backups.nightly import back_up
from backups.restore import restore
from backups.vault import Vault
from tests.backups.keys.conftest import kit_keys
from tests.backups.test_back_up import assert_restored, fill

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def kept(acme: Any, installed: Vault) -> Any:
    fill(acme)
    assert back_up(installed, Stream.objects.get(pk=acme.pk)).good
    return acme


def stored_keys(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.glob("keys/*/*.age"))}


def test_with_the_escrow_key_everything_is_wrapped_for_a_new_master_and_restores(
    kept: Any, installed: Vault, keys: Path, escrow: Identity, folders: dict[str, Path], change: Callable[..., Any], tmp_path: Path
) -> None:
    old = kit_keys(keys)[0]
    (keys / "master.age").unlink()
    with pytest.raises(KeysMissing, match=r"master\.age is missing"):
        vaults.from_settings()
    done = change(Deed.REPLACE, escrow=escrow)
    assert (done.keys, done.left, done.owed) == (1, [], set())

    vault = vaults.from_settings()
    restore(vault, kept, tmp_path / "out")
    assert_restored(tmp_path / "out", kept)
    assert back_up(installed, Stream.objects.get(pk=kept.pk)).good  # a process that held the old ring goes on
    assert former.remove_former(vault).objects == 1
    for folder in folders.values():
        assert list(stored_keys(folder)) == [f"keys/{kept.pk}/1-2.age"]
        for wrapped in stored_keys(folder).values():
            with pytest.raises(pyrage.DecryptError):
                pyrage.decrypt(wrapped, [old])
            assert pyrage.decrypt(wrapped, [vault.keys.master]) == pyrage.decrypt(wrapped, [escrow])
    restore(vault, kept, tmp_path / "again")
    assert str(escrow) not in "".join(path.read_text() for path in keys.glob("*") if path.name != keyfiles.KIT)


def test_a_wrong_escrow_key_is_refused_and_nothing_is_changed(
    kept: Any, keys: Path, folders: dict[str, Path], change: Callable[..., Any]
) -> None:
    (keys / "master.age").unlink()
    before = {path.name: path.read_text() for path in keys.iterdir()}, [stored_keys(folder) for folder in folders.values()]
    with pytest.raises(KeyChangeRefused, match=r"opens nothing here.*Nothing was changed"):
        change(Deed.REPLACE, escrow=Identity.generate())
    assert ({path.name: path.read_text() for path in keys.iterdir()}, [stored_keys(folder) for folder in folders.values()]) == before
    assert KeyChangeRequest.objects.get().state == "approved" and KeyRingVersion.objects.count() == 1
    with pytest.raises(KeyChangeRefused, match="recipient's secret half is needed"):
        switching.carry_out(keys, KeyChangeRequest.objects.get(), now=vaults.clock())


def test_init_makes_no_new_keys_where_the_master_was_lost(keys: Path) -> None:
    before = {path.name: path.read_text() for path in keys.iterdir() if path.name != "master.age"}
    (keys / "master.age").unlink()
    with pytest.raises(KeysMissing, match="Nothing was made anew"):
        keyfiles.make_key_files(keys, "2026-03-02")
    assert {path.name: path.read_text() for path in keys.iterdir()} == before


def test_one_person_changes_nothing_and_a_right_of_another_kind_neither(keys: Path, people: dict[str, User], installed: Vault) -> None:
    now = vaults.clock()
    with pytest.raises(ApprovalRefused, match="may not ask"):
        requests.ask(Deed.ROTATE, by=people["ada"], why="x", now=now)
    asked = requests.ask(Deed.ROTATE, by=people["olga"], why="x", now=now)
    for person, password, why in (("olga", "a long enough password", "another person"), ("rita", "wrong", "not your password")):
        with pytest.raises(ApprovalRefused, match=why):
            requests.approve(asked, by=people[person], password=password, now=now)
    with pytest.raises(KeyChangeRefused, match="must be over"):
        requests.ask(Deed.ROTATE, by=people["olga"], why="x", now=now)
    assert installed.keys.wrapping == 1 and rewrapping.pending(1) == {}


def test_what_is_no_public_half_is_refused_and_a_secret_is_never_kept(keys: Path, people: dict[str, User]) -> None:
    secret = str(Identity.generate())
    known = str(keyfiles.key_ring(keys).escrow)
    wrong = {"bank": [secret, "age1nonsense", known], "online": [str(Identity.generate().to_public())], "Big Bank": ["age1x"]}
    for name, recipients in wrong.items():
        for recipient in recipients:
            with pytest.raises(KeyChangeRefused) as told:
                requests.ask(Deed.ADD, by=people["olga"], why="x", now=vaults.clock(), name=name, recipient=recipient)
            assert secret not in str(told.value)
    with pytest.raises(KeyChangeRefused, match="last one beside"):
        requests.ask(Deed.REMOVE, by=people["olga"], why="x", now=vaults.clock(), name="escrow")
    assert not KeyChangeRequest.objects.exists()


def test_a_further_holder_opens_every_key_and_a_removed_one_no_new_wrapping(
    kept: Any, installed: Vault, keys: Path, escrow: Identity, change: Callable[..., Any], folders: dict[str, Path]
) -> None:
    bank = Identity.generate()
    assert change(Deed.ADD, name="bank", recipient=str(bank.to_public())).keys == 1
    newest = folders["offsite"] / f"keys/{kept.pk}/1-2.age"
    assert pyrage.decrypt(newest.read_bytes(), [bank]) == pyrage.decrypt(newest.read_bytes(), [escrow])
    [key] = listing.listed([Stream.objects.get(pk=kept.pk)])
    assert [one.opens for one in key.wrappings] == [("online", "escrow", "bank"), ("online", "escrow")]
    change(Deed.REMOVE, name="escrow")  # its kit was stolen: the bank's key takes its place
    again = folders["offsite"] / f"keys/{kept.pk}/1-3.age"
    with pytest.raises(pyrage.DecryptError):
        pyrage.decrypt(again.read_bytes(), [escrow])
    assert pyrage.decrypt(again.read_bytes(), [bank])
    assert (keys / "escrow.recipient").read_text().strip() == str(bank.to_public())
    assert recorded.newest().names == ["online", "bank"] and installed.keys.wrapping == 3
    assert former.remove_former(installed).objects == 2
