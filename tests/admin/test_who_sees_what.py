"""Each page x each role x own and foreign customer: 200 for those who may, 403, 404 or a redirect for all others (P5)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from tests.admin.conftest import Belongings, url

CONTENT = ("datarecord", "uploadedcontent", "link")
LISTS = ("customer", "subscription", *CONTENT, "export", "backupset", "run", "location", "blob", "copy", "user", "group", "grant", "event")
MAY_LIST = {
    "root": set(LISTS),
    "ada": {"customer", "subscription", *CONTENT, "export", "backupset", "run"},
    "olga": set(LISTS) - {"user", "group", "grant", "event"},
    "otto": set(LISTS),
    "anna": {"user", "group", "grant"},
    "nobody": set(),
}
SEES_EVERY_CUSTOMER = ("root", "olga", "otto")


def pages_of(one: Belongings) -> list[str]:
    """Every page about one customer that an account manager of it may read."""
    rows: list[Any] = [("customer", one.customer), ("subscription", one.subscription), ("datarecord", one.record)]
    rows += [("uploadedcontent", one.upload), ("link", one.link)]
    pages = [
        url("customer_overview", one.customer.pk),
        url("backupset_change", one.backup_set.pk),
        url("uploadedcontent_file", one.upload.pk, "file"),
    ]
    for name, row in rows:
        version = type(row).history.filter(**{row._meta.pk.attname: row.pk}).first().history_id
        pages += [url(f"{name}_change", row.pk), url(f"{name}_history", row.pk), url(f"{name}_version", row.pk, version)]
    version = one.upload.history.first().history_id
    return [*pages, url("uploadedcontent_version_file", one.upload.pk, version, "file")]


@pytest.mark.parametrize("name", MAY_LIST)
def test_lists(name: str, as_: Callable[[str], Client], own: Belongings, foreign: Belongings) -> None:
    client = as_(name)
    found = {one: client.get(url(f"{one}_changelist")).status_code for one in LISTS}
    assert found == {one: 200 if one in MAY_LIST[name] else 403 for one in LISTS}
    deleted = {one: client.get(url(f"{one}_deleted")).status_code for one in CONTENT}
    assert deleted == {one: 200 if one in MAY_LIST[name] else 403 for one in CONTENT}


@pytest.mark.parametrize("name", ["root", "olga", "otto"])
def test_who_sees_every_customer(name: str, as_: Callable[[str], Client], own: Belongings, foreign: Belongings) -> None:
    client = as_(name)
    assert {page: client.get(page).status_code for page in [*pages_of(own), *pages_of(foreign)]} == dict.fromkeys(
        [*pages_of(own), *pages_of(foreign)], 200
    )


def test_an_account_manager_sees_own_customers_only(as_: Callable[[str], Client], own: Belongings, foreign: Belongings) -> None:
    client = as_("ada")
    assert {page: client.get(page).status_code for page in pages_of(own)} == dict.fromkeys(pages_of(own), 200)
    refused = {page: client.get(page) for page in pages_of(foreign)}
    assert {response.status_code for response in refused.values()} <= {302, 403, 404}
    assert not [page for page, response in refused.items() if b"bolt works" in response.content]


@pytest.mark.parametrize("name", ["anna", "nobody"])
def test_who_sees_no_customer(name: str, as_: Callable[[str], Client], own: Belongings) -> None:
    client = as_(name)
    assert {client.get(page).status_code for page in pages_of(own)} <= {302, 403, 404}
    assert client.get(url("blob_change", own.blob.pk)).status_code == 403


def test_nobody_signed_in_is_asked_to_sign_in(own: Belongings) -> None:
    client = Client()
    for page in [*pages_of(own), *(url(f"{one}_changelist") for one in LISTS), "/"]:
        response = client.get(page)
        assert response.status_code == 302
        assert response["Location"].startswith("/login/")


@pytest.mark.parametrize("listed", ["customer", "subscription", *CONTENT, "backupset"])
def test_lists_of_an_account_manager_hold_own_rows(listed: str, as_: Callable[[str], Client], own: Belongings, foreign: Belongings) -> None:
    response = as_("ada").get(url(f"{listed}_changelist"))
    assert len(response.context["cl"].result_list) == 1
    assert b"bolt" not in response.content


def test_a_filter_for_a_foreign_customer_finds_nothing(as_: Callable[[str], Client], own: Belongings, foreign: Belongings) -> None:
    client = as_("ada")
    for listed in ("datarecord", "backupset", "subscription"):
        response = client.get(url(f"{listed}_changelist"), {"customer": foreign.customer.pk})
        assert list(response.context["cl"].result_list) == []
        assert b"bolt" not in response.content
    assert list(client.get(url("datarecord_changelist"), {"customer": "nonsense"}).context["cl"].result_list) == []


def test_choices_of_a_form_are_own_customers(as_: Callable[[str], Client], own: Belongings, foreign: Belongings) -> None:
    client = as_("ada")
    offered = client.get(
        "/autocomplete/", {"app_label": "l2l_subscriptions", "model_name": "datarecord", "field_name": "customer", "term": ""}
    )
    assert [one["text"] for one in offered.json()["results"]] == ["acme works (acme)"]
    sent = {"customer": foreign.customer.pk, "kind": "k", "reference": "r", "data": "{}"}
    response = client.post(url("datarecord_add"), sent)
    assert "customer" in response.context["adminform"].form.errors


def test_who_may_write(as_: Callable[[str], Client], own: Belongings) -> None:
    for name in ("olga", "otto", "nobody", "anna"):
        client = as_(name)
        for row, address in (
            (own.record, "datarecord"),
            (own.link, "link"),
            (own.subscription, "subscription"),
            (own.customer, "customer"),
        ):
            assert client.post(url(f"{address}_change", row.pk), {"change_reason": "x"}).status_code == 403
            assert client.post(url(f"{address}_add"), {"change_reason": "x"}).status_code == 403
    for address, row in (("customer", own.customer), ("subscription", own.subscription)):
        assert as_("ada").post(url(f"{address}_change", row.pk), {"change_reason": "x"}).status_code == 403


@pytest.mark.parametrize("name", ["root", "ada", "olga"])
def test_customers_contracts_and_sets_are_never_deleted(name: str, as_: Callable[[str], Client], own: Belongings) -> None:
    client = as_(name)
    for address, row in (("customer", own.customer), ("subscription", own.subscription), ("backupset", own.backup_set), ("blob", own.blob)):
        assert client.post(url(f"{address}_delete", row.pk), {"post": "yes", "change_reason": "x"}).status_code == 403
    assert client.post(url("backupset_change", own.backup_set.pk), {}).status_code == 403


def test_an_administrator_cannot_rise(as_: Callable[[str], Client], people: dict[str, Any]) -> None:
    client = as_("anna")
    assert client.post(url("user_change", people["root"].pk), {"username": "mine"}).status_code == 403
    assert client.post(f"/auth/user/{people['root'].pk}/password/", {"password1": "x", "password2": "x"}).status_code == 403
    form = client.get(url("user_change", people["ada"].pk)).context["adminform"].form
    assert {"is_superuser", "user_permissions"}.isdisjoint(form.fields)


def test_the_navigation_shows_what_one_may_open(as_: Callable[[str], Client]) -> None:
    def titles(name: str) -> set[str]:
        groups = as_(name).get("/").context["sidebar_navigation"]
        return {item["title"] for group in groups for item in group["items"] if item["has_permission"]}

    assert titles("nobody") == {"Overview"}
    people = {"Users", "Groups", "Roles given", "Access review", "Attestations"}
    assert titles("anna") == {"Overview", "Controls", "Alarms", *people, "Schedules", "Waiting tasks", "Failed tasks"}
    assert "Evidence" in titles("otto") and "Evidence" not in titles("olga")
    assert "Locations" not in titles("ada")
    assert ["My work" in titles(name) for name in ("ada", "rita", "olga", "otto")] == [True, True, False, False]
    assert ["Compared with billing" in titles(name) for name in ("ada", "rita", "olga", "otto")] == [False, True, True, True]
    assert {"Locations", "Copies", "Data records"} <= titles("otto")
