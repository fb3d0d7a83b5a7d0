"""Links to the customer's receipt page: signed, bound to one package and its digest, and over by a moment that stands in them.

Whoever has the link can fetch the package and acknowledge it, and nothing else. It is kept nowhere: a new one is made each time.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.core import signing
from django.urls import reverse

from audit.errors import AuditError
from audit.moments import in_utc
from subscriptions.ending.states import State
from subscriptions.models import DataReturn

SALT = "l2l.door.receipt"
GOOD_FOR = timedelta(days=14)
# While the customer has something to do with its package; from the approval on nobody fetches what is about to be destroyed.
OPEN = frozenset({State.RETURNED, State.ACKNOWLEDGED})


class LinkRefused(AuditError):
    """The link opens nothing (any more); the message is for the customer who followed it."""


def token_of(package: DataReturn, *, until: datetime) -> str:
    """The signed part of the address."""
    return signing.dumps([package.pk, package.package_sha256, int(until.timestamp())], salt=SALT)


def link_to(package: DataReturn, *, now: datetime) -> tuple[str, datetime]:
    """The address (without a host while L2L_ADDRESS is not set), and until when it works: two weeks, or as long as the package is kept.

    Raises `LinkRefused` for a package that cannot be fetched.
    """
    check_open(package, now)
    until = min(now + GOOD_FOR, package.expires_at)
    return f"{settings.L2L_ADDRESS.rstrip('/')}{reverse('receipt', args=[token_of(package, until=until)])}", until


def package_of(token: str, now: datetime) -> DataReturn:
    """The package that the link is of. Raises `LinkRefused`: altered, elapsed, of a package that was replaced, removed or approved."""
    try:
        pk, digest, until = signing.loads(token, salt=SALT)
    except signing.BadSignature:
        raise LinkRefused("This link is not whole. Copy it from the message again, from the first to the last character.") from None
    if now.timestamp() >= until:
        raise LinkRefused("This link is over. Ask your contact for a new one.")
    package = DataReturn.objects.filter(pk=pk, package_sha256=digest).select_related("request__customer").first()
    if package is None:
        raise LinkRefused("The package of this link is no longer there. Ask your contact for a new link.")
    check_open(package, now)
    return package


def check_open(package: DataReturn, now: datetime) -> None:
    """`LinkRefused` unless the customer can fetch this package now."""
    if package.fault_at is not None:
        raise LinkRefused(
            "A fault of this package was reported: another one takes its place. You get a link to that as soon as it is ready."
        )
    if package.removed_at is not None:
        raise LinkRefused("This package was removed. Ask your contact whether another one was made.")
    if package.expires_at <= now:
        raise LinkRefused(f"This package could be fetched until {in_utc(package.expires_at)}. Ask your contact for another one.")
    if State(package.request.state) not in OPEN:
        raise LinkRefused("The return of this data is closed. If you lack something, speak to your contact at once.")
