"""The database forgets what was deleted, as far as it can; what it cannot is named, with the day on which it is gone (P12).

A row that was deleted still stands in the file until something else is written over it. SQLite can be made to forget at once: deleted
rows are overwritten (`secure_delete`), the file is written anew (`VACUUM`), the write-ahead log is emptied (`wal_checkpoint(TRUNCATE)`).
Each is asserted, and a mark that was written, found in the file and deleted before is looked for behind it. PostgreSQL keeps
bytes in free space, in its WAL and in whoever copied them: its tables are vacuumed, and the rest is said.
"""

from __future__ import annotations

import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib.admin.models import LogEntry
from django.db import OperationalError, connection, models

from audit import registry
from audit.models import JournalRow, Stream
from backups.errors import BackupError
from backups.models import Lease
from backups.statements import change
from subscriptions.models import Customer

TRIES, WAIT = 5, 2.0
# VACUUM writes the whole file anew beside it, and then through the log.
ROOM = 2.2
PIECE = 4 * 1024 * 1024
PROBE = "forgetting:probe"
ASK = "not known to the back office: ask whoever runs it"


class NotForgotten(BackupError):
    """The database still holds what was deleted, or that it does not cannot be shown; the message says what to do. Trying again is safe."""


@dataclass(frozen=True, slots=True)
class Remains:
    """Bytes that nobody can list or read through the product, but that may lie somewhere for a while: where, what, and until when in
    words."""

    where: str
    what: str
    until: str

    def document(self) -> dict[str, str]:
        return {"where": self.where, "what": self.what, "until": self.until}


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was done and asserted, a line each, and what may remain in spite of it."""

    engine: str
    at: datetime
    asserted: Sequence[str]
    remains: Sequence[Remains]

    def document(self) -> dict[str, Any]:
        return {
            "engine": self.engine,
            "at": self.at.isoformat(timespec="seconds"),
            "asserted": list(self.asserted),
            "remains": [one.document() for one in self.remains],
        }


def forget(clock: Callable[[], datetime], *, tries: int = TRIES, wait: float = WAIT) -> Forgotten:
    """Lets the database forget. Outside of every transaction. Raises `NotForgotten`; safe to repeat."""
    if connection.in_atomic_block:
        raise NotForgotten("A database forgets nothing inside of a transaction: call this outside of any.")
    asserted = _sqlite(clock(), tries, wait) if connection.vendor == "sqlite" else _postgresql()
    return Forgotten(connection.vendor, clock(), asserted, remains_of_database(clock()))


def remains_of_database(now: datetime) -> list[Remains]:
    """What of the database's bytes may lie somewhere else, or in it still, by its kind and the settings."""
    backups = Remains(
        "the vendor's own backups of the database (dumps, base backups, replicas, snapshots of its disk)",
        "rows as they were when the copy was made",
        _until(now, settings.L2L_DATABASE_BACKUPS_KEPT_DAYS, "L2L_DATABASE_BACKUPS_KEPT_DAYS"),
    )
    if connection.vendor == "sqlite":
        return [backups, _FREED]
    return [
        Remains(
            "free space inside of the database's files (PostgreSQL)",
            "bytes of deleted rows, which no statement reads any more",
            "until other rows are written over them; no date can be given ('VACUUM FULL' ends it at once)",
        ),
        Remains(
            "the database's write-ahead log (WAL), archived segments included",
            "rows as they were written",
            _until(now, settings.L2L_DATABASE_WAL_KEPT_DAYS, "L2L_DATABASE_WAL_KEPT_DAYS"),
        ),
        backups,
    ]


_FREED = Remains(
    "free space of the disk under the database, the spool and the uploads",
    "blocks of files that were removed or written anew",
    "until the file system uses them again; no date can be given (an encrypted disk makes them unreadable without its key)",
)


def _until(now: datetime, days: int | None, setting: str) -> str:
    if days is None:
        return f"{ASK} ({setting} is not set)"
    return "not kept" if days == 0 else f"{now + timedelta(days=days):%Y-%m-%d} UTC, for they are kept {days} days ({setting})"


def _sqlite(now: datetime, tries: int, wait: float) -> list[str]:
    file = _file()
    _check_overwriting()
    _check_room(file)
    mark = f"forget-{secrets.token_hex(16)}"
    _leave(mark, now, file, tries, wait)
    change(f"DELETE FROM {Lease._meta.db_table} WHERE name = %s", PROBE)  # noqa: S608  (the table's name is the model's)
    _patiently(lambda: _statement("VACUUM"), tries, wait)
    _patiently(_emptied_log, tries, wait)
    if free := _value("PRAGMA freelist_count"):
        raise NotForgotten(f"SQLite keeps {free} free pages after VACUUM: somebody deletes rows right now. Run it again.")
    if found := [one for one in _files(file) if contains(one, [mark.encode()])]:
        raise NotForgotten(f"A row deleted a moment ago still stands in {found[0].name}: this SQLite forgets nothing. It is not certified.")
    return [
        "secure_delete is on: deleted rows are overwritten",
        "the file was written anew (VACUUM); it has no free page",
        "the write-ahead log was emptied (wal_checkpoint TRUNCATE), and is empty",
        "a mark that was written, found in the file and deleted was found nowhere in the file or its log afterwards",
    ]


def _leave(mark: str, now: datetime, file: Path, tries: int, wait: float) -> None:
    """Writes the mark and finds it in the file: else not finding it later would prove nothing."""
    Lease.objects.update_or_create(name=PROBE, defaults={"holder": mark, "doing": "probe", "taken_at": now, "expires_at": now})
    _patiently(_emptied_log, tries, wait)
    if not contains(file, [mark.encode()]):
        raise NotForgotten(f"A row written a moment ago is not found in {file}: the database lies elsewhere, so nothing is shown.")


def _file() -> Path:
    name = connection.settings_dict["NAME"]
    if not name or not Path(name).is_file():
        raise NotForgotten(f"The SQLite database {name!r} is no file: what it forgets cannot be looked at.")
    return Path(name)


def _files(file: Path) -> list[Path]:
    return [one for one in (file, *(file.with_name(f"{file.name}{end}") for end in ("-wal", "-shm", "-journal"))) if one.is_file()]


def _check_overwriting() -> None:
    if _value("PRAGMA secure_delete") != 1:
        raise NotForgotten("secure_delete is off, so deleted rows stay in the file. Leave DATABASES' init_command as the settings have it.")


def _check_room(file: Path) -> None:
    needed, free = int(file.stat().st_size * ROOM), shutil.disk_usage(file.parent).free
    if free < needed:
        raise NotForgotten(f"To write {file} anew takes {needed:,} free bytes, there are {free:,}. Make room; it is tried again.")


def _emptied_log() -> None:
    """A reader that is still at it holds it up: the answer says so, no error does."""
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        busy, *_ = cursor.fetchone()
    if busy:
        raise OperationalError("somebody reads or writes the database")
    log = _file().with_name(f"{_file().name}-wal")
    if log.exists() and log.stat().st_size:
        raise OperationalError("the write-ahead log is not empty")


def _patiently(step: Callable[[], None], tries: int, wait: float) -> None:
    """VACUUM and the emptying of the log need a moment without readers."""
    for number in range(tries):
        try:
            return step()
        except OperationalError as problem:
            if number == tries - 1:
                raise NotForgotten(
                    f"The database could not be made to forget ({problem}): another process holds it. It is tried again; when that lasts, "
                    "stop the web and the queue for a minute."
                ) from problem
            time.sleep(wait)
    raise AssertionError("tries is at least 1")


def _statement(text: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(text)


def _value(text: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(text)
        return cursor.fetchone()[0]


def contains(file: Path, marks: Iterable[bytes]) -> bool:
    """Whether one of the marks stands in the file, read in pieces."""
    wanted = [mark for mark in marks if mark]
    overlap, tail = max(map(len, wanted), default=1) - 1, b""
    with file.open("rb") as opened:
        while piece := opened.read(PIECE):
            piece = tail + piece
            if any(mark in piece for mark in wanted):
                return True
            tail = piece[-overlap:] if overlap else b""
    return False


def _postgresql() -> list[str]:
    tables = tables_with_content()
    _check_owned(tables)
    quoted = ", ".join(connection.ops.quote_name(table) for table in tables)
    _statement(f"VACUUM {quoted}")
    return [f"{len(tables)} tables were vacuumed: their deleted rows can be read by no statement any more"]


def tables_with_content() -> list[str]:
    """The tables that rows of a customer's stand in, or texts of them: whatever points at a customer or is protected."""
    found: set[type[models.Model]] = {JournalRow, LogEntry, Lease}
    for protected in registry.protected():
        if protected.customer:
            found |= {protected.model, protected.history_model}
    found |= {model for model in apps.get_models() if model._meta.managed and points_at_customer(model)}
    queue = [model for model in apps.get_app_config("django_q").get_models() if not model._meta.proxy]
    return sorted({model._meta.db_table for model in (*found, *queue)})


def points_at_customer(model: type[models.Model]) -> bool:
    """Whether a foreign key of it names a customer or its stream."""
    fields: Iterable[Any] = model._meta.concrete_fields
    return any(field.is_relation and field.related_model in (Stream, Customer) for field in fields)


def _check_owned(tables: Sequence[str]) -> None:
    """VACUUM passes over a table of another owner with no more than a notice."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_class WHERE relname = ANY(%s) AND relkind = 'r' AND NOT pg_has_role(relowner, 'USAGE')", [list(tables)]
        )
        others = sorted(name for (name,) in cursor.fetchall())
    if others:
        raise NotForgotten(f"The database's role may not vacuum {', '.join(others)}: make it the owner of its tables, then run it again.")
