"""What machines ask: alive, ready, figures; nothing of it is a session, an event or a secret (P13)."""

from __future__ import annotations

import logging
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from audit import controls
from audit.controls import Control, Measured
from audit.models import Alarm, ControlState, Event
from audit.promises import Standing
from backups import keyfiles
from backups.models import Blob, Copy, Heartbeat, HotState, Lease, Location, Run
from l2l import probes
from l2l.quiet_probes import PROBES, Unlogged

TOKEN = "t" * 40
PROJECT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def ready(db: None, settings: Any, tmp_path: Path) -> None:
    """Keys, a worker that lives, a shipper that leads."""
    settings.L2L_KEYS = tmp_path / "keys"
    keyfiles.make_key_files(settings.L2L_KEYS, "2026-01-01")
    now = timezone.now()
    Heartbeat.objects.create(name="worker", process="m:1:1", at=now)
    Lease.objects.create(name="hot", holder="m:2:2", doing="shipping", taken_at=now, expires_at=now + timedelta(minutes=1))


def asked(client: Client | None = None) -> tuple[int, list[str]]:
    answer = (client or Client()).get("/readyz")
    return answer.status_code, answer.json()["not_ready"]


def test_alive_asks_nothing_of_the_database(db: None, django_assert_num_queries: Any) -> None:
    client = Client()
    client.cookies["sessionid"] = "x" * 32
    with django_assert_num_queries(0):
        answer = client.get("/healthz")
    assert (answer.status_code, answer.content) == (200, b"ok\n") and "sessionid" not in answer.cookies


def test_ready(ready: None) -> None:
    assert asked() == (200, [])


def test_what_is_not_ready_is_named_and_no_more(ready: None, settings: Any, tmp_path: Path) -> None:
    Heartbeat.objects.update(at=timezone.now() - timedelta(minutes=4))
    assert asked() == (503, ["worker"])
    Lease.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert asked() == (503, ["worker", "shipper"])
    Heartbeat.objects.create(name="shipper", process="m:3:3", at=timezone.now())
    assert asked() == (503, ["worker"])  # one stands by, and takes over
    HotState.objects.create(stopped="offsite holds segment 9")
    assert asked() == (503, ["worker", "shipper"])
    (settings.L2L_KEYS / "signing.key").chmod(0o644)
    assert asked() == (503, ["keys", "worker", "shipper"])
    assert b"offsite" not in Client().get("/readyz").content and b"signing" not in Client().get("/readyz").content


def test_a_migration_that_did_not_run_is_not_ready(ready: None, monkeypatch: pytest.MonkeyPatch) -> None:
    newest = probes._newest_migrations()
    assert ("l2l_audit", "0001_initial") in newest
    monkeypatch.setattr(probes, "_newest_migrations", lambda: newest | {("l2l_audit", "0002_later")})
    assert asked() == (503, ["migrations"])


def test_a_database_that_does_not_answer_is_not_ready(ready: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: Any) -> None:
        raise probes.DatabaseError("the password is secret")

    monkeypatch.setattr(probes.MigrationRecorder, "applied_migrations", gone)
    assert asked() == (503, ["database"])
    assert b"secret" not in Client().get("/readyz").content and Client().get("/healthz").status_code == 200


def test_probes_leave_no_trace(ready: None, settings: Any, caplog: Any) -> None:
    settings.L2L_METRICS_TOKEN = TOKEN
    Heartbeat.objects.all().delete()
    with caplog.at_level(logging.WARNING):
        for path in ("/healthz", "/readyz", "/metrics"):
            Client().get(path)
    assert not Event.objects.exists()
    assert {f"/{one.pattern}" for one in probes.urlpatterns} == PROBES
    shown = [record for record in caplog.records if Unlogged().filter(record)]
    assert not shown


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_a_probe_from_beside_needs_no_tls(path: str, ready: None, settings: Any) -> None:
    settings.SECURE_SSL_REDIRECT = True
    assert Client().get(path).status_code == 200
    assert Client().get("/metrics").status_code == 301 and Client().post(path).status_code == 405


# Figures


@pytest.fixture
def token(settings: Any) -> dict[str, str]:
    settings.L2L_METRICS_TOKEN = TOKEN
    return {"Authorization": f"Bearer {TOKEN}"}


def figures(token: dict[str, str]) -> dict[str, float]:
    answer = Client().get("/metrics", headers=token)
    assert answer.status_code == 200 and answer["Content-Type"].startswith("text/plain; version=")
    lines = [line for line in answer.content.decode().splitlines() if line and not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_without_a_token_there_is_no_such_page(db: None, settings: Any) -> None:
    settings.L2L_METRICS_TOKEN = ""
    assert Client().get("/metrics", headers={"Authorization": "Bearer "}).status_code == 404


@pytest.mark.parametrize("given", ["", "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer \u00fc"])
def test_with_another_token_nothing_is_told(given: str, db: None, token: dict[str, str]) -> None:
    answer = Client().get("/metrics", headers={"Authorization": given})
    assert answer.status_code == 401 and answer["WWW-Authenticate"] == "Bearer" and b"l2l_" not in answer.content
    assert not Event.objects.exists()


@pytest.fixture
def filled(acme: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken control, a location that lacks a copy and has one to be read again, a night, an alarm."""
    now = datetime.now(UTC)
    control = Control("nights", "P1", "Last night", "t", "u", lambda _: Measured(Standing.KEPT, ""), "admin:index")
    monkeypatch.setattr(controls, "_registered", {"nights": control})
    ControlState.objects.create(control="nights", state="broken", figure="3", value=3.5, since=now, measured_at=now)
    place = Location.objects.create(name="offsite", url="file:///x", offsite=True, trouble="away")
    for name, state, at in (("a", "owed", None), ("b", "present", now - timedelta(days=31)), ("c", "present", now)):
        blob = Blob.objects.create(stream_id=acme.pk, kind="blob", state="stored", name=name, sha256=name * 64, size=1)
        Copy.objects.create(blob=blob, location=place, state=state, checked_at=at)
    night = (now - timedelta(hours=24)).date()
    Run.objects.create(stream_id=acme.pk, night=night, state="done", late=True, policy=1, due_at=now, ends_at=now, next_try_at=now)
    Alarm.objects.create(subject="control:nights", state="broken", text="t", raised_at=now)


def test_figures(filled: None, token: dict[str, str]) -> None:
    found = figures(token)
    for name, value in (
        ('l2l_control_state{control="nights",promise="P1"}', 2),
        ('l2l_control_value{control="nights",promise="P1"}', 3.5),
        ('l2l_location_reachable{location="offsite"}', 0),
        ('l2l_copies_owed{location="offsite"}', 1),
        ('l2l_objects_due{location="offsite"}', 1),
        ('l2l_alarms_standing{state="broken"}', 1),
        ('l2l_alarms_untold{way="mail"}', 1),
        ("l2l_shipper_leads", 0),
        ("l2l_findings_open", 0),
        ('l2l_queue_messages{cluster="worker"}', 0),
    ):
        assert found[name] == value, name
    assert found['l2l_loss_window_seconds{location="offsite"}'] >= 0
    assert sum(value for name, value in found.items() if name.startswith("l2l_last_night_runs")) in (0, 1)
    assert "acme" not in str(found)


def test_the_questions_do_not_grow(filled: None, token: dict[str, str], acme2: Any, django_assert_max_num_queries: Any) -> None:
    with django_assert_max_num_queries(45):
        figures(token)


def test_the_manual_names_every_figure(filled: None, token: dict[str, str]) -> None:
    manual = (PROJECT / "docs/operations.md").read_text()
    families = re.findall(r"^# TYPE (l2l_\w+) ", Client().get("/metrics", headers=token).content.decode(), re.M)
    assert len(families) > 20 and [name for name in families if f"`{name}`" not in manual and f"`{name}{{" not in manual] == []
    connection.close()
