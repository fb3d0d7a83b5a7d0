"""Customers that ended, or whose end was open: each date of the path, the day by which everything had to be destroyed, the certificate
(P10, P11, P12)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from audit import clock
from audit.populations import Period, Population, Reconciled, Told
from audit.populations.own import in_history
from audit.populations.sql import As, Column, Listing, plain
from backups.destroy import certificate_pdf
from backups.models import Certificate, DestructionPlan
from backups.populations import sampled
from subscriptions.controls import OPENED_WITHIN
from subscriptions.ending import clock as clocks
from subscriptions.ending import requests
from subscriptions.models import DataReturn, DeletionRequest, Receipt

BATCH = 500
_CERTIFICATE = "(SELECT max(x.{}) FROM l2l_backups_certificate AS x WHERE x.request_id = d.id AND x.kind = 'certificate' AND x.round = {})"
_ROUND = "(SELECT max(y.round) FROM l2l_backups_certificate AS y WHERE y.request_id = d.id AND y.kind = 'certificate')"
_RETURN = "(SELECT {} FROM l2l_subscriptions_datareturn AS r WHERE r.request_id = d.id AND r.fault_at IS NULL)"
_RECEIPT = (
    "(SELECT max(x.{}) FROM l2l_subscriptions_receipt AS x JOIN l2l_subscriptions_datareturn AS r ON r.id = x.data_return_id "
    "WHERE r.request_id = d.id AND r.fault_at IS NULL)"
)
DUE = ("due_at", "paused", "days_allowed", "days_taken", "in_time")


def _rows(period: Period) -> Iterator[tuple[Any, ...]]:
    """The listed columns, and behind them what the clock of each says, holds counted in."""
    listed = LISTING.rows(period)
    while some := list(islice(listed, BATCH)):
        requests_by_key = DeletionRequest.objects.select_related("customer").in_bulk([int(row[0]) for row in some])
        now = min(clock.now(), period.ends)
        ticking = clocks.of_all(requests_by_key.values(), now)
        yield from ((*row, *_due(requests_by_key[int(row[0])], ticking, now)) for row in some)


def _due(request: DeletionRequest, ticking: Any, now: datetime) -> tuple[Any, ...]:
    """When it had to be destroyed, whether a hold pauses that, days allowed and taken, and whether it was (yes, no, not due yet)."""
    found = ticking.get(request.pk)
    if found is None or request.acknowledged_at is None:
        return "", "", "", "", ""
    until = request.destroyed_at or now
    taken = round((until - request.acknowledged_at).total_seconds() / 86400, 2)
    return plain(found.due_at, As.TIME), plain(found.paused, As.FLAG), found.days, taken, _in_time(found.due_at, request.destroyed_at, now)


def _in_time(due_at: datetime | None, destroyed_at: datetime | None, now: datetime) -> str:
    if destroyed_at is not None:
        return "yes" if due_at is None or destroyed_at <= due_at else "no"
    return "no" if due_at is not None and now > due_at else "not due yet"


def reconcile(period: Period) -> list[Reconciled]:
    by = min(clock.now(), period.ends) - OPENED_WITHIN
    over = len(requests.owed(by))
    return [
        *LISTING.reconcile(period),
        Reconciled(f"customers whose last subscription was over by {plain(by, As.TIME)} and whose end nobody began = none", 0, over),
        *in_history(DeletionRequest),
        *in_history(DataReturn),
        *in_history(Receipt),
        *in_history(Certificate),
    ]


def evidence(key: str) -> dict[str, bytes]:
    """Receipt, digest of the approved plan, and every statement that was issued, as JSON (the authority) and on paper."""
    request = DeletionRequest.objects.select_related("customer", "requested_by", "approved_by").get(pk=key)
    found = {"end.json": sampled.as_lines(_end(request))}
    for one in Certificate.objects.filter(request=request.pk).order_by("number"):
        found[f"{one.kind}-{one.number}.json"] = one.document.encode()
        found[f"{one.kind}-{one.number}.pdf"] = certificate_pdf.of_text(one.document)
    return found


def _end(request: DeletionRequest) -> dict[str, Any]:
    receipt = Receipt.objects.filter(data_return__request=request.pk, data_return__fault_at=None).first()
    plan = DestructionPlan.objects.filter(request=request.pk, digest=request.plan_digest).first()
    return {
        "customer": str(request.customer_id),
        "code": request.customer.code,
        "state": request.state,
        "requested_by": str(request.requested_by or ""),
        "approved_by": str(request.approved_by or ""),
        **{name: _written(getattr(request, f"{name}_at")) for name in ("requested", "acknowledged", "approved", "begun", "destroyed")},
        "plan_sha256": request.plan_digest,
        "plan": {"objects": plan.objects_listed, "bytes": plan.bytes_listed, "sha256": _digest(plan)} if plan else None,
        "receipt": {
            "kind": receipt.kind,
            "package_sha256": receipt.package_sha256,
            "verified_at": _written(receipt.verified_at),
            "recorded_by": str(receipt.recorded_by or ""),
            "recorded_at": _written(receipt.recorded_at),
        }
        if receipt
        else None,
    }


def _digest(plan: DestructionPlan) -> str:
    """Computed anew from the plan that is kept."""
    from audit import canonical

    return hashlib.sha256(canonical.dump_bytes(plan.document)).hexdigest()


def _written(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).isoformat() if moment else None


LISTING = Listing(
    name="terminations",
    title="Ends of customers, begun or open in the period",
    promises=("P10", "P11", "P12"),
    key=(Column("request", "d.id", As.NUMBER),),
    columns=(
        Column("customer", "d.customer_id", As.ID),
        Column("code", "c.code"),
        Column("zone", "c.zone"),
        Column("state", "d.state"),
        Column("last_day", "d.ends_on", As.DAY),
        Column("requested_at", "d.requested_at", As.TIME),
        Column("requested_by", "asked.username"),
        Column("frozen_at", "d.frozen_at", As.TIME),
        Column("package_made_at", _RETURN.format("r.made_at"), As.TIME),
        Column("package_verified_at", _RETURN.format("r.verified_at"), As.TIME),
        Column("package_sha256", _RETURN.format("r.package_sha256")),
        Column("handed_over_at", _RETURN.format("r.delivered_at"), As.TIME),
        Column("receipt", _RECEIPT.format("kind")),
        Column("receipt_package_sha256", _RECEIPT.format("package_sha256")),
        Column("waived_at", "d.waived_at", As.TIME),
        Column("acknowledged_at", "d.acknowledged_at", As.TIME),
        Column("approved_by", "approved.username"),
        Column("approved_at", "d.approved_at", As.TIME),
        Column("plan_sha256", "d.plan_digest"),
        Column("begun_at", "d.begun_at", As.TIME),
        Column("destroyed_at", "d.destroyed_at", As.TIME),
        Column("cancelled_at", "d.cancelled_at", As.TIME),
        Column("certified_at", _CERTIFICATE.format("issued_at", _ROUND), As.TIME),
        Column("certificate_sha256", _CERTIFICATE.format("sha256", _ROUND)),
    ),
    source=(
        "FROM l2l_subscriptions_deletionrequest AS d JOIN l2l_subscriptions_customer AS c ON c.id = d.customer_id "
        "LEFT JOIN auth_user AS asked ON asked.id = d.requested_by_id LEFT JOIN auth_user AS approved ON approved.id = d.approved_by_id "
        "WHERE d.requested_at < :ends AND "
        "(coalesce(d.destroyed_at, d.cancelled_at) IS NULL OR coalesce(d.destroyed_at, d.cancelled_at) >= :begins)"
    ),
    told=(
        Told("deletion:requested", "l2l_subscriptions.deletionrequest", "requested_at"),
        Told("destruction:done", "l2l_subscriptions.deletionrequest", "destroyed_at"),
    ),
)
TERMINATIONS = Population(
    name=LISTING.name,
    title=LISTING.title,
    promises=LISTING.promises,
    filter=LISTING.source,
    columns=(*LISTING.population.columns, *DUE),
    rows=_rows,
    reconcile=reconcile,
    evidence=evidence,
)
POPULATIONS = (TERMINATIONS,)
