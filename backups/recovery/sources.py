"""The newest second of a stream that the locations have, and what is known to be lost behind it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
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


@dataclass(frozen=True, slots=True)
class Choice:
    """Where a stream's content can be read: a set alone (`set_id`), or at a moment by a set and the segments behind it. All is known until
    `until`, of a set alone at least until its snapshot."""

    set_id: str | None = None
    at: At | None = None
    until: datetime | None = None
    behind: bool = False
    lost: tuple[str, ...] = ()

    @contextmanager
    def opened(self, vault: Vault, stream: uuid.UUID, progress: Progress) -> Iterator[Newest]:
        """The content, for the length of the block. Raises what `choosing.opened` raises, and `OtherSchema`."""
        with opened(vault, stream, set_id=self.set_id, at=self.at, progress=progress, from_nothing=True) as (found, reader):
            known = reader.moment.at if reader.moment is not None else found.snapshot_at
            newest = Newest(found, reader, max(known, self.until or known), self.behind, list(self.lost))
            _refuse_other_schema(stream, newest)
            yield newest


def choices(vault: Vault, stream: uuid.UUID, *, accept: bool = False) -> Iterator[Choice]:
    """The newest second, by a set and the segments behind it, or by a set alone where no segment adds anything; where segments are missing
    the last second before them, `behind`. With `accept` every set follows, the newest first. Raises what `choosing.opened` raises."""
    try:
        yield _newest(vault, stream)
    except (NowhereWhole, BadManifest, Gap) as problem:
        if not accept:
            raise
        why = str(problem)
    else:
        why = "the newest second could not be read whole"
    for one in staying(find_sets(vault.places, str(stream), vault.fingerprint, [])) if accept else ():
        yield Choice(one.id, behind=True, lost=(f"Only an older set could be read: {why}",))


def _newest(vault: Vault, stream: uuid.UUID) -> Choice:
    """Looks at the numbers alone, and at no row."""
    try:
        return _by_numbers(vault, stream, At(None))
    except NotCovered:
        return Choice()
    except Gap as gap:
        return _before(vault, stream, gap)


def _by_numbers(vault: Vault, stream: uuid.UUID, at: At) -> Choice:
    """The set by itself where it has no less than the segments lead to: it also has what was committed and had no number yet."""
    with opened(vault, stream, at=at, only=Only(""), from_nothing=True) as (found, reader):
        moment, mark = reader.moment, found.mark
        assert moment is not None  # asked for by `at`
        if found.id != NO_SET and moment.number <= mark["number"] and moment.timeline == mark["timeline"]:
            return Choice(found.id, until=moment.at)
    return Choice(at=at)


def _before(vault: Vault, stream: uuid.UUID, gap: Gap) -> Choice:
    """The last second before the segments that are missing, else the newest set."""
    try:
        until = covered(vault, stream).until
        if until is not None:
            lost = f"Changes are lost: {gap} What happened from {in_utc_to_the_second(until)} on is not known."
            return replace(_by_numbers(vault, stream, At(until - TICK)), behind=True, lost=(lost,))
    except (Gap, NotCovered):
        pass  # of several gaps the set alone is certain
    return Choice(behind=True, lost=(f"Changes are lost: {gap}",))


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
