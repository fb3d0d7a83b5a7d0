"""A real browser signs in and walks from a customer over its content and history to a set."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connections

from tests.admin.conftest import Belongings, url

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine: the walk with a real browser is left out"),
]


@pytest.fixture
def no_connection_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's threads keep none open, or PostgreSQL's test database could not be removed."""
    monkeypatch.setitem(connections.settings["default"], "CONN_MAX_AGE", 0)


@pytest.fixture
def page(own: Belongings, no_connection_stays: None, live_server: Any) -> Iterator[Any]:
    """A page on a phone. The rows are made before it: no query of ours may run in the thread while Playwright's event loop does."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: the walk with a real browser is left out")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser.new_page(base_url=live_server.url, viewport={"width": 390, "height": 844})
        browser.close()


@pytest.mark.django_db(transaction=True)
def test_an_account_manager_changes_a_record_and_reads_its_history(page: Any, own: Belongings) -> None:
    problems: list[str] = []
    page.on("pageerror", lambda problem: problems.append(str(problem)))
    page.goto("/")
    page.fill("#id_username", "ada")
    page.fill("#id_password", "pw")
    page.click("button[type=submit]")
    page.wait_for_url("**/")
    page.goto(url("customer_changelist"))
    page.click("text=acme works")
    page.wait_for_url("**/overview/")
    page.click("a.bo-tile:has-text('Data records')")
    page.click("text=P-1")
    page.fill("#id_data", '{"colour": "crème"}')
    page.fill("#id_change_reason", "The customer asked")
    page.click("button[name=_continue]")
    page.wait_for_selector("text=was changed successfully")
    page.goto(url("datarecord_history", own.record.pk))
    assert "The customer asked" in page.inner_text(".bo-timeline")
    assert "blue → crème" in page.inner_text(".bo-timeline")
    page.goto(url("backupset_changelist"))
    page.click("table >> text=acme")
    assert "whole, and read back, at every required location" in page.inner_text("main, #main")
    wider = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert (wider, problems) == (0, [])
