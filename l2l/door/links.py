"""Links to the customer's receipt page: an address around the signed, expiring token of `backups.returning.handing_over`.

Whoever has the link can fetch the package and acknowledge it, and nothing else. It is kept nowhere: a new one is made each time.
"""

from __future__ import annotations

from datetime import datetime

from django.conf import settings
from django.urls import reverse

from backups.returning import handing_over
from subscriptions.models import DataReturn

VALID = handing_over.VALID


def link_to(package: DataReturn, *, now: datetime) -> tuple[str, datetime]:
    """The address (without a host while L2L_ADDRESS is not set), and until when it works. Raises `NotHandedOver`."""
    token = handing_over.link(package, now=now, valid=VALID)
    return f"{settings.L2L_ADDRESS.rstrip('/')}{reverse('receipt', args=[token])}", min(now + VALID, package.expires_at)


def package_of(token: str, *, now: datetime) -> DataReturn:
    """The package that the link is of. Raises `NotHandedOver`: altered, elapsed, of a package that was replaced or removed, or whose
    return is closed."""
    return handing_over.linked(token, now=now)
