"""What waits for its number gets it in whole transactions, ordered by their largest id, however much waits and however little fits."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence

import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit.models import JournalRow, Stream
from backups.hot import outbox
from backups.hot.outbox import Waiting

pytestmark = pytest.mark.django_db

STREAMS = [uuid.UUID(int=one) for one in (1, 2, 3)]
TRANSACTIONS = [uuid.UUID(int=100 + one) for one in range(6)]

# Which stream and transaction each journal row belongs to, in the order of their ids.
ROWS = st.lists(st.tuples(st.sampled_from(STREAMS), st.sampled_from(TRANSACTIONS)), min_size=1, max_size=40)


@pytest.fixture
def streams() -> None:
    Stream.objects.bulk_create(Stream(id=one, name=f"stream-{one.int}") for one in STREAMS)


def commit(rows: Sequence[tuple[uuid.UUID, uuid.UUID]]) -> None:
    JournalRow.objects.all().delete()
    JournalRow.objects.bulk_create(
        JournalRow(stream_id=stream, model="app.model", history_id=number, transaction=transaction)
        for number, (stream, transaction) in enumerate(rows, start=1)
    )


def numbered(most: int) -> tuple[dict[uuid.UUID, list[Waiting]], dict[uuid.UUID, set[uuid.UUID]], int]:
    """As the shipper does: turn after turn until nothing waits. By stream the rows in their order, and the transactions said to be
    whole."""
    order: dict[uuid.UUID, list[Waiting]] = {}
    whole: dict[uuid.UUID, set[uuid.UUID]] = {}
    begun: dict[uuid.UUID, uuid.UUID] = {}
    rounds, after = 0, None
    while turns := outbox.turns(begun, after, most=most):
        rounds += 1
        assert rounds < 500, "it never ends"
        for turn in turns:
            order.setdefault(turn.stream, []).extend(turn.rows)
            whole.setdefault(turn.stream, set()).update(turn.whole)
            begun.pop(turn.stream, None)
            if turn.rows[-1].transaction not in turn.whole:
                begun[turn.stream] = turn.rows[-1].transaction
            after = turn.stream
            for number, row in enumerate(turn.rows):
                JournalRow.objects.filter(pk=row.id).update(number=rounds * 1000 + number)
    return order, whole, rounds


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS, most=st.integers(1, 12))
def test_whole_transactions_in_the_order_of_their_largest_ids(streams, rows, most):
    commit(rows)
    order, whole, _ = numbered(most)
    for stream in {stream for stream, _ in rows}:
        waited = order[stream]
        assert len(waited) == len({row.id for row in waited}) == sum(one == stream for one, _ in rows)
        transactions = list(dict.fromkeys(row.transaction for row in waited))
        last = {transaction: max(row.id for row in waited if row.transaction == transaction) for transaction in transactions}
        assert [row.transaction for row in waited] == [one for one in transactions for row in waited if row.transaction == one]
        assert transactions == sorted(transactions, key=last.__getitem__)
        assert whole[stream] == set(transactions)
        for transaction in transactions:
            ids = [row.id for row in waited if row.transaction == transaction]
            assert ids == sorted(ids)


def test_a_customer_with_little_does_not_wait_for_one_with_much(streams):
    commit([(STREAMS[0], TRANSACTIONS[0])] * 90 + [(STREAMS[1], TRANSACTIONS[1])])
    turns = outbox.turns({}, None, most=10)
    assert {turn.stream for turn in turns} == set(STREAMS[:2])
    assert [len(turn.rows) for turn in turns] == [5, 1]


def test_what_waits_for_a_key_holds_nobody_up(streams):
    commit([(STREAMS[0], TRANSACTIONS[0])] * 30 + [(STREAMS[1], TRANSACTIONS[1])])
    assert [turn.stream for turn in outbox.turns({}, None, most=10, without={STREAMS[0]})] == [STREAMS[1]]


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer: it needs no floor")
@pytest.mark.django_db(transaction=True)
def test_the_floor_never_passes_a_transaction_that_is_still_open(streams, monkeypatch):
    monkeypatch.setattr(outbox, "FLOOR_EVERY", 0.0)
    slow = connection.copy()
    slow.set_autocommit(False)
    with slow.cursor() as cursor:  # takes an id, and commits long after the next one
        cursor.execute(
            f'INSERT INTO {JournalRow._meta.db_table} (stream_id, model, history_id, "transaction") '
            "VALUES (%s, 'app.model', 1, %s) RETURNING id",
            [STREAMS[0], TRANSACTIONS[0]],
        )
        (held,) = cursor.fetchone()
    later = JournalRow.objects.create(stream_id=STREAMS[1], model="app.model", history_id=2, transaction=TRANSACTIONS[1])
    JournalRow.objects.filter(pk=later.pk).update(number=1)
    floor = outbox.Floor()
    for _ in range(6):
        floor.advance()
    assert floor.beyond < held
    slow.commit()
    slow.close()
    assert outbox.anything(floor.beyond)
    assert advanced(floor, held - 1)
    assert floor.beyond == held - 1
    JournalRow.objects.filter(pk=held).update(number=1)
    assert advanced(floor, later.pk)


def advanced(floor: outbox.Floor, to: int) -> bool:
    """Whether the floor comes to that id: transactions of the server's other databases, such as other tests', hold it back for a while."""
    deadline = time.monotonic() + 60
    while floor.beyond < to and time.monotonic() < deadline:
        floor.advance()
        time.sleep(0.01)
    return floor.beyond >= to


def test_nothing_waits(streams):
    commit([])
    assert not outbox.anything()
    assert outbox.turns({}, None) == []
