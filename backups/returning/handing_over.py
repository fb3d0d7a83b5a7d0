"""A package is handed over: to a member of staff, or to whoever has a signed link that ends; each time recorded (P5, P10)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from django.core import signing
from django.http import StreamingHttpResponse
from django.utils.http import content_disposition_header

from audit.moments import in_utc
from backups.errors import NotHandedOver
from subscriptions.ending import returns
from subscriptions.ending.states import RETURNS, State
from subscriptions.models import Customer, DataReturn

SALT = "l2l.returned-package"
VALID = timedelta(days=7)
GIVEN_IN = (State.RETURNED, State.ACKNOWLEDGED)
PIECE = 1024 * 1024


def link(data_return: DataReturn, *, now: datetime, valid: timedelta = VALID) -> str:
    """What an address needs so that the customer gets this very package, until then; never longer than the package is to be fetched.
    Raises `NotHandedOver`."""
    _check(data_return, now)
    until = min(now + valid, data_return.expires_at)
    about = {"return": data_return.pk, "sha256": data_return.package_sha256, "until": until.isoformat()}
    return signing.Signer(salt=SALT).sign_object(about)


def linked(token: str, *, now: datetime) -> DataReturn:
    """The package of a link. Raises `NotHandedOver` when it is not ours, is over, or its package was replaced, removed or acknowledged long
    ago."""
    try:
        about = signing.Signer(salt=SALT).unsign_object(token)
    except signing.BadSignature:
        raise NotHandedOver("This link is not one of ours, or not whole. Copy all of it, or ask for a new one.") from None
    until = datetime.fromisoformat(about["until"])
    if now >= until:
        raise NotHandedOver(f"This link could be used until {in_utc(until)}. Ask for a new one.")
    found = DataReturn.objects.select_related("request").filter(pk=about["return"], package_sha256=about["sha256"]).first()
    if found is None:
        raise NotHandedOver("There is no such package any more. Ask for a new link.")
    _check(found, now)
    return found


def by_staff(data_return: DataReturn, *, by: Any, now: datetime) -> StreamingHttpResponse:
    """The package for a member of staff who may return data of this customer. Raises `NotHandedOver`."""
    customer = data_return.request.customer_id
    if not by.has_perm(RETURNS) or not Customer.objects.visible_to(by).filter(pk=customer).exists():
        raise NotHandedOver(f"{by} may not take the package: it needs the right {RETURNS}, and the customer among theirs.")
    return opened(data_return, way="staff", now=now)


def by_link(token: str, *, now: datetime) -> StreamingHttpResponse:
    """The package for whoever has the link. Raises `NotHandedOver`."""
    return opened(linked(token, now=now), way="link", now=now)


def opened(data_return: DataReturn, *, way: str, now: datetime) -> StreamingHttpResponse:
    """The package as a download, streamed; recorded before its first byte leaves. Who may is asked by the callers above. Stands inside
    `audit.acting(...)`. Raises `NotHandedOver`."""
    _check(data_return, now)
    path = Path(data_return.path)
    if not path.is_file() or path.stat().st_size != data_return.size:
        raise NotHandedOver("The package is not on the disk as it was made. Report a fault, and it is made again from the final set.")
    file = path.open("rb")
    returns.delivered(data_return, way=way, now=now)
    response = StreamingHttpResponse(_pieces(file), content_type="application/octet-stream")
    response["Content-Disposition"] = content_disposition_header(True, data_return.file_name) or "attachment"
    response["Content-Length"] = str(data_return.size)
    response["X-Content-Type-Options"] = "nosniff"
    response["Content-Security-Policy"] = "default-src 'none'; sandbox"
    response["Cache-Control"] = "private, no-store"
    response["Referrer-Policy"] = "no-referrer"
    return response


def _pieces(file: Any) -> Iterator[bytes]:
    with file:
        while piece := file.read(PIECE):
            yield piece


def _check(data_return: DataReturn, now: datetime) -> None:
    data_return.refresh_from_db()
    state = data_return.request.__class__.objects.values_list("state", flat=True).get(pk=data_return.request_id)
    if data_return.fault_at is not None:
        raise NotHandedOver("A fault of this package was reported: another one takes its place.")
    if data_return.removed_at is not None:
        raise NotHandedOver("This package was removed.")
    if state not in GIVEN_IN:
        raise NotHandedOver(f"The customer's end is {state}: its package is not given out any more.")
    if now >= data_return.expires_at:
        raise NotHandedOver(f"This package could be fetched until {in_utc(data_return.expires_at)}. Report a fault, and it is made again.")
