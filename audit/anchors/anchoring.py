"""The day's head over all chains (P8, P13): one signed root a day, which leaves the house and cannot be rewritten there.

Whoever holds the database and the signing key can compute every chain anew and sign it again. So each day the head of every chain that
moved since the day before becomes a line, `root = sha256(root of the day before || lines)`, and the signed root goes to somebody outside:
one such root held against the database finds whatever was rewritten in any change that had its number by that day.

Only changes with a number count: those that were shipped. Lines stand in the order of the streams' ids; a line is
`<stream> <number> <digest>` and a line feed.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from django.db import transaction
from django.db.models import F, OuterRef, Q, Subquery

import audit
from audit import chain
from audit.chain import Head
from audit.models import Anchor, AnchoredHead, ChainHead, Event
from audit.signing import BadSignature, Signer, verify

FORMAT = "l2l-anchor-1"
FIRST = "0" * 64


@dataclass(frozen=True, slots=True)
class Line:
    """Where one chain stood when the anchor was made."""

    stream: uuid.UUID
    head: Head

    def __str__(self) -> str:
        return f"{self.stream} {self.head.number} {self.head.digest}\n"


@dataclass(frozen=True, slots=True)
class Anchored:
    """A line of an anchor whose signature and root are right; `timeline` is the one of when it was made."""

    line: Line
    timeline: int
    day: date


def root_of(before: str, lines: str) -> str:
    """SHA-256 over the 32 bytes of the root before and the lines, in hex."""
    return hashlib.sha256(bytes.fromhex(before) + lines.encode()).hexdigest()


def make(signer: Signer, *, day: date, timeline: int, now: datetime) -> Anchor:
    """The anchor of that day: the one that there is, or a new one, also when no chain moved: silence is evidence too. A number of
    statements that does not grow with the streams."""
    found = Anchor.objects.filter(day=day).first()
    if found is not None:
        return found
    with transaction.atomic(), audit.acting("audit", reason="the day's head over all chains", source="anchor"):
        lines = moved()
        before = newest()
        text = "".join(map(str, lines))
        root = root_of(before.root if before else FIRST, text)
        document = signer.sign(_document(day, timeline, now, root, before, lines))
        _mark(lines)
        return Anchor.objects.create(day=day, at=now, root=root, heads=text, document=document)  # type: ignore[misc]


def newest() -> Anchor | None:
    return Anchor.objects.order_by("-day").first()


def moved() -> list[Line]:
    """The head of each chain that is not in an anchor yet, in the order of the streams."""
    anchored = AnchoredHead.objects.filter(stream=OuterRef("stream_id")).values("number")
    heads = ChainHead.objects.filter(number__gt=0).annotate(anchored=Subquery(anchored))
    found = heads.filter(Q(anchored=None) | ~Q(anchored=F("number"))).values_list("stream_id", "number", "digest")
    return sorted((Line(stream, Head(number, digest)) for stream, number, digest in found), key=lambda line: str(line.stream))


def _mark(lines: Sequence[Line]) -> None:
    rows = [AnchoredHead(stream=line.stream, number=line.head.number) for line in lines]
    AnchoredHead.objects.bulk_create(rows, batch_size=10_000, update_conflicts=True, unique_fields=["stream"], update_fields=["number"])


def _document(day: date, timeline: int, now: datetime, root: str, before: Anchor | None, lines: Sequence[Line]) -> dict[str, Any]:
    event = Event.objects.order_by("-number").values_list("number", "digest").first()
    evidence = Head(*event) if event else chain.START
    return {
        "format": FORMAT,
        "day": day.isoformat(),
        "at": now.astimezone(UTC).isoformat(),
        "timeline": timeline,
        "root": root,
        "before": {"day": before.day.isoformat(), "root": before.root} if before else {"day": None, "root": FIRST},
        "chains": len(lines),
        "evidence": {"number": evidence.number, "digest": evidence.digest},
    }


# Looked at again.


def lines_of(text: str) -> list[Line]:
    """The lines of an anchor; `ValueError` for what is none."""
    found = []
    for line in text.splitlines():
        stream, number, digest = line.split(" ")
        found.append(Line(uuid.UUID(stream), Head(int(number), digest)))
    return found


def walk(trusted: str, problems: list[str]) -> Iterator[Anchored]:
    """Every anchor from the first on: its signature by the key of that fingerprint, its root from the root before and its lines, the
    evidence trail at its number. Gives the lines of those that are right, to be held against the journal; what is wrong is put into
    `problems`."""
    before = FIRST
    for anchor in Anchor.objects.order_by("day").iterator(chunk_size=8):
        wrong = _misfit(anchor, before, trusted)
        before = anchor.root
        if wrong:
            problems.append(f"the anchor of {anchor.day}: {wrong}")
            continue
        yield from (Anchored(line, anchor.document["timeline"], anchor.day) for line in lines_of(anchor.heads))
    problems += _unlike_evidence()


def _misfit(anchor: Anchor, before: str, trusted: str) -> str:
    try:
        said = verify(anchor.document, trusted)
        lines = lines_of(anchor.heads)
        root = root_of(before, anchor.heads)
    except BadSignature as problem:
        return str(problem)
    except ValueError:
        return "its lines or its root are none: it was edited"
    if (said.get("format"), said.get("day"), said.get("root")) != (FORMAT, anchor.day.isoformat(), anchor.root):
        return "its day or its root is not what was signed"
    if said.get("before", {}).get("root") != before:
        return "it does not follow the anchor before it: one was removed, altered or put in"
    if root != anchor.root or said.get("chains") != len(lines):
        return "its root does not follow from its lines: they were edited"
    return ""


def _unlike_evidence() -> Iterator[str]:
    """Events that an anchor saw with another digest, or that are gone."""
    stated = {head.number: (day, head.digest) for day, head in _evidence()}
    known = dict(Event.objects.filter(number__in=[*stated]).values_list("number", "digest")) | {0: chain.START.digest}
    for number, (day, digest) in stated.items():
        if known.get(number) != digest:
            yield f"the anchor of {day} saw event {number} with another digest: it or one before it was altered, or removed"


def _evidence() -> Iterator[tuple[date, Head]]:
    """Where the evidence trail stood, as each anchor says; of one whose document was cut up the signature tells already."""
    day: date
    document: Any
    for day, document in Anchor.objects.order_by("day").values_list("day", "document").iterator(chunk_size=500):
        try:
            yield day, Head(document["evidence"]["number"], document["evidence"]["digest"])
        except (KeyError, TypeError):
            continue


def unlike(document: dict[str, Any], trusted: str) -> Iterator[str]:
    """What does not fit between an anchor as somebody outside has it, and this database. Nothing here was asked of who could rewrite both:
    the document comes from outside, and the fingerprint does."""
    try:
        said = verify(document, trusted)
        day, root, evidence = date.fromisoformat(said["day"]), said["root"], Head(said["evidence"]["number"], said["evidence"]["digest"])
    except BadSignature as problem:
        yield f"the anchor that was given does not count: {problem}"
        return
    except (KeyError, TypeError, ValueError):
        yield "the anchor that was given does not count: it lacks its day, root or evidence"
        return
    ours = Anchor.objects.filter(day=day).first()
    if ours is None:
        yield f"the anchor of {day} was sent out with root {root[:16]}…, and this database has none of that day: {_WHY}"
    elif ours.root != root:
        yield f"the anchor of {day} was sent out with root {root[:16]}…, and this database has {ours.root[:16]}…: {_WHY}"
    known = Event.objects.filter(number=evidence.number).values_list("digest", flat=True).first()
    if evidence.number and known != evidence.digest:
        yield f"event {evidence.number} was sent out on {day} with another digest: it or one before it was altered, or removed; {_WHY}"


_WHY = "changes from before that day were rewritten, or the service was recovered from an older second (its event is service:recovered)"
