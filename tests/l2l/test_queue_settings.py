"""The queue's settings are refused where django-q would run a task twice, for ever, or at the wrong time."""

from __future__ import annotations

import os
from typing import Any

import pytest
from django.db import connection

from l2l import checks


def found(settings: Any, **changes: Any) -> list[str]:
    settings.Q_CLUSTER = {**settings.Q_CLUSTER, **changes}
    return [str(message.id) for message in checks._queue()]


def test_the_projects_own_settings_are_right(settings: Any) -> None:
    assert found(settings) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"cluster_name": "other"}, "l2l.E101"),
        ({"ALT_CLUSTERS": {}}, "l2l.E101"),
        ({"timeout": None}, "l2l.E102"),
        ({"timeout": 1.5}, "l2l.E102"),
        ({"retry": 6 * 3600 + 60}, "l2l.E103"),
        ({"workers": 2, "queue_limit": 8}, "l2l.E103"),
        ({"workers": 2, "queue_limit": 1}, "l2l.E104"),
        ({"bulk": 10}, "l2l.E104"),
        ({"orm": "other"}, "l2l.E105"),
        ({"ack_failures": False}, "l2l.E105"),
        ({"max_attempts": 0}, "l2l.E105"),
        ({"catch_up": True}, "l2l.E105"),
        ({"time_zone": "Europe/Berlin"}, "l2l.E105"),
        ({"sync": True}, "l2l.E105"),
        ({"ALT_CLUSTERS": {"destroyer": {"workers": 2, "queue_limit": 8}}}, "l2l.E103"),
    ],
)
def test_each_trap_is_refused_by_its_number(settings: Any, changes: dict[str, Any], expected: str) -> None:
    assert expected in found(settings, **changes)


def test_a_stall_shorter_than_a_lease_is_refused(settings: Any) -> None:
    settings.L2L_STALL_SECONDS, settings.L2L_LEASE_SECONDS = 60, 61
    assert found(settings) == ["l2l.E106"]


def test_django_q_reads_what_we_set() -> None:
    from django_q.conf import Conf

    workers = 2 if connection.vendor == "sqlite" else 2 * (os.cpu_count() or 1)
    assert ("worker", "l2l", workers, workers, False) == (Conf.CLUSTER_NAME, Conf.PREFIX, Conf.QUEUE_LIMIT, Conf.WORKERS, Conf.CATCH_UP)
