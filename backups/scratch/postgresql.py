"""An empty PostgreSQL database as the target of a restore: one transaction, rows by COPY in both directions.

Types keep every value exactly: JSON as `json`, which keeps the text as it was written (jsonb forgets it) and still takes `->>`; decimals as
`numeric` without a limit, which keeps their places; durations as `interval`; floats as `double precision`.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from urllib.parse import urlsplit

import psycopg
from django.db import connection as own_connection
from psycopg.conninfo import conninfo_to_dict

from audit import canonical
from backups.errors import TargetInTheWay, TargetUnusable
from backups.scratch.contract import Fields, quoted
from backups.scratch.lines import json_text
from backups.scratch.tables import Table, fitting

OLDEST = 14  # the first whose extract() from an interval is exact
BLOCK_CHARACTERS = 256 * 1024
CONNECT_SECONDS = 10

_TYPES = {
    "integer": "bigint",
    "text": "text",
    "json": "json",
    "boolean": "boolean",
    "uuid": "uuid",
    "datetime": "timestamptz",
    "date": "date",
    "time": "time",
    "decimal": "numeric",
    "float": "double precision",
    "duration": "interval",
    "binary": "bytea",
}
# A column's canonical JSON in SQL. Not of floats: PostgreSQL writes 1e23 as 9.999999999999999e+22.
_JSON = {
    "integer": "coalesce({c}::text,'null')",
    "boolean": "coalesce({c}::text,'null')",
    "json": "coalesce({c}::text,'null')",
    "text": "coalesce(to_json({c})::text,'null')",
    "uuid": "coalesce('\"'||{c}::text||'\"','null')",
    "decimal": "coalesce('\"'||{c}::text||'\"','null')",
    "datetime": "coalesce('\"'||to_char({c} AT TIME ZONE 'UTC','YYYY-MM-DD\"T\"HH24:MI:SS.US')||'Z\"','null')",
    "date": "coalesce('\"'||to_char({c},'YYYY-MM-DD')||'\"','null')",
    "time": "coalesce('\"'||to_char({c},'HH24:MI:SS.US')||'\"','null')",
    "duration": "coalesce(trunc(extract(epoch from {c})*1000000)::text,'null')",
    "binary": "coalesce('\"'||replace(encode({c},'base64'),chr(10),'')||'\"','null')",
}
_ANYTHING_THERE = """
    SELECT quote_ident(nspname) || '.' || quote_ident(relname) FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND nspname <> 'information_schema' AND nspname !~ '^pg_'
    AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid AND deptype = 'e')
    ORDER BY 1 LIMIT 1
"""
_WHICH_DATABASE = "SELECT pg_postmaster_start_time(), oid FROM pg_database WHERE datname = current_database()"
UNCLEAR = (
    "The address of the database cannot be read. Write postgres://user@host:port/name, its password in PGPASSWORD or a file named by "
    "PGPASSFILE; inside of an address, write signs such as @ / ? # % as %40 %2F %3F %23 %25."
)
_SETTINGS = ("synchronous_commit = on", "timezone = 'UTC'", "statement_timeout = 0", "idle_in_transaction_session_timeout = 0")


class PostgresqlScratch:
    """The database at `url` (as libpq reads it: PGPASSWORD, PGPASSFILE and ~/.pgpass count). Raises `TargetInTheWay`, `TargetUnusable`."""

    troubles: tuple[type[Exception], ...] = (psycopg.Error,)

    def __init__(self, url: str) -> None:
        self.connection = _connected(url)
        self.address = _shown(self.connection.info)
        self._tables: list[Table] = []
        try:
            self._prepare()
        except psycopg.Error as problem:
            self.connection.close()
            raise TargetUnusable(f"{self.address}: {self.words(problem)}") from None
        except BaseException:
            self.connection.close()
            raise

    def _prepare(self) -> None:
        info = self.connection.info
        if info.server_version < OLDEST * 10000:
            raise TargetUnusable(f"{self.address} is PostgreSQL {info.server_version // 10000}: version {OLDEST} or newer is needed.")
        if info.parameter_status("server_encoding") != "UTF8":
            raise TargetUnusable(f"{self.address} cannot hold every text: make a database with ENCODING 'UTF8'.")
        for setting in _SETTINGS:
            self.connection.execute(f"SET {setting}")
        if own_connection.vendor == "postgresql" and self._asked(_WHICH_DATABASE) == _own_database():
            raise TargetInTheWay(f"{self.address} is this installation's own database. Name an empty one.")
        if there := self._asked(_ANYTHING_THERE):
            raise TargetInTheWay(f"{self.address} is not empty: {there[0]} is there. Name an empty database (createdb makes one).")

    def _asked(self, question: str) -> tuple | None:
        return self.connection.execute(question).fetchone()

    def words(self, problem: Exception) -> str:
        """The driver's first line: what follows it may quote a row."""
        primary = problem.diag.message_primary if isinstance(problem, psycopg.Error) else None
        return primary or str(problem).strip().split("\n")[0]

    def create(self, table: Table) -> None:
        columns = ", ".join(f"{quoted(one.sql_name)} {_TYPES[one.kind]}{'' if one.null else ' NOT NULL'}" for one in table.columns)
        self.connection.execute(f"CREATE TABLE {quoted(table.name)} ({columns})")
        self._tables.append(table)

    def load(self, table: Table, rows: Iterable[Fields]) -> None:
        writers = [_COPIED.get(column.kind, _escaped) for column in table.columns]
        names = ", ".join(quoted(column.sql_name) for column in table.columns)
        with self.connection.cursor() as cursor, cursor.copy(f"COPY {quoted(table.name)} ({names}) FROM STDIN") as copy:
            for block in _blocks(copied_row(writers, fields) for fields in rows):
                copy.write(block)

    def finish_loading(self) -> None:
        for table in self._tables:
            self.connection.execute(f"ALTER TABLE {quoted(table.name)} ADD PRIMARY KEY ({quoted(fitting(table.key))})")
            for name, column in table.indexes:
                # A text may be longer than what a sorted index takes.
                method = "hash" if column.kind == "text" else "btree"
                self.connection.execute(f"CREATE INDEX {quoted(name)} ON {quoted(table.name)} USING {method} ({quoted(column.sql_name)})")

    def lines(self, table: Table) -> Iterator[bytes]:
        statement = f"COPY (SELECT {', '.join(_line_pieces(table))} FROM {quoted(table.name)}) TO STDOUT"  # noqa: S608  (names are quoted)
        with self.connection.cursor() as cursor, cursor.copy(statement) as copy:
            for row in copy:
                yield _line(bytes(row))

    def commit(self) -> None:
        self.connection.commit()

    def close(self) -> None:
        self.connection.close()


def _connected(url: str) -> psycopg.Connection:
    _refuse_unclear(url)
    try:
        parameters = {"connect_timeout": CONNECT_SECONDS, "application_name": "l2l restore", **conninfo_to_dict(url)}
    except psycopg.Error:
        raise TargetUnusable(UNCLEAR) from None  # its message would show the address
    try:
        return psycopg.connect(**{**parameters, "client_encoding": "UTF8"})  # type: ignore[arg-type]
    except psycopg.Error as problem:
        raise TargetUnusable(f"The database to restore into cannot be reached: {str(problem).strip()}") from None


def _refuse_unclear(url: str) -> None:
    """A password with a bare @ or / would be taken apart, and half of it shown as a host that does not exist."""
    try:
        port = urlsplit(url).port or 0
    except ValueError:
        raise TargetUnusable(UNCLEAR) from None
    before_path = url.split("/", 3)[2]
    if port < 0 or url.count("@") > before_path.count("@") or before_path.count("@") > 1 or re.search(r"%(?![0-9A-Fa-f]{2})|[#\s]", url):
        raise TargetUnusable(UNCLEAR)


def _shown(info: psycopg.ConnectionInfo) -> str:
    host = f"[{info.host}]" if ":" in info.host else info.host
    place = f"{host}:{info.port}" if not host.startswith("/") else ""
    return f"postgresql://{info.user}@{place}/{info.dbname}" + (f"?host={host}" if not place else "")


def _own_database() -> tuple | None:
    with own_connection.cursor() as cursor:
        cursor.execute(_WHICH_DATABASE)
        return cursor.fetchone()


def copied_row(writers: Sequence[Callable[[str], str]], fields: Fields) -> str:
    """A row in COPY's text form."""
    return "\t".join("\\N" if field is None else write(field) for write, field in zip(writers, fields, strict=True)) + "\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")


_COPIED: dict[str, Callable[[str], str]] = {
    "binary": lambda text: "\\\\x" + base64.b64decode(text, validate=True).hex(),
    "duration": lambda text: f"{text} microseconds",
}


def _blocks(rows: Iterable[str]) -> Iterator[bytes]:
    waiting: list[str] = []
    size = 0
    for row in rows:
        waiting.append(row)
        size += len(row)
        if size >= BLOCK_CHARACTERS:
            yield "".join(waiting).encode()
            waiting, size = [], 0
    yield "".join(waiting).encode()


def _line_pieces(table: Table) -> list[str]:
    """What to select so that the fields, joined, are a row's canonical JSON: at odd places the floats, which Python writes."""
    pieces, begun = [], []
    for number, column in enumerate(table.columns):
        begun.append(_literal(f"{',' if number else '{'}{json_text(column.name)}:"))
        if column.kind == "float":
            pieces += ["||".join(begun), quoted(column.sql_name)]
            begun = []
        else:
            begun.append(_JSON[column.kind].format(c=quoted(column.sql_name)))
    return [*pieces, "||".join([*begun, "'}'"])]


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


# What COPY writes with a backslash.
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_SIGNS = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}


def _line(row: bytes) -> bytes:
    fields = row[:-1].split(b"\t")
    fields[1::2] = map(_float_json, fields[1::2])
    if b"\\" in row:
        fields[::2] = (_ESCAPED.sub(lambda found: _SIGNS.get(found[1], found[1]), field) for field in fields[::2])
    return b"".join(fields)


def _float_json(field: bytes) -> bytes:
    return b"null" if field == b"\\N" else canonical.dump_bytes(float(field))
