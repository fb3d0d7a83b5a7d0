"""One segment: a tar with a signed index and one encrypted section per customer, each under its own key (pure; docs/format.md).

`hot/<date>/<number>-<epoch>.tar`: two leaders may write one number, under two names and with the same digests. Numbers have no gaps, so a
segment that is missing is known to be missing.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from audit.signing import BadSignature, Signer, verify

FORMAT = 1
INDEX = "index.json"
FOLDER = "hot/"
_NAME = re.compile(r"hot/\d{4}-\d\d-\d\d/(\d{12,})-(\d+)\.tar")
_END = 2 * tarfile.BLOCKSIZE


class BadSegment(Exception):
    """A segment that is cut, altered, of another format, or signed by somebody else; the message says what."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One section as the index names it: `key` is the number of the stream's key, `sha256` (hex) and `size` of the sealed bytes;
    the changes are those from `first` to `last` (none when `last` is below), `digest` is the chain's after them, `at` the effective time of
    the newest whole transaction of the stream so far (None before the first)."""

    stream: str
    key: int
    sha256: str
    size: int
    plain_size: int
    first: int
    last: int
    digest: str
    at: str | None


@dataclass(frozen=True, slots=True)
class Index:
    """What a segment says of itself without any key. `until` is the moment before which nothing else was visible, but of the streams in
    `waiting`: of these nothing before the time of their oldest change that waits."""

    segment: int
    epoch: int
    timeline: int
    made_at: datetime
    until: datetime
    software: str
    sections: tuple[Entry, ...]
    waiting: Mapping[str, datetime] = field(default_factory=dict)

    def until_of(self, stream: str) -> datetime:
        """Until when the segments up to this one know all of the stream."""
        return min(self.until, self.waiting.get(stream, self.until))

    def of(self, stream: str) -> Entry | None:
        return next((entry for entry in self.sections if entry.stream == stream), None)


def name_of(number: int, epoch: int, made_at: datetime) -> str:
    """Where the segment lies at every location."""
    return f"{FOLDER}{made_at.astimezone(UTC):%Y-%m-%d}/{number:012d}-{epoch}.tar"


def number_and_epoch(name: str) -> tuple[int, int] | None:
    """Of a segment's name; None for any other name."""
    found = _NAME.fullmatch(name)
    return (int(found[1]), int(found[2])) if found else None


def written(index: Index, sealed: Mapping[str, bytes], signer: Signer) -> bytes:
    """The segment's bytes; `sealed` are the sections by stream, as the index names them."""
    document = {
        "format": FORMAT,
        "kind": "segment",
        "segment": index.segment,
        "epoch": index.epoch,
        "timeline": index.timeline,
        "made_at": index.made_at.astimezone(UTC).isoformat(),
        "until": index.until.astimezone(UTC).isoformat(),
        "waiting": {stream: at.astimezone(UTC).isoformat() for stream, at in index.waiting.items()},
        "software": index.software,
        "sections": [asdict(entry) for entry in index.sections],
    }
    signed = json.dumps(signer.sign(document), sort_keys=True, separators=(",", ":")).encode() + b"\n"
    return _tar([(INDEX, signed), *((f"{entry.stream}.age", sealed[entry.stream]) for entry in index.sections)])


def _tar(members: Sequence[tuple[str, bytes]]) -> bytes:
    """Without tar's filling up to 10 KiB, which most segments would mainly consist of."""
    pieces = []
    for name, data in members:
        header = tarfile.TarInfo(name)
        header.size, header.mode = len(data), 0o600
        pieces += [header.tobuf(tarfile.USTAR_FORMAT), data, bytes(-len(data) % tarfile.BLOCKSIZE)]
    return b"".join([*pieces, bytes(_END)])


def read(data: bytes, trusted: str) -> tuple[Index, dict[str, bytes]]:
    """The index and the sealed sections by stream, each held against its digest. Raises `BadSegment`."""
    members = _members(data)
    if INDEX not in members:
        raise BadSegment("it has no index")
    index = _verified(members[INDEX], trusted)
    sealed = {}
    for entry in index.sections:
        data = members.get(f"{entry.stream}.age", b"")
        if hashlib.sha256(data).hexdigest() != entry.sha256:
            raise BadSegment(f"the section of {entry.stream} is not what the index says it is")
        sealed[entry.stream] = data
    return index, sealed


def index_at(beginning: bytes, trusted: str) -> Index | None:
    """The index alone, from the segment's first bytes; None when it is longer than they are. Raises `BadSegment`."""
    try:
        header = tarfile.TarInfo.frombuf(beginning[: tarfile.BLOCKSIZE], "utf-8", "strict")
    except tarfile.HeaderError as problem:
        raise BadSegment(f"it is no tar: {problem}") from None
    if header.name != INDEX:
        raise BadSegment("it does not begin with its index")
    end = tarfile.BLOCKSIZE + header.size
    return _verified(beginning[tarfile.BLOCKSIZE : end], trusted) if len(beginning) >= end else None


def _verified(signed: bytes, trusted: str) -> Index:
    try:
        return _index(verify(json.loads(signed), trusted))
    except (BadSignature, ValueError, KeyError, TypeError) as problem:
        raise BadSegment(f"its index does not count: {problem}") from None


def _members(data: bytes) -> dict[str, bytes]:
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            return {member.name: archive.extractfile(member).read() for member in archive if member.isreg()}  # type: ignore[union-attr]
    except tarfile.TarError as problem:
        raise BadSegment(f"it is no tar: {problem}") from None


def _index(document: dict[str, Any]) -> Index:
    if (document["format"], document["kind"]) != (FORMAT, "segment"):
        raise BadSegment(f"it is a {document['kind']} of format {document['format']}; this software reads segments of format {FORMAT}")
    return Index(
        document["segment"],
        document["epoch"],
        document["timeline"],
        datetime.fromisoformat(document["made_at"]),
        datetime.fromisoformat(document["until"]),
        document["software"],
        tuple(Entry(**entry) for entry in document["sections"]),
        {stream: datetime.fromisoformat(at) for stream, at in document["waiting"].items()},
    )
