"""'Back up now': asks first, only a POST does it, and only for those who may."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from backups import keyfiles
from backups.models import BackupSet
from l2l import installing
from tests.admin.conftest import Belongings, url

As = Callable[[str], Client]


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    keyfiles.make_key_files(folder / "keys", "2026-03-01")
    return folder


@pytest.fixture
def installed(home: Path, tmp_path: Path, settings: Any, transactional_db: None) -> Path:
    """Two locations, prepared, with keys. Returns their folder."""
    settings.L2L_HOME, settings.L2L_KEYS, settings.L2L_SPOOL = tmp_path, home / "keys", tmp_path / "spool"
    settings.L2L_LOCATIONS = f"primary=file://{tmp_path}/locations/primary offsite=file://{tmp_path}/locations/offsite"
    settings.L2L_OFFSITE = ["offsite"]
    assert list(installing.prepare_locations(sample=True)) == []
    return tmp_path / "locations"


def sets_of(one: Belongings) -> int:
    return BackupSet.objects.filter(stream=one.customer.pk).count()


def test_only_who_may_and_only_by_post(as_: As, own: Belongings, foreign: Belongings) -> None:
    page = url("customer_back_up", own.customer.pk)
    for name in ("ada", "otto", "nobody"):
        assert as_(name).get(page).status_code == 403
        assert as_(name).post(page).status_code == 403
    assert as_("olga").get(page).status_code == 200
    assert Client(enforce_csrf_checks=True).post(page).status_code in (302, 403)
    assert sets_of(own) == 1


def test_it_makes_a_set_and_says_what_came_of_it(installed: Path, as_: As, own: Belongings) -> None:
    response = as_("olga").post(url("customer_back_up", own.customer.pk), follow=True)
    (told,) = [str(message) for message in response.context["messages"] if message.level_tag == "success"]
    assert "whole at primary, offsite" in told
    assert sets_of(own) == 2
    assert b"protected" in response.content


def test_trouble_at_a_location_is_told(installed: Path, as_: As, own: Belongings) -> None:
    (installed / "offsite" / "format-v1.json").unlink()
    response = as_("olga").post(url("customer_back_up", own.customer.pk), follow=True)
    told = {message.level_tag: str(message) for message in response.context["messages"]}
    assert "complete only: whole at primary." in told["warning"]
    assert "offsite" in told["error"]
    front = as_("olga").get("/")
    assert b"could not be used" in front.content


def test_no_location_is_told(installed: Path, as_: As, own: Belongings) -> None:
    for name in ("primary", "offsite"):
        (installed / name / "format-v1.json").unlink()
    response = as_("olga").post(url("customer_back_up", own.customer.pk), follow=True)
    (told,) = [str(message) for message in response.context["messages"]]
    assert told.startswith("No set was made: ")
