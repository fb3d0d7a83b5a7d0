"""Reading sets from locations, without the database: which sets there are, and the rows and files of one (design sections 5 and 8).

Everything is checked as it is read: the envelope's signature against the trusted fingerprint, the digests of the body, of each blob and
each chunk. An object that is damaged or missing at one place is taken from another, and `notes` says so; one that no place has whole is
`NowhereWhole`.
"""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from audit.signing import BadSignature, verify
from backups import customerkeys
from backups.chunks import MAX_PLAIN_BYTES
from backups.errors import NoSet, NowhereWhole
from backups.keyfiles import KeyRing
from backups.locations import Place
from backups.manifest import MAX_BODY_BYTES, BadManifest, ChunkRef, Part, check_envelope, object_name, read_body, stream_folder
from backups.placing import fetch, sha256_of
from backups.sealing import NotOpened, StreamKey, unseal
from backups.stores.contract import StoreError

OPEN_BLOBS = 4


@dataclass(frozen=True, slots=True)
class FoundSet:
    """A set whose envelope verified at `places` (in the order of preference)."""

    envelope: dict[str, Any]
    places: tuple[str, ...]

    @property
    def id(self) -> str:
        return self.envelope["set"]

    @property
    def snapshot_at(self) -> datetime:
        return datetime.fromisoformat(self.envelope["snapshot_at"])

    @property
    def journal(self) -> dict[str, Any] | None:
        """Where the stream's chain stood (docs/format.md); None for a set from before changes had numbers."""
        return self.envelope.get("journal")

    @property
    def mark(self) -> dict[str, Any]:
        """The same of a set that has it."""
        return dict(self.envelope["journal"])

    @property
    def schema_version(self) -> tuple[int, datetime] | None:
        """The number of the schema version whose columns the set has, and when the migrations that led there began; None for older sets."""
        found = self.envelope.get("schema_version")
        return (found["number"], datetime.fromisoformat(found["began"])) if found else None


def find_sets(places: Sequence[Place], stream: str, trusted: str, notes: list[str]) -> list[FoundSet]:
    """The stream's sets at these places, newest first. What does not verify is noted and left out; so is a place that cannot be listed."""
    found: dict[str, tuple[dict[str, Any], list[str]]] = {}
    for place in places:
        for ident, envelope in _envelopes_at(place, stream, trusted, notes):
            found.setdefault(ident, (envelope, []))[1].append(place.name)
    sets = [FoundSet(envelope, tuple(names)) for envelope, names in found.values()]
    return sorted(sets, key=lambda one: (one.snapshot_at, one.id), reverse=True)


def _envelopes_at(place: Place, stream: str, trusted: str, notes: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        names = [entry.name for entry in place.store.list(f"{stream_folder(stream)}sets/") if entry.name.endswith(".json")]
    except StoreError as problem:
        notes.append(f"{place.name} cannot be listed ({problem})")
        return
    for name in names:
        ident = re.sub(r"^.*/|\.json$", "", name)
        try:
            envelope = verify(json.loads(place.store.get(name)), trusted)
            yield ident, check_envelope(envelope, stream=stream, ident=ident)
        except (StoreError, BadSignature, BadManifest, ValueError) as problem:
            notes.append(f"{name} at {place.name} does not count as a set: {problem}")


def choose(sets: Sequence[FoundSet], ident: str | None, notes: Sequence[str]) -> FoundSet:
    """The newest set, or the one set whose id begins with `ident`. Raises `NoSet`."""
    fitting = [one for one in sets if ident is None or one.id.startswith(ident)]
    if ident and len(fitting) > 1:
        raise NoSet(f"{len(fitting)} sets of this customer begin with {ident!r}. Name the one you mean with more of its id.")
    if not fitting:
        detail = f" What was found instead: {'; '.join(notes)}." if notes else ""
        raise NoSet(f"No location holds {'a set' if ident is None else 'the set ' + ident} of this customer that verifies.{detail}")
    return fitting[0]


@dataclass(frozen=True, slots=True)
class Moment:
    """Which state it is. `at` is what was asked for, or for `now` the newest second that is covered; `number` and `digest` its newest
    change, `effective_at` when that was made (None before the first); `segments` the first and the last that were read."""

    at: datetime
    number: int
    digest: str
    effective_at: datetime | None
    timeline: int
    segments: tuple[int, int] | None

    def document(self) -> dict[str, Any]:
        return {
            "at": self.at.isoformat(),
            "number": self.number,
            "digest": self.digest,
            "effective_at": self.effective_at.isoformat() if self.effective_at else None,
            "timeline": self.timeline,
            "segments": {"first": self.segments[0], "last": self.segments[1]} if self.segments else None,
        }


class Reader(Protocol):
    """A customer's content, as a set holds it or as it was at any second (`backups.moments`).

    `lines` gives a part's rows one by one, without their line ends, `pieces` its bytes; both check what they read. `file_pieces` takes the
    `parts` of an entry of a part `files`. `envelope` is that of the set it is read from, `moment` which second it is (None: the set's own
    state), `notes` what had to be said on the way.
    """

    @property
    def stream(self) -> str: ...

    @property
    def envelope(self) -> dict[str, Any]: ...

    @property
    def moment(self) -> Moment | None: ...

    @property
    def notes(self) -> list[str]: ...

    @property
    def parts(self) -> Sequence[Part]: ...

    def part(self, what: str, model: str) -> Part | None: ...

    def pieces(self, part: Part) -> Iterator[bytes]: ...

    def lines(self, part: Part) -> Iterator[bytes]: ...

    def file_pieces(self, parts: Iterable[Sequence[Any]]) -> Iterator[bytes]: ...


@dataclass
class SetReader:
    """One set, opened: `head` and `parts` of its body, and the bytes of its chunks."""

    places: tuple[Place, ...]
    stream: str
    envelope: dict[str, Any]
    key: StreamKey
    notes: list[str] = field(default_factory=list)
    # Of blobs that were stored for segments: the stream may have a newer key by then.
    further_keys: list[StreamKey] = field(default_factory=list)
    keep: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        body = self.envelope["body"]
        data = self._opened(body["name"], body["sha256"], MAX_BODY_BYTES)
        self.head, self.parts = read_body(data)
        self._blobs: OrderedDict[str, bytes] = OrderedDict()

    @property
    def moment(self) -> None:
        """A set holds the state of its own snapshot."""
        return None

    def part(self, what: str, model: str) -> Part | None:
        return next((part for part in self.parts if (part.what, part.model) == (what, model)), None)

    def pieces(self, part: Part) -> Iterator[bytes]:
        """The part's bytes, a chunk at a time, each checked."""
        for chunk in part.chunks:
            yield self.chunk(chunk)

    def lines(self, part: Part) -> Iterator[bytes]:
        """The part's rows, each without its line end. A row may stretch over several chunks."""
        begun: list[bytes] = []
        for piece in self.pieces(part):
            *whole, rest = piece.split(b"\n")
            for line in whole:
                yield b"".join([*begun, line]) if begun else line
                begun = []
            if rest:
                begun.append(rest)
        if begun:
            raise BadManifest(f"{part.what} of {part.model} end in the middle of a row")

    def chunk(self, ref: ChunkRef) -> bytes:
        data = self.blob(ref.blob)[ref.offset : ref.offset + ref.length]
        if sha256_of(data) != ref.sha256:
            raise BadManifest(f"the chunk at {ref.offset} of blob {ref.blob} is not what the set says it is")
        return data

    def file_pieces(self, parts: Iterable[Sequence[Any]]) -> Iterator[bytes]:
        """The bytes of a file, from the [blob, offset, length] of its pieces."""
        for blob, offset, length in parts:
            yield self.blob(blob)[offset : offset + length]

    def blob(self, sha256: str) -> bytes:
        """The opened blob; the last few are kept, for neighbouring chunks lie in one."""
        if sha256 in self._blobs:
            self._blobs.move_to_end(sha256)
            return self._blobs[sha256]
        plain = self._opened(object_name(self.stream, "blob", sha256), sha256, MAX_PLAIN_BYTES)
        self._blobs[sha256] = plain
        while len(self._blobs) > OPEN_BLOBS:
            self._blobs.popitem(last=False)
        return plain

    def _opened(self, name: str, sha256: str, limit: int) -> bytes:
        self.keep()
        data, troubles = fetch(self.places, name, sha256, self.notes), []
        for key in (self.key, *self.further_keys):
            try:
                return unseal(data, key.identity, limit=limit)
            except NotOpened as problem:
                troubles.append(str(problem))
        raise NowhereWhole(
            f"{name} has the right digest and does not open ({'; '.join(troubles)}): the customer's key is not the one it was sealed for."
        )


def open_set(
    places: Sequence[Place], keys: KeyRing, stream: str, found: FoundSet, notes: list[str], *, keep: Callable[[], None] = lambda: None
) -> SetReader:
    """The reader of a found set, its key taken from the same places. `keep` is called with each object that is read."""
    ordered = sorted(places, key=lambda place: place.name not in found.places)
    key = customerkeys.key_at(keys, ordered, stream, found.envelope["key"], notes)
    return SetReader(tuple(ordered), stream, found.envelope, key, notes, keep=keep)
