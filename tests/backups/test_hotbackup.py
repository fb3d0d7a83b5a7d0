"""`manage.py hotbackup`, and the queue's part when no shipper leads."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db.backends.signals import connection_created

from audit import clock
from audit.grants import grant_role
from audit.models import ChainHead, Event, JournalRow
from audit.roles import Role
from backups import tasks
from backups.hot import shipper
from backups.leases import LENGTH, release, take
from backups.models import HotState, Segment, Timeline
from subscriptions.models import DataRecord
from tests.backups.test_commands import installation, run  # noqa: F401

CODE = "correct horse battery"


@pytest.fixture(autouse=True)
def long_sessions() -> Iterator[None]:
    """The command makes its process's sessions short; this process has other tests to run."""
    yield
    connection_created.disconnect(dispatch_uid="l2l_shipper_sessions")


@pytest.fixture
def change(acme: Any, installation: dict[str, Path]) -> DataRecord:  # noqa: F811
    return DataRecord.objects.create(customer=acme, kind="part", reference="P-1", data={})


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.touch(mode=0o600)
    path.write_text(CODE)
    return path


@pytest.fixture
def olga(transactional_db: None, acting: Any) -> Any:
    user = get_user_model().objects.create_user("olga", password=CODE, is_staff=True)
    grant_role(user, Role("backup operator"), reason="a test", now=clock.now())
    return user


def test_once_ships_what_waits_and_says_so(change):
    said = run("hotbackup", "--once", "--json")
    assert said.failed == ""
    assert (said.document["waiting"], said.document["owed"]) == (0, [])
    assert said.document["segment"] == Segment.objects.order_by("-number")[0].number
    assert JournalRow.objects.filter(number=None).count() == 0


def test_once_ends_red_while_a_location_is_owed_something(change, installation):  # noqa: F811
    shutil.rmtree(installation["offsite"])
    said = run("hotbackup", "--once", "--json")
    assert "offsite still owed" in said.failed
    assert said.document["owed"] == ["offsite"]
    assert Segment.objects.filter(copies__durable_at__isnull=False).exists()


def test_once_beside_a_leader_is_refused(change):
    held = take(shipper.LEASE, doing="shipping", clock=clock.now, holder="another-machine:1:1")
    said = run("hotbackup", "--once")
    assert "another-machine" in said.failed
    release(held)


def back_in_time() -> None:
    Segment.objects.all().delete()
    ChainHead.objects.all().delete()
    HotState.objects.update(last_segment=0)
    JournalRow.objects.update(number=None, digest=None, leaf=None, salt=None, segment=None, shape=None)


def test_after_the_database_went_back_in_time_only_a_person_starts_again(change, olga, password_file):
    run("hotbackup", "--once")
    back_in_time()
    assert "went back in time" in run("hotbackup", "--once").failed
    stopped = run("hotbackup", "--once")
    assert "--new-timeline" in stopped.failed
    assert "needs --as" in run("hotbackup", "--new-timeline").failed
    new = ("hotbackup", "--new-timeline", "--as", "olga", "--password-file", password_file)
    said = run(*new, "--reason", "the dump is from yesterday", "--json")
    assert said.failed == ""
    assert said.document["timeline"] == 2
    [timeline] = Timeline.objects.all()
    assert (timeline.started_by, timeline.reason) == ("olga", "the dump is from yesterday")
    assert {"hot:stopped", "timeline:begun"} <= set(Event.objects.values_list("event", flat=True))
    assert run("hotbackup", "--once").failed == ""
    assert "no need" in run(*new, "--reason", "again").failed


def test_a_wrong_password_or_right_starts_no_timeline(change, olga, password_file):
    run("hotbackup", "--once")
    back_in_time()
    run("hotbackup", "--once")
    password_file.write_text("wrong")
    new = ("hotbackup", "--new-timeline", "--as", "olga", "--password-file", password_file, "--reason", "x")
    assert "not their password" in run(*new).failed
    get_user_model().objects.create_user("aud", password=CODE)
    password_file.write_text(CODE)
    assert "may not do this" in run(*new[:2], "--as", "aud", *new[4:]).failed
    assert not Timeline.objects.exists()


def test_the_queue_ships_within_two_minutes_when_nobody_leads_and_raises_the_alarm_once(change):
    """Looked at once a minute, as the schedule has it."""
    now = clock.now()
    HotState.objects.create(pk=1, ticked_at=now - timedelta(seconds=30))
    assert not tasks.shipper.ship_if_unled(vault(), now)  # one that ended just now is being started again
    assert tasks.shipper.ship_if_unled(vault(), now + timedelta(minutes=1))
    assert JournalRow.objects.filter(number=None, stream=change.customer_id).count() == 0
    assert tasks.shipper.ship_if_unled(vault(), now + timedelta(minutes=2))
    assert Event.objects.filter(event="hot:unled").count() == 1
    assert HotState.objects.get().unled_since is not None


def vault() -> Any:
    from backups.vault import from_settings

    return from_settings()


def test_the_queue_leaves_a_leader_alone_also_one_whose_lease_has_run_out_a_moment_ago(change):
    held = take(shipper.LEASE, doing="shipping", clock=clock.now, holder="another-machine:1:1")
    assert not shipper.ship_if_unled(vault(), clock.now())
    release(held)
    assert JournalRow.objects.filter(number=None).exists()


def test_a_leader_ends_the_alarm(change):
    HotState.objects.create(pk=1, unled_since=clock.now() - LENGTH)
    ticks = iter([False, False, True])
    shipper.serve(vault(), lambda: next(ticks, True))
    assert HotState.objects.get().unled_since is None


def test_status_tells_what_would_be_lost_now_and_ends_red_until_it_is_kept(change):
    vault()
    said = run("hotbackup", "--status", "--json")
    assert "broken" in said.failed  # nobody leads
    assert said.document["locations"]["offsite"]["changes"] >= 1
    run("hotbackup", "--once")
    said = run("hotbackup", "--status", "--json")
    assert {name: one["changes"] for name, one in said.document["locations"].items()} == {"primary": 0, "offsite": 0}
    assert "we would lose: nothing" in run("hotbackup", "--status").out
