"""What the leading shipper does at each tick (design section 4; P2).

In this order, and never in another: (1) in one transaction fenced by the leader's epoch, changes get numbers, digests and a segment;
(2) the segment is written to all locations in parallel; (3) fenced again, the copies are recorded. Killed at any moment, what is
numbered and not recorded is shipped again by the next leader, with the same digests. Nothing is dropped: a location that is down is owed
its copies, and when no location at all takes anything, changes wait in the outbox.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db.models import Q

from audit import clock as clocks
from audit.chain import Head
from audit.models import ChainHead, JournalRow
from backups import catalogue
from backups.catalogue import InForce
from backups.errors import BackupError, LeaseLost, StreamEnded
from backups.hot import numbering, outbox, recording, sections, segments, timelines, uploads
from backups.hot.keys import Keys
from backups.hot.lanes import LATER, Errand, Lane, WentBack
from backups.hot.numbering import Numbered, Shapes
from backups.hot.outbox import Settled
from backups.hot.recording import Durable, Sent
from backups.hot.sections import FileEntry, Section
from backups.hot.segments import Entry, Index
from backups.leases import Held, fenced
from backups.locations import Place
from backups.models import Blob, Copy, HotFile, HotState, Segment, SegmentCopy
from backups.placing import sha256_of
from backups.sealing import Sealed, seal
from backups.stores.contract import StoreError
from backups.vault import Vault
from subscriptions.ending import standing

logger = logging.getLogger(__name__)

# When nothing happens, an empty segment says so this often.
IDLE = 60.0
# Segments that no location has yet, in bytes: beyond that nothing is numbered until one takes them.
MOST_UNPLACED = 64 * 1024 * 1024
OWED_TOGETHER = 50
UNMADE_AGAIN = 10.0
# So often a leader looks whether something that it, or one before it, recorded long ago is owed again: verification found it damaged.
OWED_AGAIN = 30.0
# Until when the segments know all before there is one.
NEVER = datetime.fromtimestamp(0, UTC)


@dataclass(slots=True)
class _Batch:
    """What one transaction numbered."""

    segment: Segment
    numbered: list[Numbered]
    entries: dict[uuid.UUID, list[FileEntry]]
    at: dict[uuid.UUID, datetime | None]
    written: list[datetime]


class Leader:
    """Ships while it holds the lease. `tick` raises `LeaseLost` when it does no longer, and `WentBack` when a location knows more than the
    database; `say` tells people what happens."""

    def __init__(self, vault: Vault, lease: Held, say: Callable[[str], None] = logger.info) -> None:
        self.vault, self.lease, self.say = vault, lease, say
        self.keys, self.shapes = Keys(vault), Shapes()
        self.in_force: list[InForce] = catalogue.locations_in_force()
        self.lanes = [Lane(place, vault.fingerprint) for place in vault.places]
        self.floor = outbox.Floor()
        self.desk = uploads.Desk(lease, self.keys, self._record_blobs)
        self._sent: dict[int, Sent] = {}
        self._done: list[Durable] = []
        self._blobs: list[tuple[Place, int]] = []
        self._after: uuid.UUID | None = None
        self._open: dict[uuid.UUID, uuid.UUID] = {}
        self._told: dict[str, str] = {}
        self._waits: dict[uuid.UUID, float] = {}  # streams that cannot be numbered, until when they are left alone
        self._unmade: list[int] = []  # numbered by a leader before us, and not to be made yet
        self._unmade_again = 0.0
        self._owed_again = time.monotonic() + OWED_AGAIN
        self._unlisted: set[str] = set()  # places of which we do not know yet whether they know more than the database
        self._first = self.last = 0
        self.timeline = 1
        self._shipped_at = 0.0
        self._settled = Settled(NEVER, {})
        self._offset: tuple[datetime, float] = (clocks.written_now(), time.monotonic())

    def begin(self) -> None:
        """Makes sure that no location knows more than the database, ships again what a leader before us numbered and no location is known
        to have, and finds out what is owed. Raises `WentBack`."""
        state, _ = HotState.objects.get_or_create(pk=1)
        self._first = self.last = state.last_segment
        self.timeline = state.timeline
        self._unlisted = {lane.place.name for lane in self.lanes}
        for lane in self.lanes:
            self._list(lane)
        newest = Segment.objects.order_by("-number").first()
        if newest is not None:
            self._settled = Settled(newest.until, {uuid.UUID(stream): datetime.fromisoformat(at) for stream, at in newest.waiting.items()})
        self._open = numbering.begun()
        self.desk.begin_again()
        for lane in self.lanes:
            lane.behind = lane.behind or self._is_owed(lane)
        self._unmade = list(Segment.objects.filter(sha256="").order_by("number").values_list("number", flat=True))
        self._make_unmade()

    def _list(self, lane: Lane) -> bool:
        """Whether we know that the place holds nothing behind what the database knew when we began; until then nothing is put there."""
        try:
            timelines.check(lane.place, self._first, self.vault.clock())
        except StoreError as problem:
            lane.rest(str(problem))
            return False
        self._unlisted.discard(lane.place.name)
        return True

    def _make_unmade(self) -> None:
        """Segments that were numbered and never made. One that a customer's key is missing for is tried again; it holds up no later one."""
        self._unmade_again = time.monotonic() + UNMADE_AGAIN
        for number in list(self._unmade):
            self.lease.keep()
            try:
                self._ship_again(Segment.objects.get(pk=number))
            except (BackupError, StoreError) as problem:
                if isinstance(problem, LeaseLost):
                    raise
                logger.warning("Segment %s cannot be made yet: %s", number, problem)
            else:
                self._unmade.remove(number)

    # One tick

    def tick(self) -> bool:
        """One turn. Returns whether anything was done."""
        self._collect()
        self._read_files()
        self.floor.advance()
        if self._unmade and time.monotonic() >= self._unmade_again:
            self._make_unmade()
        given = self._numbered() if self._has_room() and outbox.anything(self.floor.beyond) else []
        if given or self._entries() or self._done or self._blobs or self._idle():
            self._step(given)
            done = True
        else:
            done = self.lease.keep()
            if done:
                recording.tick(self.vault.clock())
        self._catch_up()
        return done

    @property
    def at_rest(self) -> bool:
        """Whether nothing waits and nothing is under way; what a location in trouble is owed does not count."""
        busy = any(lane.busy for lane in self.lanes) or any(lane.behind and not lane.trouble for lane in self.lanes)
        return not (busy or self._done or self._blobs or self.desk.waits or outbox.anything(self.floor.beyond))

    def owed(self) -> list[str]:
        """The locations that are owed something."""
        return [lane.place.name for lane in self.lanes if lane.behind or self._is_owed(lane)]

    def close(self) -> None:
        self.desk.close()
        self.keys.close()
        for lane in self.lanes:
            lane.close()

    def _step(self, given: list[Numbered]) -> None:
        with fenced(self.lease):
            now = clocks.written_now()
            self._offset = now, time.monotonic()
            self.lease.renew()
            recording.note_durable(self._done)
            self._record_blobs()
            batch = self._number(given, now)
            recording.tick(self.vault.clock())
        self._recorded()
        if batch is not None:
            self._send(batch)

    def _recorded(self) -> None:
        for done in self._done:
            done.sent.data = None
            if all(lane.behind or lane.place.location.pk in done.sent.at for lane in self.lanes):
                self._sent.pop(done.sent.number, None)
        self._done = []

    def _record_blobs(self) -> None:
        """In the caller's transaction; where that fails, this leader is over."""
        if self._blobs:
            catalogue.mark_placed(self.lease, [(place, [blob]) for place, blob in self._blobs], self.vault.clock())
            self._blobs = []

    def _has_room(self) -> bool:
        return sum(len(sent.data) for sent in self._sent.values() if sent.data is not None) < MOST_UNPLACED

    def _idle(self) -> bool:
        return time.monotonic() - self._shipped_at >= IDLE

    # Numbering

    def _numbered(self) -> list[Numbered]:
        """What waits, with the numbers that it will have. Only a leader gives any, so this is read outside of the transaction, which holds
        up those who write (SQLite) no longer than it must."""
        without = self.keys.awaited | {stream for stream, at in self._waits.items() if time.monotonic() < at}
        turns = outbox.turns(self._open, self._after, without=without, beyond=self.floor.beyond)
        self.shapes.learn({row.model for turn in turns for row in turn.rows})
        self.keys.ask(turn.stream for turn in turns)
        turns = [turn for turn in turns if self.keys.held(turn.stream) is not None]
        standing = numbering.heads([turn.stream for turn in turns])
        given, troubles = numbering.numbered(turns, standing, self.shapes, segment=self.last + 1, timeline=self.timeline)
        for stream, why in troubles.items():
            self._waits[stream] = time.monotonic() + LATER
            logger.error("Changes of %s cannot be shipped: %s", stream, why)
        return given

    def _stuck(self) -> set[uuid.UUID]:
        """The streams that cannot be numbered, or have no key, for a reason of their own."""
        return self._waits.keys() | set(self.keys.troubles)

    def _entries(self) -> dict[uuid.UUID, list[FileEntry]]:
        """The entries of files that a section can carry now: its stream's key is here, or asked for."""
        self.keys.ask(self.desk.entries)
        return {stream: [entry for _, entry in found] for stream, found in self.desk.entries.items() if self.keys.held(stream)}

    def _number(self, given: list[Numbered], now: datetime) -> _Batch | None:
        """Writes the numbers and intends the segment that has them, or one that says that nothing happened."""
        self._check_last()
        entries = self._entries()
        if not (given or entries or self._idle()):
            return None
        number = self.last + 1
        fresh = uploads.note_new(uploads.new_files(given))
        numbering.record(given)
        changed = {uuid.UUID(one.section.stream) for one in given}
        standing = numbering.heads([*entries.keys() - changed])
        at = {stream: head.at for stream, head in standing.items()} | {uuid.UUID(one.section.stream): one.at for one in given}
        given = [*given, *(self._without_changes(head, number) for head in standing.values())]
        # Asked after the changes were read and numbered: what was committed meanwhile, or had to wait, is not said to be known.
        self._settled = outbox.settled(now, self.floor.beyond, self._stuck()) or self._settled
        segment = self._segment(number, given)
        recording.intend(segment, self.in_force)
        self.desk.carried(entries, number)
        HotState.objects.filter(pk=1).update(last_segment=number)
        return _Batch(segment, given, entries, at, self._written(given, fresh, entries))

    def _check_last(self) -> None:
        [last] = HotState.objects.filter(pk=1).values_list("last_segment", flat=True)
        if last < self.last:
            raise WentBack(f"The database says that segment {last} was the last one; this process has shipped {self.last}")
        self.last = last

    def _without_changes(self, standing: ChainHead, segment: int) -> Numbered:
        """A section that only says where files lie."""
        head = Head(standing.number, standing.digest)
        return Numbered(Section(str(standing.stream_id), segment, self.timeline, head, head, {}), [], [], standing.at)

    def _segment(self, number: int, given: Sequence[Numbered]) -> Segment:
        made_at = self.vault.clock()
        return Segment(
            number=number,
            epoch=self.lease.epoch,
            timeline=self.timeline,
            name=segments.name_of(number, self.lease.epoch, made_at),
            made_at=made_at,
            until=self._settled.until,
            waiting={str(stream): at.isoformat() for stream, at in self._settled.waiting.items()},
            changes=sum(len(one.waiting) for one in given),
            oldest_at=min((one.oldest_at for one in given if one.oldest_at), default=None),
            sections=[[one.section.stream, one.section.before.number + 1, one.section.head.number] for one in given],
        )

    def _written(self, given: Sequence[Numbered], fresh: Sequence[HotFile], entries: dict[uuid.UUID, list[FileEntry]]) -> list[datetime]:
        """The times of the changes that are durable with this segment: a change that brings a file is, once the file's entry is."""
        with_files = {(str(file.stream_id), file.number) for file in fresh}
        written = [
            row.written_at
            for one in given
            for change, row in zip(one.section.changes, one.waiting, strict=True)
            if (one.section.stream, change.number) not in with_files
        ]
        return written + [file.written_at for stream in entries for file, _ in self.desk.entries[stream]]

    # Writing

    def _send(self, batch: _Batch) -> None:
        self.last, self._shipped_at = batch.segment.number, time.monotonic()
        for one in batch.numbered:
            self._note_open(one)
        whole = [(numbering.with_files(one.section, batch.entries.get(uuid.UUID(one.section.stream), ()))) for one in batch.numbered]
        self.desk.forget(batch.entries)
        self.desk.look_again()
        self._make_and_submit(batch.segment, whole, batch.at, batch.written)

    def _note_open(self, one: Numbered) -> None:
        if one.waiting:
            self._after = uuid.UUID(one.section.stream)
            self._open.pop(self._after, None)
            if one.open is not None:
                self._open[self._after] = one.open

    def _make_and_submit(
        self, segment: Segment, whole: Sequence[Section], at: dict[uuid.UUID, datetime | None], written: list[datetime]
    ) -> None:
        data = self._made(segment, whole, at)
        sent = Sent(segment.number, segment.name, sha256_of(data), len(data), written, data)
        self._sent[segment.number] = sent
        errand = Errand(("segment", sent.number), sent.name, sent.sha256, sent.size, data)
        for lane in self.lanes:
            lane.submit(errand)

    def _made(self, segment: Segment, whole: Sequence[Section], at: dict[uuid.UUID, datetime | None]) -> bytes:
        sealed: dict[str, bytes] = {}
        named = []
        for section in whole:
            stream = uuid.UUID(section.stream)
            key = self.keys.held(stream)
            assert key is not None
            one = seal(sections.written(section), key.recipient)
            sealed[section.stream] = one.data
            named.append(_entry(section, key.number, one, at.get(stream)))
        index = Index(
            segment.number,
            segment.epoch,
            segment.timeline,
            segment.made_at,
            segment.until,
            self.vault.software_version,
            tuple(named),
            {stream: datetime.fromisoformat(at) for stream, at in segment.waiting.items()},
        )
        return segments.written(index, sealed, self.vault.signer)

    def _ship_again(self, segment: Segment) -> None:
        """A segment that was numbered and that nobody is known to have, from history: under a name of our own epoch."""
        whole, at, written = [], {}, []
        for stream_text, first, last in segment.sections:
            stream = uuid.UUID(stream_text)
            try:
                self.keys.get(stream)
            except StreamEnded:
                continue  # nothing of a destroyed customer is stored again
            again = numbering.read_again(stream, first, last, segment=segment.number, timeline=segment.timeline)
            if again.altered:
                segment.trouble = f"The history of numbers {again.altered[:5]} was altered after they were numbered."
                logger.error("Segment %s of %s: %s", segment.number, stream, segment.trouble)
            entries = uploads.entries_in(stream, segment.number)
            whole.append(numbering.with_files(again.section, entries))
            at[stream] = again.at
            written += again.written_at
        with fenced(self.lease):
            segment.epoch, segment.name = self.lease.epoch, segments.name_of(segment.number, self.lease.epoch, segment.made_at)
            segment.sha256 = ""
            segment.save(update_fields=["epoch", "name", "sha256", "trouble"])
            SegmentCopy.objects.filter(segment=segment).update(durable_at=None)
        self._make_and_submit(segment, whole, at, written)

    # What the lanes have done

    def _collect(self) -> None:
        now, began = self._offset
        for lane in self.lanes:
            if lane.went_back:
                raise WentBack(lane.went_back)
            for placed in lane.placed():
                self.lease.keep()
                kind, ident = placed.key
                if kind == "segment":
                    sent = self._sent.get(ident) or self._sent_before(ident)
                    sent.at.add(placed.place.location.pk)
                    at = now + timedelta(seconds=placed.at - began)
                    self._done.append(Durable(placed.place.location, sent, at))
                else:
                    self._blobs.append((placed.place, ident))
                    self.desk.note_placed(placed.place.location.pk, ident)
            self._tell_trouble(lane)

    def _sent_before(self, number: int) -> Sent:
        """A segment of a leader before us, or one that some location has had for long."""
        segment = Segment.objects.get(pk=number)
        written = [
            at
            for stream, first, last in segment.sections
            for at in JournalRow.objects.filter(stream=stream, number__range=(first, last)).values_list("written_at", flat=True)
        ]
        return Sent(number, segment.name, segment.sha256, segment.size, written, None, known=True)

    def _tell_trouble(self, lane: Lane) -> None:
        told = self._told.get(lane.place.name, "")
        if lane.trouble != told:
            self._told[lane.place.name] = lane.trouble
            self.say(f"{lane.place.name}: {lane.trouble or 'answers again'}")

    # Files

    def _read_files(self) -> None:
        healthy = {lane.place.location.pk for lane in self.lanes if not lane.behind}
        refused = {lane.place.location.pk: {ident for (kind, ident) in lane.refused if kind == "blob"} for lane in self.lanes}
        self.desk.attend(self.in_force, healthy, refused)
        for lane in self.lanes:
            for errand in [] if lane.behind else self.desk.to_place(lane.place.location.pk):
                if not (lane.holds(errand.key) or lane.refuses(errand.key)):
                    lane.submit(errand)

    # What is owed

    def _catch_up(self) -> None:
        if time.monotonic() >= self._owed_again:
            self._look_for_owed()
        for lane in self.lanes:
            if lane.place.location.pk in self.keys.owed_to:
                self.keys.owed_to.discard(lane.place.location.pk)
                lane.behind = True
            lane.behind = lane.take_again() or lane.behind
            if not lane.behind or lane.busy or lane.resting:
                continue
            lane.try_again()
            if lane.place.name in self._unlisted and not self._list(lane):
                continue
            self._remake_lost(lane)
            if not self._hand_over_owed(lane):
                lane.behind = False
                self.say(f"{lane.place.name}: has all that it was owed")

    def _look_for_owed(self) -> None:
        """What is under way is owed too, and needs no second errand."""
        self._owed_again = time.monotonic() + OWED_AGAIN
        self.keys.forget(standing.ended())
        under_way = min(self._sent, default=self.last + 1)
        owed = SegmentCopy.objects.filter(durable_at=None, segment__lt=under_way).values_list("location", flat=True).distinct()
        again = set(owed)
        for lane in self.lanes:
            lane.behind = lane.behind or lane.place.location.pk in again

    def _is_owed(self, lane: Lane) -> bool:
        return recording.is_owed_anything(lane.place.location.pk) or bool(self._owed_blobs(lane, 1))

    def _hand_over_owed(self, lane: Lane) -> int:
        """The oldest that its location is owed: keys and blobs of files before the segments that need them."""
        sources = [other.place for other in self.lanes if other is not lane]
        for blob in self._owed_blobs(lane, OWED_TOGETHER):
            if lane.refuses(("blob", blob.pk)):
                continue
            lane.bring(Errand(("blob", blob.pk), blob.name, blob.sha256, blob.size, None, sources))
        if lane.busy:
            return 1
        for segment in recording.owed(lane.place.location.pk, OWED_TOGETHER):
            sent = self._sent.get(segment.number)
            if sent is None and (segment.number in self._unmade or not segment.sha256):
                continue  # it waits to be made
            data, sha256 = (sent.data, sent.sha256) if sent is not None else (None, segment.sha256)
            lane.bring(Errand(("segment", segment.number), segment.name, sha256, segment.size, data, sources))
        return int(lane.busy)

    def _owed_blobs(self, lane: Lane, most: int) -> list[Blob]:
        needed = Q(blob__hot=True) | Q(blob__kind=Blob.Kind.KEY)
        owed = Copy.objects.filter(needed, location=lane.place.location.pk, state=Copy.State.OWED, blob__state=Blob.State.STORED)
        return [copy.blob for copy in owed.order_by("blob").select_related("blob")[:most]]

    def _digest_of(self, number: int) -> str:
        """Of the segment as it was made last."""
        sent = self._sent.get(number)
        made = Segment.objects.filter(pk=number).values_list("sha256", flat=True).first()
        return sent.sha256 if sent is not None else made or ""

    def _remake_lost(self, lane: Lane) -> None:
        """A segment that no location has whole is made again from history: once, whichever lanes miss it, for other bytes under its new
        name would be another segment. A key or a file's blob that is nowhere whole is looked for again later, and holds up no segment."""
        lost, lane.lost = lane.lost, []
        for errand in lost:
            if errand.key[0] != "segment":
                lane.refuse(errand, "no location has it whole")
        numbers = {errand.key[1] for errand in lost if errand.key[0] == "segment" and errand.sha256 == self._digest_of(errand.key[1])}
        numbers -= set(self._unmade)
        if numbers:
            self.say(f"{len(numbers)} segments, such as {min(numbers)}, are nowhere whole: they are made again from history")
            self._unmade += sorted(numbers)
            self._make_unmade()


def _entry(section: Section, key: int, sealed: Sealed, at: datetime | None) -> Entry:
    return Entry(
        section.stream,
        key,
        sealed.sha256,
        len(sealed.data),
        sealed.plain_size,
        section.before.number + 1,
        section.head.number,
        section.head.digest,
        numbering.moment(at) if at else None,
    )
