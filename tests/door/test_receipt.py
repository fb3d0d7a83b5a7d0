"""The customer's receipt page: what the link opens, what the customer does there, and what it never shows (P11)."""

from __future__ import annotations

import hashlib
import logging
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

import audit
from audit import freezes
from audit.models import Event
from l2l.door import links
from l2l.door.masking import MaskedLinks
from subscriptions.ending import requests, returns
from subscriptions.models import Customer, DataReturn, DeletionRequest, Receipt
from subscriptions.onboarding import add_customer

BYTES = b"the package"
DIGEST = hashlib.sha256(BYTES).hexdigest()
HOUR = timedelta(hours=1)


@pytest.fixture
def make(db: None, tmp_path: Path) -> Callable[[str], DataReturn]:
    """A customer whose package stands since an hour."""
    ada = User.objects.create_superuser("ada", password="pw")

    def made(code: str) -> DataReturn:
        now, path = datetime.now(UTC) - HOUR, tmp_path / f"{code}-return-1.zip"
        path.write_bytes(BYTES)
        with audit.acting("ada", reason="a test", source="test"):
            customer = add_customer(code, f"{code} works", start=date(2020, 1, 1), zone="Europe/Berlin")
            subscription = customer.subscriptions.get()
            subscription.end = date.today() - timedelta(days=5)
            subscription.save_terms()
            ending = requests.open_request(customer, by=ada, why="x", now=now)
            return package(ending, path, now)

    return made


def package(ending: DeletionRequest, path: Path, now: datetime) -> DataReturn:
    returns.begin(ending, now=datetime.now(UTC))
    freezes.freeze_free(ending.stream, reason=requests.freeze_reason(ending))
    returns.frozen(ending, at=now)
    about: dict[str, Any] = {"package_sha256": DIGEST, "manifest_sha256": "cd" * 32, "size": len(BYTES), "path": str(path)}
    return returns.returned(ending, set_id=uuid.uuid4(), file_name=path.name, encrypted_to="", counts={}, now=now, **about)


@pytest.fixture
def acme_package(make: Callable[[str], DataReturn]) -> DataReturn:
    return make("acme")


def link(package: DataReturn, *, made: timedelta = timedelta()) -> str:
    """The address, made so long ago."""
    address, _ = links.link_to(package, now=datetime.now(UTC) - made)
    return address


def local(moment: datetime) -> str:
    """As the browser's field has it, where the customer is."""
    from zoneinfo import ZoneInfo

    return f"{moment.astimezone(ZoneInfo('Europe/Berlin')):%Y-%m-%dT%H:%M}"


def form(**changes: Any) -> dict[str, Any]:
    at = local(datetime.now(UTC) - timedelta(minutes=5))
    return {"act": "acknowledge", "verified_by": "Mia", "package_sha256": DIGEST, "how": "sha256sum", "verified_at": at} | changes


def test_it_shows_the_digest_and_how_to_verify_without_a_sign_in(acme_package: DataReturn) -> None:
    answer = Client().get(link(acme_package))
    page = answer.content.decode()
    assert DIGEST in page and "acme works" in page and "Europe/Berlin" in page
    for command in ("sha256sum acme-return-1.zip", "shasum -a 256 acme-return-1.zip", "Get-FileHash"):
        assert command in page
    assert "<script" not in page
    assert "noindex" in answer["X-Robots-Tag"] and answer["Referrer-Policy"] == "same-origin" and "no-store" in answer["Cache-Control"]
    assert "default-src 'none'" in answer["Content-Security-Policy"]


def test_the_customer_acknowledges_and_the_clock_begins(acme_package: DataReturn) -> None:
    address = link(acme_package)
    told = Client().post(address, form(package_sha256=DIGEST.upper()), follow=True).content.decode()
    receipt = Receipt.objects.get()
    assert "Its receipt is on record" in told and "We have our data" not in told
    assert (receipt.kind, receipt.verified_by, receipt.recorded_by) == ("customer", "Mia", None)
    event = Event.objects.get(event="receipt:recorded")
    assert (event.actor, event.source) == ("the customer (link)", "door")
    ending = DeletionRequest.objects.get()
    assert ending.state == "acknowledged" and ending.acknowledged_at is not None
    assert Client().post(address, form()).status_code == 200 and Receipt.objects.count() == 1


def test_the_time_is_the_customers_own(acme_package: DataReturn) -> None:
    at = (datetime.now(UTC) - timedelta(minutes=30)).replace(second=0, microsecond=0)
    Client().post(link(acme_package), form(verified_at=local(at)))
    assert Receipt.objects.get().verified_at == at


def test_a_wrong_digest_is_refused_and_noted(acme_package: DataReturn) -> None:
    answer = Client().post(link(acme_package), form(package_sha256="0" * 64))
    assert answer.status_code == 400 and "not the digest of this package" in answer.content.decode()
    event = Event.objects.get(event="receipt:refused")
    assert (event.actor, event.facts) == ("the customer (link)", {"number": 1, "why": "digest"})
    assert not Receipt.objects.exists() and DeletionRequest.objects.get().state == "returned"


def test_many_wrong_digests_have_to_wait(acme_package: DataReturn) -> None:
    client, address = Client(), link(acme_package)
    for _ in range(5):
        assert client.post(address, form(package_sha256="0" * 64)).status_code == 400
    answer = client.post(address, form())
    assert answer.status_code == 429 and "Wait a quarter of an hour" in answer.content.decode() and not Receipt.objects.exists()


def test_a_form_from_another_site_is_refused(acme_package: DataReturn) -> None:
    assert Client(enforce_csrf_checks=True).post(link(acme_package), form()).status_code == 403 and not Receipt.objects.exists()


def test_a_fault_has_the_package_made_anew_and_the_link_opens_nothing(acme_package: DataReturn) -> None:
    address = link(acme_package)
    told = Client().post(address, {"act": "fault", "by_name": "Mia", "what": "it cannot be opened"}).content.decode()
    assert "the fault is reported" in told and DeletionRequest.objects.get().state == "returning"
    faulty = DataReturn.objects.get()
    assert (faulty.fault, faulty.fault_by) == ("it cannot be opened", "Mia")
    answer = Client().get(address)
    assert answer.status_code == 410 and "another one takes its place" in answer.content.decode() and DIGEST not in answer.content.decode()


def test_it_is_fetched_by_post_alone(acme_package: DataReturn) -> None:
    """Programs that follow the links of a message must not count as the customer who fetched it."""
    address = f"{link(acme_package)}package/"
    assert Client().get(address).status_code == 405 and DataReturn.objects.get().delivered_at is None
    answer = Client().post(address)
    assert b"".join(answer.streaming_content) == BYTES and answer["Content-Length"] == str(len(BYTES))
    event = Event.objects.get(event="return:handed-over")
    assert (event.actor, event.facts["way"]) == ("the customer (link)", "link")
    assert DataReturn.objects.get().delivered_at is not None


def _elapsed(package: DataReturn) -> str:
    return link(package, made=links.VALID + HOUR)


def _altered(package: DataReturn) -> str:
    return link(package).replace("/receipt/ey", "/receipt/eY")


def _of_an_approved_one(package: DataReturn) -> str:
    address, ending = link(package), package.request
    with audit.acting("setup", reason="a test"):
        ending.state, ending.plan_digest, ending.approved_by = "approved", "0" * 64, User.objects.create_user("rita")
        ending.acknowledged_at = datetime.now(UTC)
        ending.save()
    return address


def _removed(package: DataReturn) -> str:
    address = link(package)
    with audit.acting("setup", reason="a test"):
        returns.removed(package, now=datetime.now(UTC))
    return address


@pytest.mark.parametrize("address_of", [_elapsed, _altered, _of_an_approved_one, _removed])
def test_a_link_that_is_over_opens_a_plain_page(acme_package: DataReturn, address_of: Callable[[DataReturn], str]) -> None:
    address = address_of(acme_package)
    for answer in (Client().get(address), Client().post(address, form()), Client().post(f"{address}package/")):
        assert answer.status_code == 410 and DIGEST not in answer.content.decode() and "acme" not in answer.content.decode()
    assert not Receipt.objects.exists() and DataReturn.objects.get().delivered_at is None


def test_a_link_opens_nothing_of_another_customer(make: Callable[[str], DataReturn]) -> None:
    first, second = make("acme"), make("bolt")
    page = Client().get(link(first)).content.decode()
    assert "bolt" not in page
    Client().post(link(first), form())
    assert DeletionRequest.objects.get(customer=Customer.objects.get(code="bolt")).state == "returned"
    assert second.package_sha256 == first.package_sha256  # the digest alone tells no packages apart


def test_the_token_stands_in_no_log(acme_package: DataReturn) -> None:
    address = link(acme_package)
    record = logging.LogRecord("django.request", logging.WARNING, "x", 1, "%s: %s", ("Gone", address), None)
    assert MaskedLinks("{message}", style="{").format(record) == "Gone: /receipt/.../"
