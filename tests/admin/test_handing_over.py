"""Handing customers over and taking many on, in the admin: asked first, done by POST, own customers alone (P5)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.auth.models import Group, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

import audit
from subscriptions.models import Customer
from tests.admin.conftest import Belongings, form_of, url

As = Callable[[str], Client]


@pytest.fixture
def cleo(people: dict[str, User]) -> User:
    """Another account manager."""
    found = User.objects.create_user("cleo", password="pw", is_staff=True)
    found.groups.add(Group.objects.get(name="account manager"))
    return found


def managers() -> dict[str, str | None]:
    return dict(Customer.objects.values_list("code", "account_manager__username"))


def test_from_the_customer_s_page(as_: As, own: Belongings, cleo: User) -> None:
    ada = as_("ada")
    address = f"{url('customer_hand_over')}?customer={own.customer.pk}"
    assert address in ada.get(url("customer_overview", own.customer.pk)).content.decode()
    assert b"acme works (acme)" in ada.get(address).content
    assert managers() == {"acme": "ada"}
    done = ada.post(address, {"to": cleo.pk, "reason": "on leave"}, follow=True)
    assert b"1 customer handed over to cleo." in done.content
    assert managers() == {"acme": "cleo"}
    assert ada.get(url("customer_overview", own.customer.pk)).status_code == 404


def test_only_account_managers_are_offered_and_a_reason_is_asked_for(as_: As, own: Belongings, cleo: User, people: dict[str, User]) -> None:
    address = f"{url('customer_hand_over')}?customer={own.customer.pk}"
    refused = as_("ada").post(address, {"to": people["otto"].pk, "reason": "x"})
    assert refused.status_code == 200 and "to" in refused.context["form"].errors
    assert "reason" in as_("ada").post(address, {"to": cleo.pk, "reason": " "}).context["form"].errors
    assert managers() == {"acme": "ada"}


def test_a_foreign_customer_is_not_to_be_chosen(as_: As, own: Belongings, foreign: Belongings, cleo: User) -> None:
    address = f"{url('customer_hand_over')}?customer={foreign.customer.pk}"
    done = as_("ada").post(address, {"to": cleo.pk, "reason": "x"}, follow=True)
    assert b"No customer was chosen" in done.content and managers() == {"acme": "ada", "bolt": None}


def test_several_of_the_list_lead_to_the_page_that_asks(as_: As, own: Belongings, foreign: Belongings, cleo: User) -> None:
    rita = as_("rita")
    chosen = {"action": "hand_over", ACTION_CHECKBOX_NAME: [str(own.customer.pk), str(foreign.customer.pk)]}
    asked = rita.post(url("customer_changelist"), chosen)
    assert asked.status_code == 302 and managers()["bolt"] is None
    rita.post(asked["Location"], {"to": cleo.pk, "reason": "a new team"})
    assert managers() == {"acme": "cleo", "bolt": "cleo"}


def test_all_of_one_manager_s_and_all_of_nobody_s(
    as_: As, own: Belongings, foreign: Belongings, cleo: User, people: dict[str, User]
) -> None:
    rita = as_("rita")
    for asked, then in (("none", {"acme": "ada", "bolt": "cleo"}), (people["ada"].pk, {"acme": "cleo", "bolt": "cleo"})):
        address = f"{url('customer_hand_over')}?manager={asked}"
        rita.post(address, {"to": cleo.pk, "reason": "x", **dict(rita.get(address).context["carried"])})
        assert managers() == then


def test_nobody_goes_along_who_was_not_on_the_page(
    as_: As, own: Belongings, foreign: Belongings, cleo: User, people: dict[str, User]
) -> None:
    rita, address = as_("rita"), f"{url('customer_hand_over')}?manager={people['ada'].pk}"
    given = {"to": cleo.pk, "reason": "x", **dict(rita.get(address).context["carried"])}
    with audit.acting("rita", reason="meanwhile"):
        Customer.objects.filter(pk=foreign.customer.pk).tracked_change(account_manager=people["ada"])
    refused = rita.post(address, given)
    assert b"None was handed over: look again" in refused.content and b"bolt works" in refused.content
    assert managers() == {"acme": "ada", "bolt": "ada"}
    rita.post(address, {**given, **dict(refused.context["carried"])})
    assert managers() == {"acme": "cleo", "bolt": "cleo"}


@pytest.mark.parametrize("who", ["olga", "otto", "anna", "nobody"])
def test_who_may_not_is_refused(as_: As, own: Belongings, cleo: User, who: str) -> None:
    address = f"{url('customer_hand_over')}?customer={own.customer.pk}"
    assert as_(who).post(address, {"to": cleo.pk, "reason": "x"}).status_code == 403
    assert "hand_over" not in as_("olga").get(url("customer_changelist")).content.decode()


def test_the_form_of_a_customer_changes_its_name_and_not_its_manager(as_: As, own: Belongings, cleo: User) -> None:
    root, address = as_("root"), url("customer_change", own.customer.pk)
    root.post(address, form_of(root, address, name="Acme plc", account_manager=cleo.pk, change_reason="renamed"))
    assert managers() == {"acme": "ada"} and Customer.objects.get().name == "Acme plc"


def test_the_front_page_tells_who_may_of_customers_of_nobody(as_: As, own: Belongings, foreign: Belongings) -> None:
    told = "One customer has no account manager"
    assert [as_(who).get("/").content.decode().count(told) for who in ("rita", "ada", "olga")] == [1, 0, 0]


# Importing


def upload(text: str) -> dict[str, Any]:
    return {"file": SimpleUploadedFile("new.csv", text.encode(), "text/csv"), "reason": "the new plant"}


def test_many_are_imported_from_a_file(as_: As, people: dict[str, User]) -> None:
    root = as_("root")
    assert url("customer_import") in root.get(url("customer_changelist")).content.decode()
    done = root.post(url("customer_import"), upload("code,name,start\ngamma,Gamma,2026-02-01\ndelta,Delta,2026-02-01\n"), follow=True)
    assert b"2 customers added, 0 known already." in done.content
    assert Customer.objects.get(code="gamma").history.get().history_change_reason == "the new plant"


def test_a_file_with_anything_wrong_adds_none_and_names_the_lines(as_: As, people: dict[str, User]) -> None:
    answer = as_("root").post(url("customer_import"), upload("code,name,start\ngamma,Gamma,2026-02-01\n<b>,X,1.2.26\n"))
    text = answer.content.decode()
    assert "new.csv, line 3, column start" in text and "Nothing was written." in text and "<b>,X" not in text
    assert not Customer.objects.exists()


@pytest.mark.parametrize("who", ["ada", "rita", "olga", "otto", "anna"])
def test_nobody_else_imports(as_: As, who: str) -> None:
    assert as_(who).post(url("customer_import"), upload("code,name,start\ngamma,Gamma,2026-02-01\n")).status_code == 403
    assert reverse("admin:l2l_subscriptions_customer_import") not in as_(who).get("/").content.decode()
    assert not Customer.objects.exists()
