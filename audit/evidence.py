"""The proof of the evidence trail: signed heads, and the check of the whole chain against them (P13).

Whoever can write to the database can compute the chain anew, but not the signatures: an event that stands under a signed head cannot be
altered, removed or inserted unseen. What came after the newest head is held against its own history rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from django.db.models import Exists, OuterRef

import audit
from audit import chain, registry
from audit.chain import Head
from audit.models import Event, SignedHead
from audit.signing import BadSignature, Signer, verify

FORMAT = "l2l-evidence-head-1"


@dataclass(frozen=True, slots=True)
class Problem:
    """What does not fit, and at which event's number."""

    number: int
    what: str

    def __str__(self) -> str:
        return f"event {self.number}: {self.what}"


@dataclass(slots=True)
class Verdict:
    """`head` is the newest event, `signed` the number up to which signatures vouch."""

    head: Head = chain.START
    signed: int = 0
    heads: int = 0
    problems: list[Problem] = field(default_factory=list)


def sign_head(signer: Signer, now: datetime) -> SignedHead:
    """Signs where the chain stands now, also when nothing was added: silence is evidence too."""
    newest = Event.objects.order_by("-number").values_list("number", "digest").first()
    head = Head(*newest) if newest else chain.START
    document = {"format": FORMAT, "number": head.number, "digest": head.digest, "at": now.astimezone(UTC).isoformat()}
    with audit.acting("audit", source="sign_head"):
        return SignedHead.objects.create(number=head.number, digest=head.digest, at=now, document=signer.sign(document))  # type: ignore[misc]


def verify_chain(fingerprint: str) -> Verdict:
    """Everything recomputed, from the first event to the last, and each head checked against the key of that fingerprint."""
    verdict, stated = Verdict(), _stated_heads()
    verdict.problems += _head_problems(fingerprint, verdict)
    verdict.problems += _rows(stated, verdict)
    verdict.problems += _beyond(stated, verdict.head)
    verdict.problems += _unlike_history()
    verdict.problems.sort(key=lambda problem: problem.number)
    return verdict


def _stated_heads() -> dict[int, set[str]]:
    stated: dict[int, set[str]] = {}
    for number, digest in SignedHead.objects.values_list("number", "digest"):
        stated.setdefault(number, set()).add(digest)
    return stated


def _head_problems(fingerprint: str, verdict: Verdict) -> Iterator[Problem]:
    for head in SignedHead.objects.order_by("id").iterator():
        verdict.heads += 1
        if what := _signature_misfit(head, fingerprint):
            yield Problem(head.number, f"the signed head {head.pk}: {what}")
        else:
            verdict.signed = max(verdict.signed, head.number)
    if not verdict.heads:
        yield Problem(0, "no head is signed: all were removed, or 'manage.py init' was never run")


def _signature_misfit(head: SignedHead, fingerprint: str) -> str:
    try:
        body = verify(head.document, fingerprint)
    except BadSignature as problem:
        return str(problem)
    said = (body.get("format"), body.get("number"), body.get("digest"))
    return "" if said == (FORMAT, head.number, head.digest) else "its number or digest is not what was signed"


def _rows(stated: dict[int, set[str]], verdict: Verdict) -> Iterator[Problem]:
    for row in Event.objects.order_by("number").iterator():
        link = Head(row.number, row.digest)
        whats = (_content_misfit(row), chain.misfit(verdict.head, link, row.leaf), _head_misfit(link, stated))
        yield from (Problem(row.number, what) for what in whats if what)
        verdict.head = link


def _content_misfit(row: Event) -> str:
    try:
        fits = row.leaf_now() == row.leaf
    except ValueError:
        return "its content cannot be read as it was written"
    return "" if fits else "its content does not fit its digest: it was edited"


def _head_misfit(link: Head, stated: dict[int, set[str]]) -> str:
    wrong = stated.get(link.number, set()) - {link.digest}
    return "the signed head has another digest: this event or one before it was altered, and the chain computed anew" if wrong else ""


def _beyond(stated: dict[int, set[str]], head: Head) -> Iterator[Problem]:
    if stated and max(stated) > head.number:
        yield Problem(head.number + 1, f"missing: a head is signed up to {max(stated)}, the trail ends at {head.number}")


def _unlike_history() -> Iterator[Problem]:
    """Events that no history row tells of, and history rows whose event is gone."""
    history = registry.of(Event).history_model._default_manager
    told = history.filter(number=OuterRef("number"), digest=OuterRef("digest"))
    for number in Event.objects.filter(~Exists(told)).values_list("number", flat=True).order_by("number"):
        yield Problem(number, "history tells nothing of it: it was inserted or altered behind our back")
    there = Event.objects.filter(number=OuterRef("number"))
    for number in history.filter(~Exists(there)).values_list("number", flat=True).order_by("number"):
        yield Problem(number, "removed: only its history row is left")
