"""A snapshot is one moment, whatever is written meanwhile, and its rows are the canonical rows, however the database makes them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import connection, models
from django.db.backends.base.operations import BaseDatabaseOperations
from hypothesis import given, settings
from hypothesis import strategies as st

from audit import registry, rows
from audit.history_text import shape_of
from audit.models import JournalRow, RowShape, Stream
from audit.models.evidence import AppendedModel
from audit.row_sql import row_text
from backups.models import PurgeRequest, TestRestore
from backups.snapshot import Snapshot, one_connection, snapshot
from subscriptions.models import Customer, DataRecord, DataReturn, DeletionRequest, LegalHold, Link, Subscription
from tests.factory.models import Downtime, Line, Site

pytestmark = pytest.mark.django_db(transaction=True)

Model = type[models.Model]

characters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
awkward = st.sampled_from([*"\"\\'\n\t\b\f\r\v\x01\x1b\x1f\x7f\u2028é𝄞", "\r\n", "\\n", "null", "12"])
texts = st.one_of(st.text(characters, max_size=30), st.lists(awkward, max_size=5).map("".join))
big_integers = st.integers(-(2**63), 2**63 - 1)
json_values = st.recursive(
    st.none() | st.booleans() | big_integers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
moments = st.builds(
    lambda moment, microsecond: moment.replace(microsecond=microsecond),
    st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC)),
    st.sampled_from([0, 1, 999_999, 120_000, 123_450, 10]),
)


def integer_range(field: Any) -> tuple[int, int]:
    """As the column has it; numbers that the database gives out stop early, so that it has some left for the other tests."""
    low, high = BaseDatabaseOperations.integer_field_ranges[field.get_internal_type()]
    return low, 2**40 if isinstance(field, models.AutoField) else high


def lines_of(moment: Snapshot, queryset: models.QuerySet[Any], stream: uuid.UUID | None = None) -> Iterator[tuple[int | str, bytes]]:
    for batch in moment.batches(queryset, stream):
        yield from ((batch.key_of(at), line) for at, line in enumerate(batch.lines))


def values_of(field: Any) -> st.SearchStrategy[Any]:
    """Values that the column can hold, other than null."""
    return {
        "text": lambda: texts.map(lambda text: text[: field.max_length]),
        "integer": lambda: st.integers(*integer_range(field)),
        "boolean": st.booleans,
        "datetime": lambda: moments,
        "date": st.dates,
        "time": st.times,
        "duration": lambda: st.timedeltas(timedelta(days=-9999), timedelta(days=9999)),
        "uuid": st.uuids,
        "float": lambda: st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False),
        "binary": lambda: st.binary(max_size=20),
        "decimal": lambda: st.integers(-(10**field.max_digits) + 1, 10**field.max_digits - 1).map(
            lambda digits: Decimal(digits).scaleb(-field.decimal_places)
        ),
        "json": lambda: st.dictionaries(texts, json_values, max_size=3),
    }[rows.kind_of(field)]()


def column_values(field: Any, parents: dict[Model, Any]) -> st.SearchStrategy[Any]:
    """As `values_of`, with None where the column takes it; a foreign key names the parent that there is."""
    values = st.just(parents[field.related_model]) if field.is_relation else values_of(field)
    return st.none() | values if field.null else values


def unique_together(model: Model) -> Iterator[tuple[str, ...]]:
    yield from ((field.attname,) for field in model._meta.concrete_fields if field.unique)
    for constraint in model._meta.constraints:
        if isinstance(constraint, models.UniqueConstraint):
            yield tuple(model._meta.get_field(name).attname for name in constraint.fields)  # type: ignore[union-attr]


def allowed(model: Model, values: dict[str, Any]) -> bool:
    """Whether the table's own constraints let the row in."""
    try:
        for constraint in model._meta.constraints:
            if isinstance(constraint, models.CheckConstraint):
                constraint.validate(model, model(**values))
    except ValidationError:
        return False
    return True


def rows_of(model: Model, parents: dict[Model, Any]) -> st.SearchStrategy[list[dict[str, Any]]]:
    row = st.fixed_dictionaries({field.attname: column_values(field, parents) for field in model._meta.concrete_fields})
    row = row.filter(lambda values: allowed(model, values))

    def key(names: tuple[str, ...]) -> Callable[[dict[str, Any]], Any]:
        return lambda values: tuple(values[name] for name in names)

    return st.lists(row, min_size=1, max_size=4, unique_by=tuple(key(names) for names in unique_together(model)))


def assert_lines_are_canonical(model: Model, parents: dict[Model, Any]) -> None:
    """For rows of any content: the snapshot's lines are `instance_json` of the same rows, in the order of their keys."""

    @settings(max_examples=15, deadline=None)
    @given(rows_of(model, parents))
    def check(contents: list[dict[str, Any]]) -> None:
        plain: models.QuerySet[Any] = models.QuerySet(model)
        before = set(plain.values_list("pk", flat=True))
        contents = [values for values in contents if values[model._meta.pk.attname] not in before]  # type: ignore[union-attr]
        plain.bulk_create(model(**values) for values in contents)
        try:
            with snapshot() as moment:
                found = list(lines_of(moment, plain.all()))
            expected = list(plain.order_by("pk"))
            assert len(found) == len(contents) + len(before)
            assert [line for _, line in found] == [rows.instance_json(one).encode() for one in expected], model
            assert [key for key, _ in found] == [one.pk if isinstance(one.pk, int) else str(one.pk) for one in expected]
        finally:
            plain.exclude(pk__in=before)._raw_delete("default")

    check()


@pytest.fixture
def parents(acme: Any) -> dict[Model, Any]:
    """A row of each model that a foreign key may name."""
    site = Site.objects.create(customer=acme, name="Kassel")
    line = Line.objects.create(site=site, name="Line 1")
    shape = shape_of(registry.of(Site))
    day, moment = date(2026, 9, 1), datetime(2026, 3, 1, tzinfo=UTC)
    hold = LegalHold.objects.create(customer=acme, holder="A court", basis="12 O 34/26", review_on=day, placed_by="ada", placed_at=moment)
    ours = {Customer: acme.pk, Subscription: acme.subscriptions.get().pk, LegalHold: hold.pk, Site: site.pk, Line: line.pk}
    ours[PurgeRequest] = _a_purge_request(acme).pk
    ours[TestRestore] = _a_test_restore(acme).pk
    ours |= _an_end(acme)
    return {Stream: acme.pk, RowShape: shape.pk, **ours, **_users()}


def _a_test_restore(customer: Any) -> TestRestore:
    moment = datetime(2026, 3, 1, tzinfo=UTC)
    measured = dict.fromkeys(("list_ms", "restore_ms", "judge_ms", "read_bytes", "content_bytes"), 1)
    about = {"stream": customer.pk, "called": "acme", "set_id": customer.pk, "tier": "nightly", "location": "primary", "seed": "x"}
    about |= {"result": "passed", "asked_by": "ada", "begun_at": moment, "ended_at": moment, "software": "1", "document": {}}
    return TestRestore.objects.create(**about, **measured)


def _an_end(customer: Any) -> dict[Model, Any]:
    moment = datetime(2026, 3, 1, tzinfo=UTC)
    over = {"state": "cancelled", "ends_on": moment.date()}  # so that another one may stand beside it
    request = DeletionRequest.objects.create(customer=customer, why="x", requested_at=moment, **over)
    about = dict.fromkeys(("made_at", "verified_at", "expires_at"), moment) | {"package_sha256": "0" * 64, "manifest_sha256": "0" * 64}
    package = DataReturn.objects.create(
        request=request, number=987_654_321, set_id=customer.pk, size=1, file_name="x.zip", path="/x", fault_at=moment, **about
    )
    return {DeletionRequest: request.pk, DataReturn: package.pk}


def _a_purge_request(customer: Any) -> PurgeRequest:
    asker = get_user_model().objects.create_user("una")
    asked = PurgeRequest(customer=customer, term="standard", day=date(2026, 3, 1), what="x", why="y", plan_digest="0" * 64)
    asked.requested_by, asked.requested_at = asker, datetime(2026, 3, 1, tzinfo=UTC)
    asked.save()
    return asked


def _users() -> dict[Model, Any]:
    return {get_user_model(): get_user_model().objects.create_user("ada").pk}


def test_the_rows_of_every_model_are_canonical_whatever_they_hold(parents: dict[Model, Any]) -> None:
    for protected in registry.protected():
        if not issubclass(protected.model, AppendedModel):  # this test could not clear away what it makes there
            assert_lines_are_canonical(protected.model, parents)


@pytest.mark.slow
def test_the_history_of_every_model_is_canonical_whatever_it_holds(parents: dict[Model, Any]) -> None:
    for protected in registry.protected():
        assert_lines_are_canonical(protected.history_model, parents)


def test_the_journal_is_canonical_also_with_the_databases_own_times(parents: dict[Model, Any]) -> None:
    assert JournalRow.objects.exists()  # written by the database's clock, with fewer digits on SQLite
    assert_lines_are_canonical(JournalRow, parents)


def test_the_models_of_many_rows_are_read_the_fast_way() -> None:
    fast = (DataRecord, registry.of(DataRecord).history_model, Link, registry.of(Link).history_model, JournalRow)
    assert all(row_text(model, connection) is not None for model in fast)
    assert row_text(Downtime, connection) is None  # floats and JSONField go through Python: both ways are under test


def test_the_stream_given_beforehand_changes_no_row(acme: Any) -> None:
    records(acme, range(3))
    history: models.QuerySet[Any] = models.QuerySet(registry.of(DataRecord).history_model)
    with snapshot() as moment:
        for queryset in (
            DataRecord.objects.filter(customer=acme),
            history.filter(history_stream=acme.pk),
            JournalRow.objects.filter(stream=acme.pk),
        ):
            assert list(lines_of(moment, queryset, acme.pk)) == list(lines_of(moment, queryset))


def records(customer: Any, numbers: range) -> None:
    DataRecord.objects.tracked_create(DataRecord(customer=customer, kind="part", reference=f"{number:05}") for number in numbers)


def test_what_is_written_after_it_was_opened_is_not_seen(acme: Any) -> None:
    records(acme, range(3000))  # more than one fetch
    queryset = DataRecord.objects.filter(customer=acme)
    with snapshot() as moment:
        lines = lines_of(moment, queryset)
        first = next(lines)
        records(acme, range(3000, 3100))
        DataRecord.objects.get(reference="02999").delete()
        changed = DataRecord.objects.get(reference="02500")
        changed.data = {"changed": True}
        changed.save()
        seen = [json.loads(line) for _, line in [first, *lines]]
        history = list(lines_of(moment, models.QuerySet(registry.of(DataRecord).history_model)))
        assert list(lines_of(moment, queryset)) == [*lines_of(moment, queryset)]
    assert [row["reference"] for row in seen] == [f"{number:05}" for number in range(3000)]
    assert not any(row["data"] for row in seen)
    assert len(history) == 3000
    with snapshot() as moment:
        assert len(list(lines_of(moment, queryset))) == 3099


def test_it_holds_up_no_writer_and_sees_what_was_committed_just_before(acme: Any) -> None:
    for number in range(20):
        records(acme, range(number, number + 1))
        with snapshot() as moment:
            records(acme, range(100 + number, 101 + number))
            assert len(list(lines_of(moment, DataRecord.objects.all()))) == 2 * number + 1


def test_its_connection_is_closed_after_the_block_and_after_an_exception_in_it(acme: Any) -> None:
    records(acme, range(3))
    opened = []
    with snapshot() as moment:
        opened.append(moment.connection)
        assert moment.connection is not connection
    with pytest.raises(ValueError, match="broken"), snapshot() as moment:
        opened.append(moment.connection)
        next(lines_of(moment, DataRecord.objects.all()))  # with a cursor open
        raise ValueError("broken")
    assert [one.connection for one in opened] == [None, None]


def test_snapshots_that_share_a_connection_are_moments_of_their_own(acme: Any) -> None:
    def count(moment: Snapshot) -> int:
        return len(list(lines_of(moment, DataRecord.objects.all())))

    with one_connection():
        with snapshot() as first:
            records(acme, range(3))
            assert count(first) == 0
        records(acme, range(10, 11))
        with pytest.raises(ValueError, match="broken"), snapshot() as second:
            assert count(second) == 4 and second.connection is first.connection
            raise ValueError("broken")
        records(acme, range(11, 12))
        with snapshot() as third:
            assert count(third) == 5
    assert third.connection.connection is None
    with snapshot() as alone:
        assert alone.connection is not third.connection


def test_nothing_can_be_written_through_it_on_postgresql(acme: Any) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite knows no read-only transaction")
    from django.db import InternalError

    with pytest.raises(InternalError, match="read-only"), snapshot() as moment, moment.connection.cursor() as cursor:
        cursor.execute("DELETE FROM l2l_audit_journalrow")
    assert JournalRow.objects.exists()


def test_values_come_as_the_database_gives_them(acme: Any) -> None:
    records(acme, range(2))
    with snapshot() as moment:
        found = list(moment.values(DataRecord.objects.order_by("reference").values_list("reference", "kind")))
    assert [tuple(row) for row in found] == [("00000", "part"), ("00001", "part")]
    assert isinstance(acme.pk, uuid.UUID)
