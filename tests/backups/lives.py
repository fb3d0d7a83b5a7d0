"""A customer's whole life, seeded: changes, backups, shipping, retention, all at once and any of them crashed at a random step.

What the locations hold is compared with what is remembered: every set that is listed as complete restores as it was when it was made,
and every second that is said to be covered gives what the customer's rows were then.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import connection

from audit import findings, registry, rows
from audit.findings import Kind
from audit.models import JournalRow, Stream
from backups.coverage import covered
from backups.errors import BackupError
from backups.hot import removal, shipper
from backups.models import TestOrder, TestRestore
from backups.moments.making import open_moment
from backups.stores.contract import StoreUnavailable
from backups.test_restores import carrying_out as testing
from backups.test_restores import orders
from subscriptions.models import Customer
from tests.backups.simulation import Crash, Steps, World

State = dict[str, list[Any]]
# Of the seconds that are remembered, so many are asked for at each check.
SECONDS_ASKED = 2


@dataclass
class Life(World):
    """`states` are the customer's live rows after each of its transactions, with the database's time of that."""

    states: list[tuple[datetime, State]] = field(default_factory=list)
    acts: list[str] = field(default_factory=list)

    def change(self, customer: Customer) -> None:
        for _ in range(self.random.randint(1, 3)):
            self._make(customer) if not self.states else self.random.choice(
                [self._make, self._make, self._alter, self._remove, self._upload, self._link]
            )(customer)
            written = JournalRow.objects.filter(stream=customer.pk).order_by("-id").values_list("written_at", flat=True).first()
            if written is not None:
                self.states.append((written, live(customer)))

    @property
    def _ways(self) -> list[Callable[[Customer], None]]:
        return [self._make, self._make, self._alter, self._remove, self._upload, self._link]

    def ship(self, *, crash_at: int | None = None) -> None:
        """What waits goes to the locations, perhaps crashed."""
        self._act("ship", crash_at, lambda: shipper.ship_once(self.vault, say=lambda _: None, patience=5.0), self._dying)

    def remove_segments(self, *, crash_at: int | None = None) -> None:
        """What sets cover leaves the hot folder."""
        self._act("remove segments", crash_at, lambda: removal.remove_covered(self.vault, self.now), self.crashing)

    def test_restore(self, customer: Customer, *, crash_at: int | None = None) -> None:
        """Each location gives a set and a random second of it, judged. What is harmed may fail, and only that."""
        before = set(TestRestore.objects.values_list("pk", flat=True))
        harmed = self.harmed
        self._act("test restore", crash_at, lambda: self._tests(customer), self.crashing)
        TestOrder.objects.filter(state=TestOrder.State.RUNNING).update(holder="elsewhere:1:1")  # that process is dead
        for made in TestRestore.objects.exclude(pk__in=before):
            assert made.passed or harmed, (self.seed, made.text, self.acts)

    def _tests(self, customer: Customer) -> None:
        testing.recover(self.vault, self.now)
        asked = orders.ask(self.vault, Stream.objects.get(pk=customer.pk), self.now, reason="a life")
        for order in self.random.sample(asked, min(2, len(asked))):
            testing.carry_out(self.vault, order.pk)

    def close_findings(self) -> None:
        """A person saw what the harm did to tests, and that it is mended."""
        for finding in findings.open_findings().filter(kind=Kind.TEST_RESTORE_FAILED):
            findings.close_as_mended(Kind.TEST_RESTORE_FAILED, subject=finding.subject, resolution="harm, mended", now=self.now)

    def _act(self, what: str, crash_at: int | None, act: Callable[[], Any], within: Callable[[int | None], Any]) -> None:
        """A dead process's lease is over when the next one comes; what an act refuses for now it says."""
        self.acts.append(f"{what} {crash_at or ''}")
        try:
            with within(crash_at):
                act()
        except Crash:
            self.now += timedelta(minutes=10)
        except BackupError as refusal:
            self.acts.append(f"refused: {refusal}")
            self.now += timedelta(minutes=1)

    @contextmanager
    def _dying(self, crash_at: int | None) -> Iterator[Steps]:
        """As `crashing`, for what works in threads: it dies between two statements of its own, and from then on no store takes anything."""
        steps = Steps(crash_at)

        def statement(execute: Callable[..., Any], *arguments: Any) -> Any:
            steps.step()
            return execute(*arguments)

        def gone(operation: str, name: str) -> None:
            if steps.dead:
                raise StoreUnavailable("the process is gone")

        for store in self.stores.values():
            store.fail = gone
        try:
            with connection.execute_wrapper(statement):
                yield steps
        finally:
            for store in self.stores.values():
                store.fail = None

    # What was promised

    def check_seconds(self, customer: Customer) -> int:
        """Some of the seconds that are said to be covered, from the places together and from each alone; returns how many."""
        asked = 0
        found = covered(self.vault, customer.pk)
        for span in found.spans:
            if self.harmed and span.place:
                continue  # what was harmed there comes from elsewhere
            places = [place for place in self.vault.places if span.place in ("", place.name)]
            within = [(at, state) for at, state in self.states if (span.start is None or span.start <= at) and at < span.end]
            for at, _ in self.random.sample(within, min(SECONDS_ASKED, len(within))):
                self._check_second(customer, places, at)
                asked += 1
        return asked

    def _check_second(self, customer: Customer, places: list[Any], at: datetime) -> None:
        expected = [state for moment, state in self.states if moment <= at][-1]
        reader = open_moment(self.vault, places, str(customer.pk), at, [])
        try:
            found = {part.model: [json.loads(line) for line in reader.lines(part)] for part in reader.parts if part.what == "rows"}
            assert found == expected, (self.seed, at, self.acts)
        finally:
            reader.close()

    @property
    def newest(self) -> datetime | None:
        """When the last change was made."""
        return self.states[-1][0] if self.states else None


def live(customer: Customer) -> State:
    return {
        one.label: [json.loads(rows.instance_json(row)) for row in one.rows(customer.pk).order_by("pk")]
        for one in registry.of_stream(customer.pk)
    }
