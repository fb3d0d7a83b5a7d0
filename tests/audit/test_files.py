"""Uploads: digested, stored once under a random name, every version kept, never overwritten, never another customer's."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import pytest
from django.core.files.base import ContentFile, File
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import models, transaction

from audit.errors import BypassRefused, Frozen, NoActor, Unstorable
from audit.files import UploadsUnavailable, put_back, read_stored
from audit.freezes import freeze
from subscriptions.models import UploadedContent
from tests.audit.reading import history, types
from tests.factory.models import Downtime


def upload(customer, name: str, content: bytes, file_name: str | None = "manual.pdf") -> UploadedContent:
    return UploadedContent.objects.create(customer=customer, name=name, file=ContentFile(content, file_name))


def stored(name: str) -> bytes:
    return b"".join(read_stored(default_storage, name))


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.fixture
def manual(acme):
    return upload(acme, "manual.pdf", b"first")


def test_a_file_is_stored_under_a_random_name_in_its_customers_folder_with_its_digest(manual, acme):
    assert manual.file.name.startswith(f"uploads/{acme.pk}/")
    assert "manual" not in manual.file.name
    assert (manual.sha256, manual.size) == (hashlib.sha256(b"first").hexdigest(), 5)
    assert stored(manual.file.name) == b"first"
    (row,) = history(UploadedContent)
    assert (row.file, row.sha256, row.size) == (manual.file.name, manual.sha256, 5)


def test_every_version_is_kept(manual):
    manual.file = ContentFile(b"second", "manual.pdf")
    manual.save()
    manual.delete()
    assert [stored(row.file) for row in history(UploadedContent)] == [b"first", b"second", b"second"]
    assert [row.sha256 for row in history(UploadedContent)][1] == hashlib.sha256(b"second").hexdigest()


def test_the_same_upload_name_never_overwrites(acme, acme2, uploads):
    rows = [upload(customer, name, name.encode()) for customer in (acme, acme2) for name in ("a", "b")]
    assert [stored(row.file.name) for row in rows] == [b"a", b"b", b"a", b"b"]
    assert len(files_in(uploads)) == 4


def test_a_file_without_a_name_and_an_empty_file_are_kept(acme):
    assert stored(upload(acme, "nameless", b"content", None).file.name) == b"content"
    empty = upload(acme, "empty", b"")
    assert (empty.size, stored(empty.file.name)) == (0, b"")


@pytest.mark.parametrize("name", ["x" * 500, "nul\x00.txt", "../../etc/passwd", "\ud800", "con:aux?.txt"])
def test_the_name_that_a_file_came_with_does_not_matter(acme, name):
    file = File(io.BytesIO(b"x"), name)
    assert stored(UploadedContent.objects.create(customer=acme, name="n", file=file).file.name) == b"x"


def test_a_new_content_behind_other_columns_that_did_not_change_is_a_change(manual):
    manual.file = SimpleUploadedFile("manual.pdf", b"fixed")
    manual.save()
    assert types(UploadedContent) == "+~"
    manual.save()
    assert types(UploadedContent) == "+~"


def test_taking_the_file_away_empties_its_digest_and_keeps_the_bytes(downtime):
    downtime.photo = ContentFile(b"jpeg", "photo.jpg")
    downtime.save()
    name = downtime.photo.name
    downtime.photo = ""
    downtime.save()
    assert (downtime.photo_sha256, downtime.photo_size) == ("", 0)
    assert stored(name) == b"jpeg"


def test_the_files_own_delete_and_save_keep_every_version(downtime):
    downtime.photo.save("photo.jpg", ContentFile(b"one"))
    first = downtime.photo.name
    downtime.photo.save("photo.jpg", ContentFile(b"two"), save=False)
    downtime.save()
    downtime.photo.delete()
    assert [row.photo_size for row in history(Downtime)] == [0, 3, 3, 0]
    assert stored(first) == b"one"
    assert stored(history(Downtime)[2].photo) == b"two"


def test_stored_bytes_cannot_be_opened_for_writing(manual):
    for mode in ("wb", "r+b", "ab", "w"):
        with pytest.raises(BypassRefused):
            manual.file.open(mode)
    with manual.file.open() as file:
        assert file.read() == b"first"


def test_a_row_cannot_name_another_customers_file(manual, acme2):
    for name in (manual.file.name, manual.file, f"uploads/{acme2.pk}/../{manual.file.name.removeprefix('uploads/')}", "/etc/passwd"):
        with pytest.raises(Unstorable, match="file"):
            UploadedContent.objects.create(customer=acme2, name="stolen", file=name)
    assert types(UploadedContent, history_stream=acme2.pk) == ""


def test_a_row_that_names_a_stored_file_of_its_customer_gets_its_digest(manual, acme):
    twin = UploadedContent.objects.create(customer=acme, name="twin", file=manual.file.name, sha256="made up")
    assert (twin.sha256, twin.size) == (manual.sha256, 5)


def test_a_row_cannot_name_a_file_that_is_not_stored(acme):
    with pytest.raises(Unstorable, match="not stored"):
        UploadedContent.objects.create(customer=acme, name="gone", file=f"uploads/{acme.pk}/{'0' * 32}")


def test_no_file_is_stored_for_a_frozen_customer_or_by_nobody(acme, uploads, monkeypatch):
    freeze(acme.pk, reason="being destroyed")
    with pytest.raises(Frozen):
        upload(acme, "late", b"late")
    from audit import actors

    token = actors._acting.set(None)
    try:
        with pytest.raises(NoActor):
            upload(acme, "late", b"late")
    finally:
        actors._acting.reset(token)
    assert files_in(uploads) == []


def test_a_file_that_was_never_digested_is_refused(acme):
    with pytest.raises(BypassRefused, match="never digested"), transaction.atomic():
        models.Model.save(UploadedContent(customer=acme, name="x", file=ContentFile(b"x", "x")))


def test_files_go_along_with_tracked_create_and_update(acme):
    rows = UploadedContent.objects.tracked_create(
        UploadedContent(customer=acme, name=str(n), file=ContentFile(str(n).encode(), "same.txt")) for n in range(3)
    )
    assert [stored(row.file.name) for row in rows] == [b"0", b"1", b"2"]
    rows[1].file = ContentFile(b"new", "same.txt")
    assert UploadedContent.objects.tracked_update(rows) == [rows[1]]
    assert (stored(rows[1].file.name), rows[1].size) == (b"new", 3)


def test_a_folder_that_cannot_take_the_file_says_so_and_nothing_is_written(acme, uploads):
    uploads.parent.joinpath("uploads").write_text("a file where the folder should be")
    with pytest.raises(UploadsUnavailable, match="could not be stored"):
        upload(acme, "x", b"x")
    assert types(UploadedContent) == ""


def test_a_source_that_fails_midway_leaves_no_file(acme, uploads):
    class Torn(io.BytesIO):
        def read(self, size: int = -1) -> bytes:
            if self.tell() >= 2_000_000:
                raise OSError(5, "the disk of the source failed")
            return super().read(1_000_000)

    with pytest.raises(OSError, match="the disk of the source failed"):
        UploadedContent.objects.create(customer=acme, name="torn", file=File(Torn(bytes(5_000_000)), "torn"))
    assert files_in(uploads) == []


def test_a_stored_file_that_changed_on_the_way_is_refused(acme):
    class Growing(io.BytesIO):
        """Yields one byte more at each reading."""

        def seek(self, *args: int) -> int:
            if args == (0,):
                self.seek(0, 2)
                self.write(b"x")
            return super().seek(*args)

    with pytest.raises(Unstorable, match="instead of"):
        UploadedContent.objects.create(customer=acme, name="growing", file=File(Growing(b"start"), "growing"))


@pytest.mark.slow
def test_a_bucket_keeps_every_version_too(acme, settings, monkeypatch, tmp_path):
    from moto.server import ThreadedMotoServer

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        url = f"s3://uploads/back-office?endpoint=http://{host}:{port}&region=us-east-1"
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        settings.STORAGES = {**settings.STORAGES, "default": {"BACKEND": "audit.files.BucketStorage", "OPTIONS": {"url": url}}}
        default_storage.connection.create_bucket(Bucket="uploads")
        row = upload(acme, "manual.pdf", b"first" * 500_000)
        row.file = ContentFile(b"second", "manual.pdf")
        row.save()
        assert [stored(one.file) for one in history(UploadedContent)] == [b"first" * 500_000, b"second"]
        with pytest.raises(FileNotFoundError):
            stored("uploads/never/was")
        default_storage.delete(row.file.name)
        put_back(default_storage, row.file.name, [b"second"], sha256=row.sha256, size=row.size, spool=tmp_path)
        assert stored(row.file.name) == b"second"
        server.stop()
        with pytest.raises(UploadsUnavailable, match="cannot be read"):
            stored(row.file.name)
    finally:
        default_storage.connection.meta.client.close()
        server.stop()


# -- bytes that the upload storage lost


def lost(manual, uploads: Path) -> dict:
    (uploads / manual.file.name).unlink()
    return {"sha256": manual.sha256, "size": manual.size}


def test_a_lost_file_is_put_back_under_its_name(manual, uploads, tmp_path):
    facts = lost(manual, uploads)
    put_back(default_storage, manual.file.name, iter([b"fi", b"rst"]), **facts, spool=tmp_path / "spool")
    assert stored(manual.file.name) == b"first"
    assert files_in(uploads) == [uploads / manual.file.name] and not files_in(tmp_path / "spool")


def test_other_bytes_are_not_put_back(manual, uploads, tmp_path):
    facts = lost(manual, uploads)
    with pytest.raises(UploadsUnavailable, match="not those that history names"):
        put_back(default_storage, manual.file.name, iter([b"worst"]), **facts, spool=tmp_path / "spool")
    assert not files_in(uploads)


def test_nothing_is_put_back_over_what_stands_there(manual, uploads, tmp_path):
    facts = lost(manual, uploads)
    (uploads / manual.file.name).write_bytes(b"other")
    with pytest.raises(UploadsUnavailable, match="has something under the name"):
        put_back(default_storage, manual.file.name, iter([b"first"]), **facts, spool=tmp_path / "spool")
    assert stored(manual.file.name) == b"other"


def test_what_is_stored_there_at_the_same_moment_is_left_alone(manual, uploads, tmp_path, monkeypatch):
    facts = lost(manual, uploads)
    (uploads / manual.file.name).write_bytes(b"other")
    monkeypatch.setattr(type(default_storage._wrapped), "exists", lambda storage, name: False)
    with pytest.raises(UploadsUnavailable):
        put_back(default_storage, manual.file.name, iter([b"first"]), **facts, spool=tmp_path / "spool")
    assert stored(manual.file.name) == b"other" and len(files_in(uploads)) == 1
