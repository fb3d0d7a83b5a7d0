"""One turn of verification: what is due is read, what is wrong is found, mended and told (P4; design sections 5 and 6).

A night's reading at one location is one `VerificationPass`, however many turns it takes and whatever kills them: what was read is recorded
as it goes, so the next turn goes on with the oldest. Reading takes no customer's lease and holds up no backup; mending takes it, and a
customer at work has its turn at the next one. A location that is out of reach has neither good nor damaged objects.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice

from django.db.models import F

from audit import findings
from audit.findings import Kind
from audit.sizes import in_units
from backups import leases
from backups.catching_up import note_damage
from backups.errors import Busy, LeaseLost, NoLocation
from backups.hot.timelines import Stopped
from backups.leases import Held
from backups.locations import Place
from backups.models import Blob, Copy, Damage, VerificationPass
from backups.slots import night_of
from backups.stores.contract import StoreError
from backups.vault import Vault
from backups.verification import damages, documents, due, hot_objects, mending, stored, strangers
from backups.verification.due import Share
from backups.verification.reading import OutOfReach, judge
from backups.verification.stored import Standing, Stock
from subscriptions.ending import standing

LEASE = "verify"
WORKERS = 4
TOGETHER = 32
# Unfinished uploads and temporary files of so long ago are nobody's any more.
LEFT_OVER = timedelta(days=2)
DAY = timedelta(days=1)
Progress = Callable[[str], None]


@dataclass(slots=True)
class Turn:
    """What one turn came to at one location. `left` are damaged objects that are not mended, `waits` why something could not be done."""

    location: str
    night: str
    objects: int = 0
    bytes: int = 0
    found: int = 0
    mended: int = 0
    left: int = 0
    beyond: int = 0
    unknown: int = 0
    leftovers: int = 0
    finished: bool = False
    behind: str = ""
    trouble: str = ""
    waits: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether all that was to be read was read, and all that is there is as it should be."""
        return self.finished and not (self.left or self.unknown or self.trouble or self.waits or self.behind)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a turn is asked for: of one location, of these streams, all that is there and not only tonight's share; mended or only found;
    so many seconds at most. `workers` 0 reads in this thread."""

    location: str | None = None
    streams: Sequence[uuid.UUID] | None = None
    everything: bool = False
    mending: bool = True
    seconds: float | None = None
    workers: int = WORKERS


def carry_out(vault: Vault, wanted: Wanted = Wanted(), progress: Progress = lambda _: None) -> list[Turn]:
    """One turn at each location. Stands inside `audit.acting(...)`. Raises `Busy` while another turn goes on, `NoLocation` when none can
    be used or none has that name."""
    chosen = vault.only(wanted.location).places
    ends = time.monotonic() + wanted.seconds if wanted.seconds is not None else None
    with leases.holding(LEASE, doing="verify", clock=vault.clock) as whole:
        began = vault.clock()
        mended_formats = _mend_formats(vault, wanted)
        places, troubles = vault.usable()
        if not places:
            raise NoLocation("No location can be used: " + "; ".join(f"{name}: {why}" for name, why in troubles.items()))
        turns = {place.name: Turn(place.name, str(night_of(began, vault.zone))) for place in chosen}
        work = _Work(vault, places, wanted, whole, progress, ends, turns)
        if mended_formats or any(work.begins(place) for place in chosen):
            work.examine_documents()
        for place in chosen:
            if place in places:
                work.read(place)
            else:
                work.note_trouble(place, troubles[place.name])
        work.put_right()
        for place in chosen:
            work.close(place, began)
    return [turns[place.name] for place in chosen]


def _mend_formats(vault: Vault, wanted: Wanted) -> int:
    """A location whose format file is damaged cannot be used before that is put right."""
    lacking = documents.without_format_file(vault) if wanted.mending else []
    return sum(documents.mend_format_file(vault, place) for place in lacking)


def anything_to_do(vault: Vault) -> bool:
    """Whether tonight's pass is still to be ended somewhere, or damage waits that could be mended."""
    night = night_of(vault.clock(), vault.zone)
    ended = set(VerificationPass.objects.filter(night=night, ended_at__isnull=False).values_list("location", flat=True))
    return any(place.location.pk not in ended for place in vault.places) or Damage.objects.open().filter(beyond_at=None).exists()


class _Work:
    """One turn under way."""

    def __init__(
        self,
        vault: Vault,
        places: Sequence[Place],
        wanted: Wanted,
        lease: Held,
        progress: Progress,
        ends: float | None,
        turns: dict[str, Turn],
    ) -> None:
        self.vault, self.places, self.wanted, self.lease = vault, places, wanted, lease
        self.progress, self.ends, self.turns = progress, ends, turns
        self.first_turn = False
        self._hot: list[tuple[Place, Standing]] = []

    @property
    def time_is_over(self) -> bool:
        return self.ends is not None and time.monotonic() >= self.ends

    def begins(self, place: Place) -> bool:
        """Whether the night's pass at the place is still to begin; or all is asked for."""
        night = night_of(self.vault.clock(), self.vault.zone)
        known = VerificationPass.objects.filter(location=place.location, night=night, listed_at__isnull=False).exists()
        return self.wanted.streams is None and (self.wanted.everything or not known)

    def examine_documents(self) -> None:
        try:
            done = documents.examine(self.vault, self.places, mending=self.wanted.mending)
        except (Busy, LeaseLost) as reason:
            self._wait(str(reason))
        else:
            for why in done.waits:
                self._wait(why)

    def _wait(self, why: str) -> None:
        for turn in self.turns.values():
            turn.waits.append(why)

    # Reading

    def read(self, place: Place) -> None:
        """The night's listing, then its share of reading; what is wrong is recorded."""
        turn = self.turns[place.name]
        night = self._pass(place)
        try:
            if self.begins(place):
                self._list(place, night, turn)
            self._read_share(place, night, turn)
        except (OutOfReach, StoreError) as problem:
            turn.trouble = str(problem)
            VerificationPass.objects.filter(pk=night.pk).update(trouble=turn.trouble[:500], turn_at=self.vault.clock())

    def _pass(self, place: Place) -> VerificationPass:
        now = self.vault.clock()
        night = night_of(now, self.vault.zone)
        found = VerificationPass.objects.filter(location=place.location, night=night).first()
        if found is None:
            stock = stored.stock(place.location, now)
            share = due.share(stock.due_in, place.location.nightly_bytes)
            about = {"started_at": now, "turn_at": now, "allowed": share.bytes, **_said_of(stock)}
            found = VerificationPass.objects.create(location=place.location, night=night, **about)
            self.first_turn = True
            _tell_behind(place, share, now)
        self.turns[place.name].behind = damages.late_text(place.location)
        return found

    def _list(self, place: Place, night: VerificationPass, turn: Turn) -> None:
        self.progress(f"{place.name}: listing")
        listing = strangers.compare(place, self.vault.fingerprint, self._keep)
        self._take_suspects(place, listing.suspects)
        turn.unknown = strangers.note(place, listing, self.vault.clock())
        turn.leftovers = self._sweep_leftovers(place, turn)
        VerificationPass.objects.filter(pk=night.pk).update(listed_at=self.vault.clock(), unknown=turn.unknown)

    def _keep(self) -> None:
        self.lease.keep()

    def _sweep_leftovers(self, place: Place, turn: Turn) -> int:
        """What listing hides and runs left that are over. Credentials that may not delete leave it, and it is said."""
        older, now = self.vault.clock() - LEFT_OVER, self.vault.clock()
        old = sum(1 for one in place.store.leftovers("") if one.since < older)
        if not old or not self.wanted.mending:
            return 0
        try:
            removed = place.store.remove_leftovers("", older)
        except StoreError as problem:
            text = f"{old} unfinished uploads or old versions at {place.name} cannot be removed by these credentials: {problem}"
            findings.open_finding(Kind.LEFTOVERS_STAY, subject=place.location, customer=None, text=text, now=now)
            turn.waits.append(text)
            return 0
        findings.close_as_mended(Kind.LEFTOVERS_STAY, subject=place.location, resolution="They are removed.", now=now)
        return removed

    def _read_share(self, place: Place, night: VerificationPass, turn: Turn) -> None:
        hot_objects.learn_kept(place)
        whole = self.wanted.everything or self.wanted.streams is not None
        left = None if whole else max(night.allowed - night.bytes_read, 0)
        with _reader(self.wanted.workers) as look:
            standing = _up_to(stored.oldest_first(place.location, self.wanted.streams), left)
            while batch := list(islice(standing, TOGETHER)):
                if self.time_is_over:
                    return
                self._keep()
                self._read_batch(place, night, turn, batch, look)
        turn.finished = True
        if self.wanted.streams is None:
            VerificationPass.objects.filter(pk=night.pk, ended_at=None).update(ended_at=self.vault.clock(), trouble="")

    def _read_batch(
        self, place: Place, night: VerificationPass, turn: Turn, batch: Sequence[Standing], look: Callable[..., Iterator[bool]]
    ) -> None:
        began = time.monotonic()

        def is_right(one: Standing) -> bool:
            return judge(place, one.expected, self.vault.fingerprint).right

        right = list(look(is_right, batch))
        spent, size = time.monotonic() - began, sum(one.expected.size for one in batch)
        stored.checked([one for one, good in zip(batch, right, strict=True) if good], self.vault.clock())
        read = {"objects_read": F("objects_read") + len(batch), "bytes_read": F("bytes_read") + size, "seconds": F("seconds") + spent}
        VerificationPass.objects.filter(pk=night.pk).update(turn_at=self.vault.clock(), **read)
        turn.objects, turn.bytes = turn.objects + len(batch), turn.bytes + size
        self.progress(f"{place.name}: {turn.objects} objects, {in_units(turn.bytes)} read")
        self._take_suspects(place, [one for one, good in zip(batch, right, strict=True) if not good])

    def _take_suspects(self, place: Place, suspects: Iterable[Standing]) -> None:
        for one in suspects:
            self._keep()
            if one.table == "copy":
                self._confirm(place, one)
            else:
                self._hot.append((place, one))

    def _confirm(self, place: Place, one: Standing) -> None:
        """Damage, unless it was let go, or put back, since it was read: a row is condemned before its object goes."""
        standing = Copy.objects.filter(pk=one.pk, state=Copy.State.PRESENT, blob__state=Blob.State.STORED)
        if not standing.exists():
            return
        seen = judge(place, one.expected, self.vault.fingerprint)
        copy = standing.select_related("blob").first()
        if seen.what is not None and copy is not None:
            note_damage(place, copy.blob, seen.what, self.vault.clock())

    # Mending

    def put_right(self) -> None:
        if self.wanted.mending:
            busy = self._mend_streams(self._damaged_streams())
            for stream in self._mend_streams(busy):
                self._wait(f"Another process is at work on {stream}: what is damaged of it is mended at the next turn")
        if self.wanted.streams is None:
            self._mend_hot()

    def _damaged_streams(self) -> list[uuid.UUID]:
        """What no location had whole is looked for again once a night, or when somebody asks for everything."""
        damaged = Damage.objects.open().filter(segment_copy=None, service_object=None)
        damaged = damaged.exclude(kind__in=hot_objects.KINDS.values())
        damaged = damaged.exclude(stream__in=standing.left_alone())  # what was returned is what is destroyed
        if self.wanted.streams is not None:
            damaged = damaged.filter(stream__in=self.wanted.streams)
        elif not (self.first_turn or self.wanted.everything):
            damaged = damaged.filter(beyond_at=None)
        return list(damaged.order_by("stream").values_list("stream", flat=True).distinct())

    def _mend_streams(self, streams: Iterable[uuid.UUID]) -> list[uuid.UUID]:
        """Returns those at which somebody else is at work."""
        busy = []
        for stream in streams:
            self._keep()
            try:
                done = mending.mend(self.vault, self.places, stream)
            except (Busy, LeaseLost):
                busy.append(stream)
            except Stopped as stopped:
                self._wait(str(stopped))
                return []
            else:
                for why in done.waits:
                    self._wait(why)
        return busy

    def _mend_hot(self) -> None:
        waiting = Damage.objects.open().filter(kind__in=hot_objects.KINDS.values())
        if not self._hot and not waiting.exists():
            return
        try:
            done = hot_objects.mend(self.vault, self.places, self._hot, mending=self.wanted.mending)
        except (Busy, LeaseLost, Stopped) as reason:
            self._wait(str(reason))
        else:
            for why in done.waits:
                self._wait(why)

    # What is said of it

    def note_trouble(self, place: Place, why: str) -> None:
        self.turns[place.name].trouble = why
        night = self._pass(place)
        VerificationPass.objects.filter(pk=night.pk).update(trouble=why[:500], turn_at=self.vault.clock())

    def close(self, place: Place, began: datetime) -> None:
        turn, now = self.turns[place.name], self.vault.clock()
        here = Damage.objects.filter(location=place.location)
        if self.wanted.streams is not None:
            here = here.filter(stream__in=self.wanted.streams)
        turn.found, turn.mended = here.filter(found_at__gte=began).count(), here.filter(mended_at__gte=began).count()
        turn.left, turn.beyond = here.open().count(), here.open().filter(beyond_at__isnull=False).count()
        oldest = stored.oldest(place.location)
        said = {"found": F("found") + turn.found, "mended": F("mended") + turn.mended, "left": turn.left, "oldest_at": oldest}
        if turn.finished:
            said |= _said_of(stored.stock(place.location, now))
        night = night_of(began, self.vault.zone)
        VerificationPass.objects.filter(location=place.location, night=night).update(turn_at=now, **said)
        _tell_late(place, oldest, now)


def _up_to(standing: Iterator[Standing], left: int | None) -> Iterator[Standing]:
    """Until so many bytes are taken, and one object more where they end in the middle of it; None: all."""
    taken = 0
    for one in standing:
        if left is not None and taken >= left:
            return
        taken += one.expected.size
        yield one


class _reader:  # noqa: N801  (used as a function)
    """`map` over a few threads, or in this one."""

    def __init__(self, workers: int) -> None:
        self._executor = ThreadPoolExecutor(workers, thread_name_prefix="verify") if workers else None

    def __enter__(self) -> Callable[..., Iterator[bool]]:
        return self._executor.map if self._executor else map

    def __exit__(self, *_: object) -> None:
        if self._executor:
            self._executor.shutdown(cancel_futures=True)


def _said_of(stock: Stock) -> dict[str, int]:
    return {"stored_objects": stock.objects, "stored_bytes": stock.bytes, "in_time": stock.in_time}


def _tell_behind(place: Place, share: Share, now: datetime) -> None:
    location = place.location
    if share.behind:
        text = (
            f"{location.name}: {in_units(share.bytes)} a night are too few to read {in_units(share.total)} in {location.recheck_days} "
            f"days: a round takes {share.nights} nights, and {in_units(share.asked)} a night are asked for. Allow more, or a longer period."
        )
        findings.open_finding(Kind.VERIFICATION_LATE, subject=location, customer=None, text=text, now=now)
    elif damages.late_text(location):
        findings.close_as_mended(Kind.VERIFICATION_LATE, subject=location, resolution="The night's share is enough.", now=now)


def _tell_late(place: Place, oldest: datetime | None, now: datetime) -> None:
    """A day's grace: the last night's pass may still be going on."""
    location = place.location
    if oldest is not None and oldest < now - timedelta(days=location.recheck_days) - DAY and not damages.late_text(location):
        text = f"{location.name}: the oldest check is of {oldest:%Y-%m-%d}, and promised is one within {location.recheck_days} days."
        findings.open_finding(Kind.VERIFICATION_LATE, subject=location, customer=None, text=text, now=now)
