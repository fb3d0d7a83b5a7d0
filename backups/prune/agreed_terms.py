"""What a change of a customer's agreed terms would do to its backup sets (P6, P9): asked by `subscriptions.term_requests`."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime

from audit.sizes import in_units
from backups import policies
from backups.policy import in_force
from backups.prune.plan import Shift, shift_of_term
from backups.retention import Term
from subscriptions.term_effects import Effect
from subscriptions.terms import SubscriptionTerms, longest_years


def on_sets(customer: uuid.UUID, before: Sequence[SubscriptionTerms], after: Sequence[SubscriptionTerms], begins: datetime) -> Effect:
    """By the policy that is in force when the change begins. Without a policy nothing is kept by one, and nothing goes."""
    versions = policies.versions()
    if not versions:
        return Effect(())
    policy = in_force(versions, begins)
    old, new = (Term(*longest_years(terms, policy.longest_years)) for terms in (before, after))
    found = shift_of_term(customer, old, new, policy, begins)
    # With no set yet, the first ones would go sooner all the same.
    return Effect(tuple(_sentences(old, new, found)), max(found.earlier, int(new.years < old.years)))


def _sentences(old: Term, new: Term, found: Shift) -> list[str]:
    if old.years == new.years:
        return [f"Backup sets are kept as now, at most {old.why}."]
    some = "one backup set" if found.sets == 1 else f"{found.sets} backup sets"
    earlier = f"{found.earlier} would go earlier" + (f" ({in_units(found.earlier_bytes)} first stored for them)" if found.earlier else "")
    sentences = [
        f"No backup set is kept for longer than {new.why}; now: {old.why}.",
        f"Of {some}, {earlier} and {found.later} later.",
    ]
    if found.at_once:
        size = in_units(found.at_once_bytes)
        sentences.append(
            f"As soon as it begins {found.at_once} of them would go ({size} first stored for them). What a legal hold keeps stays."
        )
    return sentences
