"""A package reopened from the disk and verified by us, before anybody is told that it exists (P10; design section 9)."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator

from django.db import models

from audit import registry
from audit.models import JournalRow
from audit.signing import BadSignature, verify
from backups.errors import NotReturned
from backups.returning.beside import HEAD
from backups.returning.importable import count_rows
from backups.returning.packing import Packed
from subscriptions.bag import MANIFEST, BadBag, Bag

Progress = Callable[[str], None]


def check(packed: Packed, stream: uuid.UUID, trusted: str, progress: Progress) -> None:
    """The zip's sums, the bag complete and valid, each table as the set has it, as many rows as the set and the live tables have, the
    signature by `trusted`. Raises `NotReturned` with what is wrong; then nothing is given out."""
    try:
        with packed.path.open("rb") as file:
            problems = list(_problems(Bag(file), packed, trusted, progress))
    except BadBag as bad:
        problems = bad.problems
    problems += _miscounted(packed, stream)
    if problems:
        raise NotReturned(
            f"The package was made and is not right: {'; '.join(problems)}. It was thrown away and is made again by itself; if that "
            "goes on, see whether the disk is sound, and the set's page."
        )


def _problems(bag: Bag, packed: Packed, trusted: str, progress: Progress) -> Iterator[str]:
    finished = bag.validate(progress)
    if finished != packed.finished:
        yield "the bag is another one than the one that was written"
    listed = bag.listed(MANIFEST)
    for path, sha256 in packed.written.digests.items():
        if listed.get(path) != sha256:
            yield f"{path} is not what the set has"
    for path, rows in packed.written.tables.items():
        progress(f"counting {path}")
        if count_rows(_text_lines(bag, path)) != rows:
            yield f"{path} has another number of rows than the set"
    try:
        head = verify(json.loads(bag.content(HEAD)), trusted)
    except (BadSignature, ValueError) as problem:
        yield f"{HEAD}: {problem}"
        return
    if (head["manifest_sha256"], head["set"], head["counts"]) != (finished.manifest_sha256, packed.about.set_id, packed.written.counts):
        yield f"{HEAD} is about another package"


def _text_lines(bag: Bag, path: str) -> Iterator[str]:
    """The lines as the csv module takes them: line breaks inside of quotes stay as they are."""
    rest = b""
    for piece in bag.pieces(path):
        *whole, rest = (rest + piece).split(b"\n")
        yield from (line.decode() + "\n" for line in whole)
    if rest:
        yield rest.decode()


def _miscounted(packed: Packed, stream: uuid.UUID) -> Iterator[str]:
    totals = packed.written.totals
    yield from (
        f"{totals[what]} {what} were packed and the set counts {count}"
        for what, count in packed.envelope_counts.items()
        if totals[what] != count
    )
    for name, live in _live(stream):
        if packed.written.counts.get(name) != live:
            yield f"{packed.written.counts.get(name)} of {name} were packed and there are {live}"


def _live(stream: uuid.UUID) -> Iterator[tuple[str, int]]:
    """How many there are in the live tables, which nobody changes since the freeze."""
    for protected in registry.of_stream(stream):
        yield f"rows/{protected.label}", protected.rows(stream).count()
        yield f"history/{protected.label}", models.QuerySet(protected.history_model).filter(history_stream=stream).count()
    yield f"journal/{JournalRow._meta.label_lower}", JournalRow.objects.filter(stream=stream).count()
