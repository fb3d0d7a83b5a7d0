"""`manage.py controls`: measures now, tells each promise, and ends with 0 only if every one is kept."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from audit.promises import PROMISES
from subscriptions.models import Reconciliation
from tests.policy.service import Service

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def installed(today: Any, service: Service, settings: Any, key_folder: Path, folders: dict[str, Path]) -> Service:
    settings.L2L_KEYS = key_folder
    settings.L2L_LOCATIONS = " ".join(f"{name}=file://{folder}" for name, folder in folders.items())
    settings.L2L_OFFSITE = ["offsite"]
    service.measured()
    return service


def told(*arguments: str) -> tuple[str, str]:
    """Standard output, and what it ended with: empty for 0."""
    out = StringIO()
    try:
        call_command("controls", *arguments, stdout=out)
    except CommandError as problem:
        return out.getvalue(), str(problem)
    return out.getvalue(), ""


def test_it_ends_well_only_when_every_promise_is_kept(installed: Service) -> None:
    said, problem = told()
    assert problem == "" and all(promise.sentence in said for promise in PROMISES.values())
    assert "at risk" not in said and "broken" not in said


def test_it_names_what_is_not_kept_and_what_to_do(installed: Service, acme: Any) -> None:
    said, problem = told("--json")
    document = json.loads(said)
    assert document["promises"].keys() == PROMISES.keys() and document["kept"] is False
    assert problem.startswith("Not kept: P1") and not Reconciliation.objects.exists()
    [reconciled] = [one for one in document["promises"]["P1"]["controls"] if one["control"] == "reconciled"]
    assert reconciled["state"] == "at risk" and "reconcile_customers" in reconciled["todo"] and reconciled["since"]
    said, _ = told()
    assert "Run manage.py reconcile_customers" in said


def test_a_location_that_is_away_is_told_at_once(installed: Service, acme: Any, folders: dict[str, Path], tmp_path: Path) -> None:
    folders["offsite"].rename(tmp_path / "away")
    said, problem = told()
    assert "P3" in problem and "offsite cannot be used since" in said
