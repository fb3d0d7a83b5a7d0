"""Issuing what is said of a destruction: an interim statement, the certificate after a day, its supplement after a week (P12).

The facts are gathered just then and proved just then; `stating` refuses a certificate of which one line is not verified. A statement is
written once and stays: killed between it and what follows from it, the next look finds it and issues no second one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import transaction

from audit.events import Event as Kind
from audit.events import record
from audit.models import Event
from backups.destroy import checking, forgetting, stages, stating, steps, sweeping
from backups.destroy.forgetting import Forgotten, NotForgotten, Remains
from backups.destroy.planning import stored_plan
from backups.destroy.proving import Proof, prove
from backups.destroy.stating import GONE, THERE, UNKNOWN, CopyLine, Facts, Where
from backups.errors import NotCertified, NotPlanned
from backups.models import Certificate, DestructionPlan, DestructionStep, DestructionSweep, Location
from backups.vault import Vault
from subscriptions import past_term, terms
from subscriptions.ending import clock, returns
from subscriptions.models import DeletionRequest, Export, LegalHold, Receipt, Subscription

Step, Stage = DestructionStep.Step, DestructionSweep.Stage


def register() -> None:
    """What the sweeps call: the drill at once, the certificate after a day, the supplement after a week."""
    stages.at(Stage.AT_ONCE)(drill)
    stages.at(Stage.DAY)(issue)
    stages.at(Stage.WEEK)(supplement)
    stages.at(stages.STUCK)(interim)


def drill(vault: Vault, request: DeletionRequest, now: datetime) -> Certificate:
    """At once after the last step: everything is tried, the database forgets, and an interim statement keeps what was seen.

    Raises `NotCertified` when something does not hold, `NotForgotten`."""
    forgotten, proof = forgetting.forget(vault.clock), prove(vault, request)
    if not proof.holds:
        raise NotCertified(f"Not proved: {_listed(proof.troubles)}")
    waits = ["the places are listed again 24 hours after the last step; only then a certificate is issued"]
    return _issued(vault, request, Certificate.Kind.INTERIM, now, proof, forgotten, waits)


def issue(vault: Vault, request: DeletionRequest, now: datetime) -> Certificate:
    """The certificate; the one that was issued in this round already, when there is one. Raises `NotCertified` unless every line is
    verified, and `NotForgotten`. Stands inside `audit.acting(...)`, outside of every transaction."""
    return _standing(request, Certificate.Kind.CERTIFICATE) or _proved(vault, request, Certificate.Kind.CERTIFICATE, now)


def supplement(vault: Vault, request: DeletionRequest, now: datetime) -> Certificate:
    """After a week: everything was looked at again. Raises as `issue`, and `NotCertified` without a certificate."""
    if _standing(request, Certificate.Kind.CERTIFICATE) is None:
        raise NotCertified("There is no certificate of this round that could be supplemented.")
    return _standing(request, Certificate.Kind.SUPPLEMENT) or _proved(vault, request, Certificate.Kind.SUPPLEMENT, now)


def interim(vault: Vault, request: DeletionRequest, now: datetime) -> Certificate:
    """What can be said now: what is gone, what remains where, and by when it is due. Claims nothing that was not seen just now; a location
    that is down is named. Never refused."""
    try:
        forgotten = forgetting.forget(vault.clock)
    except NotForgotten:
        forgotten = None
    return _issued(vault, request, Certificate.Kind.INTERIM, now, prove(vault, request), forgotten, _unfinished(vault, request, now))


def _proved(vault: Vault, request: DeletionRequest, kind: str, now: datetime) -> Certificate:
    if waits := _unfinished(vault, request, now):
        raise NotCertified(f"Not yet: {_listed(waits)}")
    forgotten = forgetting.forget(vault.clock)
    proof = prove(vault, request)
    if not proof.holds:
        raise NotCertified(f"Not proved: {_listed(proof.troubles)}")
    return _issued(vault, request, kind, now, proof, forgotten, [])


def _unfinished(vault: Vault, request: DeletionRequest, now: datetime) -> list[str]:
    """What must be over before a certificate, a line each."""
    from backups.destroy import carrying_out

    finished = steps.finished_at(request, lambda: carrying_out.wanted(vault, request))
    if finished is None:
        return _open_steps(vault, request)
    if now < finished + sweeping.AFTER[Stage.DAY]:
        return ["24 hours after the last step are not over"]
    swept = DestructionSweep.objects.filter(request=request, round=steps.round_of(request), stage=Stage.AT_ONCE, clean=True)
    return [] if swept.exists() else ["the places were not listed again at once after the last step"]


def _open_steps(vault: Vault, request: DeletionRequest) -> list[str]:
    from backups.destroy import carrying_out

    rows = {(one.step, one.location): one for one in steps.of_round(request)}
    lines = []
    for step, location in dict.fromkeys([*carrying_out.wanted(vault, request), *rows]):
        row = rows.get((step, location))
        if row is None or row.done_at is None:
            called = f"{Step(step).label}{f' at {location}' if location else ''}"
            lines.append(f"{called}: {row.trouble or 'under way' if row else 'not begun'}")
    return lines or ["the destruction has not begun"]


def _standing(request: DeletionRequest, kind: str) -> Certificate | None:
    return Certificate.objects.filter(request=request, kind=kind, round=steps.round_of(request)).first()


def _listed(lines: Sequence[str]) -> str:
    shown = "; ".join(lines[:5])
    return f"{shown}; and {len(lines) - 5} more." if len(lines) > 5 else f"{shown}."


def _issued(
    vault: Vault,
    request: DeletionRequest,
    kind: str,
    now: datetime,
    proof: Proof,
    forgotten: Forgotten | None,
    troubles: Sequence[str],
) -> Certificate:
    facts = facts_of(vault, request, kind, now, proof, forgotten, troubles)
    try:
        document = stating.document(facts)
    except ValueError as problem:
        raise NotCertified(f"Not every line is verified: {problem}") from None
    text = checking.text_of(vault.signer.sign(document))
    sha256 = checking.sha256_of(text)
    with transaction.atomic():
        DeletionRequest._base_manager.select_for_update().get(pk=request.pk)
        known = _standing(request, kind) if kind != Certificate.Kind.INTERIM else None
        if known is not None:
            return known
        made = Certificate(
            request=request,
            kind=kind,
            number=facts.number,
            round=steps.round_of(request),
            document=text,
            sha256=sha256,
            issued_at=now,
        )
        made.save()
        told = {"kind": str(kind), "number": made.number, "sha256": sha256}
        record(Kind.CERTIFIED, subject=made, customer=request.stream, facts=told)
    return made


def facts_of(
    vault: Vault,
    request: DeletionRequest,
    kind: str,
    now: datetime,
    proof: Proof,
    forgotten: Forgotten | None,
    troubles: Sequence[str],
) -> Facts:
    """Everything that is stated, as it is recorded now."""
    plan, rows = _plan(request), list(DestructionStep.objects.filter(request=request).order_by("id"))
    places = _places(vault, request, plan, rows, proof)
    certificate = _standing(request, Certificate.Kind.CERTIFICATE)
    return Facts(
        kind=str(kind),
        number=Certificate.objects.filter(request=request).count() + 1,
        issued_at=now,
        sample=bool(settings.L2L_SAMPLE),
        software=f"L2L back office {vault.software_version or settings.SOFTWARE_VERSION}",
        customer=_customer(request),
        agreements=_agreements(request),
        request=_request(request),
        clock=_clock(request, now),
        returned=_returned(request),
        receipt=_receipt(request),
        waiver=_waiver(request),
        holds=_holds(request, now),
        approval=_approval(request),
        places=places,
        live=_live(plan, rows),
        keys=sorted({name for place in plan["locations"].values() for name in place["keys"]}),
        exports=_exports(request),
        steps=[_step(one) for one in rows],
        proof=proof.document(),
        database=forgotten.document() if forgotten else None,
        remains=[one.document() for one in _remains(vault, now, forgotten, rows)],
        evidence=_evidence(),
        signatories=_signatories(vault, request, now),
        troubles=troubles,
        of_certificate=certificate.sha256 if certificate and kind == Certificate.Kind.SUPPLEMENT else "",
        more={"sweeps": [_sweep(one) for one in DestructionSweep.objects.filter(request=request).order_by("swept_at")]},
    )


def _plan(request: DeletionRequest) -> dict[str, Any]:
    """What was approved; nothing before that."""
    try:
        return stored_plan(request)
    except NotPlanned:
        return {"locations": {}, "live": {}, "history": {}, "journal": 0, "uploads": {}}


def _places(vault: Vault, request: DeletionRequest, plan: Mapping[str, Any], rows: Sequence[DestructionStep], proof: Proof) -> list[Where]:
    made = DestructionPlan.objects.filter(request=request, digest=request.plan_digest).first()
    found_at = made.made_at if made else None
    done = {(row.step, row.location): row.done_at for row in rows}  # of several rounds the last
    looked = {line["where"] for line in proof.document()["lines"]}
    offsite = dict(Location.objects.values_list("name", "offsite"))
    stated = {row.location for row in rows if row.stated_by}
    found = []
    for place in vault.places:
        planned = plan["locations"].get(place.name, {"objects": {}, "keys": {}, "hidden": [], "segments": []})
        verified_at = proof.verified_at(place.name)
        result = GONE if verified_at else THERE if place.name in looked else UNKNOWN
        copies = tuple(_copies(planned, place.name, found_at, done, verified_at, result))
        held = "" if verified_at else next((one for one in proof.troubles if one.startswith(f"{place.name}: ")), "it was not looked at")
        found.append(Where(place.name, place.store.url, offsite.get(place.name, False), copies, held))
    for name in sorted(plan["locations"].keys() - {place.name for place in vault.places} - stated):
        found.append(
            Where(name, plan["locations"][name]["url"], offsite.get(name, False), (), "the environment names it no more: nobody looked")
        )
    return found


def _copies(
    planned: Mapping[str, Any],
    location: str,
    found_at: datetime | None,
    done: Mapping[tuple[str, str], datetime | None],
    verified_at: datetime | None,
    result: str,
) -> Iterator[CopyLine]:
    """Each object that was approved to go there, under its name; of what only a version or marker had, that."""
    objects_gone, keys_gone = done.get((Step.OBJECTS, location)), done.get((Step.KEYS, location))
    for name, size in sorted(planned["objects"].items()):
        yield CopyLine(name, "every", size, _sha256_of(name), found_at, objects_gone, verified_at, result)
    for told in sorted(planned["hidden"]):
        kind, _, name = told.partition(" of ")
        gone = keys_gone if name.startswith("keys/") else objects_gone
        yield CopyLine(name, kind, 0, _sha256_of(name), found_at, gone, verified_at, result)
    for number in planned["segments"]:
        yield CopyLine(f"section in segment {number}", "every", 0, "", found_at, done.get((Step.SEGMENTS, "")), verified_at, result)
    for name, size in sorted(planned["keys"].items()):
        yield CopyLine(name, "every", size, "", found_at, keys_gone, verified_at, result)


def _sha256_of(name: str) -> str:
    """A blob is called by its digest."""
    folder, _, ident = name.rpartition("/")
    return ident if "/blobs/" in folder and len(ident) == 64 else ""


def _customer(request: DeletionRequest) -> dict[str, Any]:
    one = request.customer
    return {"id": str(one.pk), "code": one.code, "name": one.name, "zone": one.zone}


def _agreements(request: DeletionRequest) -> list[dict[str, Any]]:
    found = Subscription.objects.filter(customer=request.customer_id).order_by("start", "agreement_number")
    return [
        {
            "number": one.agreement_number,
            "first_day": one.start.isoformat(),
            "last_day": one.end.isoformat() if one.end else None,
            "destruction_days": one.agreed_destruction_days,
            "document_sha256": one.document_sha256,
        }
        for one in found
    ]


def _request(request: DeletionRequest) -> dict[str, Any]:
    return {
        "id": request.pk,
        "basis": "end of the agreement: the data is returned, or its return waived by the customer, and then destroyed",
        "last_day": request.ends_on.isoformat() if request.ends_on else None,
        "requested_at": request.requested_at,
        "requested_by": _name(request.requested_by) or "the back office, by itself",
        "frozen_at": request.frozen_at,
    }


def _clock(request: DeletionRequest, now: datetime) -> dict[str, Any]:
    stands = clock.of(request, now)
    if stands is None:
        return {"began_at": None, "due_at": None}
    days = terms.destruction_days(past_term.terms_of(request.customer_id)).days
    return {
        "began_at": stands.began_at,
        "began_with": "waiver" if request.waived_at else "receipt",
        "days": days,
        "due_at": stands.due_at,
        "paused_by_hold": stands.paused,
        "zone": request.customer.zone,
    }


def _returned(request: DeletionRequest) -> dict[str, Any] | None:
    one = returns.current(request)
    if one is None:
        return None
    return {
        "number": one.number,
        "package_sha256": one.package_sha256,
        "manifest_sha256": one.manifest_sha256,
        "bytes": one.size,
        "final_set": str(one.set_id),
        "made_at": one.made_at,
        "verified_at": one.verified_at,
        "delivered_at": one.delivered_at,
        "copy_removed_at": one.removed_at,
    }


def _receipt(request: DeletionRequest) -> dict[str, Any] | None:
    one = Receipt.objects.filter(data_return__request=request, data_return__fault_at=None).last()
    if one is None:
        return None
    return {
        "id": one.pk,
        "kind": one.get_kind_display(),
        "verified_by": one.verified_by,
        "verified_at": one.verified_at,
        "package_sha256": one.package_sha256,
        "recorded_by": _name(one.recorded_by),
        "recorded_at": one.recorded_at,
    }


def _waiver(request: DeletionRequest) -> dict[str, Any] | None:
    if request.waived_at is None:
        return None
    return {"document_sha256": request.waiver_sha256, "recorded_by": _name(request.waived_by), "recorded_at": request.waived_at}


def _holds(request: DeletionRequest, now: datetime) -> list[dict[str, Any]]:
    found = LegalHold.objects.filter(customer=request.customer_id).order_by("placed_at")
    return [{"id": one.pk, "placed_at": one.placed_at, "released_at": one.released_at, "checked_at": now} for one in found]


def _approval(request: DeletionRequest) -> dict[str, Any]:
    return {
        "approved_by": _name(request.approved_by),
        "approved_at": request.approved_at,
        "plan_sha256": request.plan_digest,
        "cooled_off_at": request.may_begin_at,
        "begun_at": request.begun_at,
    }


def _live(plan: Mapping[str, Any], rows: Sequence[DestructionStep]) -> dict[str, Any]:
    uploads = plan["uploads"]
    done = [row.done_at for row in rows if row.step == Step.ROWS and row.done_at]
    return {
        "rows": plan["live"],
        "history": plan["history"],
        "changes": plan["journal"],
        "uploads": len(uploads),
        "upload_bytes": sum(uploads.values()),
        "destroyed_at": max(done) if done else None,
    }


def _exports(request: DeletionRequest) -> list[dict[str, Any]]:
    found = Export.objects.filter(customer=request.customer_id).order_by("pk")
    return [{"id": one.pk, "taken_by": one.by, "made_at": one.made_at, "removed_at": one.removed_at} for one in found]


def _step(row: DestructionStep) -> dict[str, Any]:
    return {
        "round": row.round,
        "step": row.get_step_display(),
        "location": row.location,
        "began_at": row.began_at,
        "done_at": row.done_at,
        "objects": row.objects_gone,
        "bytes": row.bytes_gone,
        "counts": row.counts,
        "stated_by": row.stated_by,
    }


def _sweep(row: DestructionSweep) -> dict[str, Any]:
    return stating.plain({"round": row.round, "stage": row.get_stage_display(), "at": row.swept_at, "clean": row.clean, "found": row.found})


def _remains(vault: Vault, now: datetime, forgotten: Forgotten | None, rows: Sequence[DestructionStep]) -> Iterator[Remains]:
    yield from forgotten.remains if forgotten else forgetting.remains_of_database(now)
    for place in vault.places:
        what = "sealed bytes (encrypted; their key was destroyed) in freed blocks or awaiting the store's own clean-up"
        until = (
            "until the file system uses the blocks again; no date can be given"
            if place.near
            else f"{forgetting.ASK} for its clean-up period"
        )
        yield Remains(f"the store behind {place.name}", what, until)
    if settings.L2L_UPLOADS.startswith("file://"):
        yield Remains(
            "free space of the disk under the uploads",
            "blocks of files that were removed; they were not encrypted by this software",
            "until the file system uses them again; no date can be given (an encrypted disk makes them unreadable without its key)",
        )
    else:
        yield Remains("the bucket of the uploads", "what its operator keeps of deleted objects", f"{forgetting.ASK}")
    for row in rows:
        if row.stated_by:
            yield Remains(
                f"{row.location} ({row.get_step_display()}), a location that is used no more",
                "nobody could look there",
                f"{row.stated_by} states that it was destroyed",
            )


def _evidence() -> dict[str, Any]:
    newest = Event.objects.order_by("-number").first()
    return {"events": newest.number if newest else 0, "digest": newest.digest if newest else "", "at": newest.at if newest else None}


def _signatories(vault: Vault, request: DeletionRequest, now: datetime) -> list[dict[str, Any]]:
    system = f"L2L back office {vault.software_version or settings.SOFTWARE_VERSION}"
    return [
        {"role": "approved the destruction", "person": _name(request.approved_by), "system": "", "at": request.approved_at},
        {"role": "carried it out and verified it", "person": "", "system": f"{system}, signing key {vault.fingerprint}", "at": now},
    ]


def _name(person: Any) -> str:
    return str(person.get_full_name() or person.get_username()) if person is not None else ""
