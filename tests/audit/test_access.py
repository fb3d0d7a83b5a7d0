"""Sign-ins, failures, sign-outs and refusals are events, and quote nothing that somebody typed (P5)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory

from audit import access, actors
from audit.models import Event


@pytest.fixture(autouse=True)
def static_folder(settings: Any) -> None:
    """WhiteNoise warns of a folder that is not there."""
    Path(settings.STATIC_ROOT).mkdir(parents=True, exist_ok=True)


@pytest.fixture
def grace(db: None) -> User:
    return User.objects.create_user("grace", password="right", is_staff=True)


def told() -> list[tuple[Any, ...]]:
    return list(Event.objects.order_by("number").values_list("event", "actor", "facts"))


def sign_in(client: Client, name: str, password: str) -> Any:
    return client.post("/login/", {"username": name, "password": password})


def test_a_sign_in_and_a_sign_out(grace: User) -> None:
    client = Client()
    sign_in(client, "grace", "right")
    client.post("/logout/")
    assert told() == [("session:opened", "grace", {"address": "127.0.0.1"}), ("session:closed", "grace", {"address": "127.0.0.1"})]
    assert set(Event.objects.values_list("actor_id", "subject", "source")) == {(str(grace.pk), f"auth.user:{grace.pk}", "web")}


def test_a_failed_sign_in_names_a_known_person_only(grace: User) -> None:
    sign_in(Client(), "grace", "wrong")
    sign_in(Client(), "my secret password", "oops")
    known, unknown = told()
    assert known == ("session:refused", "nobody signed in", {"address": "127.0.0.1", "person": "grace"})
    assert unknown == ("session:refused", "nobody signed in", {"address": "127.0.0.1"})


def test_a_refusal_names_the_page_and_the_object(grace: User, acme: Any) -> None:
    client = Client()
    client.force_login(grace)
    before = Event.objects.count()
    assert client.get(f"/l2l_subscriptions/customer/{acme.pk}/change/?q=secret").status_code == 403
    (refused,) = told()[before:]
    facts = {"address": "127.0.0.1", "method": "GET", "object": str(acme.pk), "view": "admin:l2l_subscriptions_customer_change"}
    assert refused == ("access:refused", "grace", facts)


def test_a_key_that_somebody_typed_is_not_quoted(grace: User) -> None:
    client = Client()
    client.force_login(grace)
    client.get("/l2l_subscriptions/customer/O%27Brien the third/change/")
    assert "Brien" not in str(told())


def test_a_request_without_its_token_is_a_refusal(grace: User) -> None:
    assert Client(enforce_csrf_checks=True).post("/login/", {"username": "grace", "password": "right"}).status_code == 403
    ((event, actor, facts),) = told()
    assert (event, actor, facts["view"]) == ("access:refused", "nobody signed in", "admin:login")


def test_a_refusal_survives_the_rollback_of_its_view(grace: User) -> None:
    request = RequestFactory().get("/")
    request.user = grace

    def view(request: HttpRequest) -> HttpResponse:
        try:
            with transaction.atomic():
                access.sign_in_failed(None, {"username": "grace"}, request)
                raise PermissionDenied
        except PermissionDenied:
            return HttpResponse(status=403)

    actors.ActingUserMiddleware(access.EvidenceMiddleware(view))(request)
    assert [event for event, _, _ in told()] == ["session:refused", "access:refused"]


def test_a_download_is_told_with_its_size_and_version(acting: Any, acme: Any) -> None:
    access.downloaded(acme, customer=acme.pk, field="document", size=7, version=3)
    assert told()[-1] == ("file:downloaded", "ada", {"bytes": 7, "field": "document", "version": 3})
