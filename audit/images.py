"""Live rows held against their newest history images, in one statement a model inside the database (P8, design section 6).

History rows are copies made by the database (`audit.history_sql`), so a row that was changed only by tracked writes is stored as its newest
image is: what differs was changed behind history's back. No row is left out; of those that differ the first hundred of each kind leave the
database, and their number.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from typing import Any

from django.db import connections, models
from django.db.backends.base.base import BaseDatabaseWrapper

from audit.history_sql import path_to_stream
from audit.models.journal import Stream
from audit.registry import Protected

EXAMPLES = 100
# With more history rows it matters how they are joined; with so much of the server's memory fewer go through no files.
MANY, MEMORY = 20_000, "32MB"
# Of these types equal means stored alike; others are compared as they are written.
_EXACT = ("bigint", "integer", "smallint", "bool", "uuid", "date", "time", "numeric", "bytea", "varchar", "text", "char")


class Fault(StrEnum):
    """What became of a row behind history's back."""

    ALTERED = "altered"
    UNKNOWN = "unknown"
    BACK = "back"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Unlike:
    """A row that is not as its newest history image says, and what people call it. `history_id` is the image's, None where there is none;
    `fields` are the names of those that differ, of an altered row."""

    fault: Fault
    key: str
    reference: str
    history_id: int | None
    fields: tuple[str, ...] = ()


@dataclass(slots=True)
class Comparison:
    """Of one model's rows of one stream: how many are unlike their images, by fault, and at most a hundred of each."""

    counts: dict[Fault, int] = field(default_factory=dict)
    examples: list[Unlike] = field(default_factory=list)


def compared(protected: Protected, stream: uuid.UUID, connection: BaseDatabaseWrapper, *, images: int = 0) -> Comparison:
    """Every live row and every newest image of the stream. The connection's transaction says as of which moment. `images` is about how many
    history rows there are; it only hastens."""
    statement, names = _statement(protected, connection.alias)
    stored: Any = Stream._meta.pk.get_db_prep_value(stream, connection)
    found = Comparison()
    with connection.cursor() as cursor, _planned(cursor, protected, images, connection):
        cursor.execute(statement, [stored] * statement.count("%s"))
        for count, fault, key, reference, history_id, *differ in cursor.fetchall():
            found.counts[Fault(fault)] = count
            fields = tuple(name for name, one in zip(names, differ, strict=True) if one and fault == Fault.ALTERED)
            found.examples.append(Unlike(Fault(fault), key, reference or "", history_id, fields))
    return found


@contextmanager
def _planned(cursor: Any, protected: Protected, images: int, connection: BaseDatabaseWrapper) -> Iterator[None]:
    """PostgreSQL takes the stream's rows out of the tables and hashes them, in memory as long as they are few. Of a stream that most of the
    rows belong to it would hash one whole side through files on disk: both have an index in the order of the key, and merging them
    takes half the time (measured). Not where the way to the customer is a join itself. After trouble the transaction is over."""
    if connection.vendor != "postgresql" or images <= MANY:
        yield
        return
    settings = {"work_mem": f"'{MEMORY}'"}
    if len(protected.hops) < 2 and images * 2 > _about_rows(cursor, protected):
        settings["enable_hashjoin"] = "off"
    cursor.execute("; ".join(f"SET LOCAL {name} = {value}" for name, value in settings.items()))
    yield
    cursor.execute("; ".join(f"SET LOCAL {name} TO DEFAULT" for name in settings))


def _about_rows(cursor: Any, protected: Protected) -> int:
    """How many history rows of the model there are, of all streams, as the planner believes."""
    cursor.execute("SELECT reltuples FROM pg_class WHERE oid = %s::regclass", [f'"{protected.history_model._meta.db_table}"'])
    return int(cursor.fetchone()[0])


# The statements below are made of names from the models alone; the stream's id is their only parameter.


@cache
def _statement(protected: Protected, alias: str) -> tuple[str, list[str]]:
    """The statement, and the names of the fields that its last columns tell of."""
    fields = [one for one in protected.model._meta.concrete_fields if not one.primary_key]
    found = _found(protected, fields, alias)
    differs = "".join(f", differs{at}" for at, _ in enumerate(fields))
    of_its_kind = "count(*) OVER (PARTITION BY fault) AS of_its_kind"
    nth = "row_number() OVER (PARTITION BY fault ORDER BY history_id) AS nth"
    return (
        f"SELECT of_its_kind, fault, key, reference, history_id{differs} "  # noqa: S608
        f"FROM (SELECT found.*, {of_its_kind}, {nth} FROM ({found}) AS found) AS counted WHERE nth <= {EXAMPLES} ORDER BY fault, nth"
    ), [one.name for one in fields]


def _found(protected: Protected, fields: list[models.Field], alias: str) -> str:
    quote: Any = connections[alias].ops.quote_name
    model, history = protected.model._meta, protected.history_model._meta
    key, past_table = quote(model.pk.column), quote(history.db_table)
    reference = key if protected.reference == "pk" else quote(model.get_field(protected.reference).column)  # type: ignore[union-attr]
    live, past = f"({_live(protected, alias)}) AS t", f"(SELECT * FROM {past_table} WHERE history_stream = %s) AS h"  # noqa: S608
    differ = [differs(one, alias) for one in fields]
    deleted_or_other = " OR ".join(("h.history_type = '-'", *differ))
    is_unlike = f"CASE WHEN t.{key} IS NULL THEN h.history_type <> '-' ELSE {deleted_or_other} END"
    later = f"SELECT 1 FROM {past_table} AS l WHERE l.{key} = h.{key} AND l.history_id > h.history_id AND l.history_stream = %s"  # noqa: S608
    # Asked only of those that differ, as older images do.
    counts = f"CASE WHEN h.history_id IS NULL THEN 1 = 1 WHEN {is_unlike} THEN NOT EXISTS ({later}) ELSE 1 = 0 END"
    fault = (
        f"CASE WHEN h.history_id IS NULL THEN '{Fault.UNKNOWN}' WHEN t.{key} IS NULL THEN '{Fault.GONE}' "
        f"WHEN h.history_type = '-' THEN '{Fault.BACK}' ELSE '{Fault.ALTERED}' END"
    )
    told = (
        f"{fault} AS fault, CAST(coalesce(t.{key}, h.{key}) AS text) AS key, "
        f"CAST(coalesce(t.{reference}, h.{reference}) AS text) AS reference, h.history_id AS history_id"
        f"{''.join(f', {one} AS differs{at}' for at, one in enumerate(differ))}"
    )
    if connections[alias].vendor == "postgresql":
        return f"SELECT {told} FROM {past} FULL JOIN {live} ON t.{key} = h.{key} WHERE {counts}"  # noqa: S608
    # SQLite looks up row by row: two questions cost it less than a full join (measured).
    known = f"EXISTS (SELECT 1 FROM {past_table} AS h WHERE h.{key} = t.{key} AND h.history_stream = %s)"  # noqa: S608
    # Asked apart, for an index with the reference in it would be walked in another order than that of the keys.
    called = f"(SELECT CAST({reference} AS text) FROM {quote(model.db_table)} AS o WHERE o.{key} = t.{key})"  # noqa: S608
    unknown = f"'{Fault.UNKNOWN}', CAST(t.{key} AS text), {called}, NULL{', NULL' * len(differ)}"
    return (
        f"SELECT {told} FROM {past} LEFT JOIN {live} ON t.{key} = h.{key} WHERE {counts} "  # noqa: S608
        f"UNION ALL SELECT {unknown} FROM {live} WHERE NOT {known}"
    )


def _live(protected: Protected, alias: str) -> str:
    tables, stream = path_to_stream(protected, alias)
    path = "".join(f" JOIN {table} ON {condition}" for table, condition in tables)
    return f"SELECT t0.* FROM {connections[alias].ops.quote_name(protected.model._meta.db_table)} AS t0{path} WHERE {stream} = %s"  # noqa: S608


def differs(one: models.Field, alias: str) -> str:
    """The condition that a live row `t` and a history row `h` are stored with different values of a field."""
    connection = connections[alias]
    column, collated = connection.ops.quote_name(str(one.column)), getattr(one, "db_collation", None)
    if connection.vendor != "postgresql":
        form = "{side}.{column} COLLATE BINARY" if collated else "{side}.{column}"
        comparison = "IS NOT"
    else:
        exact = (one.db_type(connection) or "").startswith(_EXACT)
        form = "{side}.{column}" + ("" if exact else "::text") + (' COLLATE "C"' if collated else "")
        comparison = "IS DISTINCT FROM"
    left, right = (form.format(side=side, column=column) for side in ("t", "h"))
    return f"{left} {comparison} {right}"
