"""Who acts: the signed-in person in a request, a name elsewhere; never nobody."""

from __future__ import annotations

import asyncio
import threading

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.http import HttpResponse
from django.test import RequestFactory

import audit
from audit import actors
from audit.errors import NoActor
from subscriptions.models import Link
from tests.audit.reading import history


def responded(user, view) -> None:
    request = RequestFactory().get("/")
    request.user = user

    def respond(request):
        view()
        return HttpResponse()

    actors.ActingUserMiddleware(respond)(request)


@pytest.fixture
def grace(db):
    return get_user_model().objects.create_user("grace")


@pytest.fixture
def nobody():
    token = actors._acting.set(None)
    yield
    actors._acting.reset(token)


def test_in_a_request_the_signed_in_user_acts(acme, grace, nobody):
    def view() -> None:
        Link.objects.create(customer=acme, reference="1", url="https://a.example")

    responded(grace, view)
    (row,) = history(Link)
    assert (row.history_actor, row.history_user_id, row.history_source, row.history_user) == ("grace", str(grace.pk), "web", grace)
    with pytest.raises(NoActor):
        actors.current()


def test_an_anonymous_request_cannot_change_anything(nobody):
    with pytest.raises(NoActor):
        responded(AnonymousUser(), actors.current)


def test_a_request_that_fails_leaves_nobody_acting(grace, nobody):
    def view() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        responded(grace, view)
    with pytest.raises(NoActor):
        actors.current()


def test_what_is_named_goes_before_who_is_signed_in(grace):
    with audit.acting("nightly job"):
        responded(grace, lambda: None if actors.current().name == "nightly job" else pytest.fail())


def test_inner_actors_end_with_their_block():
    with audit.acting("ada", reason="a", source="web"):
        with audit.because("b") as inner:
            assert inner == actors.current() == actors.Acting("ada", None, "b", "web")
        with audit.acting("grace"):
            assert actors.current() == actors.Acting("grace")
        assert actors.current().reason == "a"


def test_a_new_thread_has_nobody_acting(acting):
    seen = []

    def work() -> None:
        try:
            seen.append(actors.current())
        except NoActor as refused:
            seen.append(refused)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert isinstance(seen[0], NoActor)


def test_tasks_that_run_at_the_same_time_have_their_own_actors():
    async def work(name: str, turn: asyncio.Barrier) -> str:
        with audit.acting(name):
            await turn.wait()
            return actors.current().name

    async def both() -> list[str]:
        turn = asyncio.Barrier(2)
        return await asyncio.gather(work("ada", turn), work("grace", turn))

    assert asyncio.run(both()) == ["ada", "grace"]


def test_a_name_longer_than_its_column_is_cut_and_never_stops_a_change(acme):
    with audit.acting("a" * 300, source="s" * 300, reason="r" * 3000):
        Link.objects.create(customer=acme, reference="1", url="https://a.example")
    (row,) = history(Link)
    assert (len(row.history_actor), len(row.history_source), len(row.history_change_reason)) == (200, 100, 3000)


def test_the_person_at_the_command_line_is_named():
    assert actors.of_shell("backup").name.startswith("shell:")
