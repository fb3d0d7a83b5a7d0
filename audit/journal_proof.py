"""That history and journal agree, number by number (P8): each leaf is made anew from its history row, each link from its leaf.

Reading only, on the connection that it is given: in a snapshot nothing moves meanwhile. Memory is bounded however long the chains are.
Purged content has a leaf, no salt and no history row, and whoever purged it has recorded its number; the chain holds over it. Against
somebody who computes the whole chain anew this proves nothing; the heads that were signed and lie elsewhere do (`journal_digests` tells
what the journal says of their numbers).
"""

from __future__ import annotations

import hashlib
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper

from audit import chain, history_text, registry
from audit.chain import Head
from audit.models import ChainHead, JournalRow, RowShape, Stream
from audit.registry import Protected
from audit.schema.lineage import Lineage

# Numbers read at a time; so many statements, and so much text, are in memory.
BLOCK = 4000
# Whose key is looked up; of more it is only said that they are.
NAMED = 100
MANY = 400

_JOURNAL = JournalRow._meta.db_table
_COLUMNS = "stream_id, number, model, history_id, written_at, shape_id, salt, leaf, digest"
# As the index of such rows has it (`l2l_journal_purged`), which is empty until something is purged.
_UNSALTED = "number IS NOT NULL AND salt IS NULL"
_BEFORE_ALL = -(2**63)

EDITED = "its history row is not what was numbered: edited behind our back"
OF_NO_MODEL = "it tells of no protected model of this software"
UNREAD = "columns that it covers are kept no longer"
UNRECORDED = "its content is gone, and no purge lists it: removed behind our back"

Tell = Callable[[int], None]
# The numbers whose content was purged, of a stream.
Purged = Callable[[uuid.UUID], Container[int]]
# A model's label and the shape of its history rows.
_Kind = tuple[str, int | None]
# By stream: where a timeline leaves an older one, and the head that its next change follows. Numbers that only the abandoned line had are
# never used again, so there the chain has a gap that is none.
Forks = Mapping[uuid.UUID, Mapping[Head, Head]]


@dataclass(frozen=True, slots=True)
class Misfit:
    """What does not fit, of which change of which stream: `number` in its chain, `model` and `history_id` of its history row, `key` of the
    row that it tells of (empty where that is not known). `times` is how many more of the kind there are, not told one by one."""

    stream: uuid.UUID | None
    what: str
    number: int | None = None
    model: str = ""
    history_id: int | None = None
    key: str = ""
    times: int = 1


class _Link(NamedTuple):
    """A numbered journal row, as a tuple: there is one for each change, and a dataclass takes longer to make."""

    stream: uuid.UUID
    number: int
    model: str
    history_id: int
    written_at: Any
    shape: int | None
    salt: str | None
    leaf: str | None
    digest: str | None


class Recomputation:
    """One walk along chains. Afterwards `changes` were recomputed. Of those whose leaf covers what a migration took away the links hold and
    the content cannot be made anew: `vouched` counts them by the schema version and model for which the chain was recomputed before, and
    its head signed; `unread`, by model, those of which no version (in `lineage`) says anything. Of streams in `ended` nothing has to be
    there: destroyed customers, as the caller knows from what is signed."""

    def __init__(
        self,
        connection: BaseDatabaseWrapper,
        forks: Forks,
        tell: Tell = lambda _: None,
        purged: Purged = lambda _: frozenset(),
        lineage: Lineage | None = None,
        ended: Collection[uuid.UUID] = frozenset(),
    ) -> None:
        self.connection, self._forks, self._tell, self._purged = connection, forks, tell, purged
        self._lineage = lineage or Lineage()
        self._ended = ended
        self.changes, self.unread, self.vouched = 0, Counter[str](), Counter[tuple[int, str]]()
        self._named = 0
        self._protected = {one.label: one for one in registry.protected()}

    @cached_property
    def _shapes(self) -> dict[int, RowShape]:
        """Those that are what their digest says."""
        shapes = (RowShape(*row) for row in self._orm(RowShape.objects.values_list("id", "model", "columns", "sha256")))
        return {shape.pk: shape for shape in shapes if hashlib.sha256(shape.columns.encode()).hexdigest() == shape.sha256}

    def of_stream(self, stream: uuid.UUID, before: Head = chain.START, stated: Mapping[int, str] | None = None) -> Iterator[Misfit]:
        """What does not fit behind the number of `before`; `stated` are digests that the numbers are known to have."""
        if stream in self._ended:
            return
        walk = self._begun(stream, before, stated or {})
        for block in self._blocks(stream, before.number if before.number else _BEFORE_ALL, alone=True):
            yield from self._block(walk, block)
        yield from _end(walk, self._heads(ChainHead.objects.filter(pk=stream)))

    def of_all(self) -> Iterator[Misfit]:
        """What does not fit in any stream's chain, from its first number on."""
        heads, walk = self._heads(ChainHead.objects.all()), None
        without = set(heads) - set(self._ended)
        for block in self._blocks(uuid.UUID(int=0), _BEFORE_ALL, alone=False):
            for run in _runs_of_a_stream(block):
                if run[0].stream in self._ended:
                    continue
                if walk is None or walk.stream != run[0].stream:
                    yield from _end(walk, heads) if walk else ()
                    walk = self._begun(run[0].stream, chain.START, {})
                    without.discard(walk.stream)
                yield from self._block(walk, run)
        yield from _end(walk, heads) if walk else ()
        for stream in sorted(without):
            yield from _end(self._begun(stream, chain.START, {}), heads)

    def _begun(self, stream: uuid.UUID, before: Head, stated: Mapping[int, str]) -> _Walk:
        return _Walk(stream, before, self._lineage.heads(stream) | dict(stated), self._forks.get(stream, {}))

    def _heads(self, queryset: Any) -> dict[uuid.UUID, Head]:
        found = self._orm(queryset.values_list("stream_id", "number", "digest"))
        return {stream: Head(number, digest) for stream, number, digest in found}

    def _blocks(self, stream: uuid.UUID, number: int, *, alone: bool) -> Iterator[list[_Link]]:
        behind = "stream_id = %s AND number > %s" if alone else "(stream_id, number) > (%s, %s)"
        statement = f"SELECT {_COLUMNS} FROM {_JOURNAL} WHERE number IS NOT NULL AND {behind} ORDER BY stream_id, number LIMIT {BLOCK}"  # noqa: S608
        while True:
            with self.connection.cursor() as cursor:
                cursor.execute(statement, [_stored(stream, self.connection), number])
                block = [_Link(_uuid(row[0]), *row[1:]) for row in cursor.fetchall()]
            if block:
                stream, number = block[-1].stream, block[-1].number
                yield block
            if len(block) < BLOCK:
                return

    def _block(self, walk: _Walk, block: Sequence[_Link]) -> Iterator[Misfit]:
        texts, beyond = self._texts(block)
        purged = self._purged(walk.stream)
        for link in block:
            what = beyond.get((link.model, link.shape))
            if what is None:
                what = _content_misfit(link, texts.get((link.model, link.history_id)), listed=link.number in purged)
            elif link.salt is None:
                what = "" if link.number in purged else UNRECORDED
            elif not what:
                what = UNREAD
            if what in (EDITED, OF_NO_MODEL, UNREAD):
                what = self._excused(link, what)
            for found in (what, *walk.follow(link)):
                if found:
                    yield self._misfit(link, found)
        self.changes += len(block)
        self._tell(self.changes)

    def _excused(self, link: _Link, what: str) -> str:
        """Nothing, and the change is counted, when a migration is why its content cannot be made anew."""
        version = self._lineage.vouching(link.model, link.stream, link.number)
        if version is not None:
            self.vouched[version, link.model] += 1
            return ""
        if what == UNREAD:
            self.unread[link.model] += 1
            return ""
        return what

    def _texts(self, block: Iterable[_Link]) -> tuple[dict[tuple[str, int], bytes], dict[_Kind, str]]:
        """The text of each history row, by model and id. And for each model and shape of which no text is to be had, what is wrong with
        that: nothing where a migration dropped columns."""
        wanted: dict[_Kind, list[int]] = {}
        for link in block:
            wanted.setdefault((link.model, link.shape), []).append(link.history_id)
        found: dict[tuple[str, int], bytes] = {}
        beyond: dict[_Kind, str] = {}
        for (model, shape), ids in wanted.items():
            texts: dict[int, bytes] | None = {}
            if model not in self._protected:
                beyond[model, shape] = OF_NO_MODEL
            elif shape not in self._shapes:
                beyond[model, shape] = "which columns its digest covers is unknown: edited behind our back"
            elif (texts := self._texts_of_shape(model, self._shapes[shape], ids)) is None:
                beyond[model, shape] = ""
            found |= {(model, history_id): text for history_id, text in (texts or {}).items()}
        return found, beyond

    def _texts_of_shape(self, model: str, shape: RowShape, ids: Sequence[int]) -> dict[int, bytes] | None:
        names = self._lineage.names(model, shape.sha256)
        return history_text.texts_of_shape(self._protected[model], shape, ids, self.connection, names)

    def _misfit(self, link: _Link, what: str) -> Misfit:
        self._named += 1
        key = self._key(link) if self._named <= NAMED else ""
        return Misfit(link.stream, what, link.number, link.model, link.history_id, key)

    def _key(self, link: _Link) -> str:
        protected = self._protected.get(link.model)
        if protected is None:
            return ""
        quote = self.connection.ops.quote_name
        key = quote(str(protected.model._meta.pk.column))
        with self.connection.cursor() as cursor:
            statement = f"SELECT {key} FROM {quote(protected.history_model._meta.db_table)} WHERE history_id = %s"  # noqa: S608
            cursor.execute(statement, [link.history_id])
            found = cursor.fetchone()
        return str(found[0]) if found else ""

    def _orm(self, queryset: Any) -> Iterator[Any]:
        return iter(queryset.query.get_compiler(connection=self.connection).results_iter(tuple_expected=True))


@dataclass(slots=True)
class _Walk:
    """Where the walk along one chain stands."""

    stream: uuid.UUID
    head: Head
    stated: Mapping[int, str]
    forks: Mapping[Head, Head]

    def follow(self, link: _Link) -> Iterator[str]:
        """What does not fit in the chain; the walk goes on from what is written there."""
        written = Head(link.number, link.digest or "")
        if (landing := self.forks.get(self.head)) is not None and landing.number + 1 == link.number:
            self.head = landing
        yield chain.misfit(self.head, written, link.leaf or "")
        if self.stated.get(link.number, written.digest) != written.digest:
            yield (
                "a set was made, or a schema version signed, with another digest: this change or one before it was altered, and the chain "
                "computed anew"
            )
        self.head = written


def _end(walk: _Walk, heads: Mapping[uuid.UUID, Head]) -> Iterator[Misfit]:
    stands = heads.get(walk.stream, chain.START)
    if stands not in (walk.head, walk.forks.get(walk.head)):
        what = (
            f"the chain ends here with the digest {walk.head.digest:.12}…; it was known to end at {stands.number} with {stands.digest:.12}…"
        )
        yield Misfit(walk.stream, what, walk.head.number)


def _content_misfit(link: _Link, text: bytes | None, *, listed: bool) -> str:
    if link.salt is None and text is None:
        return "" if listed else UNRECORDED
    if listed:
        return "a purge lists it, and its content is there again: somebody put it back behind our back"
    if link.salt is None:
        return "its history row is there, and the salt that proves it is gone"
    if text is None:
        return "its history row is gone: deleted behind our back"
    try:
        leaf = chain.leaf(bytes.fromhex(link.salt), chain.change_content(link.model, _moment(link.written_at), text))
    except ValueError:
        return "its salt is none"
    return "" if leaf == link.leaf else EDITED


def _runs_of_a_stream(block: Sequence[_Link]) -> Iterator[Sequence[_Link]]:
    start = 0
    for at in range(1, len(block) + 1):
        if at == len(block) or block[at].stream != block[start].stream:
            yield block[start:at]
            start = at


# History and journal rows that have no counterpart. Each statement gives the number of all, and the first hundred.


def unpaired(connection: BaseDatabaseWrapper, stream: uuid.UUID | None = None) -> Iterator[Misfit]:
    """History rows without a journal row that tells of them, and waiting journal rows without a history row; of one stream or of all.
    (Of those with a number the recomputation tells.)"""
    known = registry.protected()
    for protected in known:
        yield from _untold(connection, protected, stream)
        yield from _waiting_for_nothing(connection, protected, stream)
    yield from _of_no_model(connection, [protected.label for protected in known], stream)


def _untold(connection: BaseDatabaseWrapper, protected: Protected, stream: uuid.UUID | None) -> Iterator[Misfit]:
    quote = connection.ops.quote_name
    history, key = quote(protected.history_model._meta.db_table), quote(str(protected.model._meta.pk.column))
    one = "h.history_stream = %s AND " if stream else ""
    statement = (
        f"SELECT count(*) OVER (), h.history_stream, h.history_id, h.{key}, j.id FROM {history} h "  # noqa: S608  (names from the models)
        f"LEFT JOIN {_JOURNAL} j ON j.model = '{protected.label}' AND j.history_id = h.history_id "
        f"WHERE {one}(j.id IS NULL OR j.stream_id <> h.history_stream OR j.{quote('transaction')} <> h.history_transaction) "
        f"ORDER BY h.history_id LIMIT {NAMED}"
    )
    rows = _asked(connection, statement, stream)
    for _, of_stream, history_id, row_key, journal_id in rows:
        what = "no change of the journal tells of this history row: inserted behind our back"
        if journal_id is not None:
            what = "the journal tells of this history row with another customer or transaction: edited behind our back"
        yield Misfit(_uuid(of_stream), what, None, protected.label, history_id, str(row_key))
    yield from _more(rows, stream, protected.label, "more history rows that the journal tells nothing of, or something else")


def _waiting_for_nothing(connection: BaseDatabaseWrapper, protected: Protected, stream: uuid.UUID | None) -> Iterator[Misfit]:
    history = connection.ops.quote_name(protected.history_model._meta.db_table)
    one = " AND j.stream_id = %s" if stream else ""
    statement = (
        f"SELECT count(*) OVER (), j.stream_id, j.history_id FROM {_JOURNAL} j WHERE j.number IS NULL{one} "  # noqa: S608
        f"AND j.model = '{protected.label}' AND NOT EXISTS (SELECT 1 FROM {history} h WHERE h.history_id = j.history_id) "
        f"ORDER BY j.id LIMIT {NAMED}"
    )
    rows = _asked(connection, statement, stream)
    for _, of_stream, history_id in rows:
        what = "its history row is gone before it had a number: deleted behind our back"
        yield Misfit(_uuid(of_stream), what, None, protected.label, history_id)
    yield from _more(rows, stream, protected.label, "more changes without a number whose history rows are gone")


def _of_no_model(connection: BaseDatabaseWrapper, labels: Sequence[str], stream: uuid.UUID | None) -> Iterator[Misfit]:
    one = " AND j.stream_id = %s" if stream else ""
    names = ", ".join(f"'{label}'" for label in labels)
    statement = (
        f"SELECT count(*) OVER (), j.stream_id, j.history_id, j.model FROM {_JOURNAL} j "  # noqa: S608
        f"WHERE j.number IS NULL{one} AND j.model NOT IN ({names}) ORDER BY j.id LIMIT {NAMED}"
    )
    rows = _asked(connection, statement, stream)
    for _, of_stream, history_id, model in rows:
        yield Misfit(_uuid(of_stream), OF_NO_MODEL, None, model, history_id)
    yield from _more(rows, stream, "", "more changes of no protected model of this software")


def _asked(connection: BaseDatabaseWrapper, statement: str, stream: uuid.UUID | None) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement, [_stored(stream, connection)] if stream else [])
        return list(cursor.fetchall())


def _more(rows: Sequence[Any], stream: uuid.UUID | None, model: str, what: str) -> Iterator[Misfit]:
    count = rows[0][0] - len(rows) if rows else 0
    if count:
        yield Misfit(stream, what, None, model, times=count)


# What the journal says of single numbers.


def journal_digests(connection: BaseDatabaseWrapper, wanted: Sequence[tuple[uuid.UUID, int]]) -> dict[tuple[uuid.UUID, int], str]:
    """The digest of each of these numbers that the journal has."""
    found: dict[tuple[uuid.UUID, int], str] = {}
    for start in range(0, len(wanted), MANY):
        some = wanted[start : start + MANY]
        asked = " OR ".join(["(stream_id = %s AND number = %s)"] * len(some))
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT stream_id, number, digest FROM {_JOURNAL} WHERE {asked}",  # noqa: S608  (names from the models)
                [value for stream, number in some for value in (_stored(stream, connection), number)],
            )
            found |= {(_uuid(stream), number): digest or "" for stream, number, digest in cursor.fetchall()}
    return found


def numbers_up_to(connection: BaseDatabaseWrapper, stream: uuid.UUID, number: int) -> tuple[int, str, int]:
    """How many changes of the stream have that number or a smaller one, the digest of the one that has it (empty when none has), and how
    many of them have no salt."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT (SELECT count(*) FROM {_JOURNAL} WHERE stream_id = %s AND number <= %s), "  # noqa: S608
            f"(SELECT digest FROM {_JOURNAL} WHERE stream_id = %s AND number = %s), "
            f"(SELECT count(*) FROM {_JOURNAL} WHERE {_UNSALTED} AND stream_id = %s AND number <= %s)",
            [_stored(stream, connection), number] * 3,
        )
        count, digest, unsalted = cursor.fetchone()
    return int(count), digest or "", int(unsalted)


def without_salt(connection: BaseDatabaseWrapper, stream: uuid.UUID, number: int) -> list[int]:
    """The numbers up to that one whose changes have no salt any more."""
    statement = f"SELECT number FROM {_JOURNAL} WHERE {_UNSALTED} AND stream_id = %s AND number <= %s ORDER BY number"  # noqa: S608
    with connection.cursor() as cursor:
        cursor.execute(statement, [_stored(stream, connection), number])
        return [number for (number,) in cursor.fetchall()]


def _stored(stream: uuid.UUID, connection: BaseDatabaseWrapper) -> Any:
    key: Any = Stream._meta.pk
    return key.get_db_prep_value(stream, connection)


def _uuid(value: Any) -> uuid.UUID:
    return value if isinstance(value, uuid.UUID) else uuid.UUID(value)


def _moment(value: datetime | str) -> str:
    """As `audit.rows` writes a datetime; text is as SQLite keeps one."""
    if isinstance(value, str):
        time = value[11:]
        return f"{value[:10]}T{(time + ('000000' if '.' in time else '.000000'))[:15]}Z"
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
