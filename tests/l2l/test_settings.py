"""Settings come from the environment, each is named in .env.example, and what is wrong is said with an id and a hint."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connection

from l2l import checks
from l2l.settings import server_limits

PROJECT = Path(__file__).resolve().parent.parent.parent


def test_env_example_names_every_setting_and_nothing_else() -> None:
    used = set(re.findall(r"""env(?:\.\w+)?\(\s*"([A-Z0-9_]+)\"""", (PROJECT / "l2l/settings.py").read_text()))
    named = set(re.findall(r"^#?([A-Z][A-Z0-9_]+)=", (PROJECT / ".env.example").read_text(), re.M))
    credentials = {name for name in named if name.startswith("L2L_LOCATION_")}
    assert used and named - credentials == used


@pytest.mark.parametrize(
    ("setting", "value", "ident"),
    [
        ("L2L_ZONE", "Europe/Nowhere", "l2l.E001"),
        ("L2L_LOCATIONS", "primary", "l2l.E002"),
        ("L2L_LOCATIONS", "primary=ftp://x offsite=file:///y", "l2l.E003"),
        ("L2L_LOCATIONS", "primary=file:///only", "l2l.W001"),
        ("L2L_OFFSITE", [], "l2l.W002"),
        ("L2L_OFFSITE", ["elsewhere"], "l2l.E004"),
        ("L2L_ALARMS_TO", ["ops@example.org", "not an address"], "l2l.E015"),
        ("L2L_DIGEST_TO", ["ops"], "l2l.E015"),
        ("L2L_AUDITOR_ADDRESS", "auditor", "l2l.E015"),
        ("L2L_ALARMS_WEBHOOK", "http://alerts.example.org/x", "l2l.E016"),
        ("L2L_ALARMS_WEBHOOK_SECRET", "short", "l2l.E017"),
        ("L2L_METRICS_TOKEN", "short", "l2l.E017"),
    ],
)
def test_a_wrong_setting_is_said_with_its_id_and_a_hint(settings: Any, setting: str, value: Any, ident: str) -> None:
    assert ident not in {message.id for message in checks.check_settings(None)}
    setattr(settings, setting, value)
    (found,) = [message for message in checks.check_settings(None) if message.id == ident]
    assert found.hint


def test_in_the_queue_sleepers_are_ended_before_those_who_wait_give_up_and_those_before_the_cluster(
    monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    monkeypatch.setenv("Q_CLUSTER_NAME", "worker")
    limits = dict(word.split("=") for word in server_limits("-c work_mem=64MB").split() if "=" in word)
    assert limits.pop("work_mem") == "64MB"  # what DATABASE_URL gives stays
    idle, wait = (int(limits[name]) / 1000 for name in ("idle_in_transaction_session_timeout", "lock_timeout"))
    assert 0 < idle < wait < settings.L2L_STALL_SECONDS


@pytest.mark.django_db
def test_elsewhere_an_upload_has_an_hour_and_locks_are_waited_for() -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no such limits")
    with connection.cursor() as cursor:
        shown = [cursor.execute(f"SHOW {name}").fetchone()[0] for name in ("idle_in_transaction_session_timeout", "lock_timeout")]
    assert shown == ["1h", "0"]


def test_a_bucket_without_credentials_is_said_before_anything_runs(settings: Any) -> None:
    settings.L2L_LOCATIONS = "primary=file:///srv offsite=s3://user:secret@bucket/l2l"
    (found,) = [message for message in checks.check_settings(None) if message.id == "l2l.E003"]
    assert "secret" not in str(found)


def test_a_sample_home_is_refused_in_production(settings: Any) -> None:
    settings.L2L_SAMPLE, settings.HTTPS = True, True
    assert "l2l.E006" in {message.id for message in checks.check_settings(None)}


def test_keys_that_are_missing_and_a_kit_left_behind_are_said_at_deployment(settings: Any, tmp_path: Path) -> None:
    from backups import keyfiles

    settings.L2L_KEYS = tmp_path / "keys"
    assert "l2l.E007" in {message.id for message in checks.check_deployment(None)}
    keyfiles.make_key_files(settings.L2L_KEYS, "2026-01-01")
    found = {message.id for message in checks.check_deployment(None)}
    assert "l2l.E007" not in found and "l2l.W003" in found


@pytest.mark.skipif(connection.vendor != "sqlite", reason="about SQLite's options")
def test_sqlite_without_its_options_is_refused() -> None:
    class Unsafe:
        vendor = "sqlite"

        def cursor(self) -> Any:
            return _Cursor(sqlite3.connect(":memory:"))

    class _Cursor:
        def __init__(self, raw: sqlite3.Connection) -> None:
            self.raw = raw

        def __enter__(self) -> sqlite3.Connection:
            return self.raw

        def __exit__(self, *_: object) -> None:
            self.raw.close()

    with pytest.raises(ImproperlyConfigured, match="journal_mode"):
        checks.assert_sqlite_options(None, connection=Unsafe())  # type: ignore[arg-type]


@pytest.mark.parametrize("setting", ["L2L_MAIL_PASSWORD_FILE", "L2L_ALARMS_WEBHOOK_SECRET_FILE", "L2L_METRICS_TOKEN_FILE"])
def test_a_secret_that_others_can_read_is_refused(setting: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("s" * 40)
    monkeypatch.setenv(setting, str(path))
    path.chmod(0o644)
    assert "l2l.E014" in {message.id for message in checks.check_settings(None)}
    path.chmod(0o600)
    assert "l2l.E014" not in {message.id for message in checks.check_settings(None)}


def test_alarms_that_reach_nobody_and_heads_that_stay_in_the_house_are_said_at_deployment(settings: Any) -> None:
    def told() -> set[Any]:
        return {message.id for message in checks.check_deployment(None)} & {"l2l.W010", "l2l.W011", "l2l.W012"}

    settings.EMAIL_HOST, settings.L2L_ALARMS_WEBHOOK, settings.L2L_ALARMS_WEBHOOK_SECRET = "", "", ""
    assert told() == {"l2l.W010", "l2l.W012"}
    settings.L2L_ALARMS_WEBHOOK = "https://alerts.example.org/x"
    assert told() == {"l2l.W011", "l2l.W012"}
    settings.EMAIL_HOST, settings.L2L_ALARMS_TO, settings.L2L_AUDITOR_ADDRESS = "mail", ["a@example.org"], "b@example.org"
    settings.L2L_ALARMS_WEBHOOK_SECRET = "s" * 40
    assert told() == set()
