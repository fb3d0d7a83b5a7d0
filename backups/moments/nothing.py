"""The beginning of a stream, read as if it were a set: before its first night segments alone have all of it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from audit import chain, rows
from audit.models import JournalRow
from backups import customerkeys
from backups.keyfiles import KeyRing
from backups.keynames import key_name
from backups.locations import Place
from backups.manifest import Part
from backups.reading import FoundSet, SetReader
from backups.stores.contract import StoreError

NO_SET = "00000000-0000-0000-0000-000000000000"


def beginning() -> FoundSet:
    """It has no change, and no segment lies before it."""
    mark = {"number": 0, "digest": chain.START.digest, "at": None, "segment": 0, "timeline": 1}
    about = {"set": NO_SET, "night": "its beginning", "snapshot_at": "1970-01-01T00:00:00+00:00", "software": "", "journal": mark}
    return FoundSet({**about, "blobs": [], "counts": {}}, ())


class NothingYet(SetReader):
    """The reader of `beginning`: a journal without rows. Its key is the stream's newest one at the places."""

    def __init__(self, places: Sequence[Place], keys: KeyRing, stream: str, found: FoundSet, notes: list[str]) -> None:
        self.places, self.stream, self.envelope, self.notes = tuple(places), stream, found.envelope, notes
        self.key = customerkeys.key_at(keys, places, stream, _newest_number(places, stream), notes)
        self.further_keys, self.keep = [], lambda: None
        self.head, self.parts = {"shapes": []}, [_journal()]
        self._blobs = OrderedDict()


def _journal() -> Part:
    columns = [column.described() for column in rows.columns(JournalRow)]
    return Part("journal", JournalRow._meta.label_lower, columns, str(JournalRow._meta.pk.column))


def _newest_number(places: Sequence[Place], stream: str) -> int:
    """Of the stream's keys that lie at any of the places; 1 where none can be listed: then that one is not found."""
    numbers = [1]
    for place in places:
        try:
            numbers += [key_name(entry.name).number for entry in place.store.list(f"keys/{stream}/")]
        except StoreError:
            continue
    return max(numbers)
