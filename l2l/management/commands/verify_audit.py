"""`manage.py verify_audit`: are the evidence trail, and every customer's history, what was recorded (P8, P13)?"""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser
from django.db import connection

from audit import evidence, journal_proof
from audit.anchors import anchoring
from audit.anchors.files import anchors_in
from audit.commands import BackOfficeCommand
from audit.evidence import verify_chain
from audit.journal_proof import Misfit
from audit.models import Stream
from audit.registry import SYSTEM_STREAM
from audit.schema import versions
from backups import keyfiles, signed_heads
from backups import vault as vaults
from backups.errors import BackupError
from backups.hot import timelines
from backups.purge.recorded import recorded_numbers
from backups.signed_heads import SignedHead, Vouched
from backups.snapshot import snapshot
from backups.stores.contract import StoreError
from backups.vault import Vault
from subscriptions.models import Customer

SHOWN = 20
KEPT = 1000


@dataclass(slots=True)
class Found:
    """What history, journal and signed heads came to. `problems` are the first thousand of `count`; `unread` counts changes, by model,
    whose content a migration dropped in part and no schema version says so, `dropped` those of which one does, as (version, model, count);
    `anchored` counts lines of anchors that were held against the journal, `given` anchors from outside; `troubles` say what could not be
    looked at."""

    changes: int = 0
    count: int = 0
    problems: list[Misfit] = field(default_factory=list)
    unread: dict[str, int] = field(default_factory=dict)
    dropped: list[tuple[int, str, int]] = field(default_factory=list)
    vouched: Vouched = field(default_factory=Vouched)
    anchored: int = 0
    given: int = 0
    troubles: list[str] = field(default_factory=list)

    def add(self, misfits: Iterable[Misfit]) -> None:
        for misfit in misfits:
            self.count += misfit.times
            if len(self.problems) < KEPT:
                self.problems.append(misfit)


class Command(BackOfficeCommand):
    help = (
        "Recomputes the evidence trail, and every customer's chain of changes from its history rows, and holds both against the heads that "
        "were signed; ends with 0 only if everything fits."
    )
    known = (BackupError, StoreError)

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--customer", metavar="CODE", help="the changes of this customer alone ('system': of what people decide)")
        parser.add_argument("--fingerprint", metavar="HEX", help="the signing key to trust (recovery kit); default: this installation's")
        parser.add_argument(
            "--anchor",
            metavar="FILE",
            type=Path,
            nargs="+",
            default=[],
            help="anchors as they were mailed (the attachment, the saved mail or its text): this database is held against them too",
        )

    def work(self, *, customer: str | None, fingerprint: str | None, anchor: list[Path], **options: Any) -> None:
        given = [document for path in anchor for document in _anchors_of(path)]
        trusted = fingerprint or keyfiles.signer(settings.L2L_KEYS).fingerprint
        stream = _stream(customer) if customer else None
        trail = verify_chain(trusted)
        found = verified(vaults.from_settings(), trusted, stream, self.progress(), given)
        names = dict(Stream.objects.filter(pk__in={one.stream for one in found.problems}).values_list("pk", "name"))
        self.report(
            [*_evidence_lines(trail, trusted), *_lines(found, names)],
            {**_evidence_document(trail, trusted), "changes": _document(found, names), "whole": not (trail.problems or found.count)},
        )
        if trail.problems or found.count:
            raise CommandError(_what_is_wrong(trail, found))
        if found.troubles:
            raise CommandError("What could be looked at is as it was recorded; not all could: " + "; ".join(found.troubles[:SHOWN]))


def _anchors_of(path: Path) -> list[dict[str, Any]]:
    found = anchors_in(path.read_bytes())
    if not found:
        raise CommandError(f"{path} holds no anchor: give the attachment of the mail, the mail as it was saved, or its text.")
    return found


def verified(
    vault: Vault, trusted: str, stream: uuid.UUID | None, tell: Callable[[str], None], given: Sequence[dict[str, Any]] = ()
) -> Found:
    """History against journal in one snapshot, then journal against whatever is signed, at the locations and in the anchors; of one
    stream or of all. And the anchors against those that were `given` from outside."""
    places, troubles = vault.usable()
    found = Found(troubles=[f"{name} cannot be used ({why})" for name, why in troubles.items()])
    lines = signed_heads.signed_timelines(places, trusted, [])
    ended = signed_heads.ended_streams(places, trusted, [])  # of these all is gone, rightly: the marker is signed
    with snapshot() as moment:
        walk = journal_proof.Recomputation(
            moment.connection,
            timelines.forks_of(lines.values()),
            lambda changes: tell(f"{changes:,} changes recomputed"),
            recorded_numbers(moment),
            versions.lineage(trusted, moment.connection),
            ended,
        )
        found.add(walk.of_stream(stream) if stream else walk.of_all())
        found.add(one for one in journal_proof.unpaired(moment.connection, stream) if one.stream not in ended)
    found.changes, found.unread = walk.changes, dict(walk.unread)
    found.dropped = [(version, model, count) for (version, model), count in sorted(walk.vouched.items())]
    found.add(Misfit(SYSTEM_STREAM, problem) for problem in versions.problems(trusted))
    if versions.newest() is not None and not versions.is_recorded():
        found.troubles.append(versions.UNRECORDED)
    streams = [stream] if stream else list(Stream.objects.values_list("pk", flat=True))
    problems: list[str] = []
    anchored = _anchored(trusted, stream, problems, found)
    if not places:  # then nothing says who was destroyed, and only the roots are looked at
        deque(anchored, maxlen=0)
    found.add(signed_heads.misfits(places, trusted, streams, connection, found.vouched, tell, anchored))
    for document in given:
        problems += anchoring.unlike(document, trusted)
        found.given += 1
    found.add(Misfit(SYSTEM_STREAM, problem) for problem in problems)
    found.troubles += found.vouched.notes
    return found


def _anchored(trusted: str, stream: uuid.UUID | None, problems: list[str], found: Found) -> Iterator[SignedHead]:
    for one in anchoring.walk(trusted, problems):
        if stream in (None, one.line.stream):
            found.anchored += 1
            yield SignedHead(one.line.stream, one.line.head, one.timeline, f"the anchor of {one.day}")


def _stream(code: str) -> uuid.UUID:
    return SYSTEM_STREAM if code == "system" else Customer.objects.all().by_code(code).pk


def _evidence_lines(verdict: evidence.Verdict, trusted: str) -> list[str]:
    told = [
        f"{verdict.head.number:,} events, the newest with the digest {verdict.head.digest}",
        f"{verdict.heads:,} signed heads; signatures by {trusted[:16]}… vouch for the first {verdict.signed:,} events",
    ]
    return told + _shown([str(problem) for problem in verdict.problems], len(verdict.problems))


def _lines(found: Found, names: dict[uuid.UUID, str]) -> list[str]:
    vouched = found.vouched
    told = [
        f"{found.changes:,} changes recomputed from history",
        f"{vouched.heads:,} signed heads in {vouched.sets:,} sets, {vouched.segments:,} copies of segments and {found.anchored:,} lines of "
        f"anchors vouch for {sum(vouched.up_to.values()):,} of the changes",
        *([f"{found.given:,} anchors from outside held against this database"] if found.given else []),
        *(f"{count:,} changes of {model} have columns that are kept no longer: their links hold" for model, count in found.unread.items()),
        *(
            f"{count:,} changes of {model} are from before schema version {version}, which took some of their content away: "
            f"their links hold, up to the heads that were signed with it once all had been recomputed; sets of before hold the content"
            for version, model, count in found.dropped
        ),
        *(f"NOT LOOKED AT: {trouble}" for trouble in found.troubles[:SHOWN]),
    ]
    return told + _shown([_told(one, names) for one in found.problems[:SHOWN]], found.count)


def _shown(lines: list[str], count: int) -> list[str]:
    hidden = count - len(lines[:SHOWN])
    return [*lines[:SHOWN], *([f"and {hidden:,} more: --json lists them"] if hidden > 0 else [])]


def _told(one: Misfit, names: dict[uuid.UUID, str]) -> str:
    change = f"change {one.number}" if one.number is not None else "a change without a number"
    row = f" ({one.model}{f' {one.key}' if one.key else ''}, history row {one.history_id})" if one.history_id is not None else ""
    many = f"{one.times:,} " if one.times > 1 else ""
    return f"{_name(one, names)}: {many or change}{row or (f' {one.model}' if one.model else '')}: {one.what}"


def _name(one: Misfit, names: dict[uuid.UUID, str]) -> str:
    return names.get(one.stream, f"unknown customer {one.stream}") if one.stream else "several customers"


def _evidence_document(verdict: evidence.Verdict, trusted: str) -> dict[str, Any]:
    return {
        "events": verdict.head.number,
        "digest": verdict.head.digest,
        "signed_up_to": verdict.signed,
        "signed_heads": verdict.heads,
        "fingerprint": trusted,
        "problems": [{"number": problem.number, "what": problem.what} for problem in verdict.problems],
    }


def _document(found: Found, names: dict[uuid.UUID, str]) -> dict[str, Any]:
    return {
        "recomputed": found.changes,
        "unread": found.unread,
        "dropped": [{"version": version, "model": model, "changes": count} for version, model, count in found.dropped],
        "signed_heads": found.vouched.heads,
        "sets": found.vouched.sets,
        "segments": found.vouched.segments,
        "anchored": found.anchored,
        "given_anchors": found.given,
        "troubles": found.troubles,
        "problems_in_all": found.count,
        "problems": [
            {
                "customer": _name(one, names),
                "number": one.number,
                "model": one.model,
                "key": one.key,
                "history_id": one.history_id,
                "what": one.what,
                "times": one.times,
            }
            for one in found.problems
        ],
    }


def _what_is_wrong(trail: evidence.Verdict, found: Found) -> str:
    parts = ["The evidence trail is not what was recorded."] if trail.problems else []
    if found.count:
        parts.append(
            f"History, journal and signed heads do not agree in {found.count:,} places: somebody wrote to the database behind our back. "
            "Find out who; put the rows back from the newest set that was proved (restore --set)."
        )
    return " ".join(parts)
