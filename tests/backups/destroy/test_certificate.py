"""Never a certificate before every line of it is verified; never one that says more than is true (P12)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

import audit
from audit.errors import BypassRefused
from audit.models import Event
from backups.destroy import certificate, checking, proving
from backups.errors import NotCertified
from backups.models import Certificate
from backups.vault import Vault
from subscriptions.models import Customer, DataRecord, DeletionRequest
from tests.backups.conftest import Clock
from tests.backups.destroy.conftest import looked, state_of

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.filterwarnings("ignore:Exception ignored in. .function ServerCursorMixin:pytest.PytestUnraisableExceptionWarning"),
]
Kind = Certificate.Kind


def reloaded(request: DeletionRequest) -> DeletionRequest:
    return DeletionRequest.objects.select_related("customer").get(pk=request.pk)


def certificate_of(request: DeletionRequest, kind: str = Kind.CERTIFICATE) -> Certificate:
    return Certificate.objects.get(request=request, kind=kind)


@pytest.fixture
def certified(approved: DeletionRequest, acme2: Customer, vault: Vault, clock: Clock) -> DeletionRequest:
    """Destroyed, listed again after a day, certified."""
    assert looked(vault).troubles == {}
    clock.forward(hours=25)
    assert looked(vault).troubles == {}
    assert state_of(approved) == "destroyed"
    return reloaded(approved)


def test_at_once_there_is_a_drill_and_no_certificate(approved: DeletionRequest, vault: Vault) -> None:
    assert looked(vault).troubles == {}
    [only] = Certificate.objects.filter(request=approved)
    said = json.loads(only.document)
    assert only.kind == Kind.INTERIM and "24 hours" in said["still_to_do"][0] and said["keys_destroyed"] == []
    with audit.acting("ada"), pytest.raises(NotCertified, match="24 hours after the last step"):
        certificate.issue(vault, reloaded(approved), vault.clock())
    assert state_of(approved) == "destroying"


def test_the_certificate_after_a_day_says_everything_and_is_genuine(certified: DeletionRequest, vault: Vault, settings: Any) -> None:
    made = certificate_of(certified)
    genuine = checking.check(made.document.encode(), vault.fingerprint)
    said = genuine.document
    assert genuine.sha256 == made.sha256 and said["customer"]["code"] == "acme" and said["sample"] is settings.L2L_SAMPLE
    assert [place["location"] for place in said["locations"]] == ["primary", "offsite"]
    for place in said["locations"]:
        assert place["result"] == "gone" and place["copies"] == place["gone"] == len(place["lines"]) > 5
        assert all(line[4] and line[5] and line[6] and line[4] <= line[5] <= line[6] for line in place["lines"])
    assert said["keys_destroyed"] and said["approval"]["plan_sha256"] == certified.plan_digest
    assert said["receipt"]["verified_by"] == "Ann" and said["receipt"]["package_sha256"] == said["returned"]["package_sha256"]
    assert said["clock"]["due_at"] and said["live"]["rows"]["l2l_subscriptions.datarecord"] == 6
    drills = {line["what"] for line in said["proof"]["lines"] if "negative drill" in line["what"]}
    assert drills == {proving.RESTORED, proving.READ_PAST, proving.KEY_MADE, proving.ADDED, proving.STREAM_MADE, proving.WRITTEN}
    assert len(said["signatories"]) == 2 and said["signatories"][0]["person"] == "rita"
    assert any("ask whoever runs it" in one["until"] for one in said["remains"])
    event = Event.objects.filter(event="certificate:issued").first()
    assert event is not None and event.facts["sha256"] == made.sha256


def test_it_is_issued_once_whoever_asks_how_often(certified: DeletionRequest, vault: Vault) -> None:
    before = Certificate.objects.count()
    with audit.acting("ada"):
        assert certificate.issue(vault, certified, vault.clock()) == certificate_of(certified)
    assert Certificate.objects.count() == before


def test_it_is_never_changed(certified: DeletionRequest) -> None:
    made = certificate_of(certified)
    made.document = "{}"
    with pytest.raises(BypassRefused, match="stays as it was issued"):
        made.save()


def test_after_a_week_a_supplement_names_the_certificate(certified: DeletionRequest, vault: Vault, clock: Clock) -> None:
    clock.forward(days=7)
    assert looked(vault).troubles == {}
    said = checking.check(certificate_of(certified, Kind.SUPPLEMENT).document.encode(), vault.fingerprint).document
    assert said["of_certificate"] == certificate_of(certified).sha256


def test_a_location_that_is_down_gets_an_interim_statement_and_no_certificate(
    approved: DeletionRequest, vault: Vault, clock: Clock, folders: dict[str, Path], tmp_path: Path
) -> None:
    looked(vault)
    folders["offsite"].rename(tmp_path / "away")
    clock.forward(hours=25)
    assert "offsite" in looked(vault).troubles["acme"]
    with audit.acting("ada"), pytest.raises(NotCertified, match="offsite"):
        certificate.issue(vault, reloaded(approved), vault.clock())
    made = Certificate.objects.filter(request=approved, kind=Kind.INTERIM).latest("number")  # made by itself when it got stuck
    looked(vault)
    assert Certificate.objects.filter(request=approved).latest("number") == made, "it was made once for one trouble"
    said = checking.check(made.document.encode(), vault.fingerprint).document
    results = {place["location"]: place["result"] for place in said["locations"]}
    assert results == {"primary": "gone", "offsite": "not looked at"} and any("offsite" in line for line in said["still_to_do"])
    assert "no certificate" in said["statement"][0]
    (tmp_path / "away").rename(folders["offsite"])
    assert looked(vault).troubles == {} and state_of(approved) == "destroyed"


def test_a_marker_that_is_gone_is_seen_and_the_database_refuses_all_the_same(
    certified: DeletionRequest, vault: Vault, folders: dict[str, Path]
) -> None:
    (folders["primary"] / "ended" / f"{certified.stream}.json").unlink()
    with audit.acting("ada"):
        proof = proving.prove(vault, certified)
    assert [(line.what, line.where) for line in proof.lines if not line.result] == [(proving.LISTED, "primary")] and not proof.holds


def test_what_is_put_back_is_seen_by_every_line_that_should(
    approved: DeletionRequest, vault: Vault, folders: dict[str, Path], tmp_path: Path
) -> None:
    for folder in ("customers", "keys"):
        shutil.copytree(folders["primary"] / folder / str(approved.stream), tmp_path / folder)
    looked(vault)
    for folder in ("customers", "keys"):
        shutil.copytree(tmp_path / folder, folders["primary"] / folder / str(approved.stream), dirs_exist_ok=True)
    with audit.acting("ada"):
        proof = proving.prove(vault, reloaded(approved))
    assert {line.what for line in proof.lines if not line.result} == {proving.LISTED, proving.READ_PAST}


def test_the_drill_leaves_nothing_behind(certified: DeletionRequest, vault: Vault) -> None:
    customers, records = Customer.objects.count(), DataRecord.objects.count()
    with audit.acting("ada"):
        proof = proving.prove(vault, certified)
    assert proof.holds, proof.troubles
    assert (Customer.objects.count(), DataRecord.objects.count()) == (customers, records)
    assert not list(vault.spool.glob("drill-*"))


def test_the_command_writes_the_newest_one_and_replaces_no_file(certified: DeletionRequest, vault: Vault, tmp_path: Path) -> None:
    out = tmp_path / "acme.json"
    call_command("deletion", "certificate", "acme", "--out", str(out))
    assert checking.check(out.read_bytes(), vault.fingerprint).document["kind"] == "certificate"
    assert out.with_suffix(".pdf").read_bytes().startswith(b"%PDF-")
    out.unlink()
    with pytest.raises(CommandError, match=r"acme\.pdf exists already"):
        call_command("deletion", "certificate", "acme", "--out", str(out))
    assert not out.exists(), "one of the two was written"
    with pytest.raises(CommandError, match=r"does not end in \.pdf"):
        call_command("deletion", "certificate", "acme", "--out", str(tmp_path / "acme.pdf"))


def test_before_anything_was_stated_the_command_says_so(received: DeletionRequest, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="Nothing was certified or stated of acme yet: it is acknowledged"):
        call_command("deletion", "certificate", "acme", "--out", str(tmp_path / "acme.json"))
    assert not list(tmp_path.glob("acme.json"))
