"""One trial: a set, or one second, from one location alone into a scratch database, judged there, and gone with it (P7).

The scratch database is never committed: of PostgreSQL nobody ever sees it, of SQLite it is a file of mode 0600 in the spool, removed at the
end. Nobody can open what is in it, so no `Export` is owed; the test itself is the record. A killed process leaves such a file, which
`sweep` removes at the next look.
"""

from __future__ import annotations

import json
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

from audit import registry
from audit.chain import Head
from audit.models import JournalRow
from backups import locations
from backups.choosing import At, opened
from backups.coverage import covered
from backups.errors import BackupError, Gap, NotCovered, NotTested, NowhereWhole, StreamEnded, TargetInTheWay, TargetUnusable
from backups.hot import forks as timelines
from backups.hot.reading import find_forks
from backups.leases import holder_is_gone, process_name
from backups.locations import Place
from backups.manifest import BadManifest
from backups.moments.workspace import Workspace
from backups.reading import FoundSet, Reader
from backups.scratch.contract import Scratch
from backups.scratch.lines import fields_of, index_lines
from backups.scratch.opening import open_scratch
from backups.scratch.tables import Table, tables_of
from backups.stores.contract import Store, StoreError
from backups.test_restores import planning
from backups.test_restores.documents import Trial
from backups.test_restores.judging import SCHEMA, Check, Judge, Judgement, Question, counted, shapes_of
from backups.test_restores.planning import Span
from backups.vault import Vault

Progress = Callable[[str], None]
PREFIX = "test-restore-"
MICROSECOND = timedelta(microseconds=1)
# A part of a model comes after what it is held against.
ORDER = ("journal", "history", "rows", "files")


@dataclass
class CountingStore:
    """Counts the bytes that are read; else the store itself."""

    store: Store
    read_bytes: int = 0

    def get(self, name: str) -> bytes:
        data = self.store.get(name)
        self.read_bytes += len(data)
        return data

    def read(self, name: str, start: int, length: int) -> bytes:
        data = self.store.read(name, start, length)
        self.read_bytes += len(data)
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)


@dataclass(frozen=True)
class Bench:
    """Where trials are made: the vault with the one location, its store counting, and the address of the scratch database (empty for a
    file of its own in the spool)."""

    vault: Vault
    place: Place
    url: str
    counting: CountingStore
    progress: Progress

    @classmethod
    def at(cls, vault: Vault, location: str, url: str, progress: Progress) -> Bench:
        """Raises `NoLocation` when there is none of that name."""
        [place] = vault.only(location).places
        counting = CountingStore(place.store)
        counted_place = Place(place.location, cast(Store, counting))
        return cls(replace(vault, places=(counted_place,)), counted_place, url, counting, progress)

    @property
    def kind(self) -> str:
        return "postgresql" if self.url else "sqlite"

    def out_of_reach(self) -> str:
        """Why the location cannot be used now; empty when it can."""
        return str(locations.trouble_of(self.place.store, self.vault.fingerprint) or "")


def try_set(bench: Bench, stream: uuid.UUID, set_id: str) -> Trial:
    """The set's own state, judged. Raises `NotTested` for what is no fault of the backup."""
    return _tried(bench, stream, Trial(), set_id, None)


def try_second(bench: Bench, stream: uuid.UUID, seed: str, about: str, at: datetime | None) -> Trial | None:
    """The second that the seed draws from those covered at the location, or `at`; None when none is covered there. Segments may be removed
    while it is looked at, for sets hold what they say: then it is drawn once more."""
    for last in (False, True):
        second = at or _drawn(bench, stream, seed, about)
        if second is None:
            return None
        trial = _tried(bench, stream, Trial(at=second), None, second)
        if last or not trial.trouble:
            return trial
    raise AssertionError("the second turn is the last")


def _drawn(bench: Bench, stream: uuid.UUID, seed: str, about: str) -> datetime | None:
    try:
        spans = covered(bench.vault, stream).spans
    except (BackupError, StoreError) as problem:
        raise NotTested(f"{bench.place.name}: {problem}") from None
    # What was committed at the very end of a span need not be known yet.
    here = [Span(one.start, one.end - MICROSECOND) for one in spans if one.place == bench.place.name]
    return planning.second_of(seed, about, here)


def _tried(bench: Bench, stream: uuid.UUID, trial: Trial, set_id: str | None, at: datetime | None) -> Trial:
    read_before = bench.counting.read_bytes
    try:
        _try(bench, stream, trial, set_id, at)
    except (TargetUnusable, TargetInTheWay, StreamEnded, OSError, sqlite3.Error) as problem:
        raise NotTested(f"No test could be made: {problem}") from None
    except (BackupError, StoreError, BadManifest) as problem:
        if reason := bench.out_of_reach():
            raise NotTested(f"{bench.place.name} is out of reach: {reason}") from None
        trial.trouble = str(problem)
        trial.damaged = isinstance(problem, NowhereWhole | BadManifest) or (at is not None and isinstance(problem, Gap | NotCovered))
    trial.read_bytes = bench.counting.read_bytes - read_before
    return trial


def _try(bench: Bench, stream: uuid.UUID, trial: Trial, set_id: str | None, at: datetime | None) -> None:
    clock = _Stopwatch()
    asked = At(at) if at else None
    with (
        open_scratch(bench.url or _file_in(bench.vault.spool)) as scratch,
        opened(bench.vault, stream, set_id=set_id, at=asked, progress=bench.progress) as (found, reader),
        closing(Workspace(bench.vault.spool, SCHEMA)) as workspace,
    ):
        trial.found, trial.notes = _found(found, reader), reader.notes
        trial.list_ms = clock.lap()
        judge = Judge(_question(bench, reader), workspace)
        tables = tables_of(reader.parts)
        left_out = _load(bench, judge, reader, scratch, tables, trial)
        scratch.finish_loading()
        trial.restore_ms = clock.lap()
        for number, part, table in _in_order(tables):
            bench.progress(f"judging {table.name}")
            judge.table(number, part, scratch.lines(table))
        judgement = judge.judged()
        _count(judgement, found, reader, left_out)
        trial.judgement, trial.judge_ms = judgement, clock.lap()


def _load(bench: Bench, judge: Judge, reader: Reader, scratch: Scratch, tables: list[tuple[Any, Table]], trial: Trial) -> dict[str, int]:
    """Fills the tables, and reads every file; returns how many rows of each kind of part were left out, for they were purged since."""
    left_out: dict[str, int] = {}
    slots: dict[str, int] = {}
    for number, (part, table) in enumerate(tables):
        bench.progress(f"{part.what} of {part.model} into {table.name}")
        given = _Sized(reader.lines(part))
        lines: Iterator[bytes] = iter(given)
        if part.what == "files":
            slot = slots[part.model] = slots.get(part.model, -1) + 1
            lines = index_lines(_read_files(judge, reader, part, slot, given, trial))
        scratch.create(table)
        scratch.load(table, fields_of(table, judge.expecting(number, lines)))
        left_out[part.what] = left_out.get(part.what, 0) + part.rows - given.lines
        trial.content_bytes += given.bytes
    return left_out


def _read_files(judge: Judge, reader: Reader, part: Any, slot: int, lines: _Sized, trial: Trial) -> Iterator[dict[str, Any]]:
    for line in lines:
        entry = json.loads(line)
        trial.content_bytes += judge.file(part, slot, entry, reader.file_pieces)
        yield entry


def read_whole(reader: Reader, part: Any) -> None:
    """Every row of the part and every byte of its files, for what cannot be read to show."""
    for line in reader.lines(part):
        entry = json.loads(line) if part.what == "files" else {}
        for _ in reader.file_pieces(entry.get("parts", ())):
            pass


class _Sized:
    """Lines, counted as they pass."""

    def __init__(self, given: Iterator[bytes]) -> None:
        self.given, self.lines, self.bytes = given, 0, 0

    def __iter__(self) -> Iterator[bytes]:
        for line in self.given:
            self.lines += 1
            self.bytes += len(line) + 1
            yield line


class _Stopwatch:
    def __init__(self) -> None:
        self.at = time.monotonic()

    def lap(self) -> int:
        """Milliseconds since the last lap."""
        now = time.monotonic()
        passed, self.at = round((now - self.at) * 1000), now
        return passed


def _in_order(tables: list[tuple[Any, Table]]) -> list[tuple[int, Any, Table]]:
    numbered = [(number, part, table) for number, (part, table) in enumerate(tables)]
    return sorted(numbered, key=lambda one: (ORDER.index(one[1].what), one[0]))


def _found(found: FoundSet, reader: Reader) -> dict[str, Any]:
    moment = reader.moment
    return {
        "set": found.id,
        "night": found.envelope["night"],
        "state_at": moment.at.isoformat() if moment else found.envelope["snapshot_at"],
        "moment": moment.document() if moment else None,
        "software": found.envelope["software"],
        "schema": found.envelope["schema"],
    }


def _question(bench: Bench, reader: Reader) -> Question:
    """Where the chain must end: of a set its signed envelope says it, of a second what was recomputed along segments."""
    moment, mark = reader.moment, reader.envelope.get("journal")
    if moment is not None:
        head: Head | None = Head(moment.number, moment.digest)
        timeline = moment.timeline
    else:
        head, timeline = (Head(mark["number"], mark["digest"]), mark["timeline"]) if mark else (None, timelines.FIRST)
    forks = find_forks(bench.vault.places, bench.vault.fingerprint, reader.notes)
    stream = reader.stream
    body = getattr(_bottom(reader), "head", {})
    return Question(
        parts=_with_parents(reader),
        shapes=shapes_of(body),
        head=head,
        onward=lambda head: timelines.onward(forks, stream, head, on=timeline),
        said_broken=reader.envelope.get("proof", {}).get("result") == "broken",
    )


def _bottom(reader: Any) -> Any:
    """The reader of the set itself, whatever stands before it."""
    while not hasattr(reader, "head") and hasattr(reader, "base"):
        reader = reader.base
    return reader


def _with_parents(reader: Reader) -> list[Any]:
    """The parts; of a set from before they said which their foreign keys are, with those of today's model of that name."""
    for part in reader.parts:
        protected = registry.by_label(part.model) if part.what == "rows" and part.parents is None else None
        if protected is not None:
            columns = {one["name"] for one in part.columns}
            part.parents = [one for one in protected.parents if one[0] in columns]
    return list(reader.parts)


def _count(judgement: Judgement, found: FoundSet, reader: Reader, left_out: dict[str, int]) -> None:
    if reader.moment is None:
        counts = {name: count for name, count in found.envelope["counts"].items() if name != "absent_files" or not any(left_out.values())}
        counted(judgement, counts, left_out)
    else:
        counted(judgement, {}, left_out)
        _hold_against_live(judgement, uuid.UUID(reader.stream), reader.moment.number, reader.moment.digest)
    if gone := {what: count for what, count in left_out.items() if count}:
        judgement.notes.append("Purged since, and left out: " + ", ".join(f"{count:,} of {what}" for what, count in sorted(gone.items())))


def _hold_against_live(judgement: Judgement, stream: uuid.UUID, number: int, digest: str) -> None:
    """A second ends with a whole transaction, and with the change that the live journal has under that number."""
    check = judgement.of(Check.MOMENT)
    rows = JournalRow.objects.filter(stream=stream, number__in=(number, number + 1)).values_list("number", "digest", "transaction")
    known = {at: (of, transaction) for at, of, transaction in rows}
    if number not in known:
        return
    check.looked_at += 1
    if known[number][0] != digest:
        check.tell(f"change {number} has another digest in the live journal")
    if number + 1 in known and known[number + 1][1] == known[number][1]:
        check.tell(f"change {number} is not the last of its transaction")


# The file in the spool


def _file_in(spool: Path) -> str:
    spool.mkdir(parents=True, exist_ok=True, mode=0o700)
    host, pid, start = process_name().rsplit(":", 2)
    return f"sqlite:///{spool.absolute()}/{PREFIX}{host}+{pid}+{start}+{uuid.uuid4().hex}"


def sweep(spool: Path) -> int:
    """Removes the scratch databases of processes of this machine that are gone; returns how many."""
    removed = 0
    for path in spool.glob(f"{PREFIX}*"):
        holder = ":".join(path.name.removeprefix(PREFIX).split("+")[:3])
        if holder_is_gone(holder):
            with suppress(FileNotFoundError):
                path.unlink()
                removed += 1
    return removed
