"""What comes back when the database is empty and one location is left: everything, under its own keys."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.base import ContentFile

import audit
from audit.models import Event, Grant, Person, Stream
from audit.registry import SYSTEM_STREAM
from backups import locations
from backups.hot import shipper
from backups.models import BackupSet, Copy, HotState, Recovery, SegmentCopy, Slot
from backups.nightly import back_up
from backups.prune import carrying_out as pruning
from backups.recovery.state import NotEmpty
from backups.vault import Vault
from subscriptions.models import Customer, DataRecord, LegalHold, UploadedContent
from tests.backups.recovery.conftest import Recovered, content_of, files_in, in_a_set, shown, vault_of, without_new
from tests.backups.test_back_up import backed_up
from tests.factory.models import Downtime

pytestmark = pytest.mark.django_db(transaction=True)
Burn = Callable[[], None]


def test_the_whole_service_comes_back(
    aged: Any, acme2: Any, people: dict[str, User], vault: Vault, burn: Burn, recovered: Recovered, uploads: Path
):
    """Rows, history, journal and files of every customer, changes behind the last set, people and their roles."""
    in_a_set(vault, aged)
    DataRecord.objects.get(customer=aged, reference="new-1").delete()
    changed = DataRecord.objects.get(customer=aged, reference="new-2")
    changed.data = {"n": "after the set"}
    changed.save()
    UploadedContent.objects.create(customer=aged, name="late.txt", file=ContentFile(b"late" * 1000, name="x"))
    DataRecord.objects.create(customer=acme2, kind="part", reference="never in a set")
    assert shipper.ship_once(vault) == []
    before = {pk: content_of(pk) for pk in (aged.pk, acme2.pk, SYSTEM_STREAM)}
    files, highest = files_in(uploads), DataRecord.objects.order_by("-pk").values_list("pk", flat=True)[0]
    newest_event = Event.objects.values_list("number", flat=True)[0]
    segment = HotState.objects.get(pk=1).last_segment
    burn()

    report = recovered()

    assert shown(report) == {"acme": "back", "acme2": "back", "system": "back", "stopped": ""}
    assert content_of(aged.pk) == before[aged.pk]
    assert content_of(acme2.pk) == before[acme2.pk]
    assert without_new(content_of(SYSTEM_STREAM), before[SYSTEM_STREAM]) == before[SYSTEM_STREAM]
    assert files_in(uploads) == files
    assert [one.lost for one in report.streams] == [[], [], []]
    # People: who they are and what they may do, without a password.
    rita = User.objects.get(username="rita")
    assert (rita.pk, rita.is_staff, rita.has_usable_password()) == (people["rita"].pk, True, False)
    assert [group.name for group in rita.groups.all()] == ["receipt approver"]
    assert Customer.objects.get(pk=aged.pk).account_manager.username == "ada"
    assert Grant.objects.count() == 4 == Person.objects.count()
    # Writers go on behind what was ever used.
    assert not Stream.objects.exclude(frozen_at=None).exists()
    with audit.acting("ada", reason="after the fire"):
        made = DataRecord.objects.create(customer=aged, kind="part", reference="after")
        assert made.pk > highest
        assert User.objects.create_user("zoe").pk > people["otto"].pk
    assert Event.objects.filter(number=newest_event + 1, event="service:recovered").exists()
    here = vault_of(vault, "offsite")
    assert shipper.ship_once(here) == []
    assert HotState.objects.get(pk=1).last_segment > segment
    # The next night finds what is stored, and nothing to complain of.
    made_set = backed_up(here, aged).backup_set
    assert made_set.proof == "proved", made_set.proof_text
    assert made_set.reused_blobs > 0
    assert made_set.protected_at is not None
    again = backed_up(here, aged).backup_set
    assert again.new_blobs == 0


def standing() -> dict[str, str]:
    """The sets that stay, each with why."""
    return {str(one.pk): one.kept_why for one in BackupSet.objects.filter(state="made")}


@pytest.mark.slow
@pytest.mark.parametrize("left", [("offsite",), ("offsite", "primary")])
def test_nothing_that_was_chosen_is_let_go(
    left: tuple[str, ...], acme: Any, nights: Any, vault: Vault, folders: dict[str, Path], burn: Burn, recovered: Recovered
):
    """Twelve nights under a policy of four nights and two weeks, of which a pass let seven go; then the machine burns, with the primary
    location: that is given up, or named and down. The next passes decide the weeks anew, from what is left."""
    nights(acme, 12)
    in_a_set(vault)
    pruning.carry_out(vault)
    before, chosen = standing(), set(Slot.objects.exclude(backup_set=None).values_list("key", "backup_set"))
    assert len(before) == 6
    shutil.rmtree(folders["primary"])
    burn()
    recovered(*left, first="offsite")
    assert standing().keys() == before.keys()
    assert not BackupSet.objects.filter(protected_at=None).exists()
    here = vault_of(vault, *left)
    for _ in range(2):
        done = pruning.carry_out(here)
        assert done.sets == 0
    assert standing() == before
    assert set(Slot.objects.exclude(backup_set=None).values_list("key", "backup_set")) == chosen


@pytest.mark.slow
def test_a_location_that_is_down_is_owed_its_copies(
    aged: Any, vault: Vault, folders: dict[str, Path], burn: Burn, recovered: Recovered, tmp_path: Path
):
    """The primary location is named and lies in ashes; later there is an empty folder in its place."""
    in_a_set(vault, aged)
    shutil.rmtree(folders["primary"])
    burn()
    assert recovered("offsite", "primary", first="offsite").whole
    assert Copy.objects.filter(location__name="primary", state="present").count() == 0
    assert Copy.objects.filter(location__name="offsite", state="owed").count() == 0
    folders["primary"].mkdir()
    locations.prepare(vault.places[0].store, vault.signer, "read me", made="2026-03-01", sample=True)
    here = vault_of(vault, "primary", "offsite")
    for stream in Stream.objects.all():
        back_up(here, stream, workers=0)
    assert shipper.ship_once(here) == []
    assert not Copy.objects.filter(state="owed").exists()
    assert not SegmentCopy.objects.filter(durable_at=None).exists()
    names = {place: set(files_in(folders[place])) for place in folders}
    # What the catalogue knows is there; files of another time that no row names are left where they are.
    assert names["primary"] >= {name for name in names["offsite"] if name.startswith(("customers/", "system/", "keys/", "hot/2"))}


def test_a_database_that_holds_something_is_left_alone(aged: Any, vault: Vault, recovered: Recovered):
    in_a_set(vault, aged)
    before = content_of(aged.pk)
    with pytest.raises(NotEmpty, match="not empty"):
        recovered()
    assert content_of(aged.pk) == before
    assert not Recovery.objects.exists()


def test_a_second_recovery_is_refused(aged: Any, vault: Vault, burn: Burn, recovered: Recovered):
    in_a_set(vault, aged)
    burn()
    recovered()
    with pytest.raises(NotEmpty):
        recovered()


def test_what_was_purged_stays_away(aged: Any, purged: Callable[..., Any], vault: Vault, burn: Burn, recovered: Recovered, uploads: Path):
    """The set was made before the purge, and holds all of it."""
    assert in_a_set(vault, aged)
    purged(aged)
    assert shipper.ship_once(vault) == []
    before, files = content_of(aged.pk), files_in(uploads)
    burn()
    report = recovered()
    assert report.whole, [one.trouble for one in report.streams]
    assert content_of(aged.pk) == before
    assert files_in(uploads) == files
    assert not DataRecord.objects.filter(reference__startswith="MARK").exists()
    assert not Downtime.objects.exists()


def test_holds_stand_again(aged: Any, people: dict[str, User], vault: Vault, burn: Burn, recovered: Recovered):
    from datetime import date

    from subscriptions import holds

    hold = LegalHold.objects.create(
        customer=aged, holder="A court", basis="12 O 34/26", review_on=date(2027, 1, 1), placed_by="ada", placed_at=vault.clock()
    )
    in_a_set(vault, aged)
    burn()
    recovered()
    assert LegalHold.objects.get().pk == hold.pk
    assert holds.held([aged.pk]) == {aged.pk}
