"""The state at any moment is the state that was, when its last transaction had been committed: random transactions, random moments."""

from __future__ import annotations

import random
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.db import transaction

from audit.models import JournalRow
from backups import vault as vaults
from backups.errors import NotCovered
from backups.hot import numbering, shipper
from backups.models import Segment
from backups.vault import Vault
from subscriptions.models import DataRecord, Link, UploadedContent
from tests.backups.shipping import ship
from tests.backups.test_back_up import backed_up
from tests.backups.test_moments import MICROSECOND, Told, history_rows, record, restored, restored_at
from tests.factory.models import Downtime, Line, Site, Specimen

pytestmark = pytest.mark.django_db(transaction=True)

BEGAN = datetime(2026, 1, 31, 23, 59, 59, 5, tzinfo=UTC)


class Script:
    """Random changes of one customer, from a seed: a few in each transaction, over models that depend on each other."""

    def __init__(self, customer: Any, seed: int) -> None:
        self.customer, self.chance, self.made = customer, random.Random(seed), 0

    def transact(self) -> None:
        with transaction.atomic():
            for _ in range(self.chance.choice((1, 1, 2, 5))):
                self.chance.choice((self.add, self.add, self.change, self.change, self.remove))()

    def add(self) -> None:
        self.made += 1
        name = f"n{self.made}"
        kind = self.chance.randrange(6)
        if kind == 0:
            DataRecord.objects.create(
                customer=self.customer, kind="part", reference=name, data={"é": [1.5, None, {"b": 1e22}], "n": self.made}
            )
        elif kind == 1:
            content = bytes([self.chance.randrange(256)]) * self.chance.randrange(1, 5000)
            UploadedContent.objects.create(customer=self.customer, name=name, file=ContentFile(content, name="x"))
        elif kind == 2:
            Link.objects.create(customer=self.customer, reference=name, url="https://example.org/ü")
        elif kind == 3:
            Specimen.objects.create(customer=self.customer, label=name, free={"b": 2, "a": 1.5}, ratio=0.1, raw=b"\x00\xff", moment=BEGAN)
        else:
            site = Site.objects.create(customer=self.customer, name=name)
            line = Line.objects.create(site=site, name=name, speed=Decimal("1.5"))
            Downtime.objects.create(line=line, began_at=BEGAN, photo=ContentFile(name.encode(), name="p"))

    def change(self) -> None:
        model = self.chance.choice((DataRecord, UploadedContent, Link, Site))
        rows = list(model.objects.filter(customer=self.customer).order_by("pk"))
        if not rows:
            return
        row = self.chance.choice(rows)
        self.made += 1
        if model is DataRecord:
            row.data = {"n": self.made}
        elif model is UploadedContent:
            row.file = ContentFile(b"version %d" % self.made, name="x")
        else:
            setattr(row, "title" if model is Link else "name", f"n{self.made}")
        row.save()

    def remove(self) -> None:
        model = self.chance.choice((DataRecord, UploadedContent, Link, Downtime))
        path = "line__site__customer" if model is Downtime else "customer"
        rows = list(model.objects.filter(**{path: self.customer}).order_by("pk"))
        if rows:
            self.chance.choice(rows).delete()


def moments(told: Told, chance: random.Random) -> list[datetime]:
    """At, just before and just after transactions, in between, and before the first."""
    times = [at for at, _, _ in told.states]
    chosen = chance.sample(times, min(4, len(times)))
    return [
        *chosen,
        chosen[0] - MICROSECOND,
        chosen[-1] + MICROSECOND,
        times[0] - MICROSECOND,
        times[0] + (times[-1] - times[0]) * chance.random(),
    ]


def check(vault: Vault, customer: Any, told: Told, chance: random.Random, folder: Path) -> None:
    for at in moments(told, chance):
        report = restored_at(vault, customer, at, folder)
        state, count = told.at(at)
        assert restored(folder, customer) == state, f"at {at}: change {report.moment}"
        assert history_rows(folder) == count
        assert report.good, report.absent
        for row in state["l2l_subscriptions.uploadedcontent"]:
            assert (folder / "files" / row["file"]).stat().st_size == row["size"]
        shutil.rmtree(folder)


@pytest.mark.parametrize("seed", [1, 2, 3, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(4, 9))])
def test_the_state_at_a_moment_is_the_state_that_was(acme: Any, vault: Vault, clock: Any, tmp_path: Path, seed: int) -> None:
    script, told, chance = Script(acme, seed), Told(acme), random.Random(seed)
    for _ in range(chance.randrange(8, 20)):
        script.transact()
        if JournalRow.objects.filter(stream=acme.pk).exists():
            told.note()
        if chance.random() < 0.5:
            ship(vault, most=chance.choice((2, 4000)))
        if chance.random() < 0.2:
            backed_up(vault, acme)
            clock.forward(days=1)
    if chance.random() < 0.5:
        backed_up(vault, acme)
        clock.forward(days=1)
    while JournalRow.objects.filter(number=None).exists():
        ship(vault)
    ship(vault)
    if not acme_has_sets(acme):
        backed_up(vault, acme)
        ship(vault)
    check(vault, acme, told, chance, tmp_path / "out")


def acme_has_sets(customer: Any) -> bool:
    from backups.models import BackupSet

    return BackupSet.objects.filter(stream=customer.pk, state=BackupSet.State.MADE).exists()


@pytest.mark.parametrize("seed", [100, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(101, 104))])
def test_what_the_real_shipper_ships_can_be_had_back(acme: Any, vault: Vault, tmp_path: Path, seed: int) -> None:
    hot = replace(vault, clock=vaults.clock)
    script, told, chance = Script(acme, seed), Told(acme), random.Random(seed)
    with transaction.atomic():
        script.add()
    told.note()
    shipper.ship_once(hot)
    backed_up(hot, acme)
    for _ in range(8):
        script.transact()
        told.note()
        if chance.random() < 0.5:
            shipper.ship_once(hot)
    shipper.ship_once(hot)
    check(hot, acme, told, chance, tmp_path / "out")


def test_a_segment_does_not_say_that_it_knows_what_was_committed_while_it_was_made(
    acme: Any, vault: Vault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hot = replace(vault, clock=vaults.clock)
    record(acme, "1")
    first = Told(acme).note()
    shipper.ship_once(hot)
    backed_up(hot, acme)
    meanwhile: list[datetime] = []
    number = numbering.numbered

    def numbered(*given: Any, **options: Any) -> Any:
        found = number(*given, **options)
        record(acme, "committed after the outbox was read")
        meanwhile.append(Told(acme).note())
        return found

    with shipper.leading(hot) as leader, monkeypatch.context() as patched:
        leader.keys.get(acme.pk)
        record(acme, "2")
        patched.setattr(numbering, "numbered", numbered)
        leader.tick()
    segment = Segment.objects.latest("number")
    assert datetime.fromisoformat(segment.waiting[str(acme.pk)]) == meanwhile[-1]
    with pytest.raises(NotCovered):
        restored_at(hot, acme, meanwhile[-1], tmp_path / "out")
    assert restored_at(hot, acme, first, tmp_path / "first").good
