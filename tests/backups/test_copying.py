"""PostgreSQL's rows, read in blocks and joined by the server, are the same bytes and the same chunks as those read one by one."""

from __future__ import annotations

import random
import re
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import accumulate, pairwise
from typing import Any

import pytest
from django.db import OperationalError, connection, models
from hypothesis import example, given, settings
from hypothesis import strategies as st

from audit import registry, rows
from audit.models import JournalRow
from audit.row_postgresql import _literal
from audit.row_sql import row_text
from backups import ahead, chunks, copying
from backups.chunks import Batch, Chunk, Joined, batched, cut, ends_chunk
from backups.copying import MAX_KEY, copied, ranges
from backups.snapshot import Snapshot, snapshot
from subscriptions.models import Customer, DataRecord
from subscriptions.onboarding import add_customer

pytestmark = pytest.mark.django_db(transaction=True)
on_postgresql = pytest.mark.skipif(connection.vendor != "postgresql", reason="only PostgreSQL has COPY")

plain: models.QuerySet[Any] = models.QuerySet(DataRecord)
Content = dict[int, str]


@given(st.integers(-(2**63), MAX_KEY - 1), st.integers(1, 500), st.integers(1, 40))
def test_ranges_follow_each_other_and_no_chunk_ends_within_one(low: int, keys: int, length: int) -> None:
    high = min(low + keys, MAX_KEY)
    with small():
        found = ranges(low, high, length)
        within = [key for above, up_to in found for key in range(above + 1, up_to)]
        assert not any(ends_chunk(key) for key in within)
    assert (found[0][0], found[-1][1]) == (low, high)
    assert all(before[1] == after[0] for before, after in pairwise(found))
    assert all(0 < up_to - above <= length for above, up_to in found)


@contextmanager
def small() -> Iterator[None]:
    """So that few rows meet every limit."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks, "MAX_PLAIN_BYTES", 2000)
        patch.setattr(chunks, "_THRESHOLD", 2**64 // 11)
        for name, value in (("FIRST_ROWS", 4), ("BLOCK_ROWS", 16), ("JOINED_ROWS", 4), ("SPARSE", 3), ("LONG_BYTES", 300)):
            patch.setattr(copying, name, value)
        for name, value in (("STRETCH", 5), ("BLOCKS_FOR_TWO", 2), ("READ_BYTES", 500)):
            patch.setattr(copying, name, value)
        yield


def write(customer: Customer, content: Content) -> None:
    plain.bulk_create(
        DataRecord(pk=key, customer=customer, kind="part", reference=f"{customer.pk}/{key}", data={"text": text})
        for key, text in content.items()
    )


def assert_same_chunks(customer: Customer) -> list[Chunk]:
    """As Python makes the lines and whoever looks at every row cuts them."""
    queryset = plain.filter(customer=customer)
    expected = list(cut(batched((one.pk, rows.instance_json(one).encode()) for one in queryset.order_by("pk"))))
    with snapshot() as moment:
        found = list(cut(moment.batches(queryset, customer.pk)))
    assert [(chunk.data, chunk.rows) for chunk in found] == [(chunk.data, chunk.rows) for chunk in expected]
    assert [chunk.sha256 for chunk in found] == [chunk.sha256 for chunk in expected]
    return found


@pytest.fixture
def other(acme: Customer, acting: Any) -> Customer:
    from datetime import date

    return add_customer("other", "Another", start=date(2026, 1, 1))


steps = st.one_of(st.just(1), st.integers(1, 4), st.sampled_from([1, 20, 300, 10**12]))
texts = st.one_of(st.just("x"), st.integers(0, 400).map("y".__mul__), st.sampled_from(['"\\\n\u2028𝄞', "z" * 299, "é" * 1500, "z" * 5000]))
runs = st.lists(st.tuples(st.integers(1, 30), steps, texts), min_size=1, max_size=6)
firsts = st.sampled_from([1, 5, -40, 10**9, -(2**63), 2**63 - 60, 2**63 - 1])


def content_of(first: int, found: list[tuple[int, int, str]]) -> Content:
    """Runs of rows: how many, how far apart, what each holds."""
    wide = [(step, text) for count, step, text in found for _ in range(count)]
    keys = accumulate((step for step, _ in wide[1:]), initial=first)
    return {key: text for key, (_, text) in zip(keys, wide, strict=True) if key <= MAX_KEY}


@on_postgresql  # SQLite gives out no key after the largest one, in this or any other test
def test_rows_of_any_length_at_any_distance_make_the_same_chunks(acme: Customer, other: Customer) -> None:
    @settings(max_examples=60, deadline=None)
    @given(firsts, runs, st.sampled_from([0, 2, 3]))
    @example(2**63 - 60, [(24, 1, "z" * 300), (1, 3, "x"), (11, 3, "x")], 0)  # the last key is the largest that there is
    def check(first: int, found: list[tuple[int, int, str]], others: int) -> None:
        content = content_of(first, found)
        theirs = {key: text for number, (key, text) in enumerate(content.items()) if others and number % others == 0}
        ours = {key: text for key, text in content.items() if key not in theirs}
        try:
            write(acme, ours)
            write(other, theirs)
            with small():
                assert_same_chunks(acme)
                assert_same_chunks(other)
        finally:
            plain._raw_delete("default")

    check()


def test_a_large_part_with_gaps_and_long_rows_among_another_customers_rows(acme: Customer, other: Customer) -> None:
    """In the sizes that are used: two customers take turns, keys are missing, a few rows are of 0.1 to 9 MiB."""
    chance = random.Random(1)
    ours = {key: "x" * chance.randrange(300) for key in range(1, 30_000) if not (9000 < key < 15_000 or chance.random() < 0.3)}
    for key in (100, 16_000, 16_001, 24_000, 29_999):
        ours[key] = "y" * chance.randrange(100_000, 9 * 1024 * 1024)
    write(acme, ours)
    write(other, {key: "theirs" for key in range(1, 30_000) if key not in ours})
    assert sum(chunk.rows for chunk in assert_same_chunks(acme)) == len(ours)
    assert sum(chunk.rows for chunk in assert_same_chunks(other)) == 29_999 - len(ours)


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is asked by COPY."""
    asked: list[str] = []

    def asking(connection: Any, statement: str, kept: Any) -> Any:
        asked.append(statement)
        return copy_out(connection, statement, kept)

    copy_out = copying.copy_out
    monkeypatch.setattr(copying, "copy_out", asking)
    return asked


@on_postgresql
def test_a_small_part_takes_one_statement_and_no_thread(acme: Customer, statements: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "ThreadPoolExecutor", None)
    write(acme, dict.fromkeys(range(1, copying.FIRST_ROWS), "x" * 1000))
    with snapshot() as moment:
        found = sum(len(batch.lines) for batch in moment.batches(plain.all()) if isinstance(batch, Batch))
    assert (found, len(statements)) == (copying.FIRST_ROWS - 1, 1)


@on_postgresql
@pytest.mark.parametrize("analyzed", [False, True])
def test_the_server_joins_the_rows_of_a_large_part_along_an_index(
    acme: Customer, other: Customer, statements: list[str], analyzed: bool
) -> None:
    write(acme, dict.fromkeys(range(1, 20000, 2), "x"))
    write(other, dict.fromkeys(range(2, 20000, 2), "x"))
    if analyzed:
        with connection.cursor() as cursor:
            cursor.execute(f"ANALYZE {DataRecord._meta.db_table}")
    with snapshot() as moment:
        came = list(moment.batches(plain.filter(customer=acme), acme.pk))
    joined = [one for one in came if isinstance(one, Joined)]
    assert sum(one.rows for one in joined) == 10_000 - copying.FIRST_ROWS
    assert len(joined) < 100
    assert len(statements) == 2  # the first rows and the block
    plan = explained(statements[1])
    assert "Seq Scan" not in plan
    assert re.search(r"Index Cond: .*> span\.low", plan), plan


def explained(copy: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN " + copy.removeprefix("COPY (").removesuffix(") TO STDOUT (FORMAT binary)").replace("%", "%%"), [])
        return "\n".join(line for (line,) in cursor.fetchall())


@on_postgresql
def test_a_part_of_long_rows_is_not_tried_again_and_again(acme: Customer, statements: list[str]) -> None:
    with small():
        write(acme, dict.fromkeys(range(1, 400), "x" * 400))
        assert_same_chunks(acme)
    joined = [statement for statement in statements if "string_agg" in statement]
    assert 1 <= len(joined) <= 6


@on_postgresql
def test_a_large_part_is_read_through_two_connections_that_see_the_same_moment(acme: Customer) -> None:
    assert sessions_left(0)
    with small():
        write(acme, dict.fromkeys(range(1, 500), "x"))
        with snapshot() as moment:
            begun = moment.batches(plain.all())
            first = next(begun)
            assert isinstance(first, Batch)
            write(acme, dict.fromkeys(range(500, 1000), "later"))
            plain.filter(pk__gt=400, pk__lt=450)._raw_delete("default")
            found, open_at_once = len(first.lines), set()
            for chunk in cut(begun):
                found += chunk.rows
                open_at_once.add(sessions_in_a_transaction())
            assert found == 499 and max(open_at_once) >= 2
            assert sessions_left(1)  # the second one does not stay and wait, or the server would end it
            with moment.companion() as companion:
                assert companion is not None
                with companion.cursor() as cursor:
                    cursor.execute(f"SELECT count(*) FROM {DataRecord._meta.db_table}")
                    assert cursor.fetchone() == (499,)
            assert companion.connection is None
    assert sessions_left(0)


@on_postgresql
def test_a_server_that_gives_no_second_connection_is_read_through_one(
    acme: Customer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refused(self: Any) -> None:
        raise OperationalError("sorry, too many clients already")

    with small():
        write(acme, dict.fromkeys(range(1, 500), "x"))
        with snapshot() as moment, monkeypatch.context() as patch:
            patch.setattr(type(moment.connection), "connect", refused)
            assert sum(chunk.rows for chunk in cut(moment.batches(plain.all()))) == 499
    assert "too many clients already" in caplog.text


def nobody_reads_on() -> bool:
    return not any(thread.name.startswith("ahead") for thread in threading.enumerate())


def sessions_in_a_transaction() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid() AND state NOT IN ('idle', 'disabled')"
        )
        return int(cursor.fetchone()[0])


def sessions_left(count: int) -> bool:
    """Whether so many stay in a transaction: the server ends the others a moment after their connections were closed."""
    deadline = time.monotonic() + 20
    while sessions_in_a_transaction() != count and time.monotonic() < deadline:
        time.sleep(0.05)
    return sessions_in_a_transaction() == count


@on_postgresql
def test_who_stops_early_leaves_no_thread_and_a_snapshot_that_still_reads(acme: Customer) -> None:
    write(acme, dict.fromkeys(range(1, 20000), "x"))
    with snapshot() as moment:
        for enough in (1, 2000, copying.FIRST_ROWS, 10_000):
            with closing(cut(moment.batches(plain.all()))) as found:
                seen = 0
                while seen < enough:
                    seen += next(found).rows
            assert nobody_reads_on()
        assert sum(chunk.rows for chunk in cut(moment.batches(plain.all()))) == 19_999
    assert sessions_left(0)


@on_postgresql
def test_a_server_that_gives_up_on_the_way_is_an_error_and_leaves_nothing_open(acme: Customer) -> None:
    write(acme, dict.fromkeys(range(1, 60000), "x"))
    with pytest.raises(OperationalError), snapshot() as moment:
        begun = moment.batches(plain.all())
        next(begun)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s)", [moment.connection.connection.info.backend_pid])
        for _ in begun:
            pass
    assert nobody_reads_on()
    assert sessions_left(0)


@on_postgresql
def test_a_null_where_none_is_allowed_is_an_error_also_among_joined_rows(acme: Customer) -> None:
    write(acme, dict.fromkeys(range(1, 6000), "x"))
    table = DataRecord._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} ALTER COLUMN kind DROP NOT NULL")
        cursor.execute(f"UPDATE {table} SET kind = NULL WHERE id = 5500")
    try:
        with pytest.raises(OperationalError, match="null in a column that allows none"), snapshot() as moment:
            list(moment.batches(plain.all()))
    finally:
        plain._raw_delete("default")
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {table} ALTER COLUMN kind SET NOT NULL")


@on_postgresql
def test_an_older_server_and_a_session_in_another_time_zone_give_the_same_text(acme: Customer, monkeypatch: pytest.MonkeyPatch) -> None:
    write(acme, dict.fromkeys(range(1001, 1009), '"\\\n\u2028𝄞'))
    history: models.QuerySet[Any] = models.QuerySet(registry.of(DataRecord).history_model)
    DataRecord.objects.tracked_create(DataRecord(customer=acme, kind='k"', reference=f"ü\\{n}") for n in range(12))
    for queryset in (plain.all(), history.all(), models.QuerySet(JournalRow).all()):
        with snapshot() as moment:
            usual = lines(moment, queryset, acme.pk)
        with snapshot() as moment:
            text = row_text(queryset.model, moment.connection, acme.pk)
            assert text is not None and "JSON_SCALAR" in text.sql
            monkeypatch.setitem(vars(moment.connection), "pg_version", 160000)
            monkeypatch.setitem(vars(moment.connection), "timezone_name", "Asia/Kolkata")
            with moment.connection.cursor() as cursor:
                cursor.execute("SET LOCAL TIME ZONE 'Asia/Kolkata'")
            text = row_text(queryset.model, moment.connection, acme.pk)
            assert text is not None and "JSON_SCALAR" not in text.sql
            assert lines(moment, queryset, acme.pk) == usual
        assert usual


def lines(moment: Snapshot, queryset: models.QuerySet[Any], stream: uuid.UUID) -> list[bytes]:
    text = row_text(queryset.model, moment.connection, stream)
    assert text is not None
    return [
        line for batch in copied(moment.connection, queryset, text, moment.companion) if isinstance(batch, Batch) for line in batch.lines
    ]


@on_postgresql
@pytest.mark.parametrize("text", ["it's", '"\\"', "50 %", "%s", "𝄞"])
def test_a_constant_in_sql_is_the_text_that_it_stands_for(text: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {_literal(text)}", [])
        assert cursor.fetchone() == (text,)
