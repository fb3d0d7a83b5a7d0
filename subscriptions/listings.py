"""What this app lists for an auditor: whose data is kept and since when, what was agreed, what is held, what left the house, and that the
list of customers is complete (P1, P9, P14). Registered when the app is ready."""

from __future__ import annotations

from audit.populations import Period, Reconciled, Told, register_all
from audit.populations.own import in_history
from audit.populations.sql import As, Column, Listing
from subscriptions.models import Customer, LegalHold, Reconciliation, Subscription

_SUBSCRIPTIONS = "FROM l2l_subscriptions_subscription AS s WHERE s.customer_id = c.id"
_STANDING = "FROM l2l_subscriptions_deletionrequest AS d WHERE d.customer_id = c.id AND d.state <> 'cancelled'"


def _of_customers(period: Period) -> list[Reconciled]:
    return in_history(Customer)


def _of_agreements(period: Period) -> list[Reconciled]:
    return in_history(Subscription)


def _of_holds(period: Period) -> list[Reconciled]:
    return in_history(LegalHold)


def _of_reconciliations(period: Period) -> list[Reconciled]:
    return in_history(Reconciliation)


CUSTOMERS = Listing(
    name="customers",
    title="All customers, ended ones too, with the dates by which nights are owed",
    promises=("P1", "P9"),
    key=(Column("customer", "c.id", As.ID),),
    columns=(
        Column("code", "c.code"),
        Column("zone", "c.zone"),
        Column("account_manager", "u.username"),
        Column("taken_on_at", "c.created_at", As.TIME),
        Column("subscriptions", f"(SELECT count(*) {_SUBSCRIPTIONS})", As.NUMBER),
        Column("first_day", f"(SELECT min(s.start) {_SUBSCRIPTIONS})", As.DAY),
        Column(
            "last_day",
            f'CASE WHEN EXISTS (SELECT 1 {_SUBSCRIPTIONS} AND s."end" IS NULL) THEN NULL ELSE (SELECT max(s."end") {_SUBSCRIPTIONS}) END',
            As.DAY,
        ),
        Column("frozen_at", f"(SELECT max(d.frozen_at) {_STANDING})", As.TIME),
        Column("destruction_began_at", f"(SELECT max(d.begun_at) {_STANDING})", As.TIME),
        Column("destroyed_at", f"(SELECT max(d.destroyed_at) {_STANDING})", As.TIME),
    ),
    source="FROM l2l_subscriptions_customer AS c LEFT JOIN auth_user AS u ON u.id = c.account_manager_id WHERE c.created_at < :ends",
    told=(Told("customer:added", "l2l_subscriptions.customer", "taken_on_at"),),
    more=_of_customers,
)
AGREEMENTS = Listing(
    name="agreements",
    title="All subscriptions with their terms",
    promises=("P9",),
    key=(Column("subscription", "s.id", As.NUMBER),),
    columns=(
        Column("customer", "s.customer_id", As.ID),
        Column("code", "c.code"),
        Column("agreement_number", "s.agreement_number"),
        Column("first_day", "s.start", As.DAY),
        Column("last_day", 's."end"', As.DAY),
        Column("agreed_retention_years", "s.agreed_retention_years", As.NUMBER),
        Column("agreed_destruction_days", "s.agreed_destruction_days", As.NUMBER),
        Column("deemed_receipt_allowed", "s.deemed_receipt_allowed", As.FLAG),
    ),
    source=(
        "FROM l2l_subscriptions_subscription AS s JOIN l2l_subscriptions_customer AS c ON c.id = s.customer_id WHERE c.created_at < :ends"
    ),
    more=_of_agreements,
)
HOLDS = Listing(
    name="holds",
    title="Legal holds that were open at any time of the period",
    promises=("P9",),
    key=(Column("hold", "h.id", As.NUMBER),),
    columns=(
        Column("customer", "h.customer_id", As.ID),
        Column("code", "c.code"),
        Column("placed_at", "h.placed_at", As.TIME),
        Column("placed_by", "h.placed_by"),
        Column("review_on", "h.review_on", As.DAY),
        Column("released_at", "h.released_at", As.TIME),
        Column("release_asked_by", "h.released_by"),
        Column("release_approved_by", "h.release_approved_by"),
    ),
    source=(
        "FROM l2l_subscriptions_legalhold AS h JOIN l2l_subscriptions_customer AS c ON c.id = h.customer_id "
        "WHERE h.placed_at < :ends AND (h.released_at IS NULL OR h.released_at >= :begins)"
    ),
    told=(Told("hold:placed", "l2l_subscriptions.legalhold", "placed_at"),),
    more=_of_holds,
)
EXPORTS = Listing(
    name="exports",
    title="Folders, databases and packages with a customer's data that existed in the period",
    promises=("P5", "P14"),
    key=(Column("export", "e.id", As.NUMBER),),
    columns=(
        Column("customer", "e.customer_id", As.ID),
        Column("code", "c.code"),
        Column("taken_by", 'e."by"'),
        Column("made_at", "e.made_at", As.TIME),
        Column("sha256", "e.sha256"),
        Column("expires_at", "e.expires_at", As.TIME),
        Column("removed_at", "e.removed_at", As.TIME),
    ),
    source=(
        "FROM l2l_subscriptions_export AS e JOIN l2l_subscriptions_customer AS c ON c.id = e.customer_id "
        "WHERE e.made_at < :ends AND (e.removed_at IS NULL OR e.removed_at >= :begins)"
    ),
)
RECONCILIATIONS = Listing(
    name="reconciliations",
    title="Comparisons of our customers with billing's",
    promises=("P1", "P13"),
    key=(Column("reconciliation", "r.id", As.NUMBER),),
    columns=(
        Column("at", "r.at", As.TIME),
        Column("by", 'r."by"'),
        Column("source_sha256", "r.source_sha256"),
        Column("billed", "r.billed", As.NUMBER),
        Column("ours", "r.ours", As.NUMBER),
        Column("matched", "r.matched", As.NUMBER),
    ),
    source="FROM l2l_subscriptions_reconciliation AS r WHERE r.at >= :begins AND r.at < :ends",
    told=(Told("customers:reconciled", "l2l_subscriptions.reconciliation", "at"),),
    more=_of_reconciliations,
)
LISTINGS = (CUSTOMERS, AGREEMENTS, HOLDS, EXPORTS, RECONCILIATIONS)


def register() -> None:
    register_all(one.population for one in LISTINGS)
