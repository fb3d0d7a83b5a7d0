"""Values of every kind through a database and back, byte for byte: what `lines` gives is what `load` was given."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from audit import canonical, rows
from backups.manifest import BadManifest, Part
from backups.scratch.contract import Scratch
from backups.scratch.lines import Tally, fields_of, index_lines
from backups.scratch.opening import open_scratch
from backups.scratch.tables import KINDS, MAX_NAME_BYTES, Column, Table, fitting, tables_of
from tests.backups.targets import ENGINES, Target
from tests.backups.test_snapshot import json_values, moments, texts

pytestmark = pytest.mark.django_db

VALUES: dict[str, st.SearchStrategy[Any]] = {
    "integer": st.integers(-(2**63), 2**63 - 1),
    "text": texts,
    "json": json_values.filter(lambda value: value is not None),
    "boolean": st.booleans(),
    "uuid": st.uuids(),
    "datetime": moments,
    "date": st.dates(),
    "time": st.times(),
    "decimal": st.integers(-(10**40), 10**40).map(lambda digits: Decimal(digits).scaleb(-4)),
    "float": st.floats(allow_nan=False, allow_infinity=False),
    "duration": st.integers(-(2**63) + 1, 2**63 - 1).map(lambda count: timedelta(microseconds=count)),
    "binary": st.binary(max_size=200),
}
EDGES: dict[str, list[Any]] = {
    "integer": [0, -(2**63), 2**63 - 1],
    "text": ["", "\\", "\\N", "\\.", "\t", "\n", "\r\n", "\\n", "a\tb\\\tc\n", "null", "\x01\x1f\x7f\u2028é𝄞", '"', "'", "%s {c}"],
    "json": [{}, [], "", "\\N", {"ü": [1e-7, 1e23, 10**300, -0.5, True, None, "\t\\\n"], "": {"": "\\t"}}, 0, False, "null"],
    "boolean": [True, False],
    "uuid": ["00000000-0000-0000-0000-000000000000"],
    "datetime": [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999_999, UTC), datetime(2026, 1, 31, 0, 0, 0, 5, UTC)],
    "date": [date.min, date.max],
    "time": [time.min, time.max, time(12, 0, 0, 120_000)],
    "decimal": [Decimal("0.0000"), Decimal("-12.5000"), Decimal("123456789012345678901234567890.1234")],
    "float": [0.0, 0.1, 1e23, 5e-324, 1.7976931348623157e308, 1234567890123456.5, 9007199254740993.0, 1e15, 1e16, 1e-5, -2e-7],
    "duration": [timedelta(0), timedelta(microseconds=-1), timedelta(microseconds=2**63 - 1), timedelta(days=-400, microseconds=7)],
    "binary": [b"", b"\\", b"\x00\xff", b"\\x41", bytes(range(256))],
}
EMPTY = dict.fromkeys(KINDS)
# A column of every kind, called by it, and a key.
COLUMNS = [rows.Column(name, name, "integer" if name == "id" else name, places=4, null=name != "id") for name in sorted({*KINDS, "id"})]
TABLE = Table("a_table", tuple(Column(column.name, column.kind, column.null) for column in COLUMNS), "id")


def line(values: dict[str, Any]) -> bytes:
    """A row as the set has it."""
    return canonical.dump_bytes({column.name: rows.to_json(column, values[column.name]) for column in COLUMNS})


def through(scratch: Scratch, table: Table, lines: list[bytes]) -> list[bytes]:
    scratch.create(table)
    scratch.load(table, fields_of(table, lines))
    scratch.finish_loading()
    return list(scratch.lines(table))


@pytest.fixture
def scratches(engine: str, target: Target, tmp_path: Any) -> Iterator[Any]:
    """A fresh target each time it is asked."""
    numbers = iter(range(10**6))

    def fresh() -> Any:
        if engine == "sqlite":
            return open_scratch(f"sqlite:///{tmp_path / f'{next(numbers)}.sqlite3'}")
        return open_scratch(target.url)  # nothing is committed, so it stays empty

    yield fresh


@pytest.mark.parametrize("engine", ENGINES)
def test_the_edges_of_every_kind(scratches: Any) -> None:
    contents = [EMPTY, *(EMPTY | {kind: value} for kind in EDGES for value in EDGES[kind])]
    lines = [line(values | {"id": number}) for number, values in enumerate(contents)]
    with scratches() as scratch:
        assert sorted(through(scratch, TABLE, lines)) == sorted(lines)


@pytest.mark.parametrize("engine", ENGINES)
def test_any_values(scratches: Any) -> None:
    fields = {kind: st.none() | VALUES[kind] for kind in VALUES}

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(st.fixed_dictionaries(fields), max_size=5))
    def check(contents: list[dict[str, Any]]) -> None:
        lines = [line(values | {"id": number}) for number, values in enumerate(contents)]
        with scratches() as scratch:
            assert sorted(through(scratch, TABLE, lines)) == sorted(lines)

    check()


@pytest.mark.parametrize("engine", ENGINES)
def test_json_is_kept_as_it_was_written_and_its_null_where_there_is_no_other(scratches: Any) -> None:
    table = Table("a_table", (Column("id", "integer"), Column("j", "json")), "id")
    lines = [b'{"id":1,"j":{"b": 1.0,\t"a":1e3, "a":2}}', b'{"id":2,"j":null}', '{"id":3,"j":"\\u00e9é"}'.encode()]
    with scratches() as scratch:
        assert sorted(through(scratch, table, lines)) == lines


@pytest.mark.parametrize("engine", ENGINES)
def test_names_that_are_long_reserved_or_quoted(scratches: Any) -> None:
    long = "n" * 80
    names = sorted(['quo"te', "select", "Ünïcode", f"{long}1", f"{long}2", "it's", "per%cent", "b{r}ace"])
    table = Table(fitting("t" * 100), tuple(Column(name, "text") for name in names), "select")
    lines = [canonical.dump_bytes({name: name for name in names})]
    with scratches() as scratch:
        assert through(scratch, table, lines) == lines


@pytest.mark.parametrize("engine", ENGINES)
def test_a_reference_longer_than_a_sorted_index_takes(scratches: Any) -> None:
    part = Part("rows", "a.b", [{"name": "id", "kind": "integer", "null": False}, {"name": "r", "kind": "text", "null": False}], "id", "r")
    ((_, table),) = tables_of([part])
    assert [column.name for _, column in table.indexes] == ["r"]
    lines = [canonical.dump_bytes({"id": 1, "r": "".join(chr(0x4E00 + n) for n in range(5000))})]
    with scratches() as scratch:
        assert through(scratch, table, lines) == lines


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"i":1}', "other columns"),
        ('{"i":1,"t":"x","u":2}', "other columns"),
        ('{"t":"x","i":1}', "other columns"),
        ('{"i":1,"t":"x"}}', "other columns"),
        ('{"i":1,"t":"x"', "other columns"),
        ('{"i":1,"t":7}', "another kind"),
        ('{"i":1,"t":', "not JSON"),
        ('{"i":x,"t":"x"}', "not JSON"),
        ('{"i":1,"t":"tab\t"}', "not JSON"),
    ],
)
def test_a_row_that_is_not_as_the_manifest_says_is_refused(text: str, message: str) -> None:
    table = Table("a_table", (Column("i", "integer"), Column("t", "text")), "i")
    assert list(fields_of(table, [b'{"i":1,"t":"x"}'])) == [["1", "x"]]
    with pytest.raises(BadManifest, match=message):
        list(fields_of(table, [text.encode()]))


def tally(lines: list[bytes]) -> Tally:
    found = Tally()
    assert list(found.counting(lines)) == lines
    return found


@given(st.lists(st.binary(max_size=5), max_size=6), st.randoms(use_true_random=False))
@example([b"a", b"a"], None)
def test_a_tally_knows_every_row_and_no_order(lines: list[bytes], random: Any) -> None:
    shuffled = list(lines)
    if random is not None:
        random.shuffle(shuffled)
    assert tally(shuffled) == tally(lines)
    for number in range(len(lines)):
        rest = lines[:number] + lines[number + 1 :]
        assert tally(rest).sum != tally(lines).sum
        assert tally([*rest, lines[number] + b"x"]).sum != tally(lines).sum
        assert tally([*lines, lines[number]]).sum != tally(lines).sum


def column(name: str, kind: str = "integer") -> dict[str, Any]:
    return {"name": name, "kind": kind, "null": False}


def test_tables_have_the_names_of_their_models_and_never_one_name_twice() -> None:
    ident, reference, version = column("id"), column("ref", "text"), column("history_id")
    parts = [
        Part("rows", "a.b", [ident, reference], "id", "ref"),
        Part("history", "a.b", [ident, reference, version], "history_id", "ref"),
        Part("rows", "a.b_history", [ident, reference, version], "id", "history_id"),
        Part("files", "a.b", [], "name"),
        Part("files", "a.b", [], "name"),
        Part("journal", "x.journalrow", [ident, version], "id"),
        Part("rows", "journal", [ident], "id", "id"),
        Part("rows", f"a.{'m' * 80}", [ident], "id"),
        Part("rows", f"a.{'m' * 80}x", [ident], "id"),
    ]
    tables = [table for _, table in tables_of(parts)]
    assert [table.name for table in tables[:7]] == [
        "a_b",
        "a_b_history",
        "a_b_history_2",
        "a_b_files",
        "a_b_files_2",
        "journal",
        "journal_2",
    ]
    names = [table.name for table in tables] + [name for table in tables for name, _ in table.indexes]
    assert len(set(names)) == len(names) and all(len(name.encode()) <= MAX_NAME_BYTES for name in names)
    assert [[indexed.name for _, indexed in table.indexes] for table in tables[:3]] == [["ref"], ["id", "ref"], ["history_id"]]


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (Part("rows", "a.b", [column("id", "polygon")], "id"), "kind 'polygon', which this software does not know"),
        (Part("rows", "a.b", [column("id")], "pk"), "ordered by 'pk', which is not one of their columns"),
    ],
)
def test_a_manifest_that_cannot_become_tables_is_refused(part: Part, message: str) -> None:
    with pytest.raises(BadManifest, match=message):
        tables_of([part])


def test_the_list_of_files_says_which_were_absent() -> None:
    entries = [{"name": "ü", "sha256": "ab", "size": 1, "parts": [["x", 0, 1]]}, {"name": "b", "sha256": "", "size": 0, "absent": True}]
    assert [json.loads(one) for one in index_lines(entries)] == [
        {"absent": False, "name": "ü", "number": 1, "sha256": "ab", "size": 1},
        {"absent": True, "name": "b", "number": 2, "sha256": "", "size": 0},
    ]
