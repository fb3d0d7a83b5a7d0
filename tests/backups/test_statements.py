"""The statements written out do what Django's own would: the same values, the same rows, and they say when a row was not there."""

from __future__ import annotations

import uuid
from datetime import UTC, date, datetime

import pytest
from django.db import DatabaseError

from audit.models import Stream
from backups.models import BackupSet, Blob, Chunk
from backups.statements import ask, insert, save, update

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 3, 10, 2, 0, 0, 123_456, tzinfo=UTC)


@pytest.fixture
def stream() -> Stream:
    return Stream.objects.create(id=uuid.uuid4(), name="acme")


@pytest.fixture
def a_set(stream: Stream) -> BackupSet:
    one = BackupSet(stream=stream, night=date(2026, 3, 9), started_at=NOW, trouble='it\'s "%s"; -- é')
    insert([one])
    return one


def same(one: BackupSet) -> bool:
    found = BackupSet.objects.get(pk=one.pk)
    return all(getattr(found, field.attname) == getattr(one, field.attname) for field in BackupSet._meta.concrete_fields)


def test_a_row_comes_back_as_it_was_inserted(a_set: BackupSet) -> None:
    assert same(a_set)


def test_rows_without_a_key_get_those_of_the_database_each_its_own(stream: Stream, a_set: BackupSet) -> None:
    blobs = [Blob(stream=stream, kind="blob", name=f"name {n}", sha256="a" * 64, size=n, made_by=a_set) for n in range(5)]
    insert(blobs)
    assert {blob.pk: blob.name for blob in blobs} == dict(Blob.objects.values_list("pk", "name"))
    insert([Chunk(stream=stream, blob=blobs[1], digest=b"\x00\xff'%", offset=0, length=1)])
    assert bytes(Chunk.objects.get(blob=blobs[1]).digest) == b"\x00\xff'%"


def test_only_the_named_fields_are_saved(a_set: BackupSet) -> None:
    a_set.protected_at, a_set.blob_ids, a_set.files = NOW, b"\x00\x01", 7
    save(a_set, "protected_at", "blob_ids")
    found = BackupSet.objects.get(pk=a_set.pk)
    assert (found.protected_at, bytes(found.blob_ids), found.files) == (NOW, b"\x00\x01", 0)


def test_saving_what_is_gone_is_an_error(a_set: BackupSet) -> None:
    BackupSet.objects.all().delete()
    with pytest.raises(DatabaseError, match="no longer there"):
        save(a_set, "trouble")


def test_an_update_changes_the_rows_that_are_as_they_were_seen_and_no_others(a_set: BackupSet) -> None:
    seen = {"pk": a_set.pk, "state": BackupSet.State.MAKING, "ended_at": None}
    assert update(BackupSet, seen, state=BackupSet.State.MADE, ended_at=NOW) == 1
    assert update(BackupSet, seen, state=BackupSet.State.ABANDONED, ended_at=NOW) == 0
    assert ask("SELECT state FROM l2l_backups_backupset WHERE id = %s", a_set.pk) == [("made",)]
