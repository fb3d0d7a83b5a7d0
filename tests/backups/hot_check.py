"""What must hold at every location after anything that was done to shippers: read from the stored objects, held against the live database.

`python -m` is not for it: tests run `main()` inside of a home.
"""

from __future__ import annotations

import json
import sys
import uuid
from collections import defaultdict
from typing import Any

from audit import chain, registry, rows
from audit.chain import Head
from audit.models import JournalRow, Stream
from backups import vault as vaults
from backups.customerkeys import key_at
from backups.hot import sections, segments
from backups.hot.sections import Change, FileEntry
from backups.locations import Place
from backups.placing import sha256_of
from backups.sealing import StreamKey, unseal
from backups.vault import Vault


def problems(vault: Vault) -> list[str]:
    """What is wrong, in words; empty when every committed change is whole at every location, once, in a chain, and replays to what is
    live."""
    found = []
    for place in vault.places:
        shipped = _shipped(vault, place)
        for stream in Stream.objects.order_by("name"):
            changes, files = shipped.get(stream.pk, ({}, []))
            found += [f"{place.name}, {stream.name}: {what}" for what in _of_stream(vault, place, stream, changes, files)]
    return found


_opened: dict[tuple[str, uuid.UUID, int], StreamKey] = {}


def _key_of(vault: Vault, place: Place, stream: uuid.UUID, number: int) -> StreamKey:
    """As that place alone gives it, once: unwrapping it anew for each section took most of the time (measured)."""
    if (place.name, stream, number) not in _opened:
        _opened[place.name, stream, number] = key_at(vault.keys, [place], str(stream), number, [])
    return _opened[place.name, stream, number]


Shipped = dict[uuid.UUID, tuple[dict[int, set[Change]], list[FileEntry]]]


def _shipped(vault: Vault, place: Place) -> Shipped:
    found: Shipped = defaultdict(lambda: (defaultdict(set), []))
    for entry in place.store.list("hot/"):
        if segments.number_and_epoch(entry.name) is None:
            continue
        index, sealed = segments.read(place.store.get(entry.name), vault.fingerprint)
        for one in index.sections:
            key = _key_of(vault, place, uuid.UUID(one.stream), one.key)
            section = sections.read(unseal(sealed[one.stream], key.identity, limit=sections.MAX_SECTION_BYTES), stream=one.stream)
            changes, files = found[uuid.UUID(one.stream)]
            for change in section.changes:
                changes[change.number].add(change)
            files += section.files
    return found


def _of_stream(vault: Vault, place: Place, stream: Stream, changes: dict[int, set[Change]], files: list[FileEntry]) -> list[str]:
    journal = list(JournalRow.objects.filter(stream=stream).order_by("number"))
    found = [f"{sum(row.number is None for row in journal)} changes were never shipped"] if any(r.number is None for r in journal) else []
    found += [f"number {number} stands for {len(versions)} contents" for number, versions in changes.items() if len(versions) != 1]
    if sorted(changes) != [row.number for row in journal]:
        return [*found, f"numbers {len(changes)} of {len(journal)} are there, up to {max(changes, default=0)}"]
    head = chain.START
    for row in journal:
        [change] = changes[row.number or 0]
        head = chain.following(head, change.leaf)
        if head != Head(row.number or 0, row.digest or ""):
            found.append(f"number {row.number} has another digest than the journal says")
    ordered = [next(iter(changes[number])) for number in sorted(changes)]
    return found + _halves(ordered) + _unlike_live(stream, ordered) + _lost_files(vault, place, stream, ordered, files)


def _halves(ordered: list[Change]) -> list[str]:
    """A transaction is one run of numbers with its mark at its end."""
    found, open_transaction, seen = [], "", set()
    for change in ordered:
        if open_transaction not in ("", change.transaction):
            found.append(f"number {change.number} stands inside of another transaction")
        if change.transaction in seen:
            found.append(f"number {change.number} goes on with a transaction that had ended")
        open_transaction = "" if change.end else change.transaction
        seen |= {change.transaction} if change.end else set()
    return found + (["the last transaction has no end"] if open_transaction else [])


def _unlike_live(stream: Stream, ordered: list[Change]) -> list[str]:
    """Replaying the changes ends in the live rows."""
    state: dict[tuple[str, Any], dict[str, Any]] = {}
    for change in ordered:
        row = json.loads(change.row)
        key = change.model, row[_key(change.model)]
        if row["history_type"] == "-":
            state.pop(key, None)
        else:
            state[key] = {name: value for name, value in row.items() if not name.startswith("history_")}
    live = {
        (one.label, json.loads(text)[_key(one.label)]): json.loads(text)
        for one in registry.of_stream(stream.pk)
        for text in (rows.instance_json(row) for row in one.rows(stream.pk))
    }
    wrong = [key for key in live.keys() | state.keys() if live.get(key) != state.get(key)]
    return [f"{len(wrong)} rows replay to something else than what is live, such as {wrong[0]}"] if wrong else []


def _key(label: str) -> str:
    protected = registry.by_label(label)
    assert protected is not None
    return str(protected.model._meta.pk.column)


def _lost_files(vault: Vault, place: Place, stream: Stream, ordered: list[Change], files: list[FileEntry]) -> list[str]:
    entries = {(entry.model, entry.name): entry for entry in files}
    named = {
        (change.model, row[column]): row[digest]
        for change in ordered
        for row in [json.loads(change.row)]
        for column, digest in _file_columns(change.model)
        if row[column]
    }
    found = [f"no entry for the file {name}" for _, name in named.keys() - entries.keys()]
    for (model, name), sha256 in named.items():
        entry = entries.get((model, name))
        if entry is not None and entry.parts is not None and sha256_of(_bytes(vault, place, stream, entry)) != sha256:
            found.append(f"the file {name} does not come out of its blobs")
    return found


def _file_columns(label: str) -> list[tuple[str, str]]:
    protected = registry.by_label(label)
    assert protected is not None
    columns = {field.name: str(field.column) for field in protected.model._meta.concrete_fields}
    return [(columns[one.name], columns[one.digest_field]) for one in protected.files]


def _bytes(vault: Vault, place: Place, stream: Stream, entry: FileEntry) -> bytes:
    key = _key_of(vault, place, stream.pk, entry.key)
    assert entry.parts is not None
    pieces = []
    for blob, offset, length in entry.parts:
        data = place.store.get(f"customers/{stream.pk}/blobs/{blob[:2]}/{blob}")
        assert sha256_of(data) == blob
        pieces.append(unseal(data, key.identity, limit=64 * 1024 * 1024)[offset : offset + length])
    return b"".join(pieces)


def main() -> None:
    """Prints what is wrong, and counts; ends with 1 when anything is."""
    found = problems(vaults.from_settings())
    print("\n".join(found))
    print(f"{JournalRow.objects.count()} changes")
    sys.exit(bool(found))
