"""From a moment to its content: which set leads there, up to which number, through which segments."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any

from audit import chain
from audit.chain import START, Head
from backups.customerkeys import key_at
from backups.errors import Gap, KeysMissing, NoLocation, NotCovered, NowhereWhole
from backups.hot import forks as timelines
from backups.hot.forks import Fork
from backups.hot.numbering import moment as as_text
from backups.hot.prefix import Prefix, Step
from backups.hot.reading import (
    FoundSegment,
    Link,
    MissingSegment,
    OpenedSegment,
    SegmentReader,
    Stretch,
    find_forks,
    find_removed,
    find_segments,
    followed,
    until_of,
)
from backups.hot.removed import Record
from backups.hot.sections import FileEntry
from backups.locations import Place
from backups.manifest import BadManifest, Part
from backups.moments.nothing import NO_SET, NothingYet, beginning
from backups.moments.reader import JOURNAL, SCHEMA, MomentReader
from backups.moments.workspace import ROWS_AT_ONCE, Workspace
from backups.read_leases import Reading, staying
from backups.reading import FoundSet, Moment, SetReader, choose, find_sets, open_set
from backups.vault import Vault

Progress = Callable[[str], None]


def open_moment(
    vault: Vault,
    places: Sequence[Place],
    stream: str,
    at: datetime | None,
    notes: list[str],
    *,
    wants: Callable[[Part], bool] = lambda _: True,
    progress: Progress = lambda _: None,
    from_nothing: bool = False,
) -> MomentReader:
    """The stream's state at that moment (None: the newest second that is covered), from the newest set that leads there; when that is
    damaged, from an older one, and with `from_nothing` from the segments alone. Only what is wanted is made ready, and so checked, at once.
    The caller closes it.

    Raises `NoSet`, `NotCovered`, `Gap`, `NowhereWhole`, `BadManifest`, `KeysMissing`, `NoLocation`.
    """
    sets = staying(find_sets(places, stream, vault.fingerprint, notes))
    if not (from_nothing and not sets):
        choose(sets, None, notes)  # says what is wrong when there is none
    forks = find_forks(places, vault.fingerprint, notes)
    on = timelines.newest(forks) if at is None else timelines.in_force(forks, at)
    segments, record = _segments_up_to(places, forks, on, notes), find_removed(places, vault.fingerprint, notes)
    question = _Question(vault, tuple(places), stream, at, on, forks, segments, record, notes, progress)
    first: Exception | None = None
    for found in [*_bases(sets, on, at), *([beginning()] if from_nothing else [])]:
        try:
            return _made(question, found, wants)
        except (NowhereWhole, BadManifest) as problem:
            notes.append(
                f"the set {found.id[:8]} for the night of {found.envelope['night']} cannot be used ({problem}): an older one was tried"
            )
            first = first or problem
        except _OfLaterTimeline as problem:
            first = first or problem
        except (Gap, NotCovered) as problem:
            raise first or problem from None
    raise first or NotCovered(_no_base(sets))


class _OfLaterTimeline(NotCovered):
    """A set of a later timeline does not show all that stood on the earlier one."""


def _segments_up_to(places: Sequence[Place], forks: Sequence[Fork], on: int, notes: list[str]) -> dict[int, FoundSegment]:
    """The segments up to the end of that timeline."""
    end = min((fork.first_segment for fork in forks if fork.timeline > on), default=None)
    return {number: found for number, found in find_segments(places, notes).items() if end is None or number < end}


def _bases(sets: Sequence[FoundSet], on: int, at: datetime | None) -> list[FoundSet]:
    """The sets that may lead to the moment, the best first: the newest on its own timeline or an older one, then those of later ones; of
    these those with the columns of that moment before those of another schema, in which what was dropped since is not any more."""
    numbered = [one for one in sets if one.journal is not None]
    began = [version[1] for one in numbered if (version := one.schema_version)]
    return sorted(numbered, key=lambda one: (one.mark["timeline"] > on, not _is_native(one, at, began)))


def _is_native(found: FoundSet, at: datetime | None, began: Sequence[datetime]) -> bool:
    """Whether no schema change that sets tell of (`began`) lies between the set and the moment."""
    if at is None or at > found.snapshot_at:
        return not any(found.snapshot_at < change and (at is None or change <= at) for change in began)
    version = found.schema_version
    return version is None or version[1] <= at


def _no_base(sets: Sequence[FoundSet]) -> str:
    return (
        f"None of the {len(sets)} sets of this customer has numbered changes (the newest was made by version "
        f"{sets[0].envelope['software']}): any second can be restored only from newer ones. Restore a set as it is, without --at, "
        "or make one with 'manage.py backup'."
    )


@dataclass(frozen=True)
class _Question:
    """What is asked, and where: the moment `at`, read on timeline `on`, from `places` with these `segments`."""

    vault: Vault
    places: tuple[Place, ...]
    stream: str
    at: datetime | None
    on: int
    forks: Sequence[Fork]
    segments: dict[int, FoundSegment]
    record: Record | None
    notes: list[str]
    progress: Progress


def _made(question: _Question, found: FoundSet, wants: Callable[[Part], bool]) -> MomentReader:
    held = Reading(found.id, "any second", question.vault.clock)
    try:
        base = _opened_base(question, found, held)
        workspace = Workspace(question.vault.spool, SCHEMA, on_close=held.release)
    except BaseException:
        held.release()
        raise
    try:
        return _Maker(question, found, base, workspace).made(wants)
    except BaseException:
        workspace.close()
        raise


def _opened_base(question: _Question, found: FoundSet, held: Reading) -> SetReader:
    if found.id == NO_SET:
        return NothingYet(question.places, question.vault.keys, question.stream, found, question.notes)
    return open_set(question.places, question.vault.keys, question.stream, found, question.notes, keep=held.keep)


@dataclass
class _Maker:
    """Makes the moment from one set and the segments behind it, in a workspace."""

    question: _Question
    found: FoundSet
    base: SetReader
    workspace: Workspace
    models: dict[str, int] = field(default_factory=dict)
    described: dict[str, dict[str, Any]] = field(default_factory=dict)
    told: list[tuple[int, dict[str, dict[str, Any]]]] = field(default_factory=list)
    files: list[Stretch] = field(default_factory=list)
    read: tuple[int, int] | None = None
    until: datetime | None = None

    def made(self, wants: Callable[[Part], bool]) -> MomentReader:
        self._load_journal()
        prefix = Prefix(as_text(self.question.at) if self.question.at else None)
        shared = self._walk(prefix)
        opened = self._behind()
        try:
            if not prefix.beyond:
                self._follow(prefix, shared, opened)
            reader = self._reader(prefix, shared)
            for model in dict.fromkeys(part.model for part in reader.parts if part.model != JOURNAL and wants(part)):
                self.question.progress(f"the state of {model}")
                reader.prepare(model)
            self._find_files(reader, opened)
            self._note_columns(reader.described)
        finally:
            opened.close()
        return reader

    def _note_columns(self, described: dict[str, dict[str, Any]]) -> None:
        """What of the moment another schema version hides, where no set of its own leads there."""
        version, at = self.found.schema_version, self.question.at
        if version is not None and at is not None and at < version[1]:
            self.question.notes.append(
                f"the state is read from a set of schema version {version[0]}, which began later: columns that went with it are not there, "
                "and renamed ones have their new names"
            )
        for part in (part for part in self.base.parts if part.what == "history" and part.model in described):
            known = {column["name"] for column in part.columns}
            new = [column["name"] for column in described[part.model]["columns"] if column["name"] not in known]
            if new:
                self.question.notes.append(
                    f"{part.model} has got {', '.join(new)} since the set that the state is read from: rows that nobody changed since have "
                    "no value there"
                )

    def _reader(self, prefix: Prefix, shared: Head) -> MomentReader:
        number, digest = prefix.head.number, prefix.head.digest
        effective_at = datetime.fromisoformat(prefix.effective_at) if prefix.effective_at else None
        at = self.question.at or self.until
        assert at is not None  # `_refuse_unproved` knows until when, for now
        moment = Moment(at, number, digest, effective_at, self.question.on, self.read)
        return MomentReader(
            self.found, self.base, moment, min(number, shared.number), self.workspace, self.models, self._described_by(number)
        )

    def _described_by(self, number: int) -> dict[str, dict[str, Any]]:
        """What the segments up to that change say of models: columns that came later are not of that moment."""
        found: dict[str, dict[str, Any]] = {}
        for first, models in self.told:
            found |= models if first <= number else {}
        return found

    # The set's journal

    def _load_journal(self) -> None:
        part = self.base.part("journal", JOURNAL)
        if part is None:
            raise BadManifest(f"the set {self.found.id} holds no journal")
        self.question.progress(f"the journal: {part.rows:,} changes")
        lines = self.base.lines(part)
        while batch := [json.loads(line) for line in islice(lines, ROWS_AT_ONCE)]:
            waiting = [(row["transaction"],) for row in batch if row["number"] is None]
            self.workspace.fill("INSERT OR IGNORE INTO waiting VALUES (?)", waiting)
            self.workspace.fill(
                "INSERT INTO journal VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [self._journal_values(row) for row in batch if row["number"] is not None],
            )
        self.workspace.run("CREATE INDEX journal_history ON journal (model, history_id, purged)")

    def _journal_values(self, row: dict[str, Any]) -> tuple[Any, ...]:
        digests = bytes.fromhex(row["leaf"]), bytes.fromhex(row["digest"])
        what = self._model(row["model"]), row["history_id"], row["transaction"], row["written_at"]
        return row["number"], *what, *digests, row["segment"], row["salt"] is None

    def _model(self, label: str) -> int:
        return self.models.setdefault(label, len(self.models))

    def _walk(self, prefix: Prefix) -> Head:
        """Along the set's chain, each link recomputed, as far as it stands on the moment's timeline; returns the last that does."""
        forks, stream, on = self.question.forks, self.question.stream, self.question.on
        head = shared = START
        rows = self.workspace.each("SELECT number, leaf, digest, tx, written_at, segment FROM journal ORDER BY number")
        for number, leaf, digest, transaction, written_at, segment in rows:
            link = Head(number, digest.hex())
            trouble = chain.misfit(timelines.onward(forks, stream, head, on=self.found.mark["timeline"]), link, leaf.hex())
            if trouble:
                raise BadManifest(f"the journal of set {self.found.id} does not hold at change {number}: {trouble}")
            if head == shared and timelines.counts(forks, stream, of=timelines.of_segment(forks, segment), number=number, on=on):
                shared = link
                prefix.add(Step(link, transaction, written_at))
            head = link
        mark = self.found.mark
        if head != Head(mark["number"], mark["digest"]):
            raise BadManifest(f"the journal of set {self.found.id} does not end with the change that its envelope names")
        self._check_fork(prefix, shared)
        return shared

    def _check_fork(self, prefix: Prefix, shared: Head) -> None:
        timeline = self.found.mark["timeline"]
        fork = timelines.last_shared(self.question.forks, self.question.stream, timeline, self.question.on)
        if fork is not None and shared.number == fork.number and shared != fork:
            raise Gap(
                f"Change {fork.number} of set {self.found.id} is not the one at which timeline {self.question.on} leaves the older one."
            )
        if timeline > self.question.on and not prefix.beyond:
            raise _OfLaterTimeline(
                f"The sets that are left are of timeline {timeline}, and do not show all that stood on timeline {self.question.on} at "
                f"{self._asked()}."
            )

    # The segments behind it

    def _behind(self) -> Generator[OpenedSegment, None, None]:
        question = self.question
        reader = SegmentReader(
            question.places, question.stream, question.vault.keys, question.vault.fingerprint, question.notes, question.record
        )
        return reader.each(question.segments, self.found.mark["segment"])

    def _follow(self, prefix: Prefix, shared: Head, opened: Iterable[OpenedSegment]) -> None:
        """Adds the changes of segment after segment, until one lies behind the moment or there is no more."""
        question, newest = self.question, self.found.mark["segment"]
        if newest in question.segments and self.found.mark["timeline"] == question.on:
            self.until = until_of(question.segments[newest], question.places, question.vault.fingerprint, question.stream, question.notes)
        if question.record is not None and question.record.up_to >= newest and self.found.mark["timeline"] == question.on:
            self._refuse_lacking(question.record)
            until = question.record.until_of(question.stream)
            self.until = max(self.until, until) if self.until else until
        missing: MissingSegment | None = None
        try:
            for stretch in followed(opened, shared, stream=question.stream, forks=question.forks, on=question.on):
                self._take(stretch)
                for link in stretch.links:
                    prefix.add(
                        Step(Head(link.change.number, link.digest), link.change.transaction, link.change.written_at, link.change.end)
                    )
                if prefix.beyond:
                    return
        except MissingSegment as problem:
            self._refuse_behind(problem)
            missing = problem
        prefix.finish(goes_on=self.workspace.one("SELECT 1 FROM waiting WHERE tx = ?", prefix.open) is not None)
        self._refuse_unproved(prefix)
        if missing is not None:
            question.notes.append(f"{missing} All that was committed by the moment was shipped before it")

    def _refuse_lacking(self, record: Record) -> None:
        """Segments were removed because a newer set held what they said: behind an older one nothing is proved."""
        covered = record.covered.get(self.question.stream, 0)
        if covered > self.found.mark["number"]:
            raise MissingSegment(
                f"The segments behind the set for the night of {self.found.envelope['night']} were removed, for a newer set held "
                f"the changes up to {covered}; that set cannot be used here. Bring back the location with it, or ask for an earlier moment."
            )

    def _refuse_behind(self, missing: MissingSegment) -> None:
        """The segments before the missing one tell all that had been committed until some moment: what lies behind that is not known."""
        if self.question.at is None or self.until is None or self.question.at >= self.until:
            raise missing

    def _take(self, stretch: Stretch) -> None:
        number, until = stretch.index.segment, stretch.index.until_of(self.question.stream)
        self.read = (self.read[0] if self.read else number, number)
        self.until = max(self.until, until) if self.until else until
        self.question.progress(f"segment {number}")
        self.described |= stretch.models
        self.told += [(stretch.links[0].change.number, stretch.models)] if stretch.links else []
        if stretch.files:
            self.files.append(stretch)
        self.workspace.fill("INSERT INTO change VALUES (?, ?, ?, ?, ?, ?)", [self._change_values(link, number) for link in stretch.links])

    def _change_values(self, link: Link, segment: int) -> tuple[Any, ...]:
        change = link.change
        history_id = json.loads(change.row)["history_id"]
        return (
            change.number,
            self._model(change.model),
            history_id,
            change.journal_id,
            change.row,
            self._journal_line(link, history_id, segment),
        )

    def _journal_line(self, link: Link, history_id: int, segment: int) -> bytes:
        """The change's row of the journal, as a set has it."""
        change = link.change
        values = {
            "id": change.journal_id,
            "stream_id": self.question.stream,
            "model": change.model,
            "history_id": history_id,
            "transaction": change.transaction,
            "written_at": change.written_at,
            "number": change.number,
            "salt": change.salt,
            "leaf": change.leaf,
            "digest": link.digest,
            "segment": segment,
            "shape_id": self._shape(change.model),
        }
        part = self.base.part("journal", JOURNAL)
        names = [column["name"] for column in part.columns] if part else []
        return json.dumps({name: values.get(name) for name in names}, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()

    def _shape(self, model: str) -> int | None:
        """The id that the set knows the shape of the model's changes by; None for one that is newer than the set."""
        columns = self.described[model]["columns"]
        known = self.base.head.get("shapes", [])
        return next((one["id"] for one in known if (one["model"], one["columns"]) == (model, columns)), None)

    def _refuse_unproved(self, prefix: Prefix) -> None:
        """A state is given only where nothing that belongs to it can be missing."""
        if prefix.open:  # committed, and begun to be numbered: it may be older than the moment
            begun = datetime.fromisoformat(prefix.latest)
            self.until = min(self.until, begun) if self.until else begun
        if self.until is None:
            raise NotCovered(
                f"No segment behind the set for the night of {self.found.envelope['night']} proves what happened until {self._asked()}. "
                "'manage.py hotbackup' ships what waits; without --at the newest set is restored as it is."
            )
        if self.question.at is not None and self.question.at >= self.until:
            raise NotCovered(
                f"Sets and segments cover this customer until {self.until.isoformat()}; what happened from then until {self._asked()} is "
                "not known. Ask for an earlier moment, or for 'now', which is the newest second that is covered."
            )

    def _asked(self) -> str:
        return self.question.at.isoformat() if self.question.at else "now"

    # Files

    def _find_files(self, reader: MomentReader, opened: Iterable[OpenedSegment]) -> None:
        """Where the bytes of new files lie stands in the segment of their change or in a later one, which may lie behind the moment."""
        for stretch in self.files:
            self._keep_files(reader, stretch.files)
        if self.read and reader.lacks_files():
            try:
                for one in opened:
                    if one.section is not None and one.section.files:
                        self._keep_files(reader, one.section.files)
                        if not reader.lacks_files():
                            break
            except (Gap, KeysMissing, NoLocation) as problem:
                self.question.notes.append(f"the bytes of files could not be looked for further: {problem}")
        lacking = reader.lacks_files()
        if lacking:
            self.question.notes.append(
                f"the bytes of {lacking} files of that moment are at no location, or not yet: they are named as absent"
            )

    def _keep_files(self, reader: MomentReader, entries: Sequence[FileEntry]) -> None:
        """With the keys that open their blobs, which may be earlier ones than the sections'."""
        reader.keep_files(entries)
        question = self.question
        known = {one.number for one in (self.base.key, *self.base.further_keys)}
        for number in sorted({entry.key for entry in entries if entry.parts is not None} - known):
            self.base.further_keys.append(key_at(question.vault.keys, question.places, question.stream, number, question.notes))
