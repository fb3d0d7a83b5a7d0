"""The service as it runs for the tests of the policy: it ships, signs and measures, and a test says what breaks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import audit
from audit import evidence
from audit.anchors import anchoring
from audit.controls import measuring
from audit.models import Alarm, ControlState, Finding, Reading
from audit.promises import Standing
from backups import runs
from backups.hot import shipper
from backups.hot.timelines import LEASE
from backups.leases import process_name
from backups.models import HotState, Lease, SegmentCopy
from backups.vault import Vault
from backups.verification import carrying_out as verifying
from backups.verification.carrying_out import Wanted
from l2l.alarms import looking
from tests.backups.conftest import Clock


@dataclass
class Service:
    """`ships`: a shipper leads, and sends what waits before each measurement."""

    vault: Vault
    clock: Clock
    ships: bool = True

    def measured(self) -> dict[str, Standing]:
        """Every promise as it stands, after the worker measured all along."""
        with audit.acting("worker", reason="a test", source="policy"):
            evidence.sign_head(self.vault.signer, self.clock())
            anchoring.make(self.vault.signer, day=self.clock().date(), timeline=1, now=self.clock())
            self._keep_measured()
            if self.ships:
                self._lead()
            measuring.measure_all(self.clock())
            looking.look(self.clock())
        Lease.objects.filter(name=LEASE).delete()  # whoever ships next need not wait
        found: dict[str, Standing] = {}
        for control, state in measuring.states():
            standing = measuring.standing_of(state, self.clock())
            assert state is not None and not state.trouble
            found[control.promise] = max(found.get(control.promise, Standing.KEPT), standing, key=lambda one: one.rank)
            self._alarmed(state, standing)
        return found

    def _alarmed(self, state: ControlState, standing: Standing) -> None:
        """What is not kept has one alarm; what is broken, one that says so, with the figure as it was when it broke, and one finding."""
        subject = f"control:{state.control}"
        alarms = Alarm.objects.filter(subject=subject, ended_at=None)
        if standing is Standing.KEPT:  # it ends ten minutes later
            return
        (alarm,) = alarms
        if standing is Standing.BROKEN:
            assert alarm.state == "broken" and self.findings().count(subject) == 1
            assert state.since < state.measured_at or state.figure in alarm.text

    def broken(self) -> set[str]:
        """The promises that are broken now."""
        return {number for number, standing in self.measured().items() if standing is Standing.BROKEN}

    def state(self, control: str) -> ControlState:
        return ControlState.objects.get(pk=control)

    def findings(self) -> list[str]:
        """What open findings of broken promises are about."""
        return list(Finding.objects.filter(kind="control-broken", closed_at=None).order_by("pk").values_list("subject", flat=True))

    def _lead(self) -> None:
        """A shipper leads just now, and everything is shipped."""
        assert shipper.ship_once(self.vault, patience=20.0) == []
        lease = {"holder": process_name(), "taken_at": self.clock(), "expires_at": self.clock() + timedelta(seconds=6)}
        Lease.objects.update_or_create(name=LEASE, defaults=lease)
        HotState.objects.update(ticked_at=self.clock(), unled_since=None)
        # Segments are durable by the database's clock, which the test's may be months ahead of.
        SegmentCopy.objects.filter(checked_at=None, durable_at__lt=self.clock()).update(checked_at=self.clock())

    def work(self) -> list[str]:
        """What a worker does at a minute with the runs; the states that they came to."""
        runs.owe_nights(self.clock())
        runs.recover(self.clock())
        done = [runs.work_off(self.vault, pk) for pk in runs.due_runs(self.clock()).values_list("pk", flat=True)]
        return [run.state for run in done if run is not None]

    def verify(self) -> None:
        """Everything that is stored is read again."""
        self.vault.usable()
        verifying.carry_out(self.vault, Wanted(everything=True, workers=0))

    def night(self, label: date) -> list[str]:
        """That night's backups, at 23:00 UTC; then it is noon, and the night is over."""
        self.clock.now = datetime(label.year, label.month, label.day, 23, 0, tzinfo=UTC)
        done = self.work()
        self.clock.now = datetime(label.year, label.month, label.day, 12, 1, tzinfo=UTC) + timedelta(days=1)
        runs.owe_nights(self.clock())
        return done

    def _keep_measured(self) -> None:
        """The hour before has its reading, as if the worker had measured while the clock of the test was moved."""
        hour = self.clock().replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
        newest = Reading.objects.order_by("-hour").values_list("hour", flat=True).first()
        if newest is not None and newest < hour:
            Reading.objects.create(hour=hour, at=hour, controls={}, software="test")  # type: ignore[misc]
