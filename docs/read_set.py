#!/usr/bin/env python3
"""Opens any backup set without the software that made it. Shares no line with it; docs/format.md says the same in prose.

    pip install pyrage zstandard cryptography
    python read_set.py LOCATION CUSTOMER-ID --master FILE --trust FINGERPRINT [--set ID] --to FOLDER

LOCATION is a folder (a copy of a bucket will do). FILE holds a master key from the recovery kit, or the customer's own key. Everything is
checked; the first thing that does not fit ends it with exit status 1 and a message, and FOLDER is then not there.
"""

import argparse
import base64
import hashlib
import json
import pathlib
import shutil
import sys

import pyrage
import zstandard
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def fail(message):
    raise SystemExit(f"read_set: {message}")


def read_checked(path, sha256):
    """The bytes of a stored object, which must have that digest."""
    if not path.is_file():
        fail(f"{path} is missing")
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != sha256:
        fail(f"{path} is damaged: its SHA-256 is not the one that the set names")
    return data


def opened(data, identity):
    """Sealed bytes as plain bytes: age, then zstd (one frame, its content's size in its header)."""
    compressed = pyrage.decrypt(data, [identity])
    plain = zstandard.ZstdDecompressor().decompress(compressed)
    if len(plain) != zstandard.frame_content_size(compressed):
        fail("a sealed object is cut short")
    return plain


def canonical(value):
    """The text that is signed: sorted keys, no spaces, UTF-8 (numbers in envelopes are integers)."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def verified(path, fingerprint):
    """The envelope, when the key of that fingerprint signed it."""
    document = json.loads(path.read_bytes())
    signature = base64.b64decode(document.pop("signature"))
    public = base64.b64decode(document["signed_by"]["ed25519"])
    if hashlib.sha256(public).hexdigest() != fingerprint:
        fail(f"{path} is signed by a key that is not the trusted one")
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, canonical(document))
    except InvalidSignature:
        fail(f"{path} was altered after it was signed")
    if document["format"] != 1 or document["set"] != path.stem:
        fail(f"{path} is of another format, or about another set")
    return document


def customer_key(location, stream, number, key_file):
    """The customer's key: unwrapped with the master key, or the one in the file itself."""
    given = pyrage.x25519.Identity.from_str(pathlib.Path(key_file).read_text().strip())
    wrapped = location / "keys" / stream / f"{number}.age"
    try:
        return pyrage.x25519.Identity.from_str(pyrage.decrypt(wrapped.read_bytes(), [given]).decode())
    except (pyrage.DecryptError, FileNotFoundError):
        return given


def choose(location, stream, fingerprint, wanted):
    """The envelope of the wanted set, or of the newest one."""
    paths = sorted((base(location, stream) / "sets").glob(f"{wanted or ''}*.json"))
    if not paths:
        fail("there is no such set")
    return max((verified(path, fingerprint) for path in paths), key=lambda envelope: envelope["snapshot_at"])


def base(location, stream):
    system = stream == "00000000-0000-0000-0000-000000000000"
    return location / "system" if system else location / "customers" / stream


class Blobs:
    """Opened blobs; the last one is kept."""

    def __init__(self, location, stream, identity):
        self.folder, self.identity, self.kept = base(location, stream) / "blobs", identity, (None, b"")

    def piece(self, name, offset, length):
        if self.kept[0] != name:
            self.kept = (name, opened(read_checked(self.folder / name[:2] / name, name), self.identity))
        data = self.kept[1][offset : offset + length]
        if len(data) != length:
            fail(f"blob {name} is shorter than the set says")
        return data


def write_part(part, chunks, blobs, folder):
    """One part as NDJSON; for files, the files too."""
    path = folder / part["part"] / f"{part['model']}.ndjson"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as out:
        for name, offset, length, sha256, _ in chunks:
            data = blobs.piece(name, offset, length)
            if hashlib.sha256(data).hexdigest() != sha256:
                fail(f"a chunk of {part['model']} is not what the set says")
            out.write(data)
    rows = path.read_bytes().count(b"\n")
    if rows != sum(chunk[4] for chunk in chunks):
        fail(f"{part['model']} has {rows} rows, the set says otherwise")
    if part["part"] == "files":
        with path.open() as lines:
            for line in lines:
                write_file(json.loads(line), blobs, folder / "contents")
    return rows


def write_file(entry, blobs, folder):
    if entry.get("absent"):
        print(f"absent when the set was made: {entry['name']}", file=sys.stderr)
        return
    path = (folder / entry["name"]).resolve()
    if not path.is_relative_to(folder.resolve()):
        fail(f"a file would lie outside of the folder: {entry['name']!r}")
    path.parent.mkdir(parents=True, exist_ok=True)
    sha256 = hashlib.sha256()
    with path.open("wb") as out:
        for name, offset, length in entry["parts"]:
            data = blobs.piece(name, offset, length)
            sha256.update(data)
            out.write(data)
    if sha256.hexdigest() != entry["sha256"] or path.stat().st_size != entry["size"]:
        fail(f"{entry['name']} does not have its digest")


def read_set(location, stream, key_file, fingerprint, wanted, folder):
    envelope = choose(location, stream, fingerprint, wanted)
    identity = customer_key(location, stream, envelope["key"], key_file)
    body = opened(read_checked(location / envelope["body"]["name"], envelope["body"]["sha256"]), identity)
    head, *lines, end = (json.loads(line) for line in body.decode().split("\n") if line)
    if head["set"] != envelope["set"] or end.get("chunks") != sum("chunk" in line for line in lines):
        fail("the set's body is cut, or of another set")
    parts: list[tuple[dict, list]] = []
    for line in lines:
        parts.append((line, [])) if "part" in line else parts[-1][1].append(line["chunk"])
    blobs = Blobs(location, stream, identity)
    for part, chunks in parts:
        print(f"{part['part']} of {part['model']}: {write_part(part, chunks, blobs, folder)}")
    print(f"set {envelope['set']}, state at {envelope['snapshot_at']}: read whole")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("location", type=pathlib.Path)
    parser.add_argument("customer", help="the customer's id (a UUID)")
    parser.add_argument("--master", required=True, help="file with the master key (or the customer's key)")
    parser.add_argument("--trust", required=True, help="fingerprint of the signing key, from the recovery kit")
    parser.add_argument("--set", help="the set's id or its beginning; the newest when left out")
    parser.add_argument("--to", type=pathlib.Path, required=True, help="a folder that does not exist yet")
    given = parser.parse_args()
    given.to.mkdir(parents=True)
    try:
        read_set(given.location, given.customer, given.master, given.trust, given.set, given.to)
    except BaseException:
        shutil.rmtree(given.to)
        raise


if __name__ == "__main__":
    main()
