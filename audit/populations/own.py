"""What this app lists for an auditor: who had which right, what was not as promised and what became of it, who looked, and what vouches
for the trail (P5, P8, P13). Registered when the app is ready."""

from __future__ import annotations

from django.db import models

from audit import registry
from audit.models import AccessReview, Anchor, Attestation, Finding, Grant
from audit.populations import Period, Reconciled, Told, register_all
from audit.populations.sql import As, Column, Listing


def in_history(model: type[models.Model]) -> list[Reconciled]:
    """As many rows as history has beginnings without an end: a row that was put in or taken out behind history's back shows."""
    of_all = registry.of(model).history_model._default_manager
    kept = of_all.filter(history_type="+").count() - of_all.filter(history_type="-").count()
    return [
        Reconciled(
            f"rows of {model._meta.db_table}, of any time = first versions in its history less the last ones",
            model._base_manager.count(),
            kept,
        )
    ]


def of_grants(period: Period) -> list[Reconciled]:
    return in_history(Grant)


def of_findings(period: Period) -> list[Reconciled]:
    return in_history(Finding)


def of_access_reviews(period: Period) -> list[Reconciled]:
    return in_history(AccessReview)


def of_attestations(period: Period) -> list[Reconciled]:
    return in_history(Attestation)


def of_anchors(period: Period) -> list[Reconciled]:
    return in_history(Anchor)


GRANTS = Listing(
    name="grants",
    title="Roles that people had at any time of the period",
    promises=("P5",),
    key=(Column("grant", "g.id", As.NUMBER),),
    columns=(
        Column("person", "u.username"),
        Column("role", "g.role"),
        Column("since", "g.since", As.TIME),
        Column("given_by", 'g."by"'),
        Column("until", "g.until", As.TIME),
        Column("ended_at", "g.ended_at", As.TIME),
        Column("ended_by", "g.ended_by"),
    ),
    source=(
        "FROM l2l_audit_grant AS g JOIN auth_user AS u ON u.id = g.user_id "
        "WHERE g.since < :ends AND (g.ended_at IS NULL OR g.ended_at >= :begins)"
    ),
    more=of_grants,
)
DEVIATIONS = Listing(
    name="deviations",
    title="Findings: what was not as promised, with cause and resolution",
    promises=("P13",),
    key=(Column("finding", "f.id", As.NUMBER),),
    columns=(
        Column("kind", "f.kind"),
        Column("subject", "f.subject"),
        Column("customer", "f.customer", As.ID),
        Column("opened_at", "f.opened_at", As.TIME),
        Column("opened_by", "f.opened_by"),
        Column("due_on", "f.due_on", As.DAY),
        Column("owner", "u.username"),
        Column("closed_at", "f.closed_at", As.TIME),
        Column("closed_by", "f.closed_by"),
        Column("cause", "f.cause"),
        Column("resolution", "f.resolution"),
    ),
    source=(
        "FROM l2l_audit_finding AS f LEFT JOIN auth_user AS u ON u.id = f.owner_id "
        "WHERE f.opened_at < :ends AND (f.closed_at IS NULL OR f.closed_at >= :begins)"
    ),
    told=(Told("finding:opened", "l2l_audit.finding", "opened_at"), Told("finding:closed", "l2l_audit.finding", "closed_at")),
    more=of_findings,
)
CONTROL_CHANGES = Listing(
    name="control_changes",
    title="When a control broke, and when it was kept again",
    promises=("P13",),
    key=(Column("event", "e.number", As.NUMBER),),
    columns=(
        Column("event", "e.event"),
        Column("at", "e.at", As.TIME),
        Column("subject", "e.subject"),
        Column("facts", "e.facts"),
    ),
    source="FROM l2l_audit_event AS e WHERE e.event IN ('control:broken', 'control:kept') AND e.at >= :begins AND e.at < :ends",
)
ACCESS_REVIEWS = Listing(
    name="access_reviews",
    title="Reviews of who may do what, signed off",
    promises=("P5",),
    key=(Column("review", "r.id", As.NUMBER),),
    columns=(
        Column("quarter", "r.quarter"),
        Column("sha256", "r.digest"),
        Column("signed_off_by", "r.signed_off_by"),
        Column("signed_off_at", "r.signed_off_at", As.TIME),
    ),
    source="FROM l2l_audit_accessreview AS r WHERE r.signed_off_at >= :begins AND r.signed_off_at < :ends",
    told=(Told("access:reviewed", "l2l_audit.accessreview", "signed_off_at"),),
    more=of_access_reviews,
)
ATTESTATIONS = Listing(
    name="attestations",
    title="Statements on who can reach buckets, database and keys from outside",
    promises=("P5",),
    key=(Column("attestation", "a.id", As.NUMBER),),
    columns=(
        Column("quarter", "a.quarter"),
        Column("about", "a.about"),
        Column("location", "a.location"),
        Column("people", "a.people"),
        Column("attested_by", "a.attested_by"),
        Column("attested_at", "a.attested_at", As.TIME),
    ),
    source="FROM l2l_audit_attestation AS a WHERE a.attested_at >= :begins AND a.attested_at < :ends",
    told=(Told("access:attested", "l2l_audit.attestation", "attested_at"),),
    more=of_attestations,
)
ANCHORS = Listing(
    name="anchors",
    title="Each day's signed head over all chains",
    promises=("P8", "P13"),
    key=(Column("day", "a.day", As.DAY),),
    columns=(Column("at", "a.at", As.TIME), Column("root", "a.root")),
    source="FROM l2l_audit_anchor AS a WHERE a.at >= :begins AND a.at < :ends",
    more=of_anchors,
)
SIGNED_HEADS = Listing(
    name="signed_heads",
    title="Signed heads of the evidence trail",
    promises=("P8", "P13"),
    key=(Column("head", "h.id", As.NUMBER),),
    columns=(Column("number", "h.number", As.NUMBER), Column("digest", "h.digest"), Column("at", "h.at", As.TIME)),
    source="FROM l2l_audit_signedhead AS h WHERE h.at >= :begins AND h.at < :ends",
)
SCHEMA_VERSIONS = Listing(
    name="schema_versions",
    title="Which columns the protected data had, and since when",
    promises=("P8",),
    key=(Column("version", "v.number", As.NUMBER),),
    columns=(
        Column("began_at", "v.began_at", As.TIME),
        Column("recorded_at", "v.at", As.TIME),
        Column("software", "v.software"),
        Column("sha256", "v.digest"),
    ),
    source="FROM l2l_audit_schemaversion AS v WHERE v.at < :ends",
)
LISTINGS = (GRANTS, DEVIATIONS, CONTROL_CHANGES, ACCESS_REVIEWS, ATTESTATIONS, ANCHORS, SIGNED_HEADS, SCHEMA_VERSIONS)


def register() -> None:
    register_all(one.population for one in LISTINGS)
