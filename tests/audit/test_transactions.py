"""One transaction id per database transaction; what a savepoint undid is forgotten; locks go with the savepoint that took them."""

from __future__ import annotations

import threading

import pytest
from django.db import connection, transaction

import audit
from audit import capture, levels
from audit.errors import BypassRefused
from subscriptions.models import DataRecord
from tests.audit.reading import history, journal_agrees

pytestmark = pytest.mark.django_db(transaction=True)


def make(customer, reference: str) -> DataRecord:
    return DataRecord.objects.create(customer=customer, kind="product", reference=reference)


def transactions() -> dict[str, object]:
    return {row.reference: row.history_transaction for row in history(DataRecord)}


def same(*references: str) -> bool:
    ids = transactions()
    return len({ids[reference] for reference in references}) == 1


def test_changes_of_one_transaction_share_its_id_and_others_do_not(acme):
    with transaction.atomic():
        make(acme, "a")
        DataRecord.objects.tracked_create([DataRecord(customer=acme, kind="product", reference="b")])
        with transaction.atomic(), transaction.atomic():
            make(acme, "c")
        make(acme, "d")
    make(acme, "e")
    with transaction.atomic():
        make(acme, "f")
    assert same("a", "b", "c", "d")
    assert len(set(transactions().values())) == 3
    assert journal_agrees(DataRecord)


def test_a_savepoint_rolled_back_leaves_no_trace_and_the_id_stays(acme):
    with transaction.atomic():
        make(acme, "a")
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            make(acme, "lost")
            raise ZeroDivisionError
        make(acme, "b")
    assert same("a", "b")
    assert set(transactions()) == {"a", "b"}
    assert journal_agrees(DataRecord)


def test_the_first_change_may_be_in_a_savepoint(acme):
    with transaction.atomic():
        with transaction.atomic():
            make(acme, "a")
        make(acme, "b")
        with transaction.atomic():
            make(acme, "c")
    assert same("a", "b", "c")


def test_the_first_change_may_be_lost(acme):
    with transaction.atomic():
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            make(acme, "lost")
            raise ZeroDivisionError
        make(acme, "a")
        make(acme, "b")
    make(acme, "c")
    assert same("a", "b")
    assert not same("a", "c")


def test_a_change_after_the_commit_is_a_transaction_of_its_own(acme):
    with transaction.atomic():
        make(acme, "a")
        transaction.on_commit(lambda: make(acme, "b"))
    assert not same("a", "b")
    assert journal_agrees(DataRecord)


def test_a_commit_hook_that_fails_does_not_make_us_doubt_what_was_committed(acme):
    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), transaction.atomic():
        transaction.on_commit(fail)  # registered before the first change
        record = make(acme, "a")
    record.save()
    record.kind = "part"
    record.save()
    assert [row.history_type for row in history(DataRecord)] == ["+", "~"]


def test_a_transaction_rolled_back_leaves_nothing_and_can_be_tried_again(acme):
    record = DataRecord(customer=acme, kind="product", reference="a")
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        record.save()
        raise ZeroDivisionError
    assert transactions() == {}
    record.save()
    assert DataRecord.objects.get().reference == "a"


def test_what_an_inner_savepoint_wrote_is_lost_with_the_outer_one(acme):
    record = make(acme, "a")
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        with transaction.atomic():
            record.kind = "part"
            record.save()
        make(acme, "lost")
        raise ZeroDivisionError
    record.save()
    assert DataRecord.objects.get().kind == "part"


def test_many_savepoints_do_not_pile_up(acme):
    with transaction.atomic():
        kept = []
        for number in range(50):
            with transaction.atomic():
                kept.append(make(acme, str(number)))
        for record in kept:
            record.save()
        assert len(levels._levels(connection)) <= 2
    for record in kept:
        record.kind = "part"
        record.save()
    assert DataRecord.objects.filter(kind="part").count() == 50


def test_outside_of_a_transaction_nothing_can_be_entered(acme):
    with pytest.raises(BypassRefused, match="needs a transaction"):
        capture.enter_streams({acme.pk})
    with pytest.raises(BypassRefused, match="needs a transaction"):
        capture.record(DataRecord, [make(acme, "a")], "~")


def test_two_threads_have_two_transactions(acme):
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has one writer at a time")
    both_wrote, problems = threading.Barrier(2, timeout=120), []

    def work(reference: str) -> None:
        try:
            with audit.acting(reference), transaction.atomic():
                make(acme, reference)
                both_wrote.wait()
                make(acme, reference + "2")
        except BaseException as problem:  # noqa: BLE001  (the test looks at it)
            problems.append(problem)
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=(name,)) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert same("a", "a2")
    assert same("b", "b2")
    assert not same("a", "b")
    assert {row.history_actor for row in history(DataRecord)} == {"a", "b"}
