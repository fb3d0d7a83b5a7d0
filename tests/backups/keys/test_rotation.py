"""A rotation reaches every location in its own time, can be killed anywhere, and nobody at work is held up by it (P4, P7)."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyrage
import pytest
from django.contrib.auth.models import User
from django.db import connection

import audit
from audit.models import Event, Stream
from backups import customerkeys, keyfiles
from backups import vault as vaults
from backups.hot.keys import Keys
from backups.keys import drilling, former, keeping, new_kit, renewing, requests, retired, rewrapping, switching
from backups.keys.requests import Deed, KeyChangeRefused
from backups.models import Blob, Copy, KeyRingVersion
from backups.nightly import back_up
from backups.recovery_kit import put_back_key_files, read_kit
from backups.restore import restore
from backups.vault import Vault
from subscriptions.onboarding import add_customer
from tests.backups.keys.conftest import PASSWORD, kit_keys
from tests.backups.shipping import key_of
from tests.backups.test_back_up import assert_restored, fill

pytestmark = [
    pytest.mark.django_db(transaction=True),
    # A crash inside Django's own code leaves its server-side cursor to the garbage collector, as a killed process would.
    pytest.mark.filterwarnings("ignore:Exception ignored in. .function ServerCursorMixin:pytest.PytestUnraisableExceptionWarning"),
]


def stream_of(customer: Any) -> Stream:
    return Stream.objects.get(pk=customer.pk)


@contextmanager
def down(folder: Path) -> Iterator[None]:
    """The location is not mounted."""
    away = folder.with_name(f"{folder.name}-away")
    folder.rename(away)
    folder.mkdir()
    try:
        yield
    finally:
        folder.rmdir()
        away.rename(folder)


def test_a_location_that_is_down_keeps_the_former_wrapping_and_the_retired_master_until_it_has_the_new_one(
    acme: Any,
    installed: Vault,
    keys: Path,
    folders: dict[str, Path],
    people: dict[str, User],
    change: Callable[..., Any],
    tmp_path: Path,
    acting: Any,
) -> None:
    fill(acme)
    assert back_up(installed, stream_of(acme)).good
    before, after = f"keys/{acme.pk}/1.age", f"keys/{acme.pk}/1-2.age"
    with down(folders["offsite"]):
        done = change(Deed.ROTATE)
        assert (done.keys, done.left, done.owed) == (1, [], {"offsite"})
        gone = former.remove_former(installed)
        assert gone.objects == 0 and any("kept at offsite" in one for one in gone.left)
        assert (folders["primary"] / after).exists() and not (folders["primary"] / before).exists()
    [file] = keyfiles.retired_masters(keys)
    assert file.stat().st_mode & 0o777 == 0o600 and file.read_text().strip() == str(kit_keys(keys)[0])
    later = vaults.clock() + timedelta(hours=2)
    [needed] = retired.still_needed(later)
    assert needed.startswith("offsite lacks the new wrapping of 1 keys")
    with pytest.raises(KeyChangeRefused, match=r"still needed.*offsite lacks.*Nothing was removed"):
        retired.destroy(keys, by=people["olga"], why="x", now=later)
    with down(folders["primary"]):  # the location that has the former wrapping alone still gives everything
        restore(vaults.from_settings(), acme, tmp_path / "out")
        assert_restored(tmp_path / "out", acme)

    rewrapping.wrap_anew(installed)
    assert (folders["offsite"] / after).read_bytes() == (folders["primary"] / after).read_bytes()
    assert former.remove_former(installed).objects == 1
    assert not list(folders["offsite"].glob(before))
    assert any("less than an hour" in one for one in retired.still_needed(vaults.clock()))
    assert retired.destroy(keys, by=people["olga"], why="nothing needs it", now=later) == [file.name]
    assert keyfiles.retired_masters(keys) == [] and vaults.from_settings().keys.now().retired == ()
    with down(folders["primary"]):
        restore(vaults.from_settings(), acme, tmp_path / "again")
    assert Event.objects.filter(event="keys:master-destroyed").count() == 1


def test_whoever_held_the_former_ring_notices(acme: Any, installed: Vault, keys: Path, change: Callable[..., Any]) -> None:
    """The shipper makes keys for new customers in the middle and afterwards: none is for the former master alone."""
    fill(acme)
    assert back_up(installed, stream_of(acme)).good
    hot, old = Keys(installed), kit_keys(keys)[0]
    with_key = hot.get(acme.pk)
    change(Deed.ROTATE)
    new = add_customer("newcomer", "Newcomer", start=date(2026, 1, 1))
    made = hot.get(new.pk)
    assert hot.get(acme.pk) == with_key or str(hot.get(acme.pk).identity) == str(with_key.identity)
    [name] = Blob.objects.filter(stream=new.pk, kind="key").values_list("name", flat=True)
    assert name == f"keys/{new.pk}/1-2.age"
    wrapped = installed.places[0].store.get(name)
    with pytest.raises(pyrage.DecryptError):
        pyrage.decrypt(wrapped, [old])
    assert str(customerkeys.key_at(installed.keys, installed.places, str(new.pk), 1, []).identity) == str(made.identity)


def test_a_ring_that_changes_while_a_key_is_wrapped_is_noticed_before_it_is_intended(
    acme: Any, installed: Vault, change: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    checked, rotated = customerkeys._check_opens, []

    def rotate_first(*arguments: Any) -> None:
        checked(*arguments)
        if not rotated:
            rotated.append(change(Deed.ROTATE))

    monkeypatch.setattr(customerkeys, "_check_opens", rotate_first)
    key_of(installed, acme.pk)
    assert list(Blob.objects.filter(stream=acme.pk, kind="key").values_list("name", flat=True)) == [f"keys/{acme.pk}/1-2.age"]


class Killed(BaseException):
    """The process is gone."""


@contextmanager
def killed_at(step: int, monkeypatch: pytest.MonkeyPatch, vault: Vault) -> Iterator[list[int]]:
    """Each statement, each flush of the key folder and each put and removal is a step; at that one the process dies."""
    taken = [0]

    def one() -> None:
        taken[0] += 1
        if taken[0] >= step:
            raise Killed

    def wrapper(execute: Callable[..., Any], *arguments: Any) -> Any:
        one()
        return execute(*arguments)

    def stepping(function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **named: Any) -> Any:
            one()
            done = function(*arguments, **named)
            one()
            return done

        return run

    store = type(vault.places[0].store)
    with monkeypatch.context() as patch:
        for module in (keyfiles, switching):
            patch.setattr(module, "flush", stepping(module.flush))
        for name in ("put", "remove"):
            patch.setattr(store, name, stepping(getattr(store, name)))
        with connection.execute_wrapper(wrapper):
            yield taken


@pytest.mark.parametrize("seed", [4, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(100, 120))])
def test_killed_at_any_step_it_goes_on_and_every_key_opens(
    installed: Vault, keys: Path, people: dict[str, User], acting: Any, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    customers = [add_customer(f"customer{number}", "C", start=date(2026, 1, 1)) for number in range(2)]
    for customer in customers:
        key_of(installed, customer.pk)
    first = {one.pk: str(customerkeys.key_at(installed.keys, installed.places, str(one.pk), 1, []).identity) for one in customers}
    chance, kills = random.Random(seed), 0
    for _ in range(3):
        asked = requests.ask(Deed.ROTATE, by=people["olga"], why="x", now=vaults.clock())
        requests.approve(asked, by=people["rita"], password=PASSWORD, now=vaults.clock())
        finished = False
        while not finished:
            try:
                with killed_at(chance.randint(1, 50 + 15 * kills), monkeypatch, installed):
                    keeping.keep(keys, vaults.clock())
                    finished = not former.remove_former(installed).left
            except Killed:
                kills += 1
                monkeypatch.setattr("backups.leases.holder_is_gone", lambda holder: True)  # as it would be
            for one in customers:  # always, with what stands on this machine now, and with the escrow key alone
                found = customerkeys.key_at(vaults.from_settings().keys, installed.places, str(one.pk), 1, [])
                assert str(found.identity) == first[one.pk]
                for place in installed.places:
                    data = [place.store.get(entry.name) for entry in place.store.list(f"keys/{one.pk}/")]
                    assert first[one.pk] in [pyrage.decrypt(wrapped, [kit_keys(keys)[1]]).decode() for wrapped in data]
    ring = keyfiles.ring_file(keys)
    assert kills > 3 and KeyRingVersion.objects.count() == 4
    assert rewrapping.pending(ring.wrapping) == {} and former.former(ring.wrapping) == {}
    names = [entry.name for place in installed.places for entry in place.store.list("keys/")]
    assert sorted(names) == sorted(f"keys/{one.pk}/1-{ring.wrapping}.age" for one in customers for _ in installed.places)
    assert not Copy.objects.exclude(state="present").exists() and not (keys / switching.NEXT).exists()
    assert keyfiles.read_key_file(keys / "master.age") == str(vaults.from_settings().keys.master)


def test_a_new_kit_brings_the_key_files_back_and_lacks_the_escrow_key_unless_it_is_brought(
    keys: Path, people: dict[str, User], change: Callable[..., Any], escrow: Any, tmp_path: Path, acting: Any
) -> None:
    change(Deed.ROTATE)
    with pytest.raises(KeyChangeRefused, match="still lies there"):
        new_kit.make_kit(keys, by=people["olga"], why="rotated", now=vaults.clock())
    for brought in (None, escrow):
        (keys / keyfiles.KIT).unlink()
        path = new_kit.make_kit(keys, by=people["olga"], why="rotated", now=vaults.clock(), escrow=brought)
        assert path.stat().st_mode & 0o777 == 0o600 and (str(escrow) in path.read_text()) == (brought is not None)
        put_back_key_files(tmp_path / f"new-{brought is None}", kit := read_kit(path))
        assert (str(kit.escrow) if kit.escrow else None) == (str(escrow) if brought else None)
        there, here = keyfiles.key_ring(tmp_path / f"new-{brought is None}"), keyfiles.key_ring(keys)
        assert (there.recipients, there.wrapping, str(there.master)) == (here.recipients, 2, str(here.master))


def test_the_drill_opens_with_the_escrow_key_alone_and_a_damaged_copy_fails_it(
    acme: Any, installed: Vault, keys: Path, escrow: Any, people: dict[str, User], folders: dict[str, Path]
) -> None:
    fill(acme)
    assert back_up(installed, stream_of(acme)).good
    (keys / "master.age").unlink()  # the vault holds it still; the drill must not need it
    made = drilling.drill(installed, escrow, by=people["olga"], now=vaults.clock())
    assert (made.result, made.keys, made.opened, made.objects_opened, made.failed, made.missing) == ("passed", 1, 2, 2, 0, 0)
    due = drilling.due_at()
    assert due is not None and not drilling.overdue(due - timedelta(hours=1)) and drilling.overdue(due + timedelta(hours=1))
    with pytest.raises(KeyChangeRefused, match="opens nothing here"):
        drilling.drill(installed, kit_keys(keys)[0], by=people["olga"], now=vaults.clock())
    copy = folders["offsite"] / f"keys/{acme.pk}/1.age"
    copy.write_bytes(copy.read_bytes()[:-1])
    [body] = (folders["primary"] / f"customers/{acme.pk}/sets").glob("*.age")
    body.write_bytes(body.read_bytes()[:-1] + b"?")
    made = drilling.drill(installed, escrow, by=people["olga"], now=vaults.clock())
    assert (made.result, made.opened, made.failed) == ("failed", 1, 2)
    assert copy.name in made.detail and "offsite" in made.detail and body.name in made.detail
    assert Event.objects.filter(event="escrow:drilled").count() == 2 and Event.objects.filter(event="finding:opened").count() == 1
    assert str(escrow) not in "".join(path.read_text() for path in keys.iterdir() if path.name != keyfiles.KIT)


def test_a_renewed_key_seals_the_next_set_and_both_restore(
    acme: Any, installed: Vault, keys: Path, people: dict[str, User], tmp_path: Path
) -> None:
    fill(acme)
    old = back_up(installed, stream_of(acme)).backup_set
    done = renewing.renew(installed, stream_of(acme), by=people["olga"], why="it was seen")
    assert (done.number, done.older_sets, done.owed) == (2, 1, []) and done.until == old.goes_at
    new = back_up(installed, stream_of(acme)).backup_set
    assert (old.key_number, new.key_number, new.reused_blobs) == (1, 2, 0) and new.protected_at
    for number, one in enumerate((old, new)):
        restore(installed, acme, tmp_path / str(number), set_id=str(one.pk))
        assert_restored(tmp_path / str(number), acme)
    with audit.acting("worker", source="test"):
        assert rewrapping.wrap_anew(installed).keys == 0
