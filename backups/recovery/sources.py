"""The newest second of a stream that the locations have, and what is known to be lost behind it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from audit import registry, rows
from audit.moments import in_utc_to_the_second
from audit.registry import Protected
from backups.choosing import At, Only, opened
from backups.coverage import covered
from backups.errors import BackupError, Gap, NotCovered, NowhereWhole
from backups.manifest import BadManifest, Part
from backups.moments.nothing import NO_SET
from backups.moments.reader import MomentReader
from backups.purge.suppressing import SuppressingReader
from backups.read_leases import staying
from backups.reading import FoundSet, Reader, SetReader, find_sets
from backups.vault import Vault

Progress = Callable[[str], None]
TICK = timedelta(microseconds=1)


class OtherSchema(BackupError):
    """What is to be read was written by a software with other tables; the message names its version."""


@dataclass(slots=True)
class Newest:
    """A stream's content at `until`. `behind`: a location knows of changes after it. `lost` are sentences, without values."""

    found: FoundSet
    reader: Reader
    until: datetime
    behind: bool = False
    lost: list[str] = field(default_factory=list)

    @property
    def of_set(self) -> SetReader:
        """The set that it is read from."""
        return set_of(self.reader)


def set_of(reader: Reader) -> SetReader:
    """The set under whatever stands before it."""
    if isinstance(reader, SuppressingReader | MomentReader):
        return set_of(reader.base)
    assert isinstance(reader, SetReader)
    return reader


@contextmanager
def newest(vault: Vault, stream: uuid.UUID, *, accept: bool = False, progress: Progress = lambda _: None) -> Iterator[Newest]:
    """The newest second, for the length of the block: a set and the segments behind it, or a set alone where no segment adds anything.

    Where segments are missing it is the last second before them, and `behind`. With `accept` an older set is taken when nothing newer can
    be read. Raises what `opened` raises, and `OtherSchema`.
    """
    try:
        with _by_segments(vault, stream, progress) as found:
            _refuse_other_schema(stream, found)
            yield found
            return
    except _SetAlone as alone:
        set_id, behind, why = alone.set_id, alone.behind, alone.why
    except (NowhereWhole, BadManifest) as problem:
        if not accept:
            raise
        set_id, behind, why = _readable(vault, stream, problem), True, str(problem)
    with opened(vault, stream, set_id=set_id) as (found_set, reader):
        found = Newest(found_set, reader, found_set.snapshot_at, behind, [why] if why else [])
        _refuse_other_schema(stream, found)
        yield found


class _SetAlone(Exception):
    """That set (None: the newest) says more than what segments lead to."""

    def __init__(self, set_id: str | None, *, behind: bool = False, why: str = "") -> None:
        super().__init__(why)
        self.set_id, self.behind, self.why = set_id, behind, why


@contextmanager
def _by_segments(vault: Vault, stream: uuid.UUID, progress: Progress) -> Iterator[Newest]:
    at, behind, lost = _reached(vault, stream)
    with opened(vault, stream, at=at, progress=progress, from_nothing=True) as (found, reader):
        moment = reader.moment
        assert moment is not None  # asked for by `at`
        yield Newest(found, reader, moment.at, behind, lost)


def _reached(vault: Vault, stream: uuid.UUID) -> tuple[At, bool, list[str]]:
    """Which moment can be had; `_SetAlone` where the set by itself has no less. Looks at the numbers alone, and at no row."""
    nothing = Only("")
    try:
        with opened(vault, stream, at=At(None), only=nothing, from_nothing=True) as (found, reader):
            moment, mark = reader.moment, found.mark
            assert moment is not None
            if found.id != NO_SET and moment.number <= mark["number"] and moment.timeline == mark["timeline"]:
                raise _SetAlone(found.id)
        return At(None), False, []
    except NotCovered:
        raise _SetAlone(None) from None
    except Gap as gap:
        until = covered(vault, stream).until
        lost = [f"Changes are lost: {gap}"]
        if until is None:
            raise _SetAlone(None, behind=True, why=lost[0]) from None
        at = At(until - TICK)
        try:
            with opened(vault, stream, at=at, only=nothing, from_nothing=True) as (found, reader):
                moment = reader.moment
                assert moment is not None
                mark = found.mark
                if found.id != NO_SET and moment.number <= mark["number"] and moment.timeline == found.mark["timeline"]:
                    raise _SetAlone(found.id, behind=True, why=lost[0])
        except (Gap, NotCovered):
            raise _SetAlone(None, behind=True, why=lost[0]) from None
        return at, True, [f"{lost[0]} What happened from {in_utc_to_the_second(until)} on is not known."]


def _readable(vault: Vault, stream: uuid.UUID, problem: Exception) -> str:
    """The newest set of which every row can be read. Raises `problem` where there is none."""
    notes: list[str] = []
    for one in staying(find_sets(vault.places, str(stream), vault.fingerprint, notes)):
        try:
            with opened(vault, stream, set_id=one.id) as (_, reader):
                for part in reader.parts:
                    for _line in reader.pieces(part):
                        pass
        except (NowhereWhole, BadManifest):
            continue
        return one.id
    raise problem


def _refuse_other_schema(stream: uuid.UUID, found: Newest) -> None:
    """The tables of this software are those of the set: rows are loaded as they are, and never guessed at."""
    ours = {one.label: one for one in registry.of_stream(stream)}
    told = {(part.what, part.model): part for part in found.reader.parts if part.what in ("rows", "history")}
    there = {model for _, model in told}
    lacking = set() if found.found.id == NO_SET else set(ours) - there  # segments alone name only what occurs in them
    altered = {label for label in there & set(ours) if not _is_ours(told, ours[label])}
    wrong = sorted((there - set(ours)) | lacking | altered)
    if wrong:
        software = found.found.envelope["software"] or "another one"
        raise OtherSchema(
            f"The set for the night of {found.found.envelope['night']} was made by version {software}, whose tables are others "
            f"({', '.join(wrong[:3])}). Install that version, recover with it, and upgrade then."
        )


def _is_ours(told: Mapping[tuple[str, str], Part], ours: Protected) -> bool:
    """Whether rows and history of the model have the columns that they have here."""
    models = {"rows": ours.model, "history": ours.history_model}
    return all(
        (what, ours.label) in told
        and _columns(told[what, ours.label].columns) == _columns([one.described() for one in rows.columns(model)])
        for what, model in models.items()
    )


def _columns(described: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, int]]:
    return sorted((one["name"], one["kind"], one.get("places", 0)) for one in described)
