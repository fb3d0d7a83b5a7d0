"""Some objects of one model, whole: live row, every version, the salts in the journal. By raw SQL, for no history is made of it."""

from __future__ import annotations

import re
import uuid
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connections, models, router

from audit import registry
from audit.models import JournalRow
from audit.registry import Protected
from backups import idset
from backups.live_restore.live import key_of, plain
from backups.models import BackupSet, HotFile, Segment, SegmentCopy
from backups.purge.planning import batched, versions_of
from backups.verdicts import CALLED

BATCH = 500


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """A stored file that versions of these objects name, and no other row of the customer."""

    field: str
    name: str
    size: int


@dataclass(frozen=True, slots=True)
class Found:
    """All that there is of the objects. `keys` are as canonical JSON has them, `numbers` packed (`backups.idset`)."""

    primary_keys: Sequence[Any]
    keys: Sequence[Any]
    history_ids: Sequence[int]
    journal_ids: Sequence[int]
    numbers: bytes
    files: Sequence[StoredVersion]


def found(protected: Protected, stream: uuid.UUID, primary_keys: Sequence[Any]) -> Found:
    """What is there of these objects, to be removed in the same transaction."""
    history_ids = sorted(versions_of(protected, stream, primary_keys).values_list("history_id", flat=True))
    journal = list(_journal(protected, history_ids))
    return Found(
        primary_keys,
        [key_of(protected, key) for key in primary_keys],
        history_ids,
        [ident for ident, _ in journal],
        idset.packed(number for _, number in journal if number is not None),
        list(_own_files(protected, stream, primary_keys)),
    )


def remove(protected: Protected, stream: uuid.UUID, what: Found) -> None:
    """Removes it. Leaf, number and digest of each change stay, and with them the chain."""
    alias = router.db_for_write(protected.model)
    for ids in batched(what.journal_ids, BATCH):
        JournalRow.objects.using(alias).filter(pk__in=ids).update(salt=None)
    history = str(protected.history_model._meta.db_table)
    for ids in batched(what.history_ids, BATCH):
        _delete(alias, history, "history_id", ids)
    pk: Any = protected.model._meta.pk
    live = plain(protected.model).filter(**{protected.customer: stream})
    for keys in batched(what.primary_keys, BATCH):
        there = list(live.filter(pk__in=keys).values_list("pk", flat=True))
        stored = [pk.get_db_prep_value(key, connections[alias]) for key in there]
        if stored:
            _delete(alias, str(protected.model._meta.db_table), str(pk.column), stored)


def forget_names(protected: Protected, stream: uuid.UUID, keys: Sequence[Any]) -> None:
    """What broken proofs of this customer call these objects: the line stays, with the key alone."""
    broken = BackupSet.objects.filter(stream=stream, proof=BackupSet.Proof.BROKEN).exclude(proof_text="").only("proof_text")
    named = "|".join(re.escape(str(key)[:CALLED]) for key in keys)
    called = re.compile(rf"^({re.escape(protected.label)} (?:{named})) \(.*\): ", re.MULTILINE)
    for one in broken:
        text = called.sub(r"\1: ", one.proof_text)
        if text != one.proof_text:
            BackupSet.objects.filter(pk=one.pk).update(proof_text=text)


def owed_segments(numbers: Collection[int]) -> bool:
    """Whether one of the segments was not made yet, or is owed to a location."""
    unmade = Segment.objects.filter(number__in=numbers, sha256="").exists()
    return unmade or SegmentCopy.objects.filter(segment__in=numbers, durable_at=None).exists()


def _delete(alias: str, table: str, column: str, values: Sequence[Any]) -> None:
    quote = connections[alias].ops.quote_name
    marks = ",".join(["%s"] * len(values))
    with connections[alias].cursor() as cursor:
        cursor.execute(f"DELETE FROM {quote(table)} WHERE {quote(column)} IN ({marks})", list(values))  # noqa: S608  (names from the models)


def _journal(protected: Protected, history_ids: Sequence[int]) -> Iterator[tuple[int, int | None]]:
    for ids in batched(history_ids, BATCH):
        yield from JournalRow.objects.filter(model=protected.label, history_id__in=ids).values_list("pk", "number")


def _own_files(protected: Protected, stream: uuid.UUID, primary_keys: Sequence[Any]) -> Iterator[StoredVersion]:
    for field in protected.files:
        named = versions_of(protected, stream, primary_keys).filter(**{f"{field.attname}__gt": ""})
        sizes = dict(named.values_list(field.attname, field.size_field))
        shared = _named_by_others(protected, stream, primary_keys, list(sizes))
        for name in sorted(sizes.keys() - shared):
            yield StoredVersion(field.attname, name, sizes[name] or 0)


def _named_by_others(protected: Protected, stream: uuid.UUID, primary_keys: Sequence[Any], names: Iterable[str]) -> set[str]:
    """Those of the names that versions of other objects have too: a row may name a file that another one brought."""
    shared: set[str] = set()
    for some in batched(names, BATCH):
        for other in registry.of_stream(stream):
            history: models.QuerySet[Any, Any] = models.QuerySet(other.history_model).order_by().filter(history_stream=stream)
            if other is protected:
                history = history.exclude(**{f"{protected.model._meta.pk.attname}__in": primary_keys})
            for field in other.files:
                shared |= set(history.filter(**{f"{field.attname}__in": some}).values_list(field.attname, flat=True))
    return shared


def waiting_files(stream: uuid.UUID, names: Sequence[str]) -> bool:
    """Whether the hot shipper still has to read one of these files."""
    open_states = (HotFile.State.WAITING, HotFile.State.SEALED)
    return any(HotFile.objects.filter(stream=stream, name__in=some, state__in=open_states).exists() for some in batched(names, BATCH))
