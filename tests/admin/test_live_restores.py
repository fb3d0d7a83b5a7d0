"""The pages of a live restore: what would change, asked for by one, approved by another, carried out by the worker (P5, P14)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

import audit
from audit import freezes
from audit.grants import grant_role
from audit.models import Stream
from audit.roles import Role
from backups import tasks
from backups import vault as vaults
from backups.admin.live_restores import again
from backups.live_restore import carrying_out
from backups.models import BackupSet, LiveRestore, LiveRestoreRequest
from backups.policies import ensure_first_policy
from backups.stores.folder import FolderStore
from subscriptions.models import Customer, DataRecord
from tests.admin.conftest import url
from tests.backups.conftest import clock, folders, key_folder, make_vault  # noqa: F401  (fixtures)
from tests.backups.test_back_up import backed_up

pytestmark = pytest.mark.django_db(transaction=True)

As = Callable[[str], Client]


@pytest.fixture
def ripe(people: dict[str, User], settings: Any) -> dict[str, User]:
    """Olga, oskar and rita have had their roles for a month."""
    settings.L2L_SAMPLE = True
    ensure_first_policy()
    people["oskar"] = User.objects.create_user("oskar", password="pw", is_staff=True)
    since = datetime.now(UTC) - timedelta(days=30)
    with audit.acting("setup", reason="a test"):
        for name, role in (("olga", Role.BACKUP_OPERATOR), ("oskar", Role.BACKUP_OPERATOR), ("rita", Role.RECEIPT_APPROVER)):
            people[name].groups.clear()
            grant_role(people[name], role, reason="a test", now=datetime.now(UTC), since=since)
    return people


@pytest.fixture
def kept(belongings: Any, ripe: dict[str, User], make_vault: Any, folders: Any, monkeypatch: pytest.MonkeyPatch) -> Customer:  # noqa: F811
    """Ada's customer, with a set at two places, and a record that was changed since."""
    customer: Customer = belongings("bolt", ripe["ada"]).customer
    BackupSet.objects.all().update(complete_at=None)
    vault = make_vault(**{name: FolderStore(folder) for name, folder in folders.items()})
    monkeypatch.setattr(vaults, "from_settings", lambda: replace(vault, clock=lambda: datetime.now(UTC)))
    with audit.acting("setup", reason="a test", source="test"):
        backed_up(vault, customer)
        record = DataRecord.objects.get(customer=customer)
        record.data = {"colour": "green"}
        record.save()
        DataRecord.objects.create(customer=customer, kind="product", reference="P-2")
    return customer


def address(customer: Customer) -> str:
    return f"{url('liverestorerequest_add')}?customer={customer.pk}"


def form(customer: Customer, **changes: Any) -> dict[str, Any]:
    newest = BackupSet.objects.filter(stream=customer.pk, complete_at__isnull=False).get()
    return {"state": str(newest.pk), "at": "", "model": "", "reference": "", "why": "a bad import", **changes}


def ask(client: Client, customer: Customer, **changes: Any) -> LiveRestoreRequest:
    response = client.post(address(customer), form(customer, **changes, _ask="1"), follow=True)
    asked = LiveRestoreRequest.objects.get(state="requested")
    assert response.redirect_chain[-1][0] == url("liverestorerequest_change", asked.pk)
    return asked


def approve(client: Client, asked: LiveRestoreRequest, password: str = "pw") -> str:
    response = client.post(url("liverestorerequest_approve", asked.pk), {"password": password}, follow=True)
    return str(response.content.decode())


def page_of(client: Client, asked: LiveRestoreRequest) -> str:
    return str(client.get(url("liverestorerequest_change", asked.pk)).content.decode())


def test_a_preview_shows_the_difference_and_stores_nothing(as_: As, kept: Customer) -> None:
    page = as_("olga").post(address(kept), form(kept, _preview="1")).content.decode()
    assert "0 rows added, 1 changed, 1 removed" in page
    assert "green" in page and "blue" in page and "P-2" in page
    assert not LiveRestoreRequest.objects.exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"state": "at"}, "Say which second"),
        ({"reference": "P-1"}, "Say of which kind the item is"),
        ({"why": " "}, "This field is required"),
        ({"model": "l2l_subscriptions.datarecord", "reference": "nonsense"}, "not even in its history"),
        ({"state": "at", "at": "2099-01-01T00:00:00"}, "proves what happened until"),
        ({"model": "l2l_subscriptions.link", "_ask": "1"}, "exactly that state already"),
    ],
)
def test_what_does_not_fit_is_said(as_: As, kept: Customer, changes: dict[str, Any], said: str) -> None:
    assert said in as_("olga").post(address(kept), form(kept, **changes)).content.decode()
    assert not LiveRestoreRequest.objects.exists()


def test_asked_by_one_approved_by_another_carried_out_by_the_worker(as_: As, kept: Customer) -> None:
    asked = ask(as_("olga"), kept)
    assert f"olga asks to {asked.what}" in as_("rita").get("/").content.decode()
    seen = page_of(as_("rita"), asked)
    assert "green" in seen and url("liverestorerequest_approve", asked.pk) in seen
    assert "the worker carries it out" in approve(as_("rita"), asked)
    waiting = page_of(as_("olga"), asked)
    assert "It waits for the worker" in waiting and 'data-refresh="3"' in waiting
    assert url("liverestorerequest_finish", asked.pk) not in waiting
    assert tasks.restore_live(asked.pk) == "done"
    done = page_of(as_("ada"), asked)
    assert "written, read back, and the customer works on" in done and "executed" in done
    assert DataRecord.objects.get(customer=kept).data["colour"] == "blue"
    history = as_("ada").get(url("datarecord_history", DataRecord.objects.get(customer=kept).pk)).content.decode()
    assert "rita, asked by olga" in history and "a bad import" in history


def test_one_item_alone(as_: As, kept: Customer) -> None:
    ask(as_("olga"), kept, model="l2l_subscriptions.datarecord", reference="P-1")
    assert LiveRestoreRequest.objects.get().counts == {"l2l_subscriptions.datarecord": [0, 1, 0]}


def test_who_asked_cannot_approve_and_a_wrong_password_does_not(as_: As, kept: Customer) -> None:
    asked = ask(as_("olga"), kept)
    assert "It waits for another person" in page_of(as_("olga"), asked)
    assert as_("olga").post(url("liverestorerequest_approve", asked.pk), {"password": "pw"}).status_code == 403
    assert "That is not your password" in approve(as_("rita"), asked, "wrong")
    assert not LiveRestore.objects.exists()


def test_a_change_meanwhile_is_shown_and_voids_it(as_: As, kept: Customer) -> None:
    asked = ask(as_("olga"), kept)
    with audit.acting("ada", reason="work goes on"):
        DataRecord.objects.create(customer=kept, kind="product", reference="P-3")
    assert "This is not what was asked for" in page_of(as_("rita"), asked)
    assert "The request is void" in approve(as_("rita"), asked)
    page = page_of(as_("olga"), asked)
    assert "What it would change now" in page and "2 removed" in page and "Ask again" in page


def test_a_change_after_the_approval_is_shown_on_the_page(as_: As, kept: Customer) -> None:
    asked = ask(as_("olga"), kept)
    approve(as_("rita"), asked)
    with audit.acting("ada", reason="work goes on"):
        DataRecord.objects.create(customer=kept, kind="product", reference="P-3")
    assert tasks.restore_live(asked.pk) == "moved"
    page = page_of(as_("rita"), asked)
    assert "not what was approved" in page and "P-3" in page and "Ask again" not in page  # rita may not ask


def test_what_failed_is_told_and_carried_out_again(as_: As, kept: Customer, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ask(as_("olga"), kept)
    approve(as_("rita"), asked)
    with monkeypatch.context() as broken:
        broken.setattr(carrying_out.applying, "read_back", lambda plan: 1 / 0)
        assert tasks.restore_live(asked.pk) == "failed"
    page = page_of(as_("olga"), asked)
    assert "ZeroDivisionError" in page and url("liverestorerequest_finish", asked.pk) in page
    assert "The worker carries it out" in as_("olga").post(url("liverestorerequest_finish", asked.pk), follow=True).content.decode()
    assert tasks.restore_live(asked.pk) == "done"


def test_while_it_is_at_work_the_customers_page_says_so(as_: As, kept: Customer) -> None:
    asked = ask(as_("olga"), kept)
    approve(as_("rita"), asked)
    freezes.freeze(kept.pk, reason=carrying_out.freeze_reason(asked))
    LiveRestore.objects.update(state="running", progress="comparing", attempts=1, holder="elsewhere:1:1", started_at=datetime.now(UTC))
    page = as_("ada").get(url("customer_overview", kept.pk)).content.decode()
    assert "is being restored" in page and url("liverestorerequest_change", asked.pk) in page
    assert "comparing" in page_of(as_("ada"), asked)


def test_what_a_dead_process_left_frozen_is_thawed_by_the_next_look(as_: As, kept: Customer) -> None:
    asked = ask(as_("olga"), kept)
    approve(as_("rita"), asked)
    freezes.freeze(kept.pk, reason=carrying_out.freeze_reason(asked))
    started = datetime.now(UTC) - timedelta(hours=1)
    LiveRestore.objects.update(state="running", attempts=1, holder="elsewhere:1:1", started_at=started)
    tasks.look()
    row = LiveRestore.objects.get()
    assert (row.state, row.queued_at is not None, "died" in row.trouble) == ("waiting", True, True)
    assert Stream.objects.get(pk=kept.pk).frozen_at is None
    assert tasks.restore_live(asked.pk) == "done"


def test_the_buttons_lead_there_for_operators_alone(as_: As, kept: Customer) -> None:
    newest = BackupSet.objects.filter(stream=kept.pk, complete_at__isnull=False).get()
    pages = {"customer": url("customer_overview", kept.pk), "set": url("backupset_change", newest.pk)}
    form_at = url("liverestorerequest_add")
    for name, expected in (("olga", True), ("rita", False), ("ada", False), ("otto", False)):
        found = {page: form_at in as_(name).get(where).content.decode() for page, where in pages.items()}
        assert found == dict.fromkeys(pages, expected), name
    form_page = as_("olga").get(f"{address(kept)}&state={newest.pk}").content.decode()
    assert f'value="{newest.pk}" selected' in form_page


def test_a_foreign_request_and_a_foreign_customer_are_not_there(as_: As, kept: Customer, people: dict[str, User]) -> None:
    asked = ask(as_("olga"), kept)
    with audit.acting("setup", reason="a test"):
        kept.account_manager = None
        kept.save()
    assert as_("ada").get(url("liverestorerequest_change", asked.pk)).status_code == 404
    assert as_("olga").get(f"{url('liverestorerequest_add')}?customer={asked.pk}").status_code == 404
    assert "Open a customer" in as_("olga").get(url("liverestorerequest_add"), follow=True).content.decode()


def test_asking_again_for_any_second_never_asks_for_an_earlier_one(kept: Customer, ripe: dict[str, User]) -> None:
    asked = LiveRestoreRequest(customer=kept, state_at=datetime(2026, 3, 4, 2, 5, 9, 1, tzinfo=UTC), only_model="")
    assert again(asked)["at"] == "2026-03-04T02:05:10"
    asked.state_at = asked.state_at.replace(microsecond=0)
    assert again(asked)["at"] == "2026-03-04T02:05:09"
