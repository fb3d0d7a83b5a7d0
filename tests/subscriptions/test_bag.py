"""The bag that a customer gets is one for every program that knows BagIt, whatever the customer's names are (P10)."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import unicodedata
import zipfile
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from subscriptions.bag import DATA, MANIFEST, BadBag, Bag, BagWriter
from subscriptions.safe_names import MOST_PATH, SafeNames, safe

STAMP = datetime(2026, 3, 10, 2, 0, 0)
HOSTILE = [
    "plain.txt",
    "../../etc/passwd",
    "/etc/passwd",
    "a/../b",
    "a//b",
    "C:\\windows\\system32",
    "line\nbreak.txt",
    "return\rhere.txt",
    "a%0Ab.txt",
    "100%",
    "trailing ",
    "trailing.",
    " leading",
    ".hidden",
    "CON",
    "aux.txt",
    "LPT1.tar.gz",
    "nul ",
    "x" * 500,
    "ü" * 500 + ".pdf",
    "/".join("abc" for _ in range(120)),
    "Case.txt",
    "case.TXT",
    "CASE.txt",
    "e\u0301.txt",
    "é.txt",
    "folder",
    "folder/inside",
    "FOLDER/inside",
    "\u202egpj.exe",
    "tab\there",
    "nbsp\u00a0",
    "quote\"'`$(id).txt",
    "-rf",
    "~tilde~41",
    "日本語/ファイル.txt",
    "🦆.png",
    "",
    ".",
    "..",
    "\ud800",
]


def bag_of(files: dict[str, bytes], folder: str = "acme-return-1") -> bytes:
    out = io.BytesIO()
    writer = BagWriter(out, folder, STAMP)
    for path, content in files.items():
        writer.add(path, [content[at : at + 7] for at in range(0, len(content), 7)])
    writer.finish([("Source-Organization", "L2L"), ("Bagging-Date", "2026-03-10")], lambda digest: {"head.txt": digest.encode()})
    return out.getvalue()


def unpacked(data: bytes, folder: Path) -> Path:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        archive.extractall(folder)
    return folder / "acme-return-1"


def accepted(bag: Path) -> None:
    """By the standard tools, in processes of their own."""
    for command in (["sha256sum", "--check", "--strict", "--quiet", MANIFEST], ["sha256sum", "-c", "--quiet", "tagmanifest-sha256.txt"]):
        done = subprocess.run(command, cwd=bag, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    done = subprocess.run([sys.executable, "-m", "bagit", "--validate", str(bag)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_standard_tools_accept_a_bag_with_hostile_names(tmp_path: Path) -> None:
    names = SafeNames()
    files = {names.add(name): name.encode("utf-8", "surrogatepass") for name in HOSTILE}
    assert len(files) == len(HOSTILE)
    bag = unpacked(bag_of(files), tmp_path)
    accepted(bag)
    assert {path.relative_to(bag / "data").as_posix(): path.read_bytes() for path in (bag / "data").rglob("*") if path.is_file()} == files


def test_a_plain_name_stays_as_it_is() -> None:
    for name in ("drawings/2026/part 7.pdf", "日本語/ファイル.txt", "é.txt", "a-b_c(1)[2].tar.gz"):
        assert safe(name) == name


@given(st.lists(st.text(max_size=60), unique=True, max_size=30))
@settings(max_examples=200, deadline=None)
def test_whatever_the_names_each_has_a_path_of_its_own(given_names: list[str]) -> None:
    names = SafeNames()
    paths = [names.add(name) for name in given_names]
    keys = [unicodedata.normalize("NFC", path).casefold() for path in paths]
    assert len(set(keys)) == len(given_names)
    for key, path in zip(keys, paths, strict=True):
        assert not any(other.startswith(f"{key}/") for other in keys), "one path is a folder of another"
        assert len(path.encode()) <= MOST_PATH
        assert unicodedata.is_normalized("NFC", path)
        assert not set(path) & set('%\\<>:"|?*\r\n\0')
        assert all(part and part[-1] not in " ." and part[0] not in " ." for part in path.split("/"))


@given(st.dictionaries(st.text(max_size=20), st.binary(max_size=200), max_size=8))
@settings(max_examples=100, deadline=None)
def test_what_was_written_is_read_and_the_same_input_gives_the_same_bytes(content: dict[str, bytes]) -> None:
    names = SafeNames()
    files = {names.add(name): data for name, data in content.items()}
    written = bag_of(files)
    assert written == bag_of(files)
    bag = Bag(io.BytesIO(written))
    finished = bag.validate()
    assert (finished.files, finished.size) == (len(files), sum(map(len, files.values())))
    assert finished.manifest_sha256 == hashlib.sha256(bag.content(MANIFEST)).hexdigest() == bag.text("head.txt")
    assert {path: bag.content(DATA + path) for path in files} == files


def test_the_manifest_encodes_what_the_rfc_says() -> None:
    bag = Bag(io.BytesIO(bag_of({"50%\r\n.txt": b"x"})))
    assert "data/50%25%0D%0A.txt" in bag.text(MANIFEST)
    bag.validate()


@pytest.mark.parametrize("path", ["../x", "/x", "a/../x", "a//x", "a\\b", "e\u0301", "nul\0", "\ud800", ""])
def test_a_path_that_leaves_the_bag_is_refused(path: str) -> None:
    with pytest.raises(ValueError):
        BagWriter(io.BytesIO(), "bag", STAMP).add(path, [b"x"])


def test_a_path_given_twice_is_refused() -> None:
    writer = BagWriter(io.BytesIO(), "bag", STAMP)
    writer.add("x", [b"1"])
    with pytest.raises(ValueError, match="already"):
        writer.add("x", [b"2"])


def rewritten(data: bytes, change: dict[str, bytes | None], extra: dict[str, bytes] | None = None) -> bytes:
    """The same zip with some files altered (None: left out), CRCs right."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(out, "w") as made:
        for one in source.infolist():
            content = change.get(one.filename, source.read(one))
            if content is not None:
                made.writestr(one, content)
        for name, content in (extra or {}).items():
            made.writestr(name, content)
    return out.getvalue()


TOP = "acme-return-1"


@pytest.mark.parametrize(
    ("change", "extra", "said"),
    [
        ({f"{TOP}/data/a.txt": b"other"}, {}, "data/a.txt is not what the list says"),
        ({f"{TOP}/data/a.txt": None}, {}, "data/a.txt is listed and not in the bag"),
        ({}, {f"{TOP}/data/more.txt": b"x"}, "data/more.txt is in the bag and in no list"),
        ({}, {f"{TOP}/note.txt": b"x"}, "note.txt is in the bag and in no list"),
        ({}, {f"{TOP}/fetch.txt": b"http://x 1 data/a.txt\n"}, "fetch.txt is in the bag and in no list"),
        ({f"{TOP}/bag-info.txt": b"Payload-Oxum: 1.1\n"}, {}, "bag-info.txt is not what the list says"),
        ({f"{TOP}/{MANIFEST}": b""}, {}, "is not what the list says"),
        ({f"{TOP}/bagit.txt": None}, {}, "bagit.txt is missing"),
        ({}, {"elsewhere/x": b"x"}, "2 folders at its top"),
        ({}, {f"{TOP}/../x": b"x"}, "leads elsewhere"),
        ({}, {"/etc/x": b"x"}, "leads elsewhere"),
    ],
)
def test_what_was_altered_is_found(change: dict[str, bytes | None], extra: dict[str, bytes], said: str) -> None:
    data = rewritten(bag_of({"a.txt": b"content of a", "b.txt": b"content of b"}), change, extra)
    with pytest.raises(BadBag, match=said):
        Bag(io.BytesIO(data)).validate()


def test_a_flipped_bit_anywhere_in_the_content_is_found() -> None:
    data = bytearray(bag_of({"a.bin": bytes(range(256)) * 4}))
    at = data.index(bytes(range(256)))
    data[at + 100] ^= 1
    with pytest.raises(BadBag, match=r"data/a\.bin"):
        Bag(io.BytesIO(bytes(data))).validate()


def test_a_cut_zip_is_no_bag() -> None:
    data = bag_of({"a.txt": b"x" * 1000})
    with pytest.raises(BadBag, match="cannot be opened"):
        Bag(io.BytesIO(data[:-30]))


def test_a_line_of_bag_info_stays_one_line() -> None:
    writer = BagWriter(io.BytesIO(), "bag", STAMP)
    with pytest.raises(ValueError, match=r"bag-info\.txt"):
        writer.finish([("External-Description", "Acme\nPayload-Oxum: 0.0")])
