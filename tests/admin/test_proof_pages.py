"""What a broken proof shows: red nights, a badge, and a page that names what was found and says what to do (P8)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.test import Client

from backups import policies, runs
from backups.models import BackupSet
from backups.vault import clock
from backups.verdicts import WHAT_TO_DO
from tests.admin.conftest import Belongings, url

As = Callable[[str], Client]
FOUND = "l2l_subscriptions.datarecord 5 (P-<b>1</b>): data differs from its newest history row (9)"


@pytest.fixture
def broken(own: Belongings) -> BackupSet:
    policies.ensure_first_policy()
    BackupSet.objects.update(proof="broken", proof_text=FOUND, proved_at=clock())
    return own.backup_set


def test_the_sets_page_names_what_was_found_and_what_to_do(as_: As, broken: BackupSet) -> None:
    page = as_("otto").get(url("backupset_change", broken.pk)).content.decode()
    assert "The proof is broken." in page and "data differs from its newest history row (9)" in page
    assert "P-&lt;b&gt;1&lt;/b&gt;" in page and WHAT_TO_DO[:40] in page
    assert "proof broken" in as_("otto").get(url("backupset_changelist") + "?proof__exact=broken").content.decode()
    assert "proof broken" in as_("otto").get(url("run_changelist")).content.decode()


def test_a_proved_set_says_so(as_: As, own: Belongings) -> None:
    page = as_("otto").get(url("backupset_change", own.backup_set.pk)).content.decode()
    assert "not proved" in page
    BackupSet.objects.update(proof="proved", proved_at=clock(), journal_number=12)
    page = as_("otto").get(url("backupset_change", own.backup_set.pk)).content.decode()
    assert "every row is what its newest history row says, and the chain of 12 changes holds" in page


def test_a_broken_proof_makes_its_night_red(as_: As, broken: BackupSet) -> None:
    assert runs.night_report(broken.night, clock()).red
    page = as_("otto").get(url("run_changelist") + f"?night={broken.night}")
    assert "The proof of 1 of the sets is broken" in page.content.decode()
    [day] = [day for week in page.context["weeks"] for day in week if day.night == broken.night]
    assert day.kind == "bad" and day.words.endswith(", a proof is broken")
    BackupSet.objects.update(proof="proved")
    assert runs.night_report(broken.night, clock()).broken == 0


def test_the_front_page_leads_to_the_newest_set_until_a_later_one_is_proved(as_: As, broken: BackupSet) -> None:
    link = url("backupset_change", broken.pk)
    assert link in as_("otto").get("/").content.decode() and link in as_("ada").get("/").content.decode()
    assert "rows are not what history says" not in as_("nobody").get("/").content.decode()
    BackupSet.objects.create(
        stream=broken.stream, night=broken.night, state="made", started_at=clock(), protected_at=clock(), proof="proved"
    )
    assert "rows are not what history says" not in as_("otto").get("/").content.decode()
