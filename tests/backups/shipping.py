"""What waits is shipped, by hand and in this thread: one segment a call, at every place. For tests that read segments."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any

from django.db import transaction

from audit import clock as clocks
from audit import registry
from audit.files import read_stored
from audit.models import ChainHead
from backups import catalogue, catching_up, leases
from backups.customerkeys import newest_key
from backups.hot import numbering, outbox, sections, segments
from backups.hot.numbering import Numbered, Shapes
from backups.hot.sections import Change, FileEntry, Section
from backups.hot.segments import Entry, Index
from backups.manifest import object_name
from backups.models import HotState, Segment
from backups.placing import put_and_read_back, sha256_of
from backups.sealing import StreamKey, seal
from backups.vault import Vault


def key_of(vault: Vault, stream: uuid.UUID) -> StreamKey:
    """The stream's newest key, made where there is none."""
    with leases.holding(leases.lease_name(stream), doing="key", clock=vault.clock) as lease:
        shelves = catching_up.look(vault.places, stream)
        found = catalogue.inventory(stream, shelves.places, vault.clock())
        key, unrecorded = newest_key(vault, shelves, stream, lease, found)
        catalogue.mark_placed(lease, unrecorded, vault.clock())
    return key


def ship(vault: Vault, *, epoch: int = 1, most: int = outbox.MOST_CHANGES, files: bool = True, extra: Iterable[Any] = ()) -> Segment:
    """Numbers about `most` waiting changes and writes them as the next segment; with nothing waiting it is an idle mark.

    With `files` the bytes of new uploads are stored too, and named in it. `extra` are streams and file entries to be named besides.
    """
    shapes = Shapes()
    shapes.learn(one.label for one in registry.protected())
    until = clocks.database_now()
    with transaction.atomic():
        state, _ = HotState.objects.get_or_create(pk=1)
        number = state.last_segment + 1
        turns = outbox.turns(numbering.begun(), None, most=most)
        standing = numbering.heads([turn.stream for turn in turns])
        given, _ = numbering.numbered(turns, standing, shapes, segment=number, timeline=state.timeline)
        numbering.record(given)
        made = Segment.objects.create(
            number=number,
            epoch=epoch,
            timeline=state.timeline,
            name=segments.name_of(number, epoch, until),
            made_at=until,
            until=until,
            changes=sum(len(one.waiting) for one in given),
        )
        state.last_segment = number
        state.save()
    wanted = [_with_files(vault, one, files) for one in given]
    for stream, entries in extra:
        wanted.append(with_entries(stream, made, entries))
    write(vault, made, wanted)
    return made


def with_entries(stream: uuid.UUID, segment: Segment, entries: list[FileEntry]) -> Section:
    """A section without changes, for files alone."""
    head = numbering.heads([stream])[stream]
    at = chain_head(head)
    return Section(str(stream), segment.number, segment.timeline, at, at, {}, [], entries)


def chain_head(head: ChainHead) -> Any:
    from audit.chain import Head

    return Head(head.number, head.digest)


def _with_files(vault: Vault, one: Numbered, files: bool) -> Section:
    entries = [entry for change in one.section.changes for entry in new_files(vault, one.section.stream, change)] if files else []
    return replace(one.section, files=entries)


def new_files(vault: Vault, stream: str, change: Change) -> list[FileEntry]:
    """The files that the change's row names, stored."""
    protected = registry.by_label(change.model)
    row = json.loads(change.row)
    found = []
    for field in protected.files:
        name = row[field.column]
        if name:
            digest, size = (row[protected.model._meta.get_field(one).column] for one in (field.digest_field, field.size_field))
            found.append(stored_file(vault, stream, change.model, name, digest, size, b"".join(read_stored(field.storage, name))))
    return found


def stored_file(vault: Vault, stream: str, model: str, name: str, digest: str, size: int, content: bytes) -> FileEntry:
    key = key_of(vault, uuid.UUID(stream))
    sealed = seal(content, key.recipient)
    for place in vault.places:
        put_and_read_back(place.store, object_name(stream, "blob", sealed.sha256), sealed.data, sealed.sha256)
    return FileEntry(model, name, digest, size, [[sealed.sha256, 0, len(content)]], key.number)


def write(vault: Vault, segment: Segment, wanted: Iterable[Section], *, epoch: int | None = None) -> str:
    """The segment's object at every place; returns its name."""
    sealed, entries = {}, []
    for section in wanted:
        stream = uuid.UUID(section.stream)
        plain = sections.written(section)
        key = key_of(vault, stream)
        data = seal(plain, key.recipient).data
        at = ChainHead.objects.filter(pk=stream).values_list("at", flat=True).first()
        sealed[section.stream] = data
        entries.append(
            Entry(
                section.stream,
                key.number,
                sha256_of(data),
                len(data),
                len(plain),
                section.before.number + 1,
                section.head.number,
                section.head.digest,
                at.isoformat() if isinstance(at, datetime) else None,
            )
        )
    epoch = epoch or segment.epoch
    index = Index(segment.number, epoch, segment.timeline, segment.made_at, segment.until, "test", tuple(entries))
    data = segments.written(index, sealed, vault.signer)
    name = segments.name_of(segment.number, epoch, segment.made_at)
    for place in vault.places:
        put_and_read_back(place.store, name, data, sha256_of(data))
    return name


def again(vault: Vault, segment: Segment, streams: Iterable[uuid.UUID], *, epoch: int) -> str:
    """What another leader writes of the same segment, from what was recorded."""
    from audit.models import JournalRow

    found = []
    for stream in streams:
        numbers = JournalRow.objects.filter(stream=stream, segment=segment.number).order_by("number").values_list("number", flat=True)
        if numbers:
            first, last = min(numbers), max(numbers)
            found.append(numbering.read_again(stream, first, last, segment=segment.number, timeline=segment.timeline).section)
    return write(vault, segment, found, epoch=epoch)
