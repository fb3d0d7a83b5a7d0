import struct
import zlib

import pytest

from subscriptions.importing import import_content
from subscriptions.models import DataRecord, Link, UploadedContent
from subscriptions.sample_content import write_sample


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_sample(tmp_path / name, seed=seed, size="small")
    assert contents(tmp_path / "a") == contents(tmp_path / "b") != contents(tmp_path / "c")


@pytest.mark.parametrize(("size", "records", "uploads"), [("small", 300, 12), pytest.param("large", 5000, 60, marks=pytest.mark.slow)])
def test_it_imports_whole(acme, tmp_path, size, records, uploads):
    write_sample(tmp_path / "in", seed=7, size=size)
    report = import_content(acme, tmp_path / "in")
    assert report.ok and not report.ignored
    assert (DataRecord.objects.count(), UploadedContent.objects.count(), Link.objects.count()) == (records, uploads, 6)
    assert import_content(acme, tmp_path / "in").document()["uploads"]["unchanged"] == uploads


def test_its_pictures_are_pictures(tmp_path):
    write_sample(tmp_path, seed=3, size="small")
    picture = next(path for path in tmp_path.rglob("*.png")).read_bytes()
    width, height = struct.unpack(">II", picture[16:24])
    (length,) = struct.unpack(">I", picture[33:37])
    assert picture.startswith(b"\x89PNG\r\n\x1a\n") and len(zlib.decompress(picture[41 : 41 + length])) == height * (1 + 3 * width)
