"""Restoring one customer, or one item, from a set or as it was at any second, into an empty database (P7, P14; design section 8).

In this order: the target is reached and found empty; each part becomes a table and its rows are loaded as they are read from the set,
every chunk checked; every table is read again and its rows compared with the set's by count and sum of digests; then, in one transaction,
the export is on record and the target comes into being. Before that nobody sees anything of it; a failure or a kill leaves nothing
(of a killed restore into SQLite a file `<name>.incomplete-…`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from audit import canonical
from backups.choosing import At, Only, Selection, UnknownCustomer, opened
from backups.errors import ReadBackDiffers
from backups.exports import UNRECORDED, hand_over, origin, purges_of
from backups.reading import FoundSet, Moment
from backups.scratch.contract import Scratch
from backups.scratch.lines import Tally, fields_of, index_lines
from backups.scratch.opening import open_scratch
from backups.scratch.tables import RESTORED_SET, Table, tables_of
from backups.vault import Vault
from subscriptions.models import Customer

Progress = Callable[[str], None]


@dataclass(slots=True)
class Loaded:
    """What a database now holds: the tally of each table by its name; `files` are listed there, their bytes are not. `moment` is None for a
    set's own state."""

    database: str
    found: FoundSet
    moment: Moment | None = None
    tables: dict[str, Tally] = field(default_factory=dict)
    files: int = 0
    absent: int = 0
    notes: list[str] = field(default_factory=list)


def restore_into(
    vault: Vault,
    customer: Customer | UnknownCustomer,
    url: str,
    *,
    only: Only | None = None,
    set_id: str | None = None,
    at: At | None = None,
    reason: str = "",
    progress: Progress = lambda _: None,
) -> Loaded:
    """The customer's rows, history, journal and list of files from the newest set or the named one, or as they were `at` a moment, as
    tables of the database at `url`.

    Raises `TargetInTheWay`, `TargetUnusable`, `ReadBackDiffers`, `NoLocation`, `NoSet`, `StreamEnded`, `KeysMissing`, `NowhereWhole`,
    `BadManifest`, `PurgedMeanwhile`, `OSError`, with `at` also `NotCovered` and `Gap`. The database holds nothing unless it returns.
    """
    purges = purges_of(customer.pk)
    with (
        open_scratch(url) as scratch,
        opened(vault, customer.pk, set_id=set_id, at=at, only=only, progress=progress) as (found, reader),
    ):
        loaded = Loaded(scratch.address, found, reader.moment, notes=reader.notes)
        if isinstance(customer, UnknownCustomer):
            loaded.notes.append(UNRECORDED)
        tables = _load(scratch, Selection(reader, only), loaded, progress)
        document = _document(customer, loaded, only)
        tables.append((RESTORED_SET, _fill(scratch, RESTORED_SET, [f'{{"document":{document},"id":1}}'.encode()])))
        scratch.finish_loading()
        _read_back(scratch, tables, progress)
        _hand_over(vault, customer, scratch, loaded, only, reason, hashlib.sha256(document.encode()).hexdigest(), purges)
    return loaded


def _load(scratch: Scratch, selection: Selection, loaded: Loaded, progress: Progress) -> list[tuple[Table, Tally]]:
    """Fills a table for each part; returns them with what went in."""
    filled = []
    for part, table in tables_of(selection.parts):
        progress(f"{part.what} of {part.model}: {part.rows:,} rows into {table.name}")
        lines = index_lines(_counted(selection.files(part), loaded)) if part.what == "files" else selection.lines(part)
        filled.append((table, _fill(scratch, table, lines)))
        loaded.tables[table.name] = filled[-1][1]
    return filled


def _fill(scratch: Scratch, table: Table, lines: Iterable[bytes]) -> Tally:
    tally = Tally()
    scratch.create(table)
    scratch.load(table, fields_of(table, tally.counting(lines)))
    return tally


def _counted(entries: Iterable[dict[str, Any]], loaded: Loaded) -> Iterator[dict[str, Any]]:
    for entry in entries:
        loaded.files += 1
        loaded.absent += bool(entry.get("absent"))
        yield entry


def _document(customer: Customer | UnknownCustomer, loaded: Loaded, only: Only | None) -> str:
    """What stands in the table `restored_set`: whose set, of when, and what each table was given."""
    envelope = loaded.found.envelope
    return canonical.dumps(
        {
            "customer": {"id": str(customer.pk), "code": customer.code},
            "set": envelope["set"],
            "night": envelope["night"],
            "state_at": loaded.moment.at.isoformat() if loaded.moment else envelope["snapshot_at"],
            "moment": loaded.moment.document() if loaded.moment else None,
            "taken_from": list(loaded.found.places),
            "only": str(only) if only else None,
            "tables": {name: {"rows": tally.rows, "sum": tally.sum} for name, tally in loaded.tables.items()},
            "absent_files": loaded.absent,
            "notes": loaded.notes,
        }
    )


def _read_back(scratch: Scratch, tables: Iterable[tuple[Table, Tally]], progress: Progress) -> None:
    for table, given in tables:
        progress(f"reading back {table.name}: {given.rows:,} rows")
        found = Tally()
        for line in scratch.lines(table):
            found.add(line)
        if found != given:
            raise ReadBackDiffers(
                f"{scratch.address} gives the table {table.name} back otherwise than it was filled: {given.rows:,} rows in, "
                f"{found.rows:,} out. Nothing of it was kept. Check that server or disk."
            )


def _hand_over(
    vault: Vault,
    customer: Customer | UnknownCustomer,
    scratch: Scratch,
    loaded: Loaded,
    only: Only | None,
    reason: str,
    digest: str,
    purges: int,
) -> None:
    """Records the export and lets the database keep what it holds."""
    hand_over(
        vault,
        customer,
        scratch.commit,
        what=f"restore of {only.model if only else 'everything'} into a database, {origin(loaded.found, loaded.moment)}",
        path=loaded.database,
        sha256=digest,
        reason=reason,
        set_id=loaded.found.id,
        purges=purges,
        rows=sum(tally.rows for tally in loaded.tables.values()),
        files=loaded.files,
    )
