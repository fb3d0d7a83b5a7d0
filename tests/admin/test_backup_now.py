"""'Back up now': asks first, only a POST does it, only for those who may; the worker makes the set, and the run's page tells of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django_q.models import OrmQ

import audit
from backups import keyfiles, runs
from backups import vault as vaults
from backups.models import BackupSet, Run
from backups.policies import ensure_first_policy
from backups.tasks import work_off
from l2l import installing
from tests.admin.conftest import Belongings, url

As = Callable[[str], Client]
WHY = {"reason": "before the upgrade"}


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    keyfiles.make_key_files(folder / "keys", "2026-03-01")
    return folder


@pytest.fixture
def installed(home: Path, tmp_path: Path, settings: Any, transactional_db: None) -> Path:
    """Two locations, prepared, with keys and a policy. Returns their folder."""
    settings.L2L_HOME, settings.L2L_KEYS, settings.L2L_SPOOL = tmp_path, home / "keys", tmp_path / "spool"
    settings.L2L_LOCATIONS = f"primary=file://{tmp_path}/locations/primary offsite=file://{tmp_path}/locations/offsite"
    settings.L2L_OFFSITE = ["offsite"]
    ensure_first_policy()
    assert list(installing.prepare_locations(sample=True)) == []
    return tmp_path / "locations"


def asked_of(one: Belongings) -> list[Run]:
    return list(Run.objects.filter(stream=one.customer.pk, kind=Run.Kind.ASKED))


def work() -> None:
    """What the worker does with the messages in the queue."""
    for message in OrmQ.objects.order_by("pk"):
        work_off(*message.task["args"])
        message.delete()


def press(as_: As, one: Belongings, **values: str) -> Any:
    return as_("olga").post(url("customer_back_up", one.customer.pk), WHY | values, follow=True)


def test_only_who_may_and_only_by_post(installed: Path, as_: As, own: Belongings, foreign: Belongings) -> None:
    page = url("customer_back_up", own.customer.pk)
    for name in ("ada", "otto", "nobody"):
        assert as_(name).get(page).status_code == 403
        assert as_(name).post(page, WHY).status_code == 403
    assert as_("olga").get(page).status_code == 200
    assert as_("olga").post(page, {"reason": " "}).status_code == 200
    assert Client(enforce_csrf_checks=True).post(page, WHY).status_code in (302, 403)
    assert asked_of(own) == [] and not OrmQ.objects.exists()


def test_the_worker_makes_the_set_and_its_page_says_what_came_of_it(installed: Path, as_: As, own: Belongings) -> None:
    response = press(as_, own)
    (run,) = asked_of(own)
    assert response.redirect_chain[-1][0] == url("run_change", run.pk)
    assert b"It waits for the worker, which has never given a sign of life" in response.content
    assert b"before the upgrade" in response.content
    work()
    page = as_("olga").get(url("run_change", run.pk)).content
    assert b"read back, at every required location" in page and b"waits" not in page
    run.refresh_from_db()
    assert (run.state, run.late) == ("done", False) and run.backup_set is not None and run.backup_set.policy is None
    assert BackupSet.objects.filter(stream=own.customer.pk).count() == 2


def test_asked_twice_it_is_made_once_and_later_once_more(installed: Path, as_: As, own: Belongings) -> None:
    press(as_, own)
    press(as_, own)
    assert len(asked_of(own)) == 1 and [act.what for act in asked_of(own)[0].acts.all()] == ["asked", "asked"]
    work()
    press(as_, own)
    work()
    assert [run.state for run in asked_of(own)] == ["done", "done"]


def test_it_does_not_touch_what_the_night_owes(installed: Path, as_: As, own: Belongings) -> None:
    own.run.delete()
    press(as_, own)
    with audit.acting("worker"):
        runs.owe_nights(vaults.clock())
    assert Run.objects.filter(stream=own.customer.pk, kind=Run.Kind.BACKUP).count() == 1


def test_trouble_at_a_location_is_told(installed: Path, as_: As, own: Belongings) -> None:
    (installed / "offsite" / "format-v1.json").unlink()
    press(as_, own)
    work()
    page = as_("olga").get(url("run_change", asked_of(own)[0].pk)).content.decode()
    assert "not yet at every required one" in page and "offsite" in page and "never prepared" in page
    assert "could not be used" in as_("olga").get("/").content.decode()


def test_no_location_is_told_and_tried_again(installed: Path, as_: As, own: Belongings) -> None:
    for name in ("primary", "offsite"):
        (installed / name / "format-v1.json").unlink()
    press(as_, own)
    work()
    (run,) = asked_of(own)
    assert run.state == "owed" and run.trouble.startswith("NoLocation: No location can be used")
    assert run.trouble.encode()[:40] in as_("olga").get(url("run_change", run.pk)).content


def test_the_customers_page_shows_the_run_at_work(installed: Path, as_: As, own: Belongings) -> None:
    press(as_, own)
    assert b"A backup was asked for and waits for the worker" in as_("otto").get(url("customer_overview", own.customer.pk)).content
    Run.objects.filter(kind=Run.Kind.ASKED).update(state="running", progress="rows of link: 12 so far", started_at=vaults.clock())
    for page in (url("customer_overview", own.customer.pk), url("run_change", asked_of(own)[0].pk)):
        assert b"rows of link: 12 so far" in as_("ada").get(page).content
