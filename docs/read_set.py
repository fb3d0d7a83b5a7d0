#!/usr/bin/env python3
"""Opens any backup set, and the segments behind it, without the software that made them. Shares no line with it; docs/format.md says the
same in prose.

    pip install pyrage zstandard cryptography
    python read_set.py LOCATION CUSTOMER-ID --master FILE --trust FINGERPRINT [--set ID] [--segments]
                       --to FOLDER

LOCATION is a folder (a copy of a bucket will do). FILE holds a master key from the recovery kit, or the customer's own key. Everything is
checked; the first thing that does not fit ends it with exit status 1 and a message, and FOLDER is then not there. --segments adds the
changes that were shipped after the set (changes.ndjson, one a line, in their order) and their files.

It has no database, and so knows no list of what was purged since because its term was over: the set has that still, and FOLDER too.
Whoever uses it removes those items again ("restore" of the software leaves them out by itself).
"""

import argparse
import base64
import hashlib
import json
import pathlib
import shutil
import sys
import tarfile

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
    document = checked_signature(path.read_bytes(), path, fingerprint)
    if document["format"] != 1 or document["set"] != path.stem:
        fail(f"{path} is of another format, or about another set")
    return document


def checked_signature(data, path, fingerprint):
    """The document, when the key of that fingerprint signed it."""
    document = json.loads(data)
    signature = base64.b64decode(document.pop("signature"))
    public = base64.b64decode(document["signed_by"]["ed25519"])
    if hashlib.sha256(public).hexdigest() != fingerprint:
        fail(f"{path} is signed by a key that is not the trusted one")
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, canonical(document))
    except InvalidSignature:
        fail(f"{path} was altered after it was signed")
    return document


def customer_key(location, stream, number, key_file):
    """The customer's key: unwrapped with the master key (the newest wrapping that it opens), or the one in the file itself."""
    given = pyrage.x25519.Identity.from_str(pathlib.Path(key_file).read_text().strip())
    folder = location / "keys" / stream
    anew = sorted(folder.glob(f"{number}-*.age"), key=lambda path: int(path.stem.split("-")[1]), reverse=True)
    for wrapped in [*anew, folder / f"{number}.age"]:
        try:
            return pyrage.x25519.Identity.from_str(pyrage.decrypt(wrapped.read_bytes(), [given]).decode())
        except (pyrage.DecryptError, FileNotFoundError):
            continue
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


def read_segments(location, stream, key_file, fingerprint, envelope, blobs, folder):
    """The changes behind the set on the newest timeline; returns how many."""
    forks = {}
    for path in (location / "hot" / "timelines").glob("*.json"):
        begun = checked_signature(path.read_bytes(), path, fingerprint)
        if stream in begun["forks"]:
            forks[begun["timeline"]] = begun["forks"][stream]
    mark = envelope.get("journal") or fail("the set was made before changes had numbers: nothing tells which segments follow it")
    number, digest, segment = mark["number"], mark["digest"], mark["segment"]
    for timeline, (last, _, _) in forks.items():
        if timeline > mark["timeline"] and last < number:
            fail(f"the set goes beyond change {last}, where timeline {timeline} begins: take an older set, or one of that timeline")
    records = [checked_signature(path.read_bytes(), path, fingerprint) for path in (location / "hot" / "removed").glob("*.json")]
    newest: dict = max(records, key=lambda record: record["up_to"], default={})
    removed = newest.get("up_to", 0)
    if segment < removed and newest["covered"].get(stream, 0) > number:
        fail(f"segments up to {removed} were removed, for a newer set holds what they had: read that one")
    written = 0
    with (folder / "changes.ndjson").open("wb") as out:
        for path, found in segments_behind(location, segment):
            if found > max(segment, removed) + 1:
                fail(f"segment {segment + 1} is missing")
            segment = found
            changes, files, timeline = section(path, location, stream, key_file, fingerprint)
            last = min((fork[0] for later, fork in forks.items() if later > timeline), default=None)
            for change, line in changes:
                if change["number"] <= number or (last is not None and change["number"] > last):
                    continue
                for begun, (at, at_digest, highest) in sorted(forks.items(), reverse=True):
                    if begun <= timeline and (at, at_digest) == (number, digest):
                        number = highest
                        break
                if change["number"] != number + 1 or next_digest(digest, change, line) != change["digest"]:
                    fail(f"change {change['number']} in {path} does not follow from change {number}")
                number, digest = change["number"], change["digest"]
                out.write(line + b"\n")
                written += 1
            for entry in files:
                blobs.identity = customer_key(location, stream, entry["key"], key_file)
                write_file(entry, blobs, folder / "contents")
    return written


def segments_behind(location, segment):
    """One path for each number, in their order."""
    paths = {int(path.name.split("-")[0]): path for path in sorted((location / "hot").glob("*/*-*.tar"))}
    return [(paths[number], number) for number in sorted(paths) if number > segment]


def section(path, location, stream, key_file, fingerprint):
    """Changes (each with its own digest, and its line), files and timeline of one segment."""
    with tarfile.open(path) as archive:
        index = checked_signature(member(archive, "index.json"), path, fingerprint)
        mine = [entry for entry in index["sections"] if entry["stream"] == stream]
        if not mine:
            return [], [], index["timeline"]
        sealed = member(archive, f"{stream}.age")
    if hashlib.sha256(sealed).hexdigest() != mine[0]["sha256"]:
        fail(f"{path} is damaged")
    identity = customer_key(location, stream, mine[0]["key"], key_file)
    head, *lines, end = opened(sealed, identity).rstrip(b"\n").split(b"\n")
    digest, changes, files = json.loads(head)["before"], [], []
    for line in lines:
        read = json.loads(line)
        if "file" in read:
            files.append(read["file"])
            continue
        digest = read["digest"] = next_digest(digest, read, line)
        changes.append((read, line))
    if digest != json.loads(end)["digest"] or digest != mine[0]["digest"]:
        fail(f"the chain in {path} does not end as it says")
    return changes, files, index["timeline"]


def member(archive, name):
    found = archive.extractfile(name)
    return found.read() if found else fail(f"{name} in {archive.name} is no file")


def next_digest(digest, change, line):
    row = line.split(b',"row":', 1)[1][:-1]
    content = b"\n".join((change["model"].encode(), change["written_at"].encode(), row))
    leaf = hashlib.sha256(bytes.fromhex(change["salt"]) + content).digest()
    return hashlib.sha256(bytes.fromhex(digest) + change["number"].to_bytes(8, "big") + leaf).hexdigest()


def read_set(location, stream, key_file, fingerprint, wanted, folder, segments):
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
    if segments:
        print(f"changes behind it: {read_segments(location, stream, key_file, fingerprint, envelope, blobs, folder)}")
    print(f"set {envelope['set']}, state at {envelope['snapshot_at']}: read whole")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("location", type=pathlib.Path)
    parser.add_argument("customer", help="the customer's id (a UUID)")
    parser.add_argument("--master", required=True, help="file with the master key (or the customer's key)")
    parser.add_argument("--trust", required=True, help="fingerprint of the signing key, from the recovery kit")
    parser.add_argument("--set", help="the set's id or its beginning; the newest when left out")
    parser.add_argument("--segments", action="store_true", help="also the changes that were shipped after the set")
    parser.add_argument("--to", type=pathlib.Path, required=True, help="a folder that does not exist yet")
    given = parser.parse_args()
    given.to.mkdir(parents=True)
    try:
        read_set(given.location, given.customer, given.master, given.trust, given.set, given.to, given.segments)
    except BaseException:
        shutil.rmtree(given.to)
        raise


if __name__ == "__main__":
    main()
