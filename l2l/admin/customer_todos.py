"""What the front page tells of customers that nobody looks after, to those who may hand them over."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.urls import reverse

from audit.roles import EVERY_CUSTOMER, HANDS_CUSTOMERS_OVER
from l2l.admin.handing_over import NOBODYS
from l2l.admin.todos import Todo
from subscriptions.handing_over import unmanaged


def unmanaged_todos(user: Any) -> Iterator[Todo]:
    if not (user.has_perm(HANDS_CUSTOMERS_OVER) and user.has_perm(EVERY_CUSTOMER)):
        return
    count = unmanaged().count()
    if count:
        some = "One customer has" if count == 1 else f"{count:,} customers have"
        text = f"{some} no account manager: nobody returns data or renews. Hand over to somebody."
        yield Todo("warn", "Customers", text, f"{reverse('admin:my_work')}?manager={NOBODYS}")
