"""From the moment `freeze` returns, no change of that customer commits, not even one begun before."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from django.db import connection, transaction

import audit
from audit.errors import Frozen, UnknownStream
from audit.freezes import freeze, freeze_free, thaw, thaw_same, writing_through
from audit.models import Stream
from subscriptions.models import DataRecord
from tests.audit.reading import history, types
from tests.factory.models import Downtime


def make(customer, reference: str) -> DataRecord:
    return DataRecord.objects.create(customer=customer, kind="product", reference=reference)


def test_a_frozen_customer_takes_no_change_and_a_thawed_one_does(record, downtime, acme, acme2):
    freeze(acme.pk, reason="the data is being returned")
    record.kind = "part"
    for change in (
        record.save,
        record.delete,
        downtime.delete,
        lambda: make(acme, "new"),
        lambda: Downtime.objects.tracked_change(factor=2),
    ):
        with pytest.raises(Frozen, match=r"acme is frozen since .* the data is being returned"), transaction.atomic():
            change()
    make(acme2, "neighbour")
    thaw(acme.pk)
    record.save()
    assert types(DataRecord, history_stream=acme.pk) == "+~"


def test_freezing_again_keeps_the_first_date_and_takes_the_new_reason(acme):
    first = freeze(acme.pk, reason="return").frozen_at
    again = freeze(acme.pk, reason="destruction")
    assert (again.frozen_at, again.frozen_reason) == (first, "destruction")


def test_a_transaction_that_freezes_cannot_go_on_writing_itself(acme):
    with transaction.atomic():
        make(acme, "before")
        freeze(acme.pk, reason="return")
        with pytest.raises(Frozen), transaction.atomic():
            make(acme, "after")
    assert [row.reference for row in history(DataRecord)] == ["before"]


def test_a_customer_without_a_stream_is_an_error_that_says_what_to_do(acting, db):
    with pytest.raises(UnknownStream, match="add_customer"), transaction.atomic():
        DataRecord.objects.create(customer_id=uuid.uuid4(), kind="product", reference="new")


def test_who_froze_for_some_work_alone_writes_through_it_and_only_in_that_transaction(record, downtime, acme, acme2):
    frozen = freeze_free(acme.pk, reason="a restore")
    with writing_through(frozen):
        record.kind = "part"
        record.save()
        with transaction.atomic():
            downtime.delete()
        make(acme, "through")
        thaw_same(frozen)
    again = freeze_free(acme.pk, reason="a restore")
    with writing_through(again):
        make(acme, "again")
    with pytest.raises(Frozen), transaction.atomic():
        make(acme, "late")
    assert types(DataRecord, history_stream=acme.pk) == "+~++"


def test_writing_through_one_freeze_writes_to_no_other_stream(acme, acme2):
    freeze(acme2.pk, reason="return")
    with pytest.raises(Frozen, match="acme2 is frozen"), writing_through(freeze_free(acme.pk, reason="a restore")):
        make(acme2, "neighbour")
    assert types(DataRecord) == ""


@pytest.mark.parametrize("meanwhile", ["thawed", "thawed and frozen again", "frozen for something else"])
def test_what_was_frozen_otherwise_meanwhile_is_neither_written_nor_thawed(acme, meanwhile):
    frozen = freeze_free(acme.pk, reason="a restore")
    if meanwhile == "frozen for something else":
        freeze(acme.pk, reason="return")
    else:
        thaw(acme.pk)
    if meanwhile == "thawed and frozen again":
        freeze_free(acme.pk, reason="a restore")
    before = Stream.objects.values_list("frozen_at", "frozen_reason").get(pk=acme.pk)
    with pytest.raises(Frozen, match=r"meanwhile\. Nothing was written"), writing_through(frozen):
        make(acme, "never")
    assert not thaw_same(frozen)
    assert Stream.objects.values_list("frozen_at", "frozen_reason").get(pk=acme.pk) == before


def test_a_stream_that_is_frozen_is_not_frozen_for_some_work_too(acme):
    freeze(acme.pk, reason="the data is being returned")
    with pytest.raises(Frozen, match=r"frozen already, since .* the data is being returned"):
        freeze_free(acme.pk, reason="a restore")


@pytest.mark.django_db(transaction=True)
def test_writing_through_is_the_outermost_transaction(acme):
    frozen = freeze_free(acme.pk, reason="a restore")
    with pytest.raises(RuntimeError, match="durable"), transaction.atomic(), writing_through(frozen):
        make(acme, "never")


# -- with a second connection, where writers do not wait for each other anyway

# Seconds until a thread that should have gone on is held to hang: nothing here is about speed.
PATIENCE = 120.0
two_connections = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(
        "not __import__('django.conf').conf.settings.DATABASES['default']['ENGINE'].endswith('postgresql')", reason="one writer"
    ),
]


class Elsewhere(threading.Thread):
    """Runs in a thread with a connection of its own; `outcome` is what it returned or raised."""

    def __init__(self, work: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self.work, self.outcome, self.backend = work, None, 0
        self.connected = threading.Event()
        self.start()
        assert self.connected.wait(PATIENCE)

    def run(self) -> None:
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_backend_pid()")
                self.backend = cursor.fetchone()[0]
            self.connected.set()
            with audit.acting("grace"):
                self.outcome = self.work()
        except BaseException as problem:  # noqa: BLE001  (the test looks at it)
            self.outcome = problem
        finally:
            connection.close()

    def waits_for_a_lock(self) -> bool:
        """True as soon as it waits, False if it ended instead."""
        until = time.monotonic() + PATIENCE
        while self.is_alive() and time.monotonic() < until:
            with connection.cursor() as cursor:
                cursor.execute("SELECT wait_event_type FROM pg_stat_activity WHERE pid = %s", [self.backend])
                if cursor.fetchone() == ("Lock",):
                    return True
        return False

    def ended(self) -> object:
        self.join(PATIENCE)
        assert not self.is_alive()
        return self.outcome


@contextmanager
def writer_under_way(work: Callable[[], object]) -> Iterator[tuple[Elsewhere, threading.Event]]:
    """A transaction elsewhere that has done its work and commits once the event is set."""
    wrote, may_commit = threading.Event(), threading.Event()

    def transact() -> object:
        with transaction.atomic():
            result = work()
            wrote.set()
            assert may_commit.wait(PATIENCE)
            return result

    writer = Elsewhere(transact)
    try:
        assert wrote.wait(PATIENCE), writer.outcome
        yield writer, may_commit
    finally:
        may_commit.set()
        writer.join(PATIENCE)


class TestTwoConnections:
    pytestmark = two_connections

    def test_a_writer_that_began_before_the_freeze_holds_it_up_until_it_commits(self, acme):
        with writer_under_way(lambda: make(acme, "before")) as (writer, may_commit):
            freezer = Elsewhere(lambda: freeze(acme.pk, reason="return"))
            assert freezer.waits_for_a_lock()
            may_commit.set()
            assert isinstance(writer.ended(), DataRecord)
            assert isinstance(freezer.ended(), Stream)
        assert types(DataRecord) == "+"
        with pytest.raises(Frozen):
            make(acme, "after")

    def test_a_writer_that_comes_while_a_freeze_is_under_way_waits_and_is_refused(self, acme):
        with writer_under_way(lambda: freeze(acme.pk, reason="return")) as (_, may_commit):
            late = Elsewhere(lambda: make(acme, "late"))
            assert late.waits_for_a_lock()
            may_commit.set()
            assert isinstance(late.ended(), Frozen)
        assert types(DataRecord) == ""

    def test_nobody_else_writes_through_a_freeze_nor_thaws_it_before_its_transaction_ends(self, acme):
        frozen = freeze_free(acme.pk, reason="a restore")
        with writing_through(frozen):
            make(acme, "through")
            late, thawing = Elsewhere(lambda: make(acme, "late")), Elsewhere(lambda: thaw(acme.pk))
            assert late.waits_for_a_lock() and thawing.waits_for_a_lock()
        assert isinstance(late.ended(), Frozen | DataRecord)  # whichever of the two comes first then
        assert isinstance(thawing.ended(), Stream)
        assert history(DataRecord)[0].reference == "through"

    def test_writers_of_one_customer_do_not_wait_for_each_other(self, acme):
        with writer_under_way(lambda: make(acme, "a")):
            assert isinstance(Elsewhere(lambda: make(acme, "b")).ended(), DataRecord)

    def test_a_neighbours_freeze_holds_nobody_up(self, acme, acme2):
        with writer_under_way(lambda: freeze(acme2.pk, reason="return")):
            assert isinstance(Elsewhere(lambda: make(acme, "a")).ended(), DataRecord)

    def test_a_lock_taken_in_a_savepoint_that_was_rolled_back_is_taken_anew(self, acme):
        """PostgreSQL gives it back with the savepoint; a freeze in between must be seen."""
        with transaction.atomic():
            with pytest.raises(ZeroDivisionError), transaction.atomic():
                make(acme, "lost")
                raise ZeroDivisionError
            assert isinstance(Elsewhere(lambda: freeze(acme.pk, reason="return")).ended(), Stream)
            with pytest.raises(Frozen), transaction.atomic():
                make(acme, "late")
        assert types(DataRecord) == ""

    def test_of_two_that_delete_one_row_one_writes_the_deletion(self, record):
        with writer_under_way(lambda: DataRecord.objects.get(pk=record.pk).delete()) as (writer, may_commit):
            second = Elsewhere(record.delete)
            assert second.waits_for_a_lock()
            may_commit.set()
            assert writer.ended()[0] == 1
            assert second.ended()[0] == 0
        assert types(DataRecord) == "+-"

    def test_a_change_that_commits_first_is_what_the_deletion_holds(self, record):
        def change() -> None:
            DataRecord.objects.tracked_change(kind="part")

        with writer_under_way(change) as (_, may_commit):
            second = Elsewhere(record.delete)
            assert second.waits_for_a_lock()
            may_commit.set()
            assert second.ended()[0] == 1
        assert [(row.history_type, row.kind) for row in history(DataRecord)] == [("+", "product"), ("~", "part"), ("-", "part")]
