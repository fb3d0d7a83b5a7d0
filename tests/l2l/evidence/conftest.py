# ruff: noqa: F811
"""A small life by real code, in a time of its own: nights filled, late and missed, a test that failed, a hold, an ended customer."""

from __future__ import annotations

import shutil
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User

import audit
from audit import clock as clocks
from audit.models import Reading, Stream
from backups import runs
from backups.models import Run, TestRestore
from backups.test_restores import orders, sign_off
from backups.test_restores.carrying_out import carry_out
from backups.vault import Vault
from l2l.evidence import making
from l2l.evidence.making import Made
from subscriptions import holds
from subscriptions.models import Customer, DataRecord, DeletionRequest
from tests.backups.conftest import folders, key_folder, make_vault, vault  # noqa: F401
from tests.backups.destroy.conftest import acme, acme2, approve, approved, looked, people, received  # noqa: F401

MARK = "CUSTOMER-VALUE-7f3a"
SEED = "auditor-2026"


class Timeline:
    """The clock of everything, the database's events too: moved by hand, as a sample home's."""

    def __init__(self, settings: Any) -> None:
        self._settings = settings
        settings.L2L_SAMPLE = True
        self.set(datetime.now(UTC).replace(microsecond=0))

    def set(self, moment: datetime) -> None:
        since = timedelta(seconds=time.monotonic() - clocks._began)
        self._settings.L2L_NOW = (moment - since).isoformat()

    @property
    def now(self) -> datetime:
        return clocks.now()

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **amount: float) -> None:
        self.set(self.now + timedelta(**amount))


@pytest.fixture
def clock(settings: Any) -> Timeline:
    return Timeline(settings)


@dataclass
class Life:
    """`first` to `last` is what an auditor asks about."""

    vault: Vault
    going_on: Customer
    ended: DeletionRequest
    first: date
    last: date
    missed: date
    late: date
    failed: TestRestore

    def pack(self, folder: Path, seed: str = SEED) -> Made:
        period = making.period_of(self.first, self.last, self.vault.clock())
        with audit.acting("otto", reason="the audit", source="test"):
            return making.make(self.vault, period, seed=seed, path=folder / "pack.zip", ident=uuid.uuid4())


@pytest.fixture
def life(
    clock: Timeline,
    people: dict[str, User],
    vault: Vault,
    folders: dict[str, Path],
    key_folder: Path,
    acme2: Customer,
    approved: DeletionRequest,
    settings: Any,
) -> Life:
    settings.L2L_LOCATIONS = " ".join(f"{name}={folder.as_uri()}" for name, folder in folders.items())
    settings.L2L_OFFSITE, settings.L2L_KEYS = ["offsite"], key_folder
    first = people["ada"].date_joined.date()
    with audit.acting("worker", reason="a life", source="test"):
        DataRecord.objects.create(customer=acme2, kind="part", reference=MARK, data={"Note": MARK})
        holds.place(acme2, holder="the court", basis="order 12", review_on=date(2030, 1, 1), by=people["ada"], now=clock.now)
        missed = _night(vault, clock, acme2)
        _filled(vault)
        assert looked(vault).troubles == {}
        clock.forward(hours=25)
        assert looked(vault).troubles == {}
        late = _late_night(vault, clock, acme2)
        failed = _tests(vault, clock, folders, acme2, people["rita"])
        reading = {"state": "kept", "figure": "0 of 2", "value": 0, "threshold": "1", "why": ""}
        hour = clock.now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=2)
        Reading.objects.create(hour=hour, at=hour, controls={"nights": reading}, software="test")
    ended = DeletionRequest.objects.get(pk=approved.pk)
    assert ended.state == "destroyed"
    return Life(vault, acme2, ended, first, clock.now.date(), missed, late, failed)


def _night(vault: Vault, clock: Timeline, customer: Customer) -> date:
    """Nights have passed since the customer came; the newest can be filled once it is due. The first of the others."""
    runs.owe_nights(clock.now)
    newest = Run.objects.filter(stream=customer.pk).latest("night")
    clock.set(max(clock.now, newest.due_at) + timedelta(minutes=1))
    runs.owe_nights(clock.now)
    return Run.objects.filter(stream=customer.pk, state=Run.State.MISSED).earliest("night").night


def _filled(vault: Vault) -> None:
    for run in runs.due_runs(vault.clock()):
        runs.work_off(vault, run.pk)


def _late_night(vault: Vault, clock: Timeline, customer: Customer) -> date:
    runs.owe_nights(clock.now)
    newest = Run.objects.filter(stream=customer.pk).latest("night")
    clock.set(max(clock.now, newest.ends_at) + timedelta(minutes=1))
    _filled(vault)
    runs.owe_nights(clock.now)
    newest.refresh_from_db()
    assert newest.late
    return newest.night


def _tests(vault: Vault, clock: Timeline, folders: dict[str, Path], customer: Customer, approver: User) -> TestRestore:
    """One from each location passes, and is signed off; then one loses its blobs for a while, and a test of it fails."""
    stream = Stream.objects.get(pk=customer.pk)
    for order in orders.ask(vault, stream, clock.now, reason="a life"):
        assert carry_out(vault, order.pk).result.passed
    for test in TestRestore.objects.all():
        sign_off.sign_off(test, by=approver, comment="read", trusted=vault.fingerprint, now=clock.now)
    blobs = folders["primary"] / f"customers/{customer.pk}/blobs"
    away = blobs.rename(blobs.with_name("away"))
    for order in orders.ask(vault, stream, clock.now, reason="a life", location="primary"):
        carry_out(vault, order.pk)
    shutil.rmtree(blobs, ignore_errors=True)
    away.rename(blobs)
    return TestRestore.objects.get(result="failed")


@dataclass(frozen=True)
class Pack:
    """A pack and what is true of the life that it tells of."""

    data: bytes
    fingerprint: str
    missed: date
    late: date
    failed: int
    ended: int


_kept: list[Pack] = []


@pytest.fixture
def pack(request: pytest.FixtureRequest) -> Pack:
    """Of one life for all tests that only read it: living takes half a minute."""
    if not _kept:
        life: Life = request.getfixturevalue("life")
        made = life.pack(request.getfixturevalue("tmp_path"))
        assert made.unreconciled == ()
        kept = Pack(made.path.read_bytes(), made.fingerprint, life.missed, life.late, life.failed.pk, life.ended.pk)
        _kept.append(kept)
    return _kept[0]
