"""The nights' pages: the calendar, and what an operator does to one run or to several."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django_q.models import OrmQ

from audit.models import Event
from backups.models import BackupPolicy, Run
from backups.policies import ensure_first_policy
from subscriptions.models import Customer
from tests.admin.conftest import Belongings, url

As = Callable[[str], Client]
WHY = {"reason": "the disk was mended"}


@pytest.fixture
def failed(own: Belongings, foreign: Belongings) -> list[Run]:
    """Last night failed for both customers."""
    ensure_first_policy()
    Run.objects.update(state="failed", attempts=8, trouble="the disk is full", backup_set=None)
    return [own.run, foreign.run]


def state_of(run: Run) -> str:
    return Run.objects.get(pk=run.pk).state


def act(client: Client, run: Run, name: str, **values: str) -> Any:
    return client.post(url("run_act", run.pk, name), WHY | values, follow=True)


def test_a_failed_run_is_retried_at_once_with_name_and_reason(as_: As, failed: list[Run]) -> None:
    run = failed[0]
    page = as_("olga").get(url("run_change", run.pk)).content
    assert b"All 8 attempts failed" in page and b"the disk is full" in page and url("run_act", run.pk, "retry").encode() in page
    response = act(as_("olga"), run, "retry")
    assert response.redirect_chain[-1][0] == url("run_change", run.pk) and b"retried by olga" in response.content
    assert state_of(run) == "owed"
    assert [message.task["args"] for message in OrmQ.objects.all()] == [([run.pk],)]
    told = Event.objects.get(event="run:retried")
    assert (told.actor, told.customer, told.facts) == ("olga", run.stream_id, {"night": run.night.isoformat(), "run": run.pk})


def test_a_get_and_a_post_without_a_reason_do_nothing(as_: As, failed: list[Run]) -> None:
    client = as_("olga")
    assert client.get(url("run_act", failed[0].pk, "retry")).status_code == 200
    assert b"This field is required" in client.post(url("run_act", failed[0].pk, "retry"), {}).content
    assert state_of(failed[0]) == "failed" and not Event.objects.filter(event__startswith="run:").exists()


def test_what_the_state_does_not_allow_is_said_and_not_done(as_: As, own: Belongings) -> None:
    response = act(as_("olga"), own.run, "retry")
    assert b"is done; this is for one that is failed or stopped" in response.content
    assert state_of(own.run) == "done"
    assert as_("olga").post(url("run_act", own.run.pk, "destroy"), WHY).status_code == 403


def test_a_pause_has_an_end(as_: As, failed: list[Run]) -> None:
    run = failed[0]
    past, later = datetime.now(UTC) - timedelta(hours=1), datetime.now(UTC) + timedelta(days=2)
    assert b"A pause ends in the future" in act(as_("olga"), run, "pause", until=f"{past:%Y-%m-%dT%H:%M}").content
    response = act(as_("olga"), run, "pause", until=f"{later:%Y-%m-%dT%H:%M}")
    assert b"Paused by olga until" in response.content and state_of(run) == "paused"
    assert Event.objects.get(event="run:paused").facts["until"].startswith(f"{later:%Y-%m-%dT%H:%M}")
    assert b"due now" in act(as_("olga"), run, "resume").content and state_of(run) == "owed"


def test_several_runs_at_once_each_by_itself(as_: As, failed: list[Run], belongings: Any) -> None:
    done = belongings("cone").run
    chosen = [run.pk for run in (*failed, done)]
    client = as_("olga")
    asked = client.post(url("run_changelist"), {"action": "retry", "_selected_action": chosen, "index": "0"})
    assert b"Retry: 3 runs?" in asked.content and state_of(failed[0]) == "failed"
    sent = {"action": "retry", "_selected_action": chosen, "confirmed": "yes", **WHY}
    told = [str(message) for message in client.post(url("run_changelist"), sent, follow=True).context["messages"]]
    assert told == [
        "2 of 3 runs: due now.",
        f"cone {done.night}: The run of {done.night} is done; this is for one that is failed or stopped.",
    ]
    assert [state_of(run) for run in failed] == ["owed", "owed"]


@pytest.mark.parametrize("name", ["ada", "otto", "anna", "rita"])
def test_who_does_not_operate_does_nothing_to_runs(name: str, as_: As, failed: list[Run]) -> None:
    client = as_(name)
    assert client.post(url("run_act", failed[0].pk, "retry"), WHY).status_code in (403, 404)
    client.post(url("run_changelist"), {"action": "retry", "_selected_action": [failed[0].pk], "confirmed": "yes", **WHY})
    assert state_of(failed[0]) == "failed"


def test_the_calendar_counts_the_nights_of_ones_own_customers(as_: As, failed: list[Run], own: Belongings) -> None:
    Run.objects.filter(pk=own.run.pk).update(state="done")

    def day(name: str) -> Any:
        weeks = as_(name).get(url("run_changelist")).context["weeks"]
        return next(day for week in weeks for day in week if day.night == own.run.night)

    assert (day("otto").owed, day("otto").filled, day("otto").kind) == (2, 1, "bad")
    assert (day("ada").owed, day("ada").filled, day("ada").kind) == (1, 1, "good")
    shown = as_("ada").get(f"{url('run_changelist')}?night={own.run.night}")
    assert [run.pk for run in shown.context["cl"].result_list] == [own.run.pk]


def test_a_nights_sum_reconciles_and_names_who_has_no_run(as_: As, failed: list[Run], own: Belongings, foreign: Belongings) -> None:
    night = own.run.night
    BackupPolicy._base_manager.all()._plain().update(in_force_from=datetime.now(UTC) - timedelta(days=9))
    Customer._base_manager.all()._plain().update(created_at=datetime.now(UTC) - timedelta(days=9))
    Run.objects.filter(pk=own.run.pk).update(state="done")
    foreign.run.delete()
    page = as_("otto").get(f"{url('run_changelist')}?night={night}").content.decode()
    assert "3 owed = 1 filled + 2 unaccounted for" in page and "without a run: bolt, system" in page
    assert "owed =" not in as_("ada").get(url("run_changelist")).content.decode()
    for wrong in ("2026-99-99", "tomorrow", "9999-01-01"):
        assert as_("otto").get(f"{url('run_changelist')}?night={wrong}", follow=True).status_code == 200


def test_the_front_page_names_bad_nights_and_a_silent_worker(as_: As, failed: list[Run]) -> None:
    page = as_("olga").get("/").content.decode()
    assert "2 runs of the night of" in page and "The worker has never given a sign of life" in page
    mine = as_("ada").get("/").content.decode()
    assert "One run of the night of" in mine and "sign of life" not in mine


def test_a_run_that_was_caught_up_later_took_as_long_as_its_set(as_: As, own: Belongings) -> None:
    started = own.backup_set.started_at
    Run.objects.filter(pk=own.run.pk).update(started_at=started, ended_at=started + timedelta(days=2), trouble="offsite was away")
    page = as_("otto").get(url("run_changelist")).content.decode()
    assert "3.0 s" in page and "48 h" not in page and "offsite was away" not in page
    assert "On the way: offsite was away" in as_("otto").get(url("run_change", own.run.pk)).content.decode()


def test_an_installation_without_nights_says_nothing_of_them(as_: As, db: None) -> None:
    assert as_("olga").get(url("run_changelist")).context["weeks"] == []
