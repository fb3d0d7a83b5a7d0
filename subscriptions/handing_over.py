"""Customers go from one account manager to another (P5): who looks after a customer sees its data, so it is a right that moves.

An account manager hands over customers of their own; any customer is handed over by whoever sees every customer and has the right. Nobody
takes one for themselves: who decides and who gets to see are two people. Stands inside `audit.acting(...)`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models import Q, QuerySet

import audit
from audit.errors import AuditError
from audit.events import Event, record
from audit.roles import HANDS_CUSTOMERS_OVER, Role
from subscriptions.models import Customer
from subscriptions.models.customer import CustomerQuerySet


class HandingOverRefused(AuditError):
    """These customers cannot be handed over so; nothing was changed, and the message says what to do."""


def account_managers() -> QuerySet[Any]:
    """The people who may look after customers."""
    return get_user_model()._default_manager.filter(is_active=True, groups__name=Role.ACCOUNT_MANAGER.value).order_by("username")


def unmanaged() -> CustomerQuerySet:
    """The customers that nobody looks after: without an account manager, or with one who may be none any more."""
    return Customer.objects.filter(Q(account_manager=None) | ~Q(account_manager__in=account_managers().values("pk")))


def hand_over(customers: Iterable[Customer], *, to: Any, by: Any, why: str) -> list[Customer]:
    """The customers with their new account manager; those that are theirs already are left as they are. All or none.

    Raises `HandingOverRefused`.
    """
    chosen = {one.pk for one in customers}
    _check(chosen, to, by, why)
    with transaction.atomic(), audit.because(why.strip()):
        found = list(_visible(by, chosen).order_by("pk").select_for_update(no_key=True))
        if len(found) < len(chosen):
            missing = len(chosen) - len(found)
            raise HandingOverRefused(f"{missing} of these {len(chosen)} are no customers of {by}'s. Choose again from the list.")
        return _handed(found, to)


def _visible(by: Any, chosen: set[Any]) -> CustomerQuerySet:
    return Customer.objects.visible_to(by).filter(pk__in=chosen)


def _handed(found: list[Customer], to: Any) -> list[Customer]:
    moving = [one for one in found if one.account_manager_id != to.pk]
    people = get_user_model()._default_manager.filter(pk__in={one.account_manager_id for one in moving if one.account_manager_id})
    names = {person.pk: person.get_username() for person in people}
    before = {one.pk: names.get(one.account_manager_id) for one in moving}
    for customer in moving:
        customer.account_manager = to
    Customer.objects.tracked_update(moving)
    for customer in moving:
        facts = {"from": before[customer.pk], "to": to.get_username()}
        record(Event.CUSTOMER_HANDED_OVER, subject=customer, customer=customer.pk, facts=facts)
    return moving


def _check(chosen: set[Any], to: Any, by: Any, why: str) -> None:
    if not by.has_perm(HANDS_CUSTOMERS_OVER):
        raise HandingOverRefused(f"{by} may not hand customers over: it needs the right {HANDS_CUSTOMERS_OVER}.")
    if not why.strip():
        raise HandingOverRefused("Say why: the reason stands in each customer's history for good.")
    if not chosen:
        raise HandingOverRefused("No customer was chosen.")
    if to.pk == by.pk:
        raise HandingOverRefused("Nobody takes customers for themselves: ask a receipt approver to hand them to you.")
    if not account_managers().filter(pk=to.pk).exists():
        raise HandingOverRefused(f"{to} is no active account manager: give that role first, or choose somebody else.")
