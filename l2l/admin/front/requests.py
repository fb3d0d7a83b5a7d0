"""What waits for a second person, and the ends of customers with their days (P5, P10 to P12)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.urls import reverse

from audit.roles import RIGHTS
from audit.states import State
from audit.two_person import TwoPersonRequest
from backups.models import KeyChangeRequest, LiveRestoreRequest, PolicyChangeRequest, PurgeRequest
from l2l.admin.ending_path import due_words, kind_of
from l2l.admin.ending_todos import page_of
from subscriptions.admin import of_visible_customers
from subscriptions.ending import clock as clocks
from subscriptions.ending.states import WORDS
from subscriptions.ending.states import State as Ending
from subscriptions.models import DeemedReceiptRequest, DeletionRequest, HoldReleaseRequest, TermChangeRequest

SHOWN = 5
# Each kind, the column that leads to its customer, what it is called, and what is asked for.
ASKED: tuple[tuple[type[TwoPersonRequest], str, str, str], ...] = (
    (PolicyChangeRequest, "", "Policy", "to change the backup policy: "),
    (KeyChangeRequest, "", "Keys", "to change who can open the backups: "),
    (LiveRestoreRequest, "customer", "Live restore", "to "),
    (HoldReleaseRequest, "hold__customer", "Hold", "to "),
    (TermChangeRequest, "subscription__customer", "Terms", "to change what was agreed: "),
    (DeemedReceiptRequest, "data_return__request__customer", "Receipt", "that "),
    (PurgeRequest, "customer", "Purge", "for the "),
)


@dataclass(frozen=True, slots=True)
class Waiting:
    """One request. `who` may decide it, in words; `mine`: this person may."""

    label: str
    by: str
    asks: str
    what: str
    since: datetime
    who: str
    mine: bool
    link: str


@dataclass(frozen=True, slots=True)
class End:
    """One customer that ends."""

    customer: str
    word: str
    kind: str
    due: str
    due_kind: str
    link: str


def waiting_for_a_second(user: Any) -> list[Waiting]:
    """Of each kind that the person may see the oldest few, of the customers that they may see; a query for each kind."""
    seen = [one for one in ASKED if user.has_perm(one[0].permission("view"))]
    return [one for kind, path, label, asks in seen for one in _of_kind(user, kind, path, label, asks)]


def _of_kind(user: Any, kind: type[TwoPersonRequest], path: str, label: str, asks: str) -> list[Waiting]:
    found = kind._default_manager.filter(state=State.REQUESTED.value)
    found = of_visible_customers(user, found, path) if path else found
    right = kind.permission("approve")
    who, may = _who(right), user.has_perm(right)
    return [
        Waiting(
            label=label,
            by=str(one.requested_by),
            asks=asks,
            what=one.what,
            since=one.requested_at,
            who=f"{who}, but not {one.requested_by}",
            mine=may and one.requested_by_id != user.pk,
            link=reverse(f"admin:{kind._meta.app_label}_{kind._meta.model_name}_change", args=[one.pk]),
        )
        for one in found.select_related("requested_by").order_by("requested_at", "pk")[:SHOWN]
    ]


def _who(right: str) -> str:
    """`a receipt approver or backup operator`: the roles with that right."""
    roles = [role.value for role, rights in RIGHTS.items() if right in rights]
    return f"a {' or '.join(roles)}" if roles else "nobody: no role may"


def ends(under_way: list[DeletionRequest], now: datetime) -> tuple[list[End], int]:
    """The few that are due first, and how many more there are."""
    stands = clocks.of_all(under_way, now)

    def first(one: DeletionRequest) -> tuple[bool, Any]:
        due = stands[one.pk].due_at if one.pk in stands else None
        return (due is None, due or one.requested_at)

    chosen = sorted(under_way, key=first)
    shown = [
        End(one.customer.name, WORDS[Ending(one.state)], kind_of(one), *due_words(one, stands.get(one.pk), now), page_of(one))
        for one in chosen[:SHOWN]
    ]
    return shown, len(chosen) - len(shown)
